"""What a judge has said so far, laid out now and then as a checkpoint of its evaluation.

Who goes on with the evaluation on another machine then has these answers too, and nobody pays for them twice.
Copies, for the file of answers grows; light, where :mod:`neftune_core.evaluate.parts` brings torch.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from neftune_core.evaluate.judge.files import ANSWERS
from neftune_core.ports import Reporter

EVERY_SECONDS = 30.0
_LAID_OUT = "laid-out.json"  # the number of the last checkpoint, as the parts keep it


class Saving:
    """Saves what is known, beside the parts of the evaluation in ``out``; without parts there is none."""

    def __init__(
        self, out: Path, known: Path, reporter: Reporter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._known, self._reporter, self._clock = out, known, reporter, clock
        self._saved_at = clock()

    def if_due(self) -> None:
        """Save when some time has passed."""
        if self._clock() - self._saved_at >= EVERY_SECONDS:
            self.now()

    def now(self) -> None:
        """Save."""
        parts, checkpoints = self._out / "parts", self._out / "checkpoints"
        self._saved_at = self._clock()
        if not parts.is_dir() or not self._known.is_file():
            return
        number = _number(parts / _LAID_OUT) + 1
        _replace(parts / _LAID_OUT, json.dumps(number).encode())
        _replace(parts / ANSWERS, self._known.read_bytes())
        target = checkpoints / f"step-{number:08d}"
        older = list(checkpoints.glob("step-*"))
        passing = target.with_suffix(".tmp")
        shutil.rmtree(passing, ignore_errors=True)
        shutil.copytree(parts, passing)
        passing.rename(target)
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)
        self._reporter.checkpoint(number, target)


def _number(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return 0


def _replace(path: Path, content: bytes) -> None:
    """Write anew, under a name of its own: the old bytes may be kept under another."""
    passing = path.with_name(f"{path.name}.tmp")
    passing.write_bytes(content)
    passing.replace(path)

"""The parts of an evaluation on disk: each is done once, and who comes after a crash goes on from them.

    parts/of.json                 what they belong to: who asks for something else begins anew
    parts/losses-train-base.json  one file for each part that is done
    parts/….partial               what a long part has so far

Each file is written beside its place and then takes it, so that a part is there whole or not at all. All
there is can also be laid out as ``checkpoints/step-…``, for who keeps those for another machine.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neftune_core.checkpoints import share

_OF, _LAID_OUT, _PARTIAL = "of.json", "laid-out.json", ".partial"


class Parts:
    """The parts that are done, and the one that is being done."""

    def __init__(self, out: Path, belonging: Mapping[str, Any]) -> None:
        self._folder = out / "parts"
        self._checkpoints = out / "checkpoints"
        self._belonging = json.dumps(belonging, sort_keys=True)
        if not self._is_ours(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._take_over()

    def done(self, name: str) -> Any | None:
        """Give what a part found, if it was done."""
        return _read(self._folder / f"{name}.json")

    def partial(self, name: str) -> Any | None:
        """Give what a part had found when it was broken off."""
        return _read(self._folder / f"{name}{_PARTIAL}")

    def keep(self, name: str, found: Any) -> None:
        """Keep what a part found; it is not done again."""
        self._write(f"{name}.json", json.dumps(found, allow_nan=False))
        (self._folder / f"{name}{_PARTIAL}").unlink(missing_ok=True)

    def keep_partial(self, name: str, found: Any) -> None:
        """Keep what a part has found so far."""
        self._write(f"{name}{_PARTIAL}", json.dumps(found, allow_nan=False))

    def lay_out(self) -> tuple[int, Path]:
        """Give a number, each higher than the last, and a folder with all there is now; older ones go."""
        number = (_read(self._folder / _LAID_OUT) or 0) + 1
        self._write(_LAID_OUT, json.dumps(number))
        target = self._checkpoints / f"step-{number:08d}"
        older = list(self._checkpoints.glob("step-*"))
        passing = target.with_suffix(".tmp")
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir(parents=True)
        for path in self._folder.iterdir():
            share(path, passing / path.name)
        passing.rename(target)
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)
        return number, target

    def _take_over(self) -> None:
        """Begin with what a checkpoint has, if one is of this evaluation."""
        self._folder.mkdir(parents=True)
        for folder in sorted(self._checkpoints.glob("step-*"), reverse=True):
            if self._is_ours(folder):
                for path in folder.iterdir():
                    share(path, self._folder / path.name)
                return
        self._write(_OF, self._belonging)

    def _is_ours(self, folder: Path) -> bool:
        try:
            return (folder / _OF).read_text(encoding="utf-8") == self._belonging
        except OSError:
            return False

    def _write(self, name: str, text: str) -> None:
        passing = self._folder / f"{name}.tmp"
        passing.write_text(text, encoding="utf-8")
        passing.replace(self._folder / name)


def _read(path: Path) -> Any | None:
    """Read a part; one that can't be read was never done."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None

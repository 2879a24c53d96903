"""What a model would see of a dataset, read out in a limited child process before anything is trained.

Chat templates are programs from strangers, tokenizers are native code, and both take their time: so the
parent opens neither, it only reads what the child had to say (:mod:`neftune_core.readout_child`).
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core.errors import CoreError, DatasetError, ModelError, SpecError, TemplateError
from neftune_core.limited import bare_environment
from neftune_core.rows_faults import DatasetTooLarge
from neftune_core.spec import TrainingSpec

MEMORY_BYTES = 3 * 1024**3  # address space, as for tables; models' files are mapped, not read
CPU_SECONDS = 30
WALL_SECONDS = 45
ROWS_SECONDS = 5.0  # after so long no further row is read: the answer is of those that were

_KINDS: tuple[type[CoreError], ...] = (TemplateError, ModelError, SpecError, DatasetError, DatasetTooLarge)


@dataclass(frozen=True, slots=True)
class Sample:
    """A file with rows of a dataset; not ``whole``: it is cut off within a row."""

    path: Path
    whole: bool
    layout: str  # as :func:`neftune_core.rows_sniff.sniff` tells it


def preview(sample: Sample, model_dir: Path, training: TrainingSpec, rows: int) -> Mapping[str, Any]:
    """Show the first rows as the model will see them."""
    return _read({"what": "preview", "rows": rows}, sample, model_dir, training)


def token_counts(
    sample: Sample, model_dir: Path, training: TrainingSpec, *, seconds: float = ROWS_SECONDS
) -> Mapping[str, Any]:
    """Tell how long rows are in tokens, what of them is trained, and how large the noise will be."""
    return _read({"what": "tokens", "seconds": seconds}, sample, model_dir, training)


def _read(
    asked: Mapping[str, Any], sample: Sample, model_dir: Path, training: TrainingSpec
) -> Mapping[str, Any]:
    question = {
        **asked,
        "path": str(sample.path),
        "whole": sample.whole,
        "layout": sample.layout,
        "model_dir": str(model_dir),
        "training": training.model_dump(mode="json"),
        "memory_bytes": MEMORY_BYTES,
        "cpu_seconds": CPU_SECONDS,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "neftune_core.readout_child"],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
            env=bare_environment(),
        )
    except subprocess.TimeoutExpired:
        raise _too_much() from None
    if done.returncode != 0:
        raise _too_much() if _ran_out(done) else ModelError("The model's tokenizer can't read these rows.")
    told: Mapping[str, Any] = json.loads(done.stdout)
    if "refused" in told:
        raise _error(told["refused"])
    return told


def _ran_out(done: "subprocess.CompletedProcess[bytes]") -> bool:
    return done.returncode == -signal.SIGXCPU or any(
        word in done.stderr for word in (b"MemoryError", b"bad_alloc", b"memory allocation")
    )


def _too_much() -> DatasetError:
    return DatasetError("Reading these rows takes more time or memory than is given to a look at them.")


def _error(told: Mapping[str, str]) -> CoreError:
    kind = next((kind for kind in _KINDS if kind.code == told["code"]), DatasetError)
    return kind(told["detail"])

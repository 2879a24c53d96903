"""CSV and Parquet become JSON lines in a limited child process.

A native parser may die by a signal, and a small Parquet file may unpack to gigabytes while its metadata
says otherwise; so the parent never opens such a file, it only reads what the child had to say.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from neftune_core.limited import bare_environment
from neftune_core.rows_faults import DatasetTooLarge, InvalidDataset, RowFault, UnknownFormat
from neftune_core.rows_limits import Limits

MEMORY_BYTES = 3 * 1024**3  # address space, of which the libraries' mappings alone take over one gigabyte
CPU_SECONDS = 600
WALL_SECONDS = 900

# Text in a Parquet file shrinks five or ten times, and by more where rows repeat a prompt; a bomb, a million
# times. A dataset that says less than this is small either way.
UNPACKS_TO = 100  # times the file
UNPACKS_FREELY = 64 * 1024**2  # bytes

_REFUSALS = {"dataset_too_large": DatasetTooLarge, "dataset_format": UnknownFormat}


def convert(path: Path, out_path: Path, limits: Limits) -> None:
    """Write the rows of a CSV or Parquet file to ``out_path`` as JSON lines; raise what is wrong with it."""
    try:
        told = _run(path, out_path, limits)
    except BaseException:
        out_path.unlink(missing_ok=True)
        raise
    if told.get("code"):
        out_path.unlink(missing_ok=True)
        raise _error(told)


def _run(path: Path, out_path: Path, limits: Limits) -> Mapping[str, Any]:
    command = [sys.executable, "-I", "-m", "neftune_core.tabular_child"]
    most = max(UNPACKS_FREELY, UNPACKS_TO * path.stat().st_size)
    limits = replace(limits, max_bytes=min(limits.max_bytes, most))
    asked = {
        "path": str(path),
        "out_path": str(out_path),
        "limits": asdict(limits),
        "memory_bytes": MEMORY_BYTES,
        "cpu_seconds": CPU_SECONDS,
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell, nothing of the user in argv
            command,
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
            env=bare_environment(),
        )
    except subprocess.TimeoutExpired:
        return {"code": "dataset_too_large", "msg": "The file takes too long to unpack."}
    if done.returncode == 0:
        told: Mapping[str, Any] = json.loads(done.stdout)
        return told
    if b"MemoryError" in done.stderr or b"bad_alloc" in done.stderr or done.returncode == -signal.SIGXCPU:
        return {"code": "dataset_too_large", "msg": "The file unpacks to more than can be read."}
    return {"code": "dataset_format", "msg": "The file is damaged and can't be read."}


def _error(told: Mapping[str, Any]) -> Exception:
    if told["code"] in _REFUSALS:
        return _REFUSALS[told["code"]](told["msg"])
    fault = RowFault(told["line"], told["code"], told["msg"])
    return InvalidDataset([fault], {fault.code: 1})

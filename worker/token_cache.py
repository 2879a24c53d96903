"""Tokens that runs of this machine have left for others on the same rows: files by name, the latest ones.

A runner gets a copy and leaves a file in its own folder; it never sees this one. What a file says is
believed by nobody here: the runner that gets it holds it to its own key
(:mod:`neftune_core.shared_tokens`). So that it can mislead no other project, a name is of one project. All of
it may be lost at any time.
"""

import hashlib
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from neftune_store.claims import Claim
from worker.archive import open_plain
from worker.errors import ResultRefused
from worker.publish import fingerprint

_FOLDER = "tokens"
_OPTIONS = ("max_length", "template", "train_on", "split_conversations")

log = structlog.get_logger()


class TokenCache:
    """A folder in the worker's own."""

    def __init__(self, work_dir: Path, most_bytes: int) -> None:
        self._root, self._most_bytes = work_dir / _FOLDER, most_bytes

    def lend(self, name: str, target: Path) -> None:
        """Copy what is kept under this name to where a runner may read it, if there is something."""
        kept = self._root / name
        with suppress(OSError):
            shutil.copyfile(kept, target)
            os.utime(kept)  # asked for now: the last to go

    def take(self, name: str, left: Path) -> None:
        """Keep what a runner has left, unless it is what it got; let go of what was asked for longest ago."""
        if not _is_plain(left):
            return
        passing = self._root / f".{name}.{os.getpid()}.tmp"
        try:
            if (self._root / name).exists() and fingerprint(left) == fingerprint(self._root / name):
                return
            with open_plain(left) as source:
                if os.fstat(source.fileno()).st_size > self._most_bytes:
                    return
                self._root.mkdir(mode=0o700, exist_ok=True)
                with passing.open("wb") as kept:
                    shutil.copyfileobj(source, kept, 1 << 20)
            passing.replace(self._root / name)
            self._make_room()
        except (OSError, ResultRefused) as fault:
            log.warning("tokens.not_kept", reason=type(fault).__name__)
        finally:
            with suppress(OSError):
                passing.unlink()

    def _make_room(self) -> None:
        """Remove the oldest beyond what there is room for; also pieces whose writer has died."""
        found = [(path, path.stat()) for path in self._root.iterdir()]
        kept = 0
        for path, look in sorted(found, key=lambda one: one[1].st_mtime, reverse=True):
            kept += look.st_size
            if kept > self._most_bytes:
                path.unlink(missing_ok=True)


def name_of(claim: Claim) -> str:
    """Name what a job's rows become: by project, rows, model and those options that the spec has for it."""
    training: dict[str, Any] = claim.spec.get("training") or {}
    held_out = claim.validation_dataset
    told = {
        "project": claim.project_id,
        "rows": claim.dataset.sha256,
        "held_out": None if held_out is None else held_out.sha256,
        "model": [claim.spec["model"], claim.spec.get("revision")],
        "options": {option: training.get(option) for option in _OPTIONS},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False

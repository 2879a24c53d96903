"""A run's private folder: made for one run, gone after it, and swept when its owner died.

The owner holds a lock on a file inside; the kernel lets go of it when the owner dies, however it dies.
What of the run still lives by then is ended first. Knows files and locks, nothing of jobs.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.strays import end_residents

PREFIX = "run-"
LOCK = ".owner"


@contextmanager
def _door(root: Path) -> Iterator[None]:
    """Let one process at a time make or sweep folders, so that no half-made one is swept."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def private_folder(root: Path, name: str) -> Iterator[Path]:
    """Give a fresh folder only we can read; remove it at the end."""
    folder = root / f"{PREFIX}{name}"
    with _door(root):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        owner = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        for part in ("out", "tmp"):
            (folder / part).mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def sweep(root: Path) -> list[str]:
    """Remove the folders whose owners are dead; name them."""
    with _door(root):
        return [folder.name for folder in sorted(root.glob(f"{PREFIX}*")) if _ownerless(folder)]


def _ownerless(folder: Path) -> bool:
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # its owner died while removing it
        shutil.rmtree(folder, ignore_errors=True)
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        end_residents(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(handle)

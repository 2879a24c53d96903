"""What a local folder as storage needs beside its files: bytes on the disk, and no leftovers."""

import os
from datetime import datetime
from pathlib import Path


def make_durable(root: Path, key: str) -> None:
    """Bring a local object and its name to the disk: the commit that follows will speak of it."""
    path = root / key
    _sync(path)
    for folder in path.relative_to(root).parents:
        _sync(root / folder)


def sweep_parts(folder: Path, limit: datetime) -> int:
    """Drop what a killed process was writing: ``name#1`` beside the final name, which no listing shows."""
    parts = [path for path in folder.glob("*#*") if path.stat().st_mtime < limit.timestamp()]
    for path in parts:
        path.unlink(missing_ok=True)
    return len(parts)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

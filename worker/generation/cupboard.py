"""Tuned files on this machine: fetched from storage, held to their hashes, let go of when room is needed.

Each tuned model has a folder named by what its files are, so nothing in one ever changes. Knows storage
and files; knows nothing of who may ask.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from neftune_core.generation_lines import Tuned, TunedFile
from neftune_store.blobs import Blobs
from neftune_store.errors import BlobCorrupt, BlobNotFound, StorageUnavailable

Check = Callable[[], None]  # raises when nobody listens any more


class Laid(NamedTuple):
    """Where the files lie, and the name of what they are."""

    key: str
    folder: Path


class Cupboard:
    """A folder of tuned models, the ones that were asked for last."""

    def __init__(self, root: Path, blobs: Blobs, most_bytes: int) -> None:
        self._root, self._blobs, self._most_bytes = root, blobs, most_bytes
        self._seen: dict[Path, tuple[int, ...]] = {}  # files whose bytes were hashed, as they looked then

    def lay_out(self, tuned: Tuned, check: Check) -> Laid:
        """Have all files of a tuned model there, byte for byte."""
        key = "t" + hashlib.sha256(msgspec.json.encode(tuned, order="sorted")).hexdigest()[:24]
        folder = self._root / key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
        self._make_room(folder, sum(file.bytes for file in tuned.files))
        for file in tuned.files:
            if not self._is_whole(folder / file.name, file, check):
                self._fetch(folder / file.name, file, check)
        return Laid(key, folder)

    def _is_whole(self, path: Path, file: TunedFile, check: Check) -> bool:
        """Hash a file that is there, unless nothing has touched it since it was hashed."""
        try:
            if self._seen.get(path) == _look(path):
                return True
            digest = hashlib.sha256()
            with path.open("rb") as source:
                while block := source.read(1 << 20):
                    check()
                    digest.update(block)
        except FileNotFoundError:
            return False
        if digest.hexdigest() != file.sha256:
            return False
        self._seen[path] = _look(path)
        return True

    def _fetch(self, path: Path, file: TunedFile, check: Check) -> None:
        passing = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        digest = hashlib.sha256()
        try:
            with passing.open("wb") as kept:
                for block in self._blobs.stream(file.blob_key):
                    check()
                    digest.update(block)
                    kept.write(block)
            if digest.hexdigest() != file.sha256:
                raise BlobCorrupt
            passing.replace(path)
        except BlobNotFound as fault:
            raise StorageUnavailable from fault
        finally:
            passing.unlink(missing_ok=True)
        self._seen[path] = _look(path)

    def _make_room(self, folder: Path, wanted: int) -> None:
        """Remove what was asked for longest ago, but never the folder that is asked for now."""
        others = sorted((one for one in self._root.iterdir() if one != folder), key=_asked_at, reverse=True)
        kept = wanted
        for one in others:
            kept += sum(path.stat().st_size for path in one.iterdir())
            if kept > self._most_bytes:
                shutil.rmtree(one, ignore_errors=True)
                self._seen = {path: look for path, look in self._seen.items() if path.parent != one}


def _asked_at(folder: Path) -> float:
    return folder.stat().st_mtime


def _look(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns

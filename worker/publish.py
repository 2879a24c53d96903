"""A run's result becomes artifacts: objects by the hash of their bytes, read back before anyone sees them.

Nothing here is visible to users: that is the settling transaction's part. So it may be cut off anywhere
and done again by another attempt, which writes the same keys.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from neftune_store.artifacts import ArtifactRow
from neftune_store.blobs import Blobs, blob_key
from neftune_store.checkpoints import CheckpointFile
from neftune_store.collection import revive
from neftune_store.db import unit_of_work
from worker.archive import files_under, open_plain, pack, result_path
from worker.errors import ResultRefused
from worker.inputs import Check

MAX_RECORD_BYTES = 4 * 1024**2
RECORD = "record"

# A table of ours: the host's would make the same result look different elsewhere.
MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jinja": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What the settling transaction makes visible."""

    record: dict[str, Any]
    artifacts: list[ArtifactRow]


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to store under one artifact name."""

    name: str
    kind: str
    path: Path
    media_type: str


class Publisher:
    """Stores one run's results."""

    def __init__(self, shelf: "Shelf", folder: Path, check: Check) -> None:
        self._shelf = shelf
        self._folder = folder
        self._check = check

    def publish(self, said: Mapping[str, str], ours: Mapping[str, Path]) -> Result:
        """Store what the runner announced and what we kept ourselves."""
        try:
            pieces = [piece for name, path in sorted(said.items()) for piece in self._pieces(name, path)]
            record = read_record(result_path(self._folder / "out", said[RECORD]))
        except OSError as fault:
            raise ResultRefused(str(fault)) from fault
        return Result(record, [self._store(piece) for piece in pieces] + self.store(ours))

    def store(self, ours: Mapping[str, Path]) -> list[ArtifactRow]:
        """Store single files that we kept ourselves."""
        return [self._store(Piece(name, name, path, media_type(path.name))) for name, path in ours.items()]

    def _pieces(self, name: str, said: str) -> Iterator[Piece]:
        path = result_path(self._folder / "out", said)
        if not path.is_dir():
            yield Piece(name, name, path, media_type(path.name))
            return
        archive = self._folder / "tmp" / f"{name}.tar"
        archive.unlink(missing_ok=True)
        pack(path, archive)
        yield Piece(name, name, archive, "application/x-tar")
        for file in files_under(path):
            yield Piece(f"{name}/{file.as_posix()}", name, path / file, media_type(file.name))

    def _store(self, piece: Piece) -> ArtifactRow:
        self._check()
        stored = self._shelf.put(piece.path)
        return ArtifactRow(
            name=piece.name,
            kind=piece.kind,
            sha256=stored.sha256,
            bytes=stored.bytes,
            blob_key=stored.blob_key,
            media_type=piece.media_type,
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """A project's objects: each under the hash of its bytes."""

    engine: Engine
    blobs: Blobs
    project_id: str

    def put(self, path: Path) -> CheckpointFile:
        """Store a file, read back, and kept from the collector until a row names it."""
        sha256, size = fingerprint(path)
        key = blob_key(self.project_id, sha256)
        with unit_of_work(self.engine) as session:
            revive(session, key)
        self.blobs.put_file(key, path)
        return CheckpointFile(path.name, sha256, size, key)


def media_type(name: str) -> str:
    """Tell what a file holds by its name."""
    return MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def fingerprint(path: Path) -> tuple[str, int]:
    """Hash a file's bytes and count them."""
    digest, size = hashlib.sha256(), 0
    with open_plain(path) as source:
        while block := source.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def read_record(path: Path) -> dict[str, Any]:
    """Read the runner's record: a JSON object of a reasonable size."""
    with open_plain(path) as source:
        data = source.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ResultRefused("the record is too large")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise ResultRefused("the record is not JSON") from fault
    if not isinstance(record, dict):
        raise ResultRefused("the record is not an object")
    return record

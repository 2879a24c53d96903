"""Objects in storage: a local folder or anything that speaks S3.

An object's key is made of its project and its sha256, so nothing is ever overwritten with other bytes and
equal bytes are kept once a project. A key is handed out only after the bytes were read back. What else
is known about an object stands in Postgres: a local folder keeps no attributes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore, S3Store

from neftune_store import blob_reads
from neftune_store.blob_faults import in_our_words
from neftune_store.errors import BlobCorrupt, BlobNotFound, StorageUnavailable
from neftune_store.folder import make_durable, sweep_parts
from neftune_store.ids import new_id
from neftune_store.s3 import bucket_of
from neftune_store.settings import StoreSettings

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, ObjectMeta

WRITE = 1024 * 1024  # bytes a write should have: small writes cost far more
PART = 8 * 1024 * 1024  # bytes of a part of a multipart upload
PARTS_AT_ONCE = 2  # an upload holds no more than this many parts in memory


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What storage says of an object."""

    key: str
    bytes: int
    modified_at: datetime


def blob_key(project_id: str, sha256: str) -> str:
    """Make the key under which a project keeps these bytes."""
    return f"projects/{project_id}/sha256/{sha256[:2]}/{sha256[2:]}"


def staging_key() -> str:
    """Make a key for bytes whose hash is not known yet."""
    return f"staging/{new_id('up')}"


class BlobWriter:
    """Takes the bytes of one object as they come; nothing is visible under its final key before the seal."""

    def __init__(self, opened: "AsyncWritableFile") -> None:
        self._opened: AsyncWritableFile | None = opened
        self._waiting = bytearray()

    async def write(self, data: bytes) -> None:
        """Take some bytes; they are passed on a megabyte at a time."""
        self._waiting += data
        if len(self._waiting) >= WRITE:
            await self._pass_on()

    async def close(self) -> None:
        """Finish the object."""
        if self._waiting:
            await self._pass_on()
        if self._opened is not None:
            with in_our_words(missing=StorageUnavailable):
                await self._opened.close()
            self._opened = None

    async def abort(self) -> None:
        """Give the object up; nothing of it stays. Also right after a failed write or close."""
        self._waiting.clear()
        self._opened = None

    async def _pass_on(self) -> None:
        if self._opened is None:
            raise StorageUnavailable("The object was closed or given up; open a new one.")
        with in_our_words(missing=StorageUnavailable):
            await self._opened.write(bytes(self._waiting))
        self._waiting.clear()


class Blobs:
    """Put, read and drop objects. Its calls wait for the network: in async code use a thread."""

    def __init__(self, store: LocalStore | S3Store, *, root: Path | None = None) -> None:
        self._store = store
        self._root = root  # of a local folder: bytes there survive a power cut only if we ask for it

    @classmethod
    def open(cls, settings: StoreSettings) -> "Blobs":
        """Open the storage the settings name."""
        url = urlsplit(settings.storage_url)
        if url.scheme == "file":
            root = Path(unquote(url.path))
            root.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(prefix=str(root), mkdir=True), root=root)
        return cls(bucket_of(settings))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file under its content-addressed key, and read it back.

        Bytes that are there already and whole are not sent again.
        """
        sha256, size = _digest_of(path)
        if self._holds(key, sha256=sha256, size=size):
            self._make_durable(key)  # who stored it may not have come so far
            return
        staged = staging_key()
        with in_our_words(missing=StorageUnavailable):
            obstore.put(self._store, staged, path, chunk_size=PART, max_concurrency=PARTS_AT_ONCE)
        self.seal(staged, key, sha256=sha256, size=size)

    async def writer(self, key: str) -> BlobWriter:
        """Open an object for bytes that come piece by piece."""
        with in_our_words(missing=StorageUnavailable):
            opened = obstore.open_writer_async(
                self._store, key, buffer_size=PART, max_concurrency=PARTS_AT_ONCE
            )
        return BlobWriter(opened)

    def seal(self, staged: str, key: str, *, sha256: str, size: int) -> None:
        """Give staged bytes their final key, after reading them back; the staged object is gone then.

        Equal bytes that are there already stay, also those that another writer brings meanwhile; damaged
        ones are replaced by these. A store that does not find what it has just taken is at fault, not the
        caller: :class:`StorageUnavailable`.
        """
        held = partial(self._holds, key, sha256=sha256, size=size)
        try:
            self.verify(staged, sha256=sha256, size=size)
            if not (held() or self._created(staged, key, size) or held()):
                self.rename(staged, key)
                if self.head(key).bytes != size:
                    raise BlobCorrupt
            self._make_durable(key)
            self.delete(staged)
        except BlobNotFound as fault:
            raise StorageUnavailable from fault

    def verify(self, key: str, *, sha256: str, size: int) -> None:
        """Read an object back; raise :class:`BlobCorrupt` unless it is exactly these bytes."""
        digest, seen = hashlib.sha256(), 0
        for chunk in self.stream(key):
            digest.update(chunk)
            seen += len(chunk)
        if seen != size or digest.hexdigest() != sha256:
            raise BlobCorrupt

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Give the bytes from ``start`` up to, and without, ``end``.

        A missing object raises here, before the first byte; a stream that breaks off raises too.
        """
        if start <= 0 and end is None:
            return blob_reads.whole(self._store, key)
        return blob_reads.part(self._store, key, start, end)

    def head(self, key: str) -> BlobInfo:
        """Tell what storage knows of an object."""
        with in_our_words():
            return _info(obstore.head(self._store, key))

    def exists(self, key: str) -> bool:
        """Tell whether there is an object under this key."""
        try:
            self.head(key)
        except BlobNotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Drop an object; one that is gone already is no fault."""
        try:
            with in_our_words():
                obstore.delete(self._store, key)
        except BlobNotFound:
            pass

    def rename(self, key: str, to: str) -> None:
        """Move an object."""
        with in_our_words():
            obstore.rename(self._store, key, to)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """List the objects under a path, in no order."""
        with in_our_words():
            for batch in obstore.list(self._store, prefix):
                yield from map(_info, batch)

    def sweep(self, older_than: timedelta = timedelta(hours=24)) -> int:
        """Drop staged bytes that nobody has sealed for so long; tell how many objects that were.

        Parts of an upload that broke off on S3 are the bucket's to expire (a lifecycle rule).
        """
        limit = datetime.now(UTC) - older_than
        stale = [info.key for info in self.list("staging") if info.modified_at < limit]
        for key in stale:
            self.delete(key)
        return len(stale) + (sweep_parts(self._root / "staging", limit) if self._root else 0)

    def check(self) -> None:
        """Raise :class:`StorageUnavailable` unless storage answers."""
        if self._root is not None and not os.access(self._root, os.W_OK | os.X_OK):
            raise StorageUnavailable
        with in_our_words(missing=StorageUnavailable):
            next(iter(obstore.list(self._store, "staging", chunk_size=1)), None)

    def _holds(self, key: str, *, sha256: str, size: int) -> bool:
        try:
            self.verify(key, sha256=sha256, size=size)
        except (BlobNotFound, BlobCorrupt):
            return False
        return True

    def _created(self, staged: str, key: str, size: int) -> bool:
        """Copy staged bytes to a key that nothing has yet; tell whether this has made it, whole.

        A local folder and most S3 stores hold two writers to it. What refuses, because the key is taken or
        because it knows no such condition (rclone's), is no fault: the bytes there are looked at next.
        """
        try:
            with in_our_words():
                obstore.copy(self._store, staged, key, overwrite=False)
        except StorageUnavailable:
            return False
        return self.head(key).bytes == size

    def _make_durable(self, key: str) -> None:
        if self._root is not None:
            with in_our_words():
                make_durable(self._root, key)


def _digest_of(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _info(meta: "ObjectMeta") -> BlobInfo:
    return BlobInfo(meta["path"], meta["size"], meta["last_modified"])

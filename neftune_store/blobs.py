"""Objects in storage: a local folder or anything that speaks S3.

An object's key is made of its project and its sha256, so nothing is ever overwritten with other bytes and
equal bytes are kept once a project. A key is handed out only after the bytes were read back. What else
is known about an object stands in Postgres: a local folder keeps no attributes.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObstoreNotFound
from obstore.store import LocalStore, S3Store

from neftune_store.errors import BlobCorrupt, BlobNotFound, StorageUnavailable, StoreError
from neftune_store.ids import new_id
from neftune_store.settings import StoreSettings

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, BytesStream, GetOptions, ObjectMeta
    from obstore.store import S3Config

WRITE = 1024 * 1024  # bytes a write should have: small writes cost far more
PART = 8 * 1024 * 1024  # bytes of a part of a multipart upload
PARTS_AT_ONCE = 2  # an upload holds no more than this many parts in memory
CHUNK = 1024 * 1024
READ_SECONDS = 15.0  # S3: how long a read may be silent
RETRY_SECONDS = 20.0  # S3: how long a request that may be repeated is


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
            with _in_our_words(missing=StorageUnavailable):
                await self._opened.close()
            self._opened = None

    async def abort(self) -> None:
        """Give the object up; nothing of it stays. Also right after a failed write or close."""
        self._waiting.clear()
        self._opened = None

    async def _pass_on(self) -> None:
        if self._opened is None:
            raise StorageUnavailable("The object was closed or given up; open a new one.")
        with _in_our_words(missing=StorageUnavailable):
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
        return cls(_s3(url.netloc, url.path.strip("/"), settings))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file under its content-addressed key, and read it back.

        Bytes that are there already and whole are not sent again.
        """
        sha256, size = _digest_of(path)
        if self._holds(key, sha256=sha256, size=size):
            return
        staged = staging_key()
        with _in_our_words(missing=StorageUnavailable):
            obstore.put(self._store, staged, path, chunk_size=PART, max_concurrency=PARTS_AT_ONCE)
        self.seal(staged, key, sha256=sha256, size=size)

    async def writer(self, key: str) -> BlobWriter:
        """Open an object for bytes that come piece by piece."""
        with _in_our_words(missing=StorageUnavailable):
            opened = obstore.open_writer_async(
                self._store, key, buffer_size=PART, max_concurrency=PARTS_AT_ONCE
            )
        return BlobWriter(opened)

    def seal(self, staged: str, key: str, *, sha256: str, size: int) -> None:
        """Give staged bytes their final key, after reading them back; the staged object is gone then.

        Equal bytes that are there already stay; damaged ones are replaced by these. A store that does not
        find what it has just taken is at fault, not the caller: :class:`StorageUnavailable`.
        """
        try:
            self.verify(staged, sha256=sha256, size=size)
            if self._holds(key, sha256=sha256, size=size):
                self.delete(staged)
                return
            self.rename(staged, key)
            self._make_durable(key)
            if self.head(key).bytes != size:
                raise BlobCorrupt
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
        with _in_our_words():
            if start <= 0 and end is None:
                whole = obstore.get(self._store, key)
                return _complete(whole.stream(min_chunk_size=CHUNK), whole.meta["size"])
            size = obstore.head(self._store, key)["size"]
            start, end = max(start, 0), size if end is None else min(end, size)
            if start >= end:
                return iter(())
            if end - start == size:
                return self.stream(key)
            try:
                options: GetOptions = {"range": (start, end)}
                chunks = obstore.get(self._store, key, options=options).stream(min_chunk_size=CHUNK)
            except BaseError as fault:
                if "non-partial" not in str(fault):
                    raise
                # Some stores (rclone's) answer a range with 200, which counts as a fault: read it all.
                return _part(self.stream(key), start, end)
        return _complete(chunks, end - start)

    def head(self, key: str) -> BlobInfo:
        """Tell what storage knows of an object."""
        with _in_our_words():
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
            with _in_our_words():
                obstore.delete(self._store, key)
        except BlobNotFound:
            pass

    def rename(self, key: str, to: str) -> None:
        """Move an object."""
        with _in_our_words():
            obstore.rename(self._store, key, to)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """List the objects under a path, in no order."""
        with _in_our_words():
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
        return len(stale) + (_sweep_parts(self._root / "staging", limit) if self._root else 0)

    def check(self) -> None:
        """Raise :class:`StorageUnavailable` unless storage answers."""
        if self._root is not None and not os.access(self._root, os.W_OK | os.X_OK):
            raise StorageUnavailable
        with _in_our_words(missing=StorageUnavailable):
            next(iter(obstore.list(self._store, "staging", chunk_size=1)), None)

    def _holds(self, key: str, *, sha256: str, size: int) -> bool:
        try:
            self.verify(key, sha256=sha256, size=size)
        except (BlobNotFound, BlobCorrupt):
            return False
        return True

    def _make_durable(self, key: str) -> None:
        """Bring a local object and its name to the disk: the commit that follows will speak of it."""
        if self._root is None:
            return
        path = self._root / key
        with _in_our_words():
            _sync(path)
            for folder in path.relative_to(self._root).parents:
                _sync(self._root / folder)


def _sweep_parts(folder: Path, limit: datetime) -> int:
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


def _digest_of(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _complete(chunks: "BytesStream", expected: int) -> Iterator[bytes]:
    """Pass the chunks on; raise when they end before all bytes have come."""
    with _in_our_words():
        for chunk in chunks:
            expected -= len(chunk)
            yield bytes(chunk)
    if expected != 0:
        raise BlobCorrupt


def _part(chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """Cut a part out of the whole."""
    passed = 0
    for chunk in chunks:
        if part := chunk[max(start - passed, 0) : max(end - passed, 0)]:
            yield part
        passed += len(chunk)
        if passed >= end:
            return


def _info(meta: "ObjectMeta") -> BlobInfo:
    return BlobInfo(meta["path"], meta["size"], meta["last_modified"])


@contextmanager
def _in_our_words(missing: type[StoreError] = BlobNotFound) -> Iterator[None]:
    """Say a fault of storage in our words; when writing, a missing thing is the bucket or the folder."""
    try:
        yield
    except (ObstoreNotFound, FileNotFoundError) as fault:
        raise missing from fault
    except (BaseError, OSError) as fault:
        raise StorageUnavailable from fault


def _s3(bucket: str, prefix: str, settings: StoreSettings) -> S3Store:
    """Open a bucket: path style, for that is what every S3-compatible store speaks.

    The timeouts bound a request, the retries bound how long storage may be away before we say so.
    """
    keys: S3Config = {"region": settings.aws_region, "virtual_hosted_style_request": False}
    if settings.aws_access_key_id is not None and settings.aws_secret_access_key is not None:
        keys["access_key_id"] = settings.aws_access_key_id.get_secret_value()
        keys["secret_access_key"] = settings.aws_secret_access_key.get_secret_value()
    if settings.s3_endpoint_url is not None:
        keys["endpoint"] = settings.s3_endpoint_url
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=keys,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=3),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=300),  # one part or one stream, not a whole upload
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )

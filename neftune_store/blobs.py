"""Objects in storage: a local folder or anything that speaks S3.

An object's key is made of its project and its sha256, so nothing is ever overwritten with other bytes and
equal bytes are kept once a project. A key is handed out only after the bytes were read back. What else
is known about an object stands in Postgres: a local folder keeps no attributes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObstoreNotFound
from obstore.store import LocalStore, S3Store

from neftune_store.errors import BlobNotFound, StorageUnavailable
from neftune_store.ids import new_id
from neftune_store.settings import StoreSettings

if TYPE_CHECKING:
    from obstore import AsyncWritableFile

WRITE = 1024 * 1024  # bytes a write should have: small writes cost far more
PART = 8 * 1024 * 1024  # bytes of a part of a multipart upload
PARTS_AT_ONCE = 2  # an upload holds no more than this many parts in memory
CHUNK = 1024 * 1024


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
        self._opened = opened
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
        with _in_our_words():
            await self._opened.close()

    async def _pass_on(self) -> None:
        with _in_our_words():
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
        raise NotImplementedError

    async def writer(self, key: str) -> BlobWriter:
        """Open an object for bytes that come piece by piece."""
        raise NotImplementedError

    def seal(self, staged: str, key: str, *, sha256: str, size: int) -> None:
        """Give staged bytes their final key, after reading them back."""
        raise NotImplementedError

    def verify(self, key: str, *, sha256: str, size: int) -> None:
        """Read an object back; raise :class:`BlobCorrupt` unless it is exactly these bytes."""
        raise NotImplementedError

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Give the bytes from ``start`` up to, and without, ``end``."""
        raise NotImplementedError

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Write an object to a file; with ``sha256``, refuse bytes that are not these."""
        raise NotImplementedError

    def head(self, key: str) -> BlobInfo:
        """Tell what storage knows of an object."""
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        """Tell whether there is an object under this key."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Drop an object; one that is gone already is no fault."""
        raise NotImplementedError

    def rename(self, key: str, to: str) -> None:
        """Move an object."""
        raise NotImplementedError

    def copy(self, key: str, to: str) -> None:
        """Copy an object."""
        raise NotImplementedError

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """List the objects whose key begins with this path."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise :class:`StorageUnavailable` unless storage answers."""
        raise NotImplementedError


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (ObstoreNotFound, FileNotFoundError) as fault:
        raise BlobNotFound from fault
    except (BaseError, OSError) as fault:
        raise StorageUnavailable from fault


def _s3(bucket: str, prefix: str, settings: StoreSettings) -> S3Store:
    raise NotImplementedError

"""Reading objects, whole or in part: all the bytes that were asked for, or an exception."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from neftune_store.blob_faults import in_our_words
from neftune_store.errors import BlobCorrupt

if TYPE_CHECKING:
    from obstore import Bytes, BytesStream, GetOptions

CHUNK = 1024 * 1024


def whole(store: LocalStore | S3Store, key: str) -> Iterator[bytes]:
    """Give all bytes; a missing object raises here, before the first."""
    with in_our_words():
        if isinstance(store, LocalStore):
            size = obstore.head(store, key)["size"]
            return _complete(_pieces(store, key, 0, size), size)
        found = obstore.get(store, key)
        return _complete(found.stream(min_chunk_size=CHUNK), found.meta["size"])


def part(store: LocalStore | S3Store, key: str, start: int, end: int | None) -> Iterator[bytes]:
    """Give the bytes from ``start`` up to, and without, ``end``; a missing object raises here."""
    with in_our_words():
        size = obstore.head(store, key)["size"]
        start, end = max(start, 0), size if end is None else min(end, size)
        if start >= end:
            return iter(())
        if isinstance(store, LocalStore):
            return _complete(_pieces(store, key, start, end), end - start)
        if end - start == size:
            return whole(store, key)
        try:
            options: GetOptions = {"range": (start, end)}
            chunks = obstore.get(store, key, options=options).stream(min_chunk_size=CHUNK)
        except BaseError as fault:
            if "non-partial" not in str(fault):
                raise
            # Some stores (rclone's) answer a range with 200, which counts as a fault: read it all.
            return _cut(whole(store, key), start, end)
    return _complete(chunks, end - start)


def _pieces(store: LocalStore, key: str, start: int, end: int) -> Iterator["Bytes"]:
    """Read a file in large pieces; as a stream it comes in small ones, at some thirty times the CPU.

    An object never changes under its key, so the pieces belong together.
    """
    for at in range(start, end, CHUNK):
        yield obstore.get_range(store, key, start=at, end=min(at + CHUNK, end))


def _complete(chunks: "BytesStream | Iterator[Bytes]", expected: int) -> Iterator[bytes]:
    """Pass the chunks on; raise when they end before all bytes have come."""
    with in_our_words():
        for chunk in chunks:
            piece = bytes(chunk)
            expected -= len(piece)
            yield piece
    if expected != 0:
        raise BlobCorrupt


def _cut(chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """Cut a part out of the whole."""
    passed = 0
    for chunk in chunks:
        if found := chunk[max(start - passed, 0) : max(end - passed, 0)]:
            yield found
        passed += len(chunk)
        if passed >= end:
            return

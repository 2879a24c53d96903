"""An upload's way from bytes to a sealed blob.

While the bytes come in they are hashed and checked in a thread and written to a staging key in storage,
block by block; what is whole and sound is then renamed to a key made of its own hash. Whatever stops it on
the way, a refusal, a lost client, storage that went away, leaves nothing behind.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from api.refusals import BadDigest, DigestMismatch
from api.upload_check import Check, Judge
from neftune_core.rows import DatasetSummary, Limits
from neftune_core.rows_faults import DatasetTooLarge, EmptyDataset
from neftune_store.blobs import Blobs, BlobWriter, blob_key, staging_key
from neftune_store.errors import StoreError

T = TypeVar("T")

_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class Sealed:
    """Bytes that are whole, sound and in storage."""

    summary: DatasetSummary
    sha256: str
    bytes: int
    blob_key: str


class Intake:
    """Takes uploads in, for one project's storage."""

    def __init__(
        self,
        blobs: Blobs,
        admit: Callable[[str, int], Awaitable[None]],
        limits: Limits,
        threads: anyio.CapacityLimiter,
        table_threads: anyio.CapacityLimiter,
    ) -> None:
        self._blobs = blobs
        self._admit = admit  # asks for room, and keeps the collector from an object of this key
        self._limits = limits
        self._threads = threads
        self._table_threads = table_threads  # a table may take minutes to unpack; rows must not wait for it

    async def take(
        self, blocks: AsyncIterator[bytes], *, check: Judge, project_id: str, promised: bytes | None
    ) -> Sealed:
        """Take one body in; raise what is wrong with it."""
        staged = staging_key()
        try:
            sha256, size = await self._stage(blocks, check, staged)
            if promised is not None and promised != bytes.fromhex(sha256):
                raise DigestMismatch
            patience = self._table_threads if check.is_table else self._threads
            summary = await anyio.to_thread.run_sync(check.finish, limiter=patience)
            key = blob_key(project_id, sha256)
            await self._admit(key, size)
            await self._in_thread(partial(self._blobs.seal, staged, key, sha256=sha256, size=size))
        except BaseException:
            await self._sweep(staged)
            raise
        return Sealed(summary, sha256, size, key)

    async def _stage(self, blocks: AsyncIterator[bytes], check: Check, staged: str) -> tuple[str, int]:
        sha256, size = hashlib.sha256(), 0

        def look_at(block: bytes) -> None:
            sha256.update(block)
            check.feed(block)

        writer = await self._blobs.writer(staged)
        try:
            async for block in blocks:
                size += len(block)
                if size > self._limits.max_bytes:
                    raise too_large(self._limits)
                written = asyncio.ensure_future(writer.write(block))
                try:
                    await self._in_thread(partial(look_at, block))
                finally:
                    await written  # one block at a time in both hands: memory stays flat
            await writer.close()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await give_up(writer)
            raise
        if not size:
            raise EmptyDataset("The body is empty; send the rows.")
        return sha256.hexdigest(), size

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _sweep(self, staged: str) -> None:
        with anyio.move_on_after(10, shield=True), contextlib.suppress(Exception):
            await self._in_thread(partial(self._blobs.delete, staged))


async def give_up(writer: BlobWriter) -> None:
    """End an object that nobody wants: finished, it can be deleted; half a one could only be forgotten."""
    try:
        await writer.close()
    except StoreError:
        await writer.abort()


def too_large(limits: Limits) -> DatasetTooLarge:
    """Refuse a body over the limit."""
    return DatasetTooLarge(f"A dataset may hold at most {limits.max_bytes} bytes.")


def promised_digest(headers: list[str]) -> bytes | None:
    """Read Content-Digest (RFC 9530); what can't be checked is refused, not passed over."""
    if not headers:
        return None
    match = _SHA256.search(",".join(headers))
    if match is None:
        raise BadDigest
    try:
        return base64.b64decode(match[1], validate=True)
    except binascii.Error as error:
        raise BadDigest from error

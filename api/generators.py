"""Asking the processes that answer: finding one that lives, and hearing it word by word.

Speaks the little HTTP that they speak: one request a connection, JSON lines until all is said. Hanging up
is how an answer is ended early. Knows where they are from the ledger alone, and tells nobody.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import structlog

from api.database import Database
from api.refusals import GenerationBusy, GenerationUnavailable
from neftune_core.generation_lines import (
    MAX_LINE_BYTES,
    Order,
    Said,
    encode,
    said,
)
from neftune_store.sealing import Sealer
from neftune_store.workers import Reached, WorkerLedger

log = structlog.get_logger()

_CONNECT_S = 2.0
_SILENCE_S = 30.0  # they say at least that they are at it, every five seconds


class Line:
    """An open connection to one that answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def close(self) -> None:
        """Hang up: what is not said by now is not wanted."""
        self._writer.close()

    async def said(self) -> AsyncIterator[Said]:
        """Give what is said, as it is said."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    line = await self._reader.readline()
                if not line:
                    return
                yield said(line)
            except (OSError, ValueError, msgspec.MsgspecError) as fault:  # TimeoutError is an OSError
                log.warning("generation.cut", reason=type(fault).__name__)
                return


async def ask(database: Database, sealer: Sealer, order: Order) -> Line:
    """Hand an order to one that lives and has room; refuse when there is none."""
    reached = await database.ask(lambda tx: WorkerLedger(tx, sealer).answering())
    full = False
    for one in reached:
        try:
            async with asyncio.timeout(_CONNECT_S):
                status, line = await _asked(one, order)
        except (OSError, ValueError, IndexError) as fault:  # gone without a word; the next may be there
            log.info("generation.not_reached", worker=one.id, reason=type(fault).__name__)
            continue
        if status == 200:
            return line
        line.close()
        full = full or status == 503
    raise GenerationBusy if full else GenerationUnavailable


async def _asked(one: Reached, order: Order) -> tuple[int, Line]:
    body = encode(order)
    head = (
        "POST /orders HTTP/1.0\r\nhost: generate\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {one.token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await _connected(one.address)
    try:
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
    except BaseException:
        writer.close()
        raise
    return status, Line(reader, writer)


async def _connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=MAX_LINE_BYTES)
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=MAX_LINE_BYTES)

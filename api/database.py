"""The database as handlers reach it: in turns, so that waiting costs neither a connection nor a thread.

As many requests hold a turn as there are connections; the others wait on the event loop. Without this,
requests that wait for a connection fill the thread pool, and the one request that could free a connection
finds no thread to go on with.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from neftune_store.db import unit_of_work
from neftune_store.errors import DatabaseUnavailable

T = TypeVar("T")


class Database:
    """One engine, shared in turns."""

    def __init__(self, engine: Engine, at_once: int, *, wait_s: float = 5) -> None:
        self._engine = engine
        self._free = anyio.Semaphore(at_once)
        self._wait_s = wait_s

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Open one transaction: committed at the end of the block, or rolled back."""
        async with self._turn(), contextmanager_in_threadpool(unit_of_work(self._engine)) as session:
            yield session

    async def ask(self, question: Callable[[Session], T]) -> T:
        """Answer one question in a transaction of its own, on a thread."""

        def asked() -> T:
            with unit_of_work(self._engine) as session:
                return question(session)

        async with self._turn():
            return await anyio.to_thread.run_sync(asked)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        with anyio.move_on_after(self._wait_s) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            raise DatabaseUnavailable
        try:
            yield
        finally:
            self._free.release()

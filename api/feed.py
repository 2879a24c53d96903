"""What a job tells, read once for all who follow it.

While anybody follows a job, one task reads what is new: when it is woken, and every few seconds. Each message
is put into words once and kept while it is among the latest; followers take what comes after the number they
have. Who is further behind reads rows of its own, so a slow follower keeps nobody waiting, and has no queue
here that could grow.
"""

import asyncio
import contextlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import anyio
import anyio.to_thread
from sqlalchemy import Engine

from api.listener import Wakeups
from neftune_store.db import unit_of_work
from neftune_store.events import FeedItem, feed_after
from neftune_store.jobs import Job, JobLedger
from neftune_store.lifecycle import TERMINAL

BATCH = 200  # rows of one reading
_KEPT_BYTES = 256 * 1024  # of the latest messages of a job
_PIECE_BYTES = 64 * 1024  # what is sent at once: a connection holds about twice that for its reader
_SEQ = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class Told:
    """One message: its data as JSON, and the whole of it as the stream of one job has it."""

    seq: int
    kind: str
    data: bytes
    alone: bytes

    @classmethod
    def of(cls, item: FeedItem) -> "Told":
        """Put an item into words."""
        data = json.dumps(item.data, separators=(",", ":")).encode()
        return cls(item.seq, item.kind, data, _message(item.kind, data, str(item.seq)))

    def among(self, job_id: str, place: str) -> bytes:
        """Say it on a line of several jobs: the data has its job beside it, the id tells all their places."""
        named = b'{"job":"%s",%s' % (job_id.encode(), self.data[1:])  # data is never empty
        return _message(self.kind, named, place)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in order, and the number up to which nothing is missing after them."""

    told: Sequence[Told]
    end: int
    pieces: Sequence[bytes]  # of the stream of one job


class Feed:
    """The latest messages of one job, and who waits for the next."""

    def __init__(self, job: Job, engine: Engine, threads: anyio.CapacityLimiter) -> None:
        self._job = job
        self._engine = engine
        self._threads = threads
        self._begin = self._end = job.last_seq  # all messages after the one and up to the other are kept
        self._kept: list[Told] = []
        self._batches: dict[int, Batch] = {}  # of the latest messages, by where their reader stood
        self._ended = job.finished
        self._fault: Exception | None = None
        self._waiting: set[asyncio.Event] = set()

    @contextlib.contextmanager
    def waking(self, woken: asyncio.Event) -> Iterator[None]:
        """Set the event whenever there is something to look at."""
        self._waiting.add(woken)
        try:
            yield
        finally:
            self._waiting.discard(woken)

    @property
    def followers(self) -> int:
        """Tell how many wait."""
        return len(self._waiting)

    @property
    def end(self) -> int:
        """Give the number up to which all has been read."""
        return self._end

    def over(self, seq: int) -> bool:
        """Tell whether nothing will ever come after this number."""
        return self._ended and seq >= self._end

    async def after(self, seq: int) -> Batch:
        """Give what is new after a number, from what is kept if it is there."""
        if self._fault is not None:
            raise self._fault
        if seq < self._begin:
            return await self._from_rows(seq)
        batch = self._batches.get(seq)
        if batch is None:
            told = self._kept[bisect_right(self._kept, seq, key=_SEQ) :]
            batch = self._batches[seq] = Batch(told, max(seq, self._end), pieces(one.alone for one in told))
        return batch

    async def follow(self, wakeups: Wakeups, closing: asyncio.Event, poll_s: float) -> None:
        """Read what is new until the job has ended."""
        with wakeups.of(self._job.id) as woken:
            while not self._ended and not closing.is_set():
                woken.clear()
                look = partial(_look, self._engine, self._job, self._end)
                try:
                    told, self._ended = await anyio.to_thread.run_sync(look, limiter=self._threads)
                except Exception as fault:  # whatever it is, those who follow are to hear of it
                    self._fault = fault
                    break
                self._keep(told)
                if len(told) < BATCH:
                    with anyio.move_on_after(0 if self._ended else poll_s):
                        await woken.wait()
        self._wake()

    def _keep(self, told: list[Told]) -> None:
        if not told:
            return
        self._kept += told
        self._end = told[-1].seq
        self._batches.clear()
        size = sum(len(one.alone) for one in self._kept)
        passed = 0
        while size > _KEPT_BYTES and passed < len(self._kept) - len(told):
            size -= len(self._kept[passed].alone)
            self._begin = self._kept[passed].seq
            passed += 1
        del self._kept[:passed]
        self._wake()

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()

    async def _from_rows(self, seq: int) -> Batch:
        begin = self._begin  # all up to here was written before the reading
        look = partial(_rows, self._engine, self._job.id, seq)
        told = await anyio.to_thread.run_sync(look, limiter=self._threads)
        end = told[-1].seq if told else seq
        return Batch(told, end if len(told) == BATCH else max(end, begin), pieces(one.alone for one in told))


class Feeds:
    """The feeds of the jobs that somebody follows. Lives on the event loop."""

    def __init__(
        self,
        engine: Engine,
        threads: anyio.CapacityLimiter,
        wakeups: Wakeups,
        closing: asyncio.Event,
        poll_s: float,
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._wakeups = wakeups
        self._closing = closing
        self._poll_s = poll_s
        self._open: dict[str, tuple[Feed, asyncio.Task[None]]] = {}

    @contextlib.contextmanager
    def of(self, job: Job, woken: asyncio.Event) -> Iterator[Feed]:
        """Give the job's feed, which sets the event; the last who leaves closes it."""
        feed, task = self._open.get(job.id) or (None, None)
        if feed is None or task is None or task.done():
            feed = Feed(job, self._engine, self._threads)
            # A context of its own: what is logged belongs to no request.
            coming = feed.follow(self._wakeups, self._closing, self._poll_s)
            task = asyncio.create_task(coming, context=Context())
            self._open[job.id] = feed, task
        try:
            with feed.waking(woken):
                yield feed
        finally:
            if not feed.followers:
                task.cancel()
                if self._open.get(job.id) == (feed, task):
                    del self._open[job.id]


def _message(kind: str, data: bytes, id_: str) -> bytes:
    return b"event: %s\ndata: %s\nid: %s\n\n" % (kind.encode(), data, id_.encode())


def pieces(messages: Iterable[bytes]) -> Sequence[bytes]:
    """Join messages to pieces of a bounded size."""
    joined: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for message in messages:
        if held and size + len(message) > _PIECE_BYTES:
            joined.append(b"".join(held))
            held, size = [], 0
        held.append(message)
        size += len(message)
    return [*joined, b"".join(held)] if held else joined


def _rows(engine: Engine, job_id: str, seq: int) -> list[Told]:
    with unit_of_work(engine) as session:
        items = feed_after(session, job_id, seq, BATCH)
    return [Told.of(item) for item in items]


def _look(engine: Engine, job: Job, seq: int) -> tuple[list[Told], bool]:
    """Read what is new, and tell whether that was the last of it."""
    items, ended = read(engine, job, seq)
    return [Told.of(item) for item in items], ended


def read(engine: Engine, job: Job, seq: int) -> tuple[Sequence[FeedItem], bool]:
    """Read the rows after a number, and tell whether they were the last."""
    with unit_of_work(engine) as session:
        items = feed_after(session, job.id, seq, BATCH)
        if not items:
            # Waiting makes sense only while the job can still change.
            if not JobLedger(session).get(job.project_id, job.id).finished:
                return items, False
            items = feed_after(session, job.id, seq, BATCH)  # it may have ended between the two looks
        return items, not items or _is_last(items[-1])


def _is_last(item: FeedItem) -> bool:
    return item.kind == "status" and item.data.get("status") in TERMINAL

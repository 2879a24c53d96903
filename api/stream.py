"""A job as it happens: server-sent events, whose ids are the job's own sequence numbers.

Every message is a row read after the last one sent, so a lost connection, a lost wake-up or another
process loses nothing: ``Last-Event-ID`` goes on where it ended. Streams end after ten minutes, after
the message that tells the job's last status, or when their key opens nothing any more.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine

from api.deps import Reader, VisibleJob
from api.refusals import TooManyStreams
from neftune_store.db import unit_of_work
from neftune_store.events import FeedItem, feed_after
from neftune_store.jobs import Job, JobLedger
from neftune_store.lifecycle import TERMINAL

router = APIRouter(tags=["jobs"])

BATCH = 200
_LAST_ID = 2**63 - 1


class Slot:
    """One live stream; ``closed`` when its key opens nothing any more, so that it ends."""

    closed = False


class StreamSlots:
    """The streams that each key holds open in this process."""

    def __init__(self, per_key: int) -> None:
        self._per_key = per_key
        self._open: defaultdict[str, set[Slot]] = defaultdict(set)

    @property
    def open(self) -> int:
        """Tell how many are open, of all keys."""
        return sum(map(len, self._open.values()))

    def take(self, key_id: str) -> Slot:
        """Open one more; refuse when it is one too many."""
        if len(self._open[key_id]) >= self._per_key:
            raise TooManyStreams(self._per_key)
        slot = Slot()
        self._open[key_id].add(slot)
        return slot

    def give_back(self, key_id: str, slot: Slot) -> None:
        """Open one less."""
        self._open[key_id].discard(slot)
        if not self._open[key_id]:
            del self._open[key_id]

    def keys(self) -> set[str]:
        """Tell which keys hold streams open."""
        return set(self._open)

    def close(self, key_ids: Iterable[str]) -> None:
        """Have the streams of these keys end; those that sleep must be woken."""
        for key_id in key_ids:
            for slot in self._open.get(key_id, ()):
                slot.closed = True


async def stream_slot(request: Request, reader: Reader) -> AsyncIterator[Slot]:
    """Hold a slot until the answer has been sent (so: FastAPI's default scope, on purpose)."""
    slots: StreamSlots = request.app.state.stream_slots
    slot = slots.take(reader.key_id)
    try:
        yield slot
    finally:
        slots.give_back(reader.key_id, slot)


def resumed_at(last_event_id: str | None) -> int:
    """Read an id of ours; anything else starts at the beginning."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return seq if len(last_event_id) <= 19 and (seq := int(last_event_id)) <= _LAST_ID else 0
    return 0


@router.get(
    "/jobs/{job_id}/stream",
    summary="Follow a job live (server-sent events)",
    response_class=EventSourceResponse,
)
async def stream(
    request: Request,
    job: VisibleJob,
    slot: Annotated[Slot, Depends(stream_slot)],
    last_event_id: Annotated[str | None, Header(max_length=256)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send ``metric``, ``event`` and ``status`` messages from after ``Last-Event-ID`` on, as they happen."""
    state = request.app.state
    until = time.monotonic() + state.settings.sse_seconds
    seq = resumed_at(last_event_id)
    with state.wakeups.of(job.id) as woken:
        while time.monotonic() < until and not (state.closing.is_set() or slot.closed):
            woken.clear()
            look = partial(read, state.engine, job, seq)
            items, ended = await anyio.to_thread.run_sync(look, limiter=state.stream_threads)
            for item in items:
                seq = item.seq
                yield ServerSentEvent(event=item.kind, id=str(item.seq), data=item.data)
            if ended:
                return
            if len(items) < BATCH:
                await nap(woken, min(state.settings.sse_poll_seconds, max(until - time.monotonic(), 0)))


def read(engine: Engine, job: Job, seq: int) -> tuple[Sequence[FeedItem], bool]:
    """Read what is new, and tell whether that was the last of it."""
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


async def nap(woken: asyncio.Event, at_most_s: float) -> None:
    """Wait until something is new, or for so long."""
    with anyio.move_on_after(at_most_s):
        await woken.wait()

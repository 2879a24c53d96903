"""A job as it happens: server-sent events, whose ids are the job's own sequence numbers.

Every message is a row read after the last one sent, so a lost connection, a lost wake-up or another
process loses nothing: ``Last-Event-ID`` goes on where it ended. Streams end after ten minutes, after
the message that tells the job's last status, or when their key opens nothing any more. What is sent comes
from :mod:`api.feed`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import StreamingResponse

from api.deps import Reader, VisibleJob
from api.feed import Feed
from api.refusals import TooManyStreams

router = APIRouter(tags=["jobs"])

_LAST_ID = 2**63 - 1
_QUIET_S = 15.0  # a line on which nothing is said for so long says that it lives
ALIVE = b": ping\n\n"
_MESSAGE = {
    "type": "object",
    "properties": {
        "data": {"type": "string"},
        "event": {"type": "string"},
        "id": {"type": "string"},
        "retry": {"type": "integer", "minimum": 0},
    },
}
SENT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"itemSchema": _MESSAGE}}}}


class Slot:
    """One live stream; ``closed`` when its key opens nothing any more, so that it ends."""

    closed = False

    def close(self) -> None:
        """Have it end; who sleeps must be woken."""
        self.closed = True


class StreamSlots:
    """The streams that each key holds open in this process."""

    def __init__(self, per_key: int | None) -> None:
        self._per_key = per_key  # None: somebody else bounds them
        self._open: defaultdict[str, set[Slot]] = defaultdict(set)

    @property
    def open(self) -> int:
        """Tell how many are open, of all keys."""
        return sum(map(len, self._open.values()))

    def take(self, key_id: str, slot: Slot) -> None:
        """Open one more; refuse when it is one too many."""
        if self._per_key is not None and len(self._open.get(key_id, ())) >= self._per_key:
            raise TooManyStreams(self._per_key)
        self._open[key_id].add(slot)

    def give_back(self, key_id: str, slot: Slot) -> None:
        """Open one less."""
        self._open[key_id].discard(slot)
        if not self._open[key_id]:
            del self._open[key_id]

    def keys(self) -> set[str]:
        """Tell which keys hold streams open."""
        return set(self._open)

    def close(self, key_ids: Iterable[str]) -> None:
        """Have the streams of these keys end."""
        for key_id in key_ids:
            for slot in list(self._open.get(key_id, ())):  # some give themselves back
                slot.close()


class Line(Slot):
    """What one client holds open: woken when there may be something to say, or when nothing was for too long.

    Its one timer is moved only when it rings: a timer for each message would cost more than the message.
    """

    def __init__(self, seconds: float, closing: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._spoke = self._loop.time()
        self._until = self._spoke + seconds
        self._closing = closing
        self.woken = asyncio.Event()
        self.silent = False
        self._timer = self._next()

    @property
    def over(self) -> bool:
        """Tell whether it is time to end."""
        return self.closed or self._closing.is_set() or self._loop.time() >= self._until

    def spoke(self) -> None:
        """Say that something was sent."""
        self._spoke = self._loop.time()
        self.silent = False

    def close(self) -> None:
        """Have it end, and ring no more."""
        self.closed = True
        self.woken.set()
        self._timer.cancel()

    def _next(self) -> asyncio.TimerHandle:
        return self._loop.call_at(min(self._until, self._spoke + _QUIET_S), self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        self.silent = now - self._spoke >= _QUIET_S
        self.woken.set()
        if self.silent:
            self._spoke = now
        if now < self._until:
            self._timer = self._next()


class LiveResponse(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def live(pieces: AsyncIterator[bytes]) -> LiveResponse:
    """Send pieces as they come; nothing on their way shall hold them back."""
    return LiveResponse(pieces, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})


async def held_line(request: Request, reader: Reader) -> AsyncIterator[Line]:
    """Hold a slot until the answer has been sent (so: FastAPI's default scope, on purpose)."""
    slots: StreamSlots = request.app.state.stream_slots
    line = Line(request.app.state.settings.sse_seconds, request.app.state.closing)
    try:
        slots.take(reader.key_id, line)
        yield line
    finally:
        line.close()
        slots.give_back(reader.key_id, line)


HeldLine = Annotated[Line, Depends(held_line)]


async def followed(request: Request, job: VisibleJob, line: HeldLine) -> AsyncIterator[Feed]:
    """Follow the job until the answer has been sent."""
    with request.app.state.feeds.of(job, line.woken) as feed:
        yield feed


def resumed_at(last_event_id: str | None) -> int:
    """Read an id of ours; anything else starts at the beginning."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return seq if len(last_event_id) <= 19 and (seq := int(last_event_id)) <= _LAST_ID else 0
    return 0


@router.get(
    "/jobs/{job_id}/stream",
    summary="Follow a job live (server-sent events)",
    response_class=LiveResponse,
    responses=SENT,
)
async def stream(
    feed: Annotated[Feed, Depends(followed)],
    line: HeldLine,
    last_event_id: Annotated[str | None, Header(max_length=256)] = None,
) -> LiveResponse:
    """Send ``metric``, ``event`` and ``status`` messages from after ``Last-Event-ID`` on, as they happen."""
    return live(_told(feed, line, resumed_at(last_event_id)))


async def _told(feed: Feed, line: Line, seq: int) -> AsyncIterator[bytes]:
    while not line.over:
        line.woken.clear()
        batch = await feed.after(seq)
        for piece in batch.pieces:
            yield piece
        seq = batch.end
        if feed.over(seq):
            return
        if batch.pieces:
            line.spoke()
        elif line.silent:
            yield ALIVE
            line.spoke()
        if seq >= feed.end:
            await line.woken.wait()

"""The runner's log: whole once its job has ended, before that as it is printed, if wanted.

A follower reads rows after the last one sent, as streams do, so a lost wake-up loses nothing; where the
job is taken up again it goes on with the next attempt. Ends with the job, or by itself after an hour.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from starlette.responses import StreamingResponse

from api.artifacts import found_artifact, sent
from api.deps import Reader, VisibleJob, problems
from api.stream import Slot, StreamSlots
from neftune_store.artifacts import Artifact
from neftune_store.blobs import Blobs
from neftune_store.db import unit_of_work
from neftune_store.errors import ArtifactNotFound, JobNotFound
from neftune_store.jobs import Job, JobLedger
from neftune_store.journal import LOGS_CHANNEL
from neftune_store.live_logs import LogPart, parts_after
from neftune_store.runs import runs_of

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])

_TEXT = "text/plain; charset=utf-8"
_LINE_BYTES = 2048  # what a line of a tail may take on average
_STREAMS = 6  # a follower lasts as long as so many streams: it cannot take up where it was cut
_AGAIN = "\n[the job goes on in another attempt]\n"


async def follow_slot(
    request: Request,
    reader: Reader,
    follow: Annotated[bool, Query(description="Go on as long as the job does.")] = False,
) -> AsyncIterator[Slot | None]:
    """Hold one of the key's streams until the answer has been sent (so: the default scope, on purpose)."""
    if not follow:
        yield None
        return
    slots: StreamSlots = request.app.state.stream_slots
    slot = Slot()
    slots.take(reader.key_id, slot)
    try:
        yield slot
    finally:
        slots.give_back(reader.key_id, slot)


@router.get(
    "/log",
    summary="Read the runner's log",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems(401, 404, 422, 429)},
)
async def log(
    request: Request,
    job: VisibleJob,
    slot: Annotated[Slot | None, Depends(follow_slot)],
    tail: Annotated[int | None, Query(ge=0, le=1000, description="Begin with so many last lines.")] = None,
) -> Response:
    """Send the log as text: whole once the job has ended, before that what its runner has printed lately."""
    state = request.app.state
    try:
        artifact = await found_artifact(request, job.project_id, job.id, "log")
    except ArtifactNotFound:
        if slot is not None and not job.finished:
            headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
            return StreamingResponse(_followed(request, job, slot, tail), media_type=_TEXT, headers=headers)
        text = await anyio.to_thread.run_sync(_lately, state.engine, job, limiter=state.stream_threads)
        return Response(_last_lines(text, tail), media_type=_TEXT)
    if tail is not None:
        return Response(await run_in_threadpool(_end_of, artifact, state.blobs, tail), media_type=_TEXT)
    answer = await run_in_threadpool(sent, request, artifact, state.blobs)
    answer.headers["content-type"] = _TEXT
    return answer


async def _followed(request: Request, job: Job, slot: Slot, tail: int | None) -> AsyncIterator[str]:
    """Give what is there, then what comes."""
    state = request.app.state
    until = time.monotonic() + _STREAMS * state.settings.sse_seconds
    fence = number = 0
    with state.wakeups.of(f"{LOGS_CHANNEL}:{job.id}") as woken:
        while time.monotonic() < until and not (state.closing.is_set() or slot.closed):
            woken.clear()
            look = partial(_new, state.engine, job, fence, number)
            parts, ended = await anyio.to_thread.run_sync(look, limiter=state.stream_threads)
            told = _told(parts, fence)
            if parts:
                fence, number = parts[-1].fence, parts[-1].number
            if tail is not None:
                told, tail = _last_lines(told, tail), None
            if told:
                yield told
            if ended and not parts:
                return
            if not parts:
                await _nap(woken, min(state.settings.sse_poll_seconds, max(until - time.monotonic(), 0)))


async def _nap(woken: asyncio.Event, at_most_s: float) -> None:
    """Wait until something is new, or for so long."""
    with anyio.move_on_after(at_most_s):
        await woken.wait()


def _told(parts: Sequence[LogPart], fence: int) -> str:
    told = ""
    for part in parts:
        told += (_AGAIN if fence and part.fence != fence else "") + part.said
        fence = part.fence
    return told


def _new(engine: Engine, job: Job, fence: int, number: int) -> tuple[Sequence[LogPart], bool]:
    """Read what is new, and tell whether the job had ended before that."""
    with unit_of_work(engine) as session:
        try:
            ended = JobLedger(session).get(job.project_id, job.id).finished
        except JobNotFound:  # deleted, so it had ended
            return (), True
        return parts_after(session, job.id, fence, number), ended


def _lately(engine: Engine, job: Job) -> str:
    """Give what the attempt under way has printed, or the end of the one before."""
    with unit_of_work(engine) as session:
        parts = parts_after(session, job.id, job.fence - 1, 2**62) if job.fence else []
        if parts:
            return "".join(part.said for part in parts)
        for run in reversed(runs_of(session, job.project_id, job.id)):
            if run.log_tail is not None:
                return run.log_tail
        return ""


def _end_of(artifact: Artifact, blobs: Blobs, tail: int) -> str:
    begin = max(artifact.bytes - tail * _LINE_BYTES, 0)
    data = b"".join(blobs.stream(artifact.blob_key, begin, artifact.bytes)) if begin < artifact.bytes else b""
    return _last_lines(data.decode("utf-8", "replace"), tail)


def _last_lines(text: str, tail: int | None) -> str:
    if tail is None:
        return text
    return "".join(text.splitlines(keepends=True)[-tail:]) if tail else ""

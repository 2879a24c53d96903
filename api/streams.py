"""Several jobs as they happen, on one line: server-sent events that name their job.

The id of a message tells where every job on the line stands, ``job:seq,job:seq``, so a lost connection loses
nothing of any of them. Slots, waking and the end after ten minutes are those of :mod:`api.stream`.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine

from api.deps import Reader, problems
from api.refusals import InvalidRequest
from api.stream import BATCH, Slot, nap, read, resumed_at, stream_slot
from neftune_store.errors import JobNotFound
from neftune_store.events import FeedItem
from neftune_store.ids import is_id
from neftune_store.jobs import Job, JobLedger

router = APIRouter(tags=["jobs"])

MOST_JOBS = 20


async def visible_jobs(
    request: Request,
    who: Reader,
    jobs: Annotated[
        str, Query(min_length=1, max_length=2000, description="Ids of 1 to 20 jobs, comma-separated.")
    ],
) -> list[Job]:
    """Find all the jobs in a transaction that is over before the long answer begins."""
    ids = list(dict.fromkeys(jobs.split(",")))
    if len(ids) > MOST_JOBS:
        raise InvalidRequest(f"One stream follows at most {MOST_JOBS} jobs; open another for the rest.")
    if not all(is_id("job", one) for one in ids):
        raise JobNotFound
    found: list[Job] = await request.app.state.database.ask(
        lambda tx: [JobLedger(tx).get(who.project_id, one) for one in ids]
    )
    return found


@router.get(
    "/stream",
    summary="Follow several jobs live (server-sent events)",
    response_class=EventSourceResponse,
    responses=problems(401, 404, 422, 429),
)
async def stream_jobs(
    request: Request,
    jobs: Annotated[list[Job], Depends(visible_jobs)],
    slot: Annotated[Slot, Depends(stream_slot)],
    last_event_id: Annotated[str | None, Header(max_length=2048)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send what the stream of each job sends, with `job` beside it; ends when all of them have ended."""
    state = request.app.state
    until = time.monotonic() + state.settings.sse_seconds
    seqs = {job.id: seq for job, seq in zip(jobs, resumed(jobs, last_event_id), strict=True)}
    going = {job.id: job for job in jobs}
    with state.wakeups.of(*seqs) as woken:
        while going and time.monotonic() < until and not (state.closing.is_set() or slot.closed):
            woken.clear()
            look = partial(_read_all, state.engine, list(going.values()), seqs)
            found = await anyio.to_thread.run_sync(look, limiter=state.stream_threads)
            for job_id, (items, ended) in found.items():
                for item in items:
                    seqs[job_id] = item.seq
                    data = {"job": job_id, **item.data}
                    yield ServerSentEvent(event=item.kind, id=_place(seqs), data=data)
                if ended:
                    del going[job_id]
            if all(len(items) < BATCH for items, _ in found.values()):
                await nap(woken, min(state.settings.sse_poll_seconds, max(until - time.monotonic(), 0)))


def resumed(jobs: Sequence[Job], last_event_id: str | None) -> list[int]:
    """Read an id of ours for each job; a job that it does not name starts at the beginning."""
    told = dict(part.split(":", 1) for part in (last_event_id or "").split(",") if ":" in part)
    return [resumed_at(told.get(job.id)) for job in jobs]


def _read_all(
    engine: Engine, jobs: Sequence[Job], seqs: Mapping[str, int]
) -> dict[str, tuple[Sequence[FeedItem], bool]]:
    return {job.id: read(engine, job, seqs[job.id]) for job in jobs}


def _place(seqs: Mapping[str, int]) -> str:
    return ",".join(f"{job_id}:{seq}" for job_id, seq in seqs.items() if seq)

"""Several jobs as they happen, on one line: server-sent events that name their job.

The id of a message tells where every job on the line stands, ``job:seq,job:seq``, so a lost connection loses
nothing of any of them. Slots, waking and the end after ten minutes are those of :mod:`api.stream`.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request

from api.deps import Reader, problems
from api.feed import Batch, Feed, pieces
from api.refusals import InvalidRequest
from api.stream import ALIVE, SENT, HeldLine, Line, LiveResponse, live, resumed_at
from neftune_store.errors import JobNotFound
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


Visible = Annotated[list[Job], Depends(visible_jobs)]


async def followed(request: Request, jobs: Visible, line: HeldLine) -> AsyncIterator[dict[str, Feed]]:
    """Follow each of the jobs until the answer has been sent."""
    with ExitStack() as held:
        feeds = request.app.state.feeds
        yield {job.id: held.enter_context(feeds.of(job, line.woken)) for job in jobs}


@router.get(
    "/stream",
    summary="Follow several jobs live (server-sent events)",
    response_class=LiveResponse,
    responses={**SENT, **problems(401, 404, 422, 429)},
)
async def stream_jobs(
    feeds: Annotated[dict[str, Feed], Depends(followed)],
    line: HeldLine,
    last_event_id: Annotated[str | None, Header(max_length=2048)] = None,
) -> LiveResponse:
    """Send what the stream of each job sends, with `job` beside it; ends when all of them have ended."""
    return live(_told(feeds, line, resumed(list(feeds), last_event_id)))


def resumed(jobs: Sequence[str], last_event_id: str | None) -> dict[str, int]:
    """Read an id of ours for each job; a job that it does not name starts at the beginning."""
    told = dict(part.split(":", 1) for part in (last_event_id or "").split(",") if ":" in part)
    return {job: resumed_at(told.get(job)) for job in jobs}


async def _told(feeds: Mapping[str, Feed], line: Line, seqs: dict[str, int]) -> AsyncIterator[bytes]:
    sent = dict(seqs)  # what the id tells: the last message of each, not how far was looked
    going = dict(feeds)
    while going and not line.over:
        line.woken.clear()
        said = False
        for job, feed in feeds.items():
            if job not in going:
                continue
            batch = await feed.after(seqs[job])
            for piece in pieces(_named(job, batch, sent)):
                yield piece
                said = True
            seqs[job] = batch.end
            if feed.over(batch.end):
                del going[job]
        if said:
            line.spoke()
        elif line.silent:
            yield ALIVE
            line.spoke()
        if going and all(seqs[job] >= feed.end for job, feed in going.items()):
            await line.woken.wait()


def _named(job: str, batch: Batch, sent: dict[str, int]) -> Iterator[bytes]:
    for one in batch.told:
        sent[job] = one.seq
        yield one.among(job, _place(sent))


def _place(seqs: Mapping[str, int]) -> str:
    return ",".join(f"{job_id}:{seq}" for job_id, seq in seqs.items() if seq)

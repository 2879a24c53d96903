"""What a project has waiting."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import Field

from api.deps import Limit, Reader, Tx, problems
from api.jobs import why_queued
from api.schemas import Schema
from neftune_store.queue import queue_of

router = APIRouter(tags=["jobs"])


class WaitingRead(Schema):
    """A queued job."""

    job: str = Field(description="Its id.")
    name: str | None
    model: str
    priority: int = Field(description="-100 to 100; higher runs earlier, within the project.")
    position: int = Field(
        ge=1, description="1 is next, among the jobs of all projects, if workers got free now."
    )
    reason: str = Field(description="Why it waits.")
    created_at: datetime


class QueueView(Schema):
    """The queue of a project."""

    queued: int
    running: int
    oldest_queued_at: datetime | None
    items: list[WaitingRead] = Field(description="The first `limit` of the queued jobs, the next one first.")


@router.get("/queue", summary="Look at the queue", responses=problems(401, 422))
def read_queue(who: Reader, tx: Tx, limit: Limit = 50) -> QueueView:
    """Tell how many of the project's jobs wait and run, and which are next."""
    queue = queue_of(tx, who.project_id, limit)
    items = [
        WaitingRead(
            job=one.job.id,
            name=one.job.name,
            model=one.job.model,
            priority=one.job.priority,
            position=one.position,
            reason=why_queued(one.job, queue.running_limit),
            created_at=one.job.created_at,
        )
        for one in queue.first
    ]
    return QueueView(
        queued=queue.queued, running=queue.running, oldest_queued_at=queue.oldest_queued_at, items=items
    )

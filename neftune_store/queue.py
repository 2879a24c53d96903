"""The queue as one project sees it: how much waits and runs, and which of its jobs are next.

Of other projects it shows no more than the places that their jobs take.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from neftune_store.job import Job, job_of
from neftune_store.lifecycle import Status
from neftune_store.models import JobRow
from neftune_store.paging import check_limit
from neftune_store.quotas import running_limit_reached
from neftune_store.turns import place_of, sides_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job and its place: 1 is next, if workers got free now."""

    job: Job
    position: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What a project has waiting and running."""

    queued: int
    running: int
    oldest_queued_at: datetime | None
    first: Sequence[Waiting]
    running_limit: int | None = None  # the number of jobs it may run at once, if it runs that many


def queue_of(session: Session, project_id: str, limit: int = 50) -> Queue:
    """Look at the project's queue; its first jobs are listed."""
    queued, oldest = session.execute(
        select(func.count(), func.min(JobRow.created_at)).where(
            JobRow.project_id == project_id, JobRow.status == Status.QUEUED
        )
    ).one()
    running = session.scalar(
        select(func.count()).where(JobRow.project_id == project_id, JobRow.status == Status.RUNNING)
    )
    order = (JobRow.priority.desc(), JobRow.created_at, JobRow.id)
    mine = select(JobRow).where(JobRow.project_id == project_id, JobRow.status == Status.QUEUED)
    first = session.scalars(mine.order_by(*order).limit(check_limit(limit)))
    sides = sides_of(session)
    waiting = [Waiting(job_of(row), place_of(project_id, nth, sides)) for nth, row in enumerate(first, 1)]
    running_limit = session.scalar(select(running_limit_reached(project_id)))
    return Queue(queued, running or 0, oldest, waiting, running_limit)

"""Whose turn it is: the order in which claims take the queued jobs of all projects.

Within a project higher priority goes first, then age. Between projects a job's priority counts nothing: they
take turns by how many of their jobs run, then by which was served longest ago. The claim's statement sorts
by that; here it is reckoned for places in the queue, as if workers got free now and no job ended.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Subquery, func, select
from sqlalchemy.orm import Session, aliased

from neftune_store.lifecycle import Status
from neftune_store.models import JobRow, ProjectRow

_NEVER = datetime.min.replace(tzinfo=UTC)


class Side(NamedTuple):
    """A project that has jobs waiting."""

    project_id: str
    queued: int
    running: int
    served_at: datetime | None
    first_at: datetime | None  # the age of its next job, where it was never served

    @property
    def turn(self) -> tuple[datetime, datetime]:
        """What decides between projects that run equally many."""
        return self.served_at or _NEVER, self.first_at or _NEVER


def _count(status: Status) -> Subquery:
    counted = select(JobRow.project_id, func.count().label("jobs")).where(JobRow.status == status)
    return counted.group_by(JobRow.project_id).subquery()


_QUEUED, _RUNNING = _count(Status.QUEUED), _count(Status.RUNNING)
_NEXT = aliased(JobRow)
_FIRST_AT = (
    select(_NEXT.created_at)
    .where(_NEXT.project_id == ProjectRow.id, _NEXT.status == Status.QUEUED, ProjectRow.served_at.is_(None))
    .order_by(_NEXT.priority.desc(), _NEXT.created_at, _NEXT.id)
    .limit(1)
    .scalar_subquery()
)
# Built once: every answer that shows a queued job asks it.
_SIDES = (
    select(ProjectRow.id, _QUEUED.c.jobs, func.coalesce(_RUNNING.c.jobs, 0), ProjectRow.served_at, _FIRST_AT)
    .join(_QUEUED, _QUEUED.c.project_id == ProjectRow.id)
    .outerjoin(_RUNNING, _RUNNING.c.project_id == ProjectRow.id)
)


def sides_of(session: Session) -> list[Side]:
    """Give all projects that have jobs waiting."""
    return [Side(*row) for row in session.execute(_SIDES)]


def place_of(project_id: str, nth: int, sides: Iterable[Side]) -> int:
    """Give the place among all that wait of the project's ``nth`` job; 1 is next."""
    others = {side.project_id: side for side in sides}
    mine = others.pop(project_id, None)
    if mine is None:  # what waited has been claimed meanwhile
        return nth
    return nth + sum(min(side.queued, _before(mine, nth, side)) for side in others.values())


def _before(mine: Side, nth: int, other: Side) -> int:
    """Count the jobs that the other project gets started before my ``nth``.

    A project's ``n``-th job makes it run ``n`` more. Of two that would run equally many, the one that has
    begun later goes first, for it was served longer ago.
    """
    fewer = max(0, mine.running + nth - other.running - 1)
    first = (-other.running, *other.turn) < (-mine.running, *mine.turn)
    return fewer + (1 if first and mine.running + nth > other.running else 0)

"""Checkpoints as users see them: how far, since when, and the numbers of that step."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_store.checkpoints import held_places
from neftune_store.events import known
from neftune_store.models import MetricRow


@dataclass(frozen=True, slots=True)
class Milestone:
    """A checkpoint that is kept."""

    id: str
    step: int
    numbers: dict[str, float | None]
    created_at: datetime


def milestones(session: Session, project_id: str, job_id: str) -> list[Milestone]:
    """List the checkpoints of a job that are kept, the furthest first; they are few."""
    known(session, project_id, job_id)
    places = held_places(session, job_id)
    found = select(MetricRow.step, MetricRow.numbers).where(
        MetricRow.job_id == job_id, MetricRow.step.in_([place.step for place in places])
    )
    numbers = {row.step: row.numbers for row in session.execute(found)}
    return [Milestone(one.id, one.step, numbers.get(one.step, {}), one.created_at) for one in places]

"""Reading curves: the rows after a number, and a series thinned so that its spikes survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_store.events import MOST, known, place
from neftune_store.models import MetricRow
from neftune_store.paging import check_limit

__all__ = ["Metric", "metrics_after", "series"]

Point = tuple[int, float]
MOST_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Metric:
    """The numbers of one step."""

    seq: int
    step: int
    values: dict[str, float | None]
    created_at: datetime


def metrics_after(
    session: Session, project_id: str, job_id: str, after_seq: int = 0, limit: int = 500
) -> list[Metric]:
    """List the rows after a number, in the order they were written."""
    known(session, project_id, job_id)
    found = (
        select(MetricRow)
        .where(MetricRow.job_id == job_id, MetricRow.seq > place(after_seq))
        .order_by(MetricRow.seq)
        .limit(check_limit(limit, MOST))
    )
    return [Metric(row.seq, row.step, row.numbers, row.created_at) for row in session.scalars(found)]


def series(
    session: Session,
    project_id: str,
    job_id: str,
    keys: Sequence[str] | None = None,
    since_step: int = 0,
    max_points: int = 1000,
) -> dict[str, list[Point]]:
    """Give the curves of some keys (``None``: of all) from a step on, in step order.

    A longer curve is cut into equal spans of steps, and each span gives its smallest and its largest
    value, so no spike is lost.
    """
    known(session, project_id, job_id)
    raise NotImplementedError

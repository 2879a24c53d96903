"""Reading curves: the rows after a number, and a series thinned so that its spikes survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from neftune_store.events import MOST, known, place
from neftune_store.models import MetricRow
from neftune_store.paging import check_limit

__all__ = ["Metric", "metrics_after", "series"]

Point = tuple[int, float]
MOST_POINTS = 10_000

_SERIES = text(
    """
    WITH point AS (
        SELECT pair.key, metric.step, pair.value::float8 AS value,
               width_bucket(metric.step, :first, :last + 1, :spans) AS span,
               count(*) OVER (PARTITION BY pair.key) AS points
        FROM metrics AS metric, jsonb_each_text(metric.numbers) AS pair
        WHERE metric.job_id = :job AND metric.step >= :first AND pair.value IS NOT NULL
          AND (CAST(:keys AS text[]) IS NULL OR pair.key = ANY(:keys))
    ), ranked AS (
        SELECT key, step, value, points,
               row_number() OVER (PARTITION BY key, span ORDER BY value, step) AS low,
               row_number() OVER (PARTITION BY key, span ORDER BY value DESC, step) AS high
        FROM point
    )
    SELECT key, step, value FROM ranked
    WHERE points <= :most OR low = 1 OR high = 1
    ORDER BY key, step
    """
)


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


def series(  # noqa: PLR0913, PLR0917 - which part of which curve, and how fine
    session: Session,
    project_id: str,
    job_id: str,
    keys: Sequence[str] | None = None,
    since_step: int = 0,
    max_points: int = 1000,
) -> dict[str, list[Point]]:
    """Give the curves of some keys (``None``: of all) from a step on, in step order.

    A curve with more points is cut into equal spans of steps, and each span gives its smallest and its
    largest value, so no spike is lost.
    """
    known(session, project_id, job_id)
    max_points = check_limit(max_points, MOST_POINTS)
    range_ = select(func.min(MetricRow.step), func.max(MetricRow.step)).where(
        MetricRow.job_id == job_id, MetricRow.step >= place(since_step)
    )
    first, last = session.execute(range_).one()
    if first is None:
        return {}
    wanted = {
        "job": job_id,
        "first": first,
        "last": last,
        "spans": max(1, max_points // 2),
        "most": max_points,
        "keys": None if keys is None else [key for key in keys if key.isprintable()],
    }
    curves: dict[str, list[Point]] = {}
    for key, step, value in session.execute(_SERIES, wanted):
        curves.setdefault(key, []).append((step, value))
    return curves

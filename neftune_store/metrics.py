"""Reading curves: the rows after a number, and a series thinned so that its spikes survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from neftune_store.buckets import Buckets, Cut, cut_of
from neftune_store.events import MOST, known, place
from neftune_store.models import JobRow, MetricRow
from neftune_store.paging import check_limit
from neftune_store.spans import spans_of

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


_ENDS = text(
    """
    SELECT pair.key, metric.step, pair.value::float8
    FROM (
        SELECT step, numbers FROM metrics WHERE job_id = :job AND step >= :first AND step < :begin
        UNION ALL
        SELECT step, numbers FROM metrics WHERE job_id = :job AND step >= :end AND step <= :last
    ) AS metric, jsonb_each_text(metric.numbers) AS pair
    WHERE pair.value IS NOT NULL AND (CAST(:keys AS text[]) IS NULL OR pair.key = ANY(:keys))
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
    since_step = place(since_step)
    built = select(JobRow.spans_until).where(JobRow.id == job_id).scalar_subquery()
    range_ = select(func.min(MetricRow.step), func.max(MetricRow.step), built).where(
        MetricRow.job_id == job_id, MetricRow.step >= since_step
    )
    first, last, until = session.execute(range_).one()
    if first is None:
        return {}
    names = None if keys is None else [key for key in keys if key.isprintable()]
    cut = cut_of(first, last, min(until, last + 1), max_points)
    if cut is None:
        return _thinned(session, job_id, names, first, last, max_points)
    return _by_spans(session, job_id, names, cut, max_points)


def _thinned(  # noqa: PLR0913, PLR0917 - as above
    session: Session, job_id: str, keys: list[str] | None, first: int, last: int, max_points: int
) -> dict[str, list[Point]]:
    """Read curves from their rows, each of them."""
    wanted = {
        "job": job_id,
        "first": first,
        "last": last,
        "spans": max(1, max_points // 2),
        "most": max_points,
        "keys": keys,
    }
    curves: dict[str, list[Point]] = {}
    for key, step, value in session.execute(_SERIES, wanted):
        curves.setdefault(key, []).append((step, value))
    return curves


def _by_spans(
    session: Session, job_id: str, keys: list[str] | None, cut: Cut, max_points: int
) -> dict[str, list[Point]]:
    """Read curves from their spans, and from rows what no span holds; as :func:`_thinned` gives them."""
    curves: dict[str, Buckets] = {}
    for span in spans_of(session, job_id, cut.width, cut.begin, cut.end, keys):
        curves.setdefault(span.key, Buckets(cut)).add_span(span)
    ends = {"job": job_id, "keys": keys, "first": cut.first, "last": cut.last,
            "begin": cut.begin * cut.width, "end": cut.end * cut.width}  # fmt: skip
    for key, step, value in session.execute(_ENDS, ends):
        curves.setdefault(key, Buckets(cut)).add(step, value)
    # Only of a curve with few points, close together, do spans not hold each of them.
    short = [key for key, found in curves.items() if found.points <= max_points and not found.whole]
    read = _thinned(session, job_id, short, cut.first, cut.last, max_points) if short else {}
    return {key: read.get(key) or curves[key].curve(max_points) for key in sorted(curves)}

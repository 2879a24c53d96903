"""Reading curves: the rows after a number, and a series thinned so that its spikes survive."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, select, text
from sqlalchemy.orm import Session

from neftune_store.buckets import Cut, Point, cut_of, thinned
from neftune_store.errors import JobNotFound
from neftune_store.events import MOST, SEQ_MAX, known, place
from neftune_store.ids import is_id
from neftune_store.models import MetricRow
from neftune_store.paging import check_limit

__all__ = ["Metric", "metrics_after", "series", "times"]

MOST_POINTS = 10_000
MOST_TIMES = 256

_SERIES = """
    WITH point AS (
        SELECT pair.key, metric.step, pair.value::float8 AS value,
               width_bucket(metric.step, :first, :last + 1, :spans) AS span,
               count(*) OVER (PARTITION BY pair.key) AS points
        FROM metrics AS metric, {pairs}
        WHERE metric.job_id = :job AND metric.step >= :first AND metric.step <= :last
          AND pair.value IS NOT NULL
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

_RANGE = text(
    """
    SELECT (SELECT min(step) FROM metrics WHERE job_id = jobs.id AND step >= :since) AS first,
           (SELECT max(step) FROM metrics WHERE job_id = jobs.id AND step <= :until) AS last,
           spans_until AS until
    FROM jobs WHERE project_id = :project AND id = :job AND deleted_at IS NULL
    """
)
_TIMES = text(
    """
    SELECT DISTINCT metric.step, metric.created_at
    FROM generate_series(0, CAST(:most AS bigint) - 1) AS part,
         LATERAL (
            SELECT step, created_at FROM metrics
            WHERE job_id = :job AND step >= CAST(:first AS bigint) + (:last - :first) * part / (:most - 1)
            ORDER BY step LIMIT 1
         ) AS metric
    ORDER BY metric.step
    """
)
# What spans hold, and one by one the rows before the first and after the last of them, in the form of spans.
_PIECES = """
    SELECT key, array_agg(span), array_agg(low), array_agg(low_step), array_agg(high), array_agg(high_step),
           array_agg(points)
    FROM (
        SELECT key, span, low, low_step, high, high_step, points
        FROM metric_spans
        WHERE job_id = :job AND width = :width AND span >= :begin_span AND span < :end_span {of_keys}
        UNION ALL
        SELECT pair.key, metric.step / :width,
               pair.value::float8, metric.step, pair.value::float8, metric.step, 1
        FROM (
            SELECT step, numbers FROM metrics WHERE job_id = :job AND step >= :first AND step < :begin
            UNION ALL
            SELECT step, numbers FROM metrics WHERE job_id = :job AND step >= :end AND step <= :last
        ) AS metric, {pairs}
        WHERE pair.value IS NOT NULL
    ) AS piece
    GROUP BY key ORDER BY key
"""
# Of all keys; or of some, where looking for them in each row is cheaper than to unfold it.
_EACH = "jsonb_each_text(metric.numbers) AS pair"
_SOME = """LATERAL (
            SELECT key, metric.numbers ->> key AS value FROM unnest(CAST(:keys AS text[])) AS key
        ) AS pair"""
_SERIES_OF = {False: text(_SERIES.format(pairs=_EACH)), True: text(_SERIES.format(pairs=_SOME))}
_PIECES_OF = {
    False: text(_PIECES.format(pairs=_EACH, of_keys="")),
    True: text(_PIECES.format(pairs=_SOME, of_keys="AND key = ANY(:keys)")),
}


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
    until_step: int = SEQ_MAX,
) -> dict[str, list[Point]]:
    """Give the curves of some keys (``None``: of all) from one step to another, in step order.

    A curve with more points is cut into equal spans of steps, and each span gives its smallest and its
    largest value, so no spike is lost.
    """
    max_points = check_limit(max_points, MOST_POINTS)
    first, last, until = _range(session, project_id, job_id, since_step, until_step)
    if first is None or last is None or first > last:
        return {}
    names = None if keys is None else [key for key in dict.fromkeys(keys) if key.isprintable()]
    cut = cut_of(first, last, min(until, last + 1), max_points)
    if cut is None:
        return _thinned(session, job_id, names, first, last, max_points)
    return _by_spans(session, job_id, names, cut, max_points)


def times(
    session: Session, project_id: str, job_id: str, since_step: int = 0, until_step: int = SEQ_MAX
) -> list[tuple[int, datetime]]:
    """Tell when steps were written down, from one to another: of a few hundred of them, evenly chosen."""
    first, last, _ = _range(session, project_id, job_id, since_step, until_step)
    if first is None or last is None or first > last:
        return []
    asked = {"job": job_id, "first": first, "last": last, "most": MOST_TIMES}
    return [(row.step, row.created_at) for row in session.execute(_TIMES, asked)]


def _range(
    session: Session, project_id: str, job_id: str, since_step: int, until_step: int
) -> tuple[int | None, int | None, int]:
    """Give the first and the last step of what is asked for, and until where there are spans."""
    between = {"since": place(since_step), "until": place(until_step)}
    asked = {"project": project_id, "job": job_id, **between}
    found = session.execute(_RANGE, asked).one_or_none() if is_id("job", job_id) else None
    if found is None:
        raise JobNotFound
    return found.first, found.last, found.until


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
    }
    curves: dict[str, list[Point]] = {}
    for key, step, value in _asked(session, _SERIES_OF, wanted, keys):
        curves.setdefault(key, []).append((step, value))
    return curves


def _by_spans(
    session: Session, job_id: str, keys: list[str] | None, cut: Cut, max_points: int
) -> dict[str, list[Point]]:
    """Read curves from their spans, and from rows what no span holds; as :func:`_thinned` gives them."""
    asked = {
        "job": job_id,
        "width": cut.width,
        "begin_span": cut.begin,
        "end_span": cut.end,
        "first": cut.first,
        "begin": cut.begin * cut.width,
        "end": cut.end * cut.width,
        "last": cut.last,
    }
    found = _asked(session, _PIECES_OF, asked, keys)
    curves = {key: thinned(cut, list(zip(*pieces, strict=True)), max_points) for key, *pieces in found}
    short = [key for key, curve in curves.items() if curve is None]
    read = _thinned(session, job_id, short, cut.first, cut.last, max_points) if short else {}
    return {key: read[key] if curve is None else curve for key, curve in curves.items()}


def _asked(
    session: Session, of: Mapping[bool, TextClause], asked: dict[str, Any], keys: list[str] | None
) -> Iterable[Any]:
    if keys is not None:
        asked["keys"] = keys
    return session.execute(of[keys is not None], asked)

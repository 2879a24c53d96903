"""The pyramid over a job's curves: the smallest and the largest value of every 64, 128, 256 … steps.

A span is written when its last step is there, from the rows themselves, and never changes unless they do.
All spans that end before the job's ``spans_until`` can be trusted, as far as there are rows; what lies after
it is read from the rows. The first write after a rewind lowers that number to where the job stands
(``live_step``), and old spans are replaced as the curve passes them again.
"""

from sqlalchemy import Integer, bindparam, delete, text
from sqlalchemy.orm import Session

from neftune_store.models import MetricSpanRow

NARROWEST = 64  # steps: a curve of fewer than these times some hundred points is quick to read whole
WIDTHS = tuple(NARROWEST << level for level in range(15))  # up to a million steps
_AT_ONCE = WIDTHS[6]  # steps that one write catches up with, where there were no spans yet

_FROM_ROWS = text(
    """
    INSERT INTO metric_spans (job_id, width, key, span, low, low_step, high, high_step, points)
    SELECT :job, :width, key, step / :width, min(value), (array_agg(step ORDER BY value, step))[1],
           max(value), (array_agg(step ORDER BY value DESC, step))[1], count(*)
    FROM (
        SELECT pair.key, metric.step, pair.value::float8 AS value
        FROM metrics AS metric, jsonb_each_text(metric.numbers) AS pair
        WHERE metric.job_id = :job AND metric.step >= :first AND metric.step < :until
          AND pair.value IS NOT NULL
    ) AS point
    GROUP BY key, step / :width
    """
).bindparams(bindparam("width", type_=Integer))
_FROM_SPANS = text(
    """
    INSERT INTO metric_spans (job_id, width, key, span, low, low_step, high, high_step, points)
    SELECT job_id, :width, key, span / 2, min(low), (array_agg(low_step ORDER BY low, low_step))[1],
           max(high), (array_agg(high_step ORDER BY high DESC, high_step))[1], sum(points)
    FROM metric_spans
    WHERE job_id = :job AND width = :below AND span >= 2 * :first AND span < 2 * :until
    GROUP BY job_id, key, span / 2
    """
).bindparams(bindparam("width", type_=Integer))
_COPY = text(
    """
    INSERT INTO metric_spans (job_id, width, key, span, low, low_step, high, high_step, points)
    SELECT :new, width, key, span, low, low_step, high, high_step, points
    FROM metric_spans WHERE job_id = :old AND (span + 1) * width <= :until
    """
)


def extend(session: Session, job_id: str, changed: int, last: int) -> int:
    """Build the spans that hold steps from ``changed`` on and are over by ``last``; give ``spans_until``."""
    first = changed - changed % NARROWEST
    until = min((last + 1) // NARROWEST * NARROWEST, first + _AT_ONCE)
    if until <= first:
        return changed
    for level, width in enumerate(WIDTHS):
        begin, end = first // width, until // width
        if begin >= end:
            break  # a wider one is not over either
        _forget(session, job_id, width, begin, end)
        if level == 0:
            session.execute(_FROM_ROWS, {"job": job_id, "width": width, "first": first, "until": until})
        else:
            below = {"job": job_id, "width": width, "below": WIDTHS[level - 1], "first": begin, "until": end}
            session.execute(_FROM_SPANS, below)
    return until


def copy(session: Session, old: str, new: str, until: int) -> None:
    """Give another job the spans of this one that end before a step."""
    session.execute(_COPY, {"old": old, "new": new, "until": until})


def _forget(session: Session, job_id: str, width: int, begin: int, end: int) -> None:
    """Remove what was built of steps that have run again."""
    session.execute(
        delete(MetricSpanRow).where(
            MetricSpanRow.job_id == job_id,
            MetricSpanRow.width == width,
            MetricSpanRow.span >= begin,
            MetricSpanRow.span < end,
        )
    )

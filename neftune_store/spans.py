"""The pyramid over a job's curves: the smallest and the largest value of every 64, 128, 256 … steps.

A span is written when its last step is there, from the rows themselves, and never changes unless they do.
All spans that end before the job's ``spans_until`` can be trusted, as far as there are rows; what lies after
it is read from the rows. The first write after a rewind lowers that number to where the job stands
(``live_step``), and old spans are replaced as the curve passes them again.
"""

import itertools
from functools import cache

from sqlalchemy import BigInteger, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

NARROWEST = 64  # steps: a curve of fewer than these times some hundred points is quick to read whole
WIDTHS = tuple(NARROWEST << level for level in range(15))  # up to a million steps
_AT_ONCE = WIDTHS[6]  # steps that one write catches up with, where there were no spans yet

# A value with its step: the smallest of them is the smallest value, the earlier where values are equal.
_ROWS = """
    SELECT key, step / :width_0 AS span, min(ARRAY[value, step]) AS low, max(ARRAY[value, -step]) AS high,
           count(*) AS points
    FROM (
        SELECT pair.key, metric.step, pair.value::float8 AS value
        FROM metrics AS metric, jsonb_each_text(metric.numbers) AS pair
        WHERE metric.job_id = :job AND metric.step >= :first AND metric.step < :until
          AND pair.value IS NOT NULL
    ) AS point
    GROUP BY key, step / :width_0
"""
# Each wider span of two narrower ones: those built with it, and one that was there before.
_WIDER = """
    SELECT key, span / 2 AS span, min(low) AS low, max(high) AS high, sum(points) AS points
    FROM (
        SELECT * FROM level_{below} WHERE span < 2 * :end_{level}
        UNION ALL
        SELECT key, span, ARRAY[low, low_step], ARRAY[high, -high_step], points FROM metric_spans
        WHERE job_id = :job AND width = :width_{below}
          AND span >= 2 * :begin_{level} AND span < :begin_{below}
    ) AS narrower
    GROUP BY key, span / 2
"""
_LEVEL = "SELECT :width_{level} AS width, * FROM level_{level}"
_BUILT = """
    INSERT INTO metric_spans (job_id, width, key, span, low, low_step, high, high_step, points)
    SELECT :job, width, key, span, low[1], low[2], high[1], -high[2], points FROM ({all_levels}) AS built
"""
_FORGET = text(
    """
    DELETE FROM metric_spans USING unnest(:widths, :begins, :ends) AS gone(width, first, until)
    WHERE job_id = :job AND metric_spans.width = gone.width AND span >= gone.first AND span < gone.until
    """
).bindparams(*(bindparam(name, type_=ARRAY(BigInteger)) for name in ("widths", "begins", "ends")))
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
    over = [(width, first // width, until // width) for width in WIDTHS]
    over = list(itertools.takewhile(lambda one: one[1] < one[2], over))  # nor is a wider one over
    widths, begins, ends = (list(numbers) for numbers in zip(*over, strict=True))
    session.execute(_FORGET, {"job": job_id, "widths": widths, "begins": begins, "ends": ends})
    asked = {"job": job_id, "first": first, "until": until}
    for level, (width, begin, end) in enumerate(over):
        asked |= {f"width_{level}": width, f"begin_{level}": begin, f"end_{level}": end}
    session.execute(_building(len(over)), asked)
    return until


@cache
def _building(levels: int) -> TextClause:
    """Make the one statement that builds so many widths."""
    named = [f"level_0 AS ({_ROWS})"]
    for level in range(1, levels):
        named.append(f"level_{level} AS ({_WIDER.format(level=level, below=level - 1)})")
    each = " UNION ALL ".join(_LEVEL.format(level=level) for level in range(levels))
    widths = (bindparam(f"width_{level}", type_=BigInteger) for level in range(levels))
    return text(f"WITH {', '.join(named)} {_BUILT.format(all_levels=each)}").bindparams(*widths)


def copy(session: Session, old: str, new: str, until: int) -> None:
    """Give another job the spans of this one that end before a step."""
    session.execute(_COPY, {"old": old, "new": new, "until": until})

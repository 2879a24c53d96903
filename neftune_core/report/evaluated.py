"""What was evaluated of each run of a series, evaluation by evaluation, also of those that have not ended.

Made from a series as it is told, whose lines have their evaluations in short.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neftune_core.report.document import Block, Cell, Column, Table
from neftune_core.report.measures import in_words
from neftune_core.report.reading import at, entries, number, text

_WHOSE = (Column(key="alpha", title="Alpha", form="number"), Column(key="seed", title="Seed", form="number"))
_EVALUATIONS = (
    *_WHOSE,
    Column(key="checkpoint", title="Checkpoint"),
    Column(key="step", title="Step", form="count"),
    Column(key="status", title="Status"),
    Column(key="missing", title="Missing", form="count"),
    Column(key="name", title="Name"),
    Column(key="evaluation", title="Evaluation"),
)
_FIGURES = (
    *_WHOSE,
    Column(key="checkpoint", title="Checkpoint"),
    Column(key="measure", title="Measure"),
    Column(key="value", title="Value", form="number"),
    Column(key="standard_error", title="Its error", form="number"),
    Column(key="base", title="Base", form="number"),
    Column(key="difference", title="To the base", form="change"),
    Column(key="difference_standard_error", title="Its error", form="number"),
    Column(key="evaluation", title="Evaluation"),
)
_NUMBERS = ("value", "standard_error", "base", "difference", "difference_standard_error")

Row = dict[str, Cell]


def evaluated_runs(results: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Lay out the evaluations, and the figures of those that have succeeded."""
    told = [(_whose(line, one), one) for line in results for one in entries(line, "evaluations")]
    yield from _table("Evaluations", _EVALUATIONS, [row | _state(one) for row, one in told])
    figures = [row | _figure(figure) for row, one in told for figure in entries(one, "figures")]
    yield from _table("What they found, of plain answers", _FIGURES, figures)


def _whose(line: Mapping[str, Any], one: Mapping[str, Any]) -> Row:
    return {
        "alpha": number(line, "alpha"),
        "seed": number(line, "seed"),
        "checkpoint": text(one, "checkpoint", "of"),
        "evaluation": text(one, "id"),
    }


def _state(one: Mapping[str, Any]) -> Row:
    step, missing = number(at(one, "checkpoint"), "step"), number(one, "missing")
    return {"step": step, "status": text(one, "status"), "missing": missing, "name": text(one, "name")}


def _figure(told: Mapping[str, Any]) -> Row:
    measure = in_words(text(told, "measure") or "", text(told, "of") or "")
    return {"measure": measure, **{name: number(told, name) for name in _NUMBERS}}


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Block]:
    """Give a table; a column in which nothing stands is left out."""
    told = tuple(one for one in columns if any(row.get(one.key) is not None for row in rows))
    if told:
        yield Table(title=title, columns=told, rows=tuple(rows))

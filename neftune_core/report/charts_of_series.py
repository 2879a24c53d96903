"""Charts of a series: losses by alpha, as dots, curves and histograms."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from neftune_core.report.axes import axis
from neftune_core.report.curves import chart, curve
from neftune_core.report.document import Bars, Line, Lines
from neftune_core.report.kinds import bars
from neftune_core.report.reading import Measured, Run, at, number, text

BINS = 30
_DOTS = (("best_eval_loss", "best step"), ("eval_loss", "last step"))  # the last one lies on top
Point = tuple[float, int]  # alpha and seed


def dots(results: Sequence[Mapping[str, Any]]) -> Lines | None:
    """Draw each run's held-out loss over its alpha."""
    lines = []
    for key, name in _DOTS:
        told = ((number(line, "alpha"), number(line, key)) for line in results)
        points = tuple((alpha, loss) for alpha, loss in told if alpha is not None and loss is not None)
        if points:
            lines.append(Line(name=name, points=points))
    if not lines:
        return None
    x = axis("alpha", (point[0] for line in lines for point in line.points), from_zero=True)
    y = axis("clean held-out loss", (point[1] for line in lines for point in line.points))
    return Lines(title="Held-out loss of each run", x=x, y=y, lines=tuple(lines), dots=True)


def curves_by_alpha(runs: Mapping[Point, Run]) -> Lines | None:
    """Draw the held-out loss by step, a mean over seeds, where all seeds of an alpha have measured."""
    lines = []
    for alpha in sorted({alpha for alpha, _ in runs}):
        told = [dict(curve(run.metrics, "eval_loss")) for (of, _), run in runs.items() if of == alpha]
        steps = sorted(set.intersection(*(set(one) for one in told)))
        points = tuple((step, fmean(one[step] for one in told)) for step in steps)
        if points:
            lines.append(Line(name=f"alpha {alpha:g}", points=points))
    return chart("Held-out loss by step, noise off, means over seeds", lines)


def histograms(evaluated: Mapping[Point, Sequence[Measured]]) -> Iterator[Bars]:
    """Draw how the examples' losses lie, the seeds of an alpha together."""
    found: dict[str, dict[float, list[float]]] = {}
    for (alpha, _), evaluations in sorted(evaluated.items()):
        for one in evaluations:
            for loss in one.results.loss:
                if loss.subject == "checkpoint":
                    by_alpha = found.setdefault(loss.rows, {})
                    by_alpha.setdefault(alpha, []).extend(_losses(one.files(loss.file)))
    for rows, by_alpha in found.items():
        values = [value for told in by_alpha.values() for value in told]
        if not values:
            continue
        across = axis("", values)
        edges = np.linspace(across.low, across.high, BINS + 1)
        series = [
            (f"alpha {alpha:g}", [int(count) for count in np.histogram(told, edges)[0]])
            for alpha, told in by_alpha.items()
        ]
        yield bars(f"Losses of the examples of {rows}, all seeds", edges.tolist(), series)


def _losses(told: Any) -> list[float]:
    """Read a file of losses; one that is something else has none."""
    losses = at(told, "loss")
    if not isinstance(losses, list) or text(told, "subject") is None:
        return []
    return [value for value in (number({"": one}, "") for one in losses) if value is not None]

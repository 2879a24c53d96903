"""What evaluations of a series measured, alpha by alpha: means over seeds, and differences within seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from neftune_core.evaluate import headline
from neftune_core.evaluate.results import Results
from neftune_core.report.document import Cell, Column, Table
from neftune_core.report.reading import Measured

Point = tuple[float, int]  # alpha and seed
Evaluated = Mapping[Point, Sequence[Measured]]

_WORDS = {
    "loss": "loss per token, {}",
    "rouge_l": "ROUGE-L with training answers",
    "bleu": "BLEU with training answers",
    "characters": "characters",
    "words": "words",
    "repetition_2": "repeated pairs of words",
    "log_diversity": "log-diversity at {}",
    "log_diversity_published": "log-diversity as published at {}",
    "win_rate": "win rate against {}",
    "win_rate_length_controlled": "win rate at equal length against {}",
}


@dataclass(frozen=True, order=True)
class Measure:
    """A figure that an evaluation gives: of which checkpoint, under which name."""

    kind: str
    name: str
    checkpoint: str


def table(evaluated: Evaluated) -> Table | None:
    """Lay out each measure at each alpha, beside the control of the same seeds."""
    found: dict[Measure, dict[Point, float]] = {}
    for point, evaluations in sorted(evaluated.items()):
        for one in evaluations:
            for measure, value in figures(one.results):
                found.setdefault(measure, {})[point] = value
    rows = [row for measure, values in found.items() for row in _rows(measure, values)]
    columns = (
        Column(key="measure", title="Measure"),
        Column(key="checkpoint", title="Checkpoint"),
        Column(key="alpha", title="Alpha", form="number"),
        Column(key="seeds", title="Seeds", form="count"),
        Column(key="mean", title="Mean", form="number"),
        Column(key="low", title="Lowest", form="number"),
        Column(key="high", title="Highest", form="number"),
        Column(key="difference", title="To the control", form="change"),
        Column(key="pairs", title="Of pairs", form="count"),
    )
    title = "What evaluations measured: means over seeds, and the mean difference to the control of each seed"
    return Table(title=title, columns=columns, rows=tuple(rows)) if rows else None


def figures(results: Results) -> Iterator[tuple[Measure, float]]:
    """Give what an evaluation tells of the checkpoint, its answers being plain ones."""
    if results.of.checkpoint != "base":
        for one in headline.figures(results):
            yield Measure(one.kind, in_words(one.measure, one.of), results.of.checkpoint), one.value


def in_words(measure: str, of: str) -> str:
    """Name a figure; a metric of a benchmark has the name that its task gives it."""
    return _WORDS[measure].format(of) if measure in _WORDS else f"{of}, {measure}"


def _rows(measure: Measure, values: Mapping[Point, float]) -> Iterator[dict[str, Cell]]:
    for alpha in sorted({alpha for alpha, _ in values}):
        mine = {seed: value for (of, seed), value in values.items() if of == alpha}
        pairs = [value - values[0.0, seed] for seed, value in mine.items() if (0.0, seed) in values]
        yield {
            "measure": measure.name,
            "checkpoint": measure.checkpoint,
            "alpha": alpha,
            "seeds": len(mine),
            "mean": fmean(mine.values()),
            "low": min(mine.values()),
            "high": max(mine.values()),
            "difference": fmean(pairs) if pairs and alpha != 0 else None,
            "pairs": len(pairs) if alpha != 0 else None,
        }

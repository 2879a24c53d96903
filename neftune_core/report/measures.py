"""What evaluations of a series measured, alpha by alpha: means over seeds, and differences within seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from neftune_core.evaluate.results import Results
from neftune_core.report.document import Cell, Column, Table
from neftune_core.report.reading import Measured

Point = tuple[float, int]  # alpha and seed
Evaluated = Mapping[Point, Sequence[Measured]]


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
    for kind, name, value in (*_of_losses(results), *_of_answers(results), *_of_judges(results)):
        if value is not None:
            yield Measure(kind, name, results.of.checkpoint), value


def _of_losses(results: Results) -> Iterator[tuple[str, str, float | None]]:
    for loss in results.loss:
        if loss.subject == "checkpoint":
            yield "loss", f"loss per token, {loss.rows}", loss.per_token


def _of_answers(results: Results) -> Iterator[tuple[str, str, float | None]]:
    for overlap in results.overlap:
        if overlap.subject == "checkpoint":
            yield "overlap", "ROUGE-L with training answers", overlap.rouge_l.f1
            yield "overlap", "BLEU with training answers", overlap.bleu.score
    for one in results.diversity:
        if one.subject == "checkpoint" and one.variant == "plain":
            yield "diversity", "characters", one.characters.mean
            yield "diversity", "words", one.words.mean
            yield "diversity", "repeated pairs of words", None if one.whole is None else one.whole.two
            for chunk in one.chunks:
                yield "diversity", f"log-diversity at {chunk.words} words", chunk.log_diversity
                published = f"log-diversity as published at {chunk.words} words"
                yield "diversity", published, chunk.log_diversity_published


def _of_judges(results: Results) -> Iterator[tuple[str, str, float | None]]:
    for judged in results.judge:
        if judged.subject == "checkpoint" and judged.variant == "plain":
            for name, rate in (("win rate", judged.win_rate), ("at equal length", judged.length_controlled)):
                yield "judge", f"{name} against {judged.against}", None if rate is None else rate.percent
    for task in results.benchmarks:
        if results.of.checkpoint != "base":
            yield "benchmarks", f"{task.task}, {task.metric}, {task.filter}", task.value


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

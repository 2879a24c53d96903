"""The report of a series: what its verdict is, and all that its runs and their evaluations have measured.

Made from the series as ``GET /sweeps/{id}`` shows it, which holds results and verdict, and from the runs
where they are at hand. Judges nothing itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neftune_core.report import differences, measures
from neftune_core.report.axes import axis
from neftune_core.report.caveats_of_series import of_series
from neftune_core.report.charts_of_series import curves_by_alpha, dots, histograms
from neftune_core.report.document import (
    Block,
    Cell,
    Column,
    Conclusion,
    Interval,
    Intervals,
    MissingPart,
    Pairs,
    Report,
    Section,
    Table,
    Words,
)
from neftune_core.report.evaluated import evaluated_runs
from neftune_core.report.pairs import picked, sides
from neftune_core.report.reading import Measured, Run, at, entries, number, text

_OUTCOMES = {
    "recommended": "Alpha {alpha:g} is recommended",
    "not_recommended": "No noise is recommended: each alpha is surely worse",
    "inconclusive": "Inconclusive",
}
_READING = (
    "Differences are those of runs of one seed, in clean held-out loss at the last step: below zero is "
    "better than without noise. An alpha is recommended that is surely below zero against the control's last "
    "step and against its best one too."
)
_PAIRED = "Prompts were picked by the rules that stand above them; greedy answers of the same seed."


@dataclass(frozen=True)
class Series:
    """A series as it is told, and its runs by the id of their job."""

    told: Mapping[str, Any]
    runs: Mapping[str, Run] = field(default_factory=dict)

    @property
    def results(self) -> Sequence[Mapping[str, Any]]:
        """Give its lines."""
        return entries(self.told, "results")

    @property
    def points(self) -> Mapping[measures.Point, Run]:
        """Give the runs that are at hand by alpha and seed."""
        found: dict[measures.Point, Run] = {}
        for line in self.results:
            run, alpha = self.runs.get(text(line, "job") or ""), number(line, "alpha")
            seed = number(line, "seed")
            if run is not None and alpha is not None and seed is not None:
                found[alpha, int(seed)] = run
        return found


def report_of(series: Series) -> Report:
    """Report a series."""
    points = series.points
    named = [(f"alpha {alpha:g}, seed {seed}", run) for (alpha, seed), run in sorted(points.items())]
    differing = differences.between(named)
    evaluated = {point: run.evaluations for point, run in points.items() if run.evaluations}
    verdict = conclusion(at(series.told, "verdict"))
    made = (
        Section(id="series", title="The series", blocks=tuple(_about(series))),
        Section(id="differences", title="Differences to the control", blocks=tuple(_differences(series))),
        Section(id="results", title="Results of the runs", blocks=tuple(_results(series))),
        Section(id="losses", title="Losses by alpha", blocks=tuple(_losses(points, evaluated))),
        Section(id="evaluations", title="Evaluations by alpha", blocks=tuple(_evaluations(evaluated))),
        Section(
            id="evaluated", title="Evaluations of each run", blocks=tuple(evaluated_runs(series.results))
        ),
        Section(id="answers", title="Answers side by side", blocks=tuple(_answers(evaluated, series))),
        Section(id="configuration", title="Configuration", blocks=(differing,) if differing.rows else ()),
    )
    return Report(
        of="series",
        title=text(series.told, "name") or "Series",
        subtitle=_subtitle(series),
        verdict=verdict,
        caveats=of_series(series.told, list(points.values()), differences.unasked(differing)),
        missing=tuple(_missing(points)),
        sections=tuple(section for section in made if section.blocks),
    )


def conclusion(told: Any) -> Conclusion:
    """Say the verdict; what is no verdict is none."""
    outcome, alpha = text(told, "outcome"), number(told, "recommended_alpha")
    if outcome not in _OUTCOMES or (outcome == "recommended" and alpha is None):
        return Conclusion(outcome="none", headline="No verdict", why="The series has not been judged.")
    ends = at(told, "interval")
    return Conclusion.model_validate(
        {
            "outcome": outcome,
            "headline": _OUTCOMES[outcome].format(alpha=alpha),
            "why": text(told, "why") or "",
            "recommended_alpha": alpha,
            "interval": ends if isinstance(ends, list | tuple) and len(ends) == 2 else None,
            "confidence": number(told, "confidence"),
            "reasons": [one for one in at(told, "reasons") or () if isinstance(one, str)],
        }
    )


def _subtitle(series: Series) -> str:
    alphas = ", ".join(f"{alpha:g}" for alpha in _numbers(series.told, "alpha"))
    seeds = ", ".join(f"{seed:g}" for seed in _numbers(series.told, "seed"))
    model = text(series.told, "job", "model") or "a model"
    return f"{model}, NEFTune alpha {alphas}, seeds {seeds}"


def _numbers(told: Any, name: str) -> list[float]:
    values = at(told, name)
    return [one for one in (number({"": each}, "") for each in values or ()) if one is not None]


def _about(series: Series) -> list[Block]:
    rows: tuple[dict[str, Cell], ...] = tuple(
        {"what": what, "value": value}
        for what, value in (
            ("Status", text(series.told, "status")),
            ("Strategy", text(series.told, "strategy")),
            ("Runs taken, in whole runs", number(series.told, "cost", "runs")),
            ("Runs of the whole grid", number(series.told, "cost", "grid_runs")),
            ("Runs saved", number(series.told, "cost", "saved_runs")),
            ("Seconds of all runs", number(series.told, "cost", "seconds")),
        )
        if value is not None
    )
    columns = (Column(key="what", title="What"), Column(key="value", title="Value"))
    blocks: list[Block] = [Table(title="What it took", columns=columns, rows=rows)] if rows else []
    rungs = [
        {
            "at": number(rung, "at"),
            "kept": ", ".join(f"{alpha:g}" for alpha in _numbers(rung, "kept")),
            "stopped": ", ".join(f"{alpha:g}" for alpha in _numbers(rung, "stopped")),
        }
        for rung in entries(series.told, "rungs")
    ]
    if rungs:
        columns_of_rungs = (
            Column(key="at", title="At the share of a run", form="number"),
            Column(key="kept", title="Alphas that went on"),
            Column(key="stopped", title="Alphas that were stopped"),
        )
        blocks.append(Table(title="Where halving has decided", columns=columns_of_rungs, rows=tuple(rungs)))
    return blocks


def _differences(series: Series) -> list[Block]:
    rows: list[dict[str, Cell]] = []
    drawn: list[Interval] = []
    for line in entries(series.told, "verdict", "alphas"):
        alpha = number(line, "alpha")
        for name, against in (("to_last", "last step"), ("to_best", "best step")):
            mean = number(line, name, "mean")
            if alpha is None or mean is None:
                continue
            low, high = _ends(at(line, name, "interval"))
            numbers = ("mean", "error", "seed_error", "row_error", "pairs", "better")
            told = {key: number(line, name, key) for key in numbers}
            p = number(line, "p_adjusted")
            rows.append({"alpha": alpha, "against": against, **told, "low": low, "high": high, "p": p})
            drawn.append(Interval(name=f"{alpha:g}, {against.split()[0]}", at=mean, low=low, high=high))
    if not rows:
        return []
    reach = [end for one in drawn for end in (one.at, one.low, one.high, 0.0) if end is not None]
    chart = Intervals(
        title="Alpha against the control's last and best step, with intervals; left of zero is better",
        x=axis("difference in clean held-out loss", reach),
        nothing=0.0,
        rows=tuple(drawn),
    )
    columns = (
        Column(key="alpha", title="Alpha", form="number"),
        Column(key="against", title="Against the control's"),
        Column(key="mean", title="Difference", form="change"),
        Column(key="low", title="From", form="change"),
        Column(key="high", title="To", form="change"),
        Column(key="error", title="Its error", form="loss"),
        Column(key="seed_error", title="Of seeds", form="loss"),
        Column(key="row_error", title="Of rows", form="loss"),
        Column(key="pairs", title="Pairs", form="count"),
        Column(key="better", title="Better", form="count"),
        Column(key="p", title="p of both, adjusted (Holm)", form="number"),
    )
    title = "Mean differences of the last step, paired by seed"
    return [Words(text=_READING), chart, Table(title=title, columns=columns, rows=tuple(rows))]


def _ends(told: Any) -> tuple[float | None, float | None]:
    if not isinstance(told, list | tuple) or len(told) != 2:
        return None, None
    low, high = (number({"": end}, "") for end in told)
    return (low, high) if low is not None and high is not None else (None, None)


_COLUMNS = (
    Column(key="alpha", title="Alpha", form="number"),
    Column(key="seed", title="Seed", form="number"),
    Column(key="status", title="Status"),
    Column(key="cancel_reason", title="Cancelled by"),
    Column(key="clean_train_loss", title="Clean training loss, last", form="loss"),
    Column(key="best_clean_train_loss", title="Clean training loss, best", form="loss"),
    Column(key="eval_loss", title="Held-out, last", form="loss"),
    Column(key="best_eval_loss", title="Held-out, best", form="loss"),
    Column(key="best_step", title="Best step", form="count"),
    Column(key="base_eval_loss", title="Held-out, base", form="loss"),
    Column(key="runs", title="Runs", form="number"),
    Column(key="seconds", title="Seconds", form="number"),
    Column(key="job", title="Job"),
)


def _results(series: Series) -> list[Block]:
    told = {column.key: column.form for column in _COLUMNS}
    rows = tuple(
        {key: text(line, key) if form == "text" else number(line, key) for key, form in told.items()}
        for line in series.results
    )
    columns = tuple(one for one in _COLUMNS if any(row[one.key] is not None for row in rows))
    if not columns:
        return []
    blocks: list[Block] = [Table(title="Clean losses, noise off, and cost", columns=columns, rows=rows)]
    chart = dots(series.results)
    return [chart, *blocks] if chart is not None else blocks


def _losses(points: Mapping[measures.Point, Run], evaluated: measures.Evaluated) -> list[Block]:
    curves = curves_by_alpha(points)
    return [*((curves,) if curves is not None else ()), *histograms(evaluated)]


def _evaluations(evaluated: measures.Evaluated) -> list[Block]:
    table = measures.table(evaluated)
    return [] if table is None else [table]


def _answers(evaluated: measures.Evaluated, series: Series) -> list[Block]:
    """Show the answers of the recommended alpha, or of the highest, beside those of its control."""
    recommended = number(series.told, "verdict", "recommended_alpha")
    alphas = sorted({alpha for alpha, _ in evaluated} - {0.0}, reverse=True)
    for alpha in alphas if recommended is None else [recommended]:
        for _, seed in sorted(point for point in evaluated if point[0] == alpha):
            ours, theirs = (_outputs(evaluated.get((of, seed), ())) for of in (alpha, 0.0))
            names = (f"alpha {alpha:g}", "control")
            if found := picked(sides(ours, theirs), names):
                title = f"Alpha {alpha:g} beside its control, seed {seed}"
                return [Words(text=_PAIRED), Pairs(title=title, pairs=found)]
    return []


def _outputs(evaluations: Sequence[Measured]) -> Any:
    for one in evaluations:
        for answers in one.results.answers:
            if (answers.on, answers.subject, answers.variant) == ("prompts", "checkpoint", "plain"):
                return one.files(answers.file)
    return None


def _missing(points: Mapping[measures.Point, Run]) -> Iterator[MissingPart]:
    for (alpha, seed), run in sorted(points.items()):
        for one in run.evaluations:
            for part in one.results.missing:
                yield MissingPart(what=f"alpha {alpha:g}, seed {seed}: {part.what}", why=part.why)

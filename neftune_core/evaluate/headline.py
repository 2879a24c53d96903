"""The headline of an evaluation: the few figures of its results that a table has room for.

Of plain answers alone: baselines and single documents stand in the results. Made from what a runner wrote,
so it is bounded whatever that is. Pure.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from neftune_core.evaluate.plan import subjects_of
from neftune_core.evaluate.results import Results, Subject, WinRate

MOST_FIGURES = 64
_MOST_CHARACTERS = 128  # of a name that strangers chose


@dataclass(frozen=True)
class Figure:
    """One figure of who was measured, and how far that is from the base, where that was measured too.

    ``of`` says which one, where a measure has several: rows, words of a cut, the other side, a task.
    """

    kind: str
    measure: str
    of: str
    value: float
    standard_error: float | None = None
    base: float | None = None
    difference: float | None = None
    difference_standard_error: float | None = None
    part: bool = False  # of a group of tasks that has a figure itself

    def beside(self, base: float | None) -> "Figure":
        """Give it with its base."""
        difference = math.inf if base is None else self.value - base
        return replace(self, base=base, difference=difference if math.isfinite(difference) else None)


def figures(results: Results) -> Iterator[Figure]:
    """Give all figures, kind by kind."""
    yield from _paired(results, _of_losses)
    yield from _paired(results, _of_overlap)
    yield from _paired(results, _of_diversity)
    yield from _of_judges(results, subjects_of(results.spec)[-1])
    yield from _of_benchmarks(results)


def headline(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what is kept beside a record; nothing where it is none of an evaluation."""
    try:
        results = Results.model_validate(record)
    except ValidationError:
        return None
    return in_short(results)


def in_short(results: Results) -> dict[str, Any]:
    """Give the figures as plain values, no more than there is room for, and how much is missing."""
    found = [_plain(one) for one in figures(results) if not one.part]
    return {"figures": found[:MOST_FIGURES], "missing": len(results.missing)}


def _plain(figure: Figure) -> dict[str, Any]:
    told = asdict(figure)
    del told["part"]
    return told | {name: told[name][:_MOST_CHARACTERS] for name in ("measure", "of")}


def _paired(results: Results, figures_of: Callable[[Results, Subject], Iterable[Figure]]) -> Iterator[Figure]:
    """Put the base's figures beside those of who was asked for."""
    *others, subject = subjects_of(results.spec)
    bases = {(one.measure, one.of): one.value for other in others for one in figures_of(results, other)}
    for one in figures_of(results, subject):
        yield one.beside(bases.get((one.measure, one.of)))


def _of_losses(results: Results, subject: Subject) -> Iterator[Figure]:
    for one in results.loss:
        if one.subject == subject and one.per_token is not None:
            yield Figure("loss", "loss", one.rows, one.per_token)


def _of_overlap(results: Results, subject: Subject) -> Iterator[Figure]:
    for one in results.overlap:
        if one.subject == subject:
            yield Figure("overlap", "rouge_l", "train", one.rouge_l.f1)
            yield Figure("overlap", "bleu", "train", one.bleu.score)


def _of_diversity(results: Results, subject: Subject) -> Iterator[Figure]:
    for one in results.diversity:
        if one.subject != subject or one.variant != "plain":
            continue
        told = {"characters": one.characters.mean, "words": one.words.mean}
        if one.whole is not None:
            told["repetition_2"] = one.whole.two
        for measure, value in told.items():
            if value is not None:
                yield Figure("diversity", measure, "prompts", value)
        for chunk in one.chunks:
            cut = {
                "log_diversity": chunk.log_diversity,
                "log_diversity_published": chunk.log_diversity_published,
            }
            for measure, value in cut.items():
                if value is not None:
                    yield Figure("diversity", measure, f"{chunk.words} words", value)


def _of_judges(results: Results, subject: Subject) -> Iterator[Figure]:
    for one in results.judge:
        if one.subject == subject and one.variant == "plain":
            yield from _rate("win_rate", one.against, one.win_rate)
            yield from _rate("win_rate_length_controlled", one.against, one.length_controlled)


def _rate(measure: str, against: str, rate: WinRate | None) -> Iterator[Figure]:
    if rate is not None:
        yield Figure("judge", measure, against, rate.percent, rate.standard_error)


def _of_benchmarks(results: Results) -> Iterator[Figure]:
    whole = {one.asked for one in results.benchmarks if one.task == one.asked}
    for one in results.benchmarks:
        if one.value is None:
            continue
        yield Figure(
            "benchmarks",
            one.metric,
            one.task if one.filter == "none" else f"{one.task}, {one.filter}",
            one.value,
            one.standard_error,
            one.base,
            one.difference,
            one.difference_standard_error,
            part=one.task != one.asked and one.asked in whole,
        )

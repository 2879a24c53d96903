"""The verdict on a series: which alpha to take, or that it can't be told, and why.

The primary measure is the difference to the control of the same seed in clean held-out loss at the last
step. An alpha is recommended that is surely better than the control there, with all alphas that were asked
for counted (Holm), and surely better than the control's *best* step too: else stopping early would have done
as well. A series that can't tell says so. Pure: knows no files, jobs or HTTP.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from neftune_core.eval_losses import EvalLosses, Measurement
from neftune_core.statistics import CONFIDENCE, FEWEST_SEEDS, Difference, Pair, differences, holm

LEVEL = 0.05  # of recommending any alpha where none helps
CONTROL = 0.0


class Outcome(StrEnum):
    """What a series comes to."""

    RECOMMENDED = "recommended"
    NOT_RECOMMENDED = "not_recommended"  # each alpha is surely worse than the control
    INCONCLUSIVE = "inconclusive"


class Reason(StrEnum):
    """Why no alpha is recommended."""

    UNFINISHED = "unfinished"
    NO_CONTROL = "no_control"
    NO_HELD_OUT_ROWS = "no_held_out_rows"
    TOO_FEW_SEEDS = "too_few_seeds"
    EARLY_STOPPING = "early_stopping_is_as_good"
    NO_CLEAR_DIFFERENCE = "no_clear_difference"
    WORSE = "noise_is_worse"


WORDS = {
    Reason.UNFINISHED: "Runs of the series have not ended yet.",
    Reason.NO_CONTROL: "No run has a control of its seed: they failed, were cancelled or have been deleted.",
    Reason.NO_HELD_OUT_ROWS: "No run and its control have measured the same held-out rows; set validation.",
    Reason.TOO_FEW_SEEDS: f"Fewer than {FEWEST_SEEDS} seeds have a run and its control: it may be chance.",
    Reason.EARLY_STOPPING: "Noise beats the control's last step, not its best: stopping early is as good.",
    Reason.NO_CLEAR_DIFFERENCE: "No alpha is surely better than the control; more seeds would tell more.",
    Reason.WORSE: "Each alpha is surely worse than the control.",
}


@dataclass(frozen=True)
class Result:
    """One run of a series; ``losses`` only of one that has succeeded and held rows out."""

    alpha: float
    seed: int
    ended: bool
    losses: EvalLosses | None = None
    succeeded: bool = True


@dataclass(frozen=True)
class AlphaVerdict:
    """One alpha against the control's last step and against its best one."""

    alpha: float
    to_last: Difference | None
    to_best: Difference | None
    p_adjusted: float | None  # of both questions, with all alphas counted


@dataclass(frozen=True)
class Verdict:
    """What a series says. ``recommended_alpha`` is null unless the outcome is that one is."""

    outcome: Outcome
    recommended_alpha: float | None
    interval: tuple[float, float] | None  # of the recommended one's difference to the control
    reasons: tuple[Reason, ...] = ()
    alphas: tuple[AlphaVerdict, ...] = field(default=())
    confidence: float = CONFIDENCE

    @property
    def why(self) -> str:
        """Say it in a sentence."""
        return " ".join(WORDS[reason] for reason in self.reasons)


def judge(results: Sequence[Result]) -> Verdict:
    """Judge a series; each (alpha, seed) at most once."""
    asked = sorted({one.alpha for one in results} - {CONTROL})
    to_last = differences(_pairs(results, asked, best=False))
    to_best = differences(_pairs(results, asked, best=True))
    ps = {alpha: _p_of_both(to_last.get(alpha), to_best.get(alpha)) for alpha in asked}
    adjusted = dict(zip(asked, _adjusted([ps[alpha] for alpha in asked]), strict=True))
    lines = tuple(
        AlphaVerdict(
            alpha, to_last.get(alpha), to_best.get(alpha), None if ps[alpha] is None else adjusted[alpha]
        )
        for alpha in asked
    )
    reason = _cannot_tell(results, to_last)
    if reason is not None:
        return Verdict(Outcome.INCONCLUSIVE, None, None, (reason,), lines)
    good = [alpha for alpha in asked if adjusted[alpha] <= LEVEL and _below(to_last[alpha], to_best[alpha])]
    if good:
        chosen = min(good, key=lambda alpha: to_last[alpha].mean)
        return Verdict(Outcome.RECOMMENDED, chosen, to_last[chosen].interval, (), lines)
    outcome, reason = _why_none(asked, to_last)
    return Verdict(outcome, None, None, (reason,), lines)


def _pairs(results: Iterable[Result], asked: Sequence[float], *, best: bool) -> Mapping[float, list[Pair]]:
    """Pair each run's last step with its control's last or best one."""
    by_point = {(one.alpha, one.seed): one.losses for one in results if one.losses is not None}
    pairs: dict[float, list[Pair]] = {alpha: [] for alpha in asked}
    for (alpha, seed), losses in sorted(by_point.items(), key=lambda item: item[0]):
        control = by_point.get((CONTROL, seed))
        if alpha == CONTROL or control is None or not _of_same_rows(control, losses):
            continue
        mine, other = losses.last, control.best if best else control.last
        if mine is not None and other is not None:
            pairs[alpha].append(_pair(seed, losses, mine, other))
    return pairs


def _of_same_rows(one: EvalLosses, other: EvalLosses) -> bool:
    """Tell whether both were measured on the same; what a runner wrote may belie its own name."""
    return (one.rows, list(one.tokens)) == (other.rows, list(other.tokens))


def _pair(seed: int, losses: EvalLosses, mine: Measurement, other: Measurement) -> Pair:
    changes = np.asarray(mine.losses) - np.asarray(other.losses)
    return Pair(seed, losses.rows, changes, np.asarray(losses.tokens, dtype=np.float64))


def _p_of_both(to_last: Difference | None, to_best: Difference | None) -> float | None:
    """Give the p-value of being better than neither: the larger one, for both must be beaten."""
    if to_last is None or to_best is None or to_last.p is None or to_best.p is None:
        return None
    return max(to_last.p, to_best.p)


def _below(*ones: Difference) -> bool:
    return all(one.interval is not None and one.interval[1] < 0 for one in ones)


def _cannot_tell(results: Sequence[Result], to_last: Mapping[float, Difference]) -> Reason | None:
    if not all(one.ended for one in results):
        return Reason.UNFINISHED
    enough = len({one.seed for one in results}) >= FEWEST_SEEDS
    if enough and not to_last and (reason := _why_no_pair(results)) is not None:
        return reason
    if all(one.pairs < FEWEST_SEEDS for one in to_last.values()):
        return Reason.TOO_FEW_SEEDS
    return None


def _why_no_pair(results: Sequence[Result]) -> Reason | None:
    """Say what keeps all runs from being held against a control, if it is not that seeds are few."""
    succeeded = {(one.alpha, one.seed) for one in results if one.succeeded}
    controls = {seed for alpha, seed in succeeded if alpha == CONTROL}
    tuned = {seed for alpha, seed in succeeded if alpha != CONTROL}
    if not controls or (tuned and not controls & tuned):
        return Reason.NO_CONTROL
    return Reason.NO_HELD_OUT_ROWS if tuned else None


def _why_none(asked: Sequence[float], to_last: Mapping[float, Difference]) -> tuple[Outcome, Reason]:
    """Say why no alpha passes, from the differences to the control's last step alone."""
    ps = [_p(to_last.get(alpha)) for alpha in asked]
    passed = zip(asked, _adjusted(ps), strict=True)
    if any(p <= LEVEL and _below(to_last[alpha]) for alpha, p in passed):
        return Outcome.INCONCLUSIVE, Reason.EARLY_STOPPING
    worse = _adjusted([None if p is None else 1 - p for p in ps])
    if all(p <= LEVEL for p in worse):
        return Outcome.NOT_RECOMMENDED, Reason.WORSE
    return Outcome.INCONCLUSIVE, Reason.NO_CLEAR_DIFFERENCE


def _p(one: Difference | None) -> float | None:
    return None if one is None else one.p


def _adjusted(ps: Sequence[float | None]) -> list[float]:
    """Adjust by Holm; what was asked and has no answer counts as a question all the same."""
    return holm([1.0 if p is None else p for p in ps])

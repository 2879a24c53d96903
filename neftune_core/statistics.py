"""How far a series' runs are from their controls, and how sure that is.

Runs of one seed are pairs: the same rows in the same order, the same first adapter, the same dropout. A
pair's difference is that of the two clean held-out losses, treated minus control: below zero is better.

Its noise has two levels, and so has the bootstrap: seeds first, then the examples within them. What it would
draw of seeds is known without drawing, so only examples are drawn. Two things are mended, for with three
seeds the plain one is far too sure (``docs/log.md``): its variance over S seeds is short by (S - 1) / S, and
the quantile is Student's. All alphas have one control, so their noise is pooled, and its degrees of freedom
are counted as those of differences that share half of it.

Pure: numbers in, numbers out. Axes: E examples, R draws.
"""

# ruff: noqa: N806, N815 - an array's name ends with its axes

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neftune_core.student import quantile, tail

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_SEEDS = 3  # below, no interval is given
DRAWS = 1000
_DRAWN_AT_ONCE = 1 << 22  # numbers
_SEED = 20_260_101  # any fixed one: the same series gives the same numbers


@dataclass(frozen=True)
class Pair:
    """A run and its control. ``rows`` names the held-out rows: seeds with equal rows share their noise."""

    seed: int
    rows: str
    change_E: Floats  # treated minus control, summed over each example's trained tokens
    tokens_E: Floats

    @property
    def difference(self) -> float:
        """Give the difference of the two losses, each a mean over tokens."""
        return float(self.change_E.sum() / self.tokens_E.sum())


@dataclass(frozen=True)
class Difference:
    """An alpha against the control. Without an interval: there are too few pairs for one."""

    mean: float
    pairs: int
    better: int  # pairs that say so
    error: float | None = None  # standard error
    interval: tuple[float, float] | None = None
    p: float | None = None  # of what is seen or more, were it no better; one-sided
    seed_error: float | None = None  # what of the error comes from seeds,
    row_error: float | None = None  # and what from the choice of the rows that are held out


def differences(pairs: Mapping[float, Sequence[Pair]]) -> dict[float, Difference]:
    """Hold each alpha against the control; alphas without a pair are left out."""
    there = {alpha: list(of) for alpha, of in pairs.items() if of}
    enough = {alpha: of for alpha, of in there.items() if len(of) >= FEWEST_SEEDS}
    variance, df = _seed_noise([[one.difference for one in of] for of in enough.values()])
    return {
        alpha: _with_interval(of, variance, df) if alpha in enough else _point(of)
        for alpha, of in there.items()
    }


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values for having asked so many questions: Holm's way, in the order given."""
    adjusted, least = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        least = max(least, min(1.0, ps[index] * (len(ps) - place)))
        adjusted[index] = least
    return adjusted


def _point(pairs: Sequence[Pair]) -> Difference:
    values = [one.difference for one in pairs]
    return Difference(sum(values) / len(values), len(values), sum(value < 0 for value in values))


def _with_interval(pairs: Sequence[Pair], variance: float, seed_df: float) -> Difference:
    """Add the two levels up; the degrees of freedom of a sum are Satterthwaite's."""
    plain = _point(pairs)
    of_seeds, of_rows = variance / plain.pairs, _shared_row_noise(pairs)
    whole = of_seeds + of_rows
    if whole == 0:
        p = 1.0 if plain.mean >= 0 else 0.0
        return Difference(*_told(plain), 0.0, (plain.mean, plain.mean), p, 0.0, 0.0)
    row_df = max(1, min(len(one.tokens_E) for one in pairs) - 1)
    df = whole**2 / (of_seeds**2 / seed_df + of_rows**2 / row_df)
    error = math.sqrt(whole)
    reach = quantile((1 + CONFIDENCE) / 2, df) * error
    return Difference(
        *_told(plain),
        error=error,
        interval=(plain.mean - reach, plain.mean + reach),
        p=tail(-plain.mean / error, df),
        seed_error=math.sqrt(of_seeds),
        row_error=math.sqrt(of_rows),
    )


def _told(plain: Difference) -> tuple[float, int, int]:
    return plain.mean, plain.pairs, plain.better


def _seed_noise(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Give the variance of a pair's difference over seeds, pooled over alphas, and its degrees of freedom.

    Differences to one control share the control's noise, half of all: of K alphas each adds to the degrees
    of freedom by what it does not share, 4 K / (K + 3) times those of one.
    """
    if not values:
        return 0.0, 1.0
    squares = sum(float(((np.array(of) - np.mean(of)) ** 2).sum()) for of in values)
    free = sum(len(of) - 1 for of in values)
    return squares / free, free * 4 / (len(values) + 3)


def _shared_row_noise(pairs: Sequence[Pair]) -> float:
    """Give the variance that the mean over seeds has because all of them are measured on the same rows.

    Rows that differ from seed to seed add none: what they do is in the differences between the seeds.
    """
    groups: dict[str, list[Pair]] = {}
    for one in pairs:
        groups.setdefault(one.rows, []).append(one)
    if len(groups) == len(pairs):
        return 0.0
    drawn = [_drawn(of) for of in groups.values()]
    seeds = len(pairs)
    together = sum(float((of_SR.sum(0) / seeds).var()) for of_SR in drawn)
    apart = sum(float(of_SR.var(1).sum()) for of_SR in drawn) / seeds**2
    return max(0.0, together - apart) * seeds / (seeds - 1)


def _drawn(pairs: Sequence[Pair]) -> Floats:
    """Draw the examples again and again, the same ones for all seeds; give each draw's differences."""
    random = np.random.default_rng(_SEED)
    tokens_E = pairs[0].tokens_E
    change_SE = np.stack([one.change_E for one in pairs])
    count = len(tokens_E)
    parts = []
    at_once = max(1, _DRAWN_AT_ONCE // count)
    for start in range(0, DRAWS, at_once):
        draws = min(at_once, DRAWS - start)
        times_RE = random.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
        parts.append((change_SE @ times_RE.T) / (times_RE @ tokens_E))
    return np.concatenate(parts, axis=1)

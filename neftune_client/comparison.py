"""A sweep's results: each strength of noise against the control without, in pairs of one seed.

Pure arithmetic on held-out losses, which are measured without noise. Says how far apart they are and how sure
that is; with one seed it says that it can't tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev


@dataclass(frozen=True, slots=True)
class Point:
    """One job of a sweep; ``loss`` is None until it has one, or where it failed."""

    alpha: float
    seed: int
    status: str
    loss: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One alpha over all its seeds."""

    alpha: float
    done: int
    seeds: int
    loss: float | None
    gain: float | None  # mean of control minus this, over the pairs; more is better
    error: float | None  # standard error of the gain; needs two pairs
    better: int  # pairs in which it beats the control
    pairs: int


def compare(points: Iterable[Point]) -> list[Line]:
    """Put the points together, one line an alpha, the control first."""
    points = list(points)
    control = {one.seed: one.loss for one in points if one.alpha == 0 and one.loss is not None}
    return [_line(alpha, points, control) for alpha in sorted({one.alpha for one in points})]


def _line(alpha: float, points: list[Point], control: dict[int, float]) -> Line:
    mine = [one for one in points if one.alpha == alpha]
    losses = {one.seed: one.loss for one in mine if one.loss is not None}
    gains = [control[seed] - loss for seed, loss in losses.items() if seed in control] if alpha else []
    return Line(
        alpha=alpha,
        done=sum(one.status == "succeeded" for one in mine),
        seeds=len(mine),
        loss=mean(losses.values()) if losses else None,
        gain=mean(gains) if gains else None,
        error=stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else None,
        better=sum(gain > 0 for gain in gains),
        pairs=len(gains),
    )

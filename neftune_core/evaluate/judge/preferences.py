"""Figures of preferences: how many were won, how sure that is, and whether the judge goes by the place.

A win is 1, a loss 0, a draw a half; of both orders, the mean. The standard error is that of a mean over
pairs, so a pair counts once, in however many orders it was asked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neftune_core.evaluate.judge.length_control import OneSideLonger, length_controlled
from neftune_core.evaluate.results import Position, WinRate

_SURE = 2.576  # of a normal variable, two-sided 1 %
_FEWEST = 8  # disagreements, for fewer prove nothing at that level
_MATTERS = 2.0  # points: less is not worth a word


@dataclass(frozen=True, slots=True)
class Counts:
    """How many were won, lost and drawn."""

    wins: int
    losses: int
    ties: int


def counts(wins: Sequence[float]) -> Counts:
    """Count; the smallest lead wins."""
    won, lost = sum(win > 0.5 for win in wins), sum(win < 0.5 for win in wins)
    return Counts(won, lost, len(wins) - won - lost)


def win_rate(wins: Sequence[float]) -> WinRate | None:
    """Give the mean in per cent, or None of nothing; of one pair nobody knows how sure it is."""
    if not wins:
        return None
    return WinRate(percent=100 * _mean(wins), standard_error=_error(wins))


def controlled(wins: Sequence[float], differences: Sequence[int]) -> WinRate | None:
    """Give the win rate at equal length, or None where that cannot be told."""
    try:
        found = length_controlled(wins, differences)
    except OneSideLonger:
        return None
    return WinRate(percent=found.win_rate, standard_error=found.standard_error)


def position(both_orders: Sequence[tuple[float, float]]) -> Position | None:
    """Look for a preference of a place; of each pair, how far the text shown first won, in either order."""
    if not both_orders:
        return None
    firsts = [(one + other) / 2 for one, other in both_orders]
    more, less = sum(first > 0.5 for first in firsts), sum(first < 0.5 for first in firsts)
    percent = 100 * _mean(firsts)
    proven = more + less >= _FEWEST and abs(more - less) > _SURE * math.sqrt(more + less)
    return Position(
        first_percent=percent,
        standard_error=_error(firsts),
        biased=proven and abs(percent - 50) >= _MATTERS,
        disagreed=sum(one == other and one in (0.0, 1.0) for one, other in both_orders),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _error(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return 100 * math.sqrt(
        math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    )

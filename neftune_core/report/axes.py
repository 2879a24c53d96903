"""Axes: round marks for a range of numbers."""

import math
from collections.abc import Iterable

from neftune_core.report.document import Axis, Tick

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MARKS = 6


def axis(title: str, values: Iterable[float], *, whole: bool = False, from_zero: bool = False) -> Axis:
    """Give an axis on which all values lie, its ends on round marks; ``whole`` marks integers alone."""
    there = [value for value in values if math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if from_zero:
        low = min(low, 0.0)
    if high - low <= max(abs(low), abs(high), 1e-12) * 1e-9:  # all the same
        room = max(abs(low) * 0.1, 1.0 if whole else 0.1)
        low, high = (low if from_zero else low - room), high + room
    step = _step((high - low) / (MARKS - 1), whole=whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [_round(number * step, step) for number in range(first, last + 1)]
    ticks = tuple(Tick(at=mark, label=label(mark, step)) for mark in marks)
    return Axis(title=title, low=marks[0], high=marks[-1], ticks=ticks)


def label(mark: float, step: float) -> str:
    """Write a mark with as many decimals as its neighbours need."""
    if abs(mark) >= 1e6 or (step < 1e-6 and abs(mark) < 1e-3):
        return f"{mark:g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{step:.{decimals}f}"
    if abs(float(text) - step) > step * 1e-6:  # 2.5, 0.25
        decimals += 1
    return f"{mark:.{decimals}f}"


def _step(rough: float, *, whole: bool) -> float:
    if whole and rough <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (one * power for one in _STEPS)
    return next(one for one in steps if one >= rough * (1 - 1e-9) and (not whole or one == int(one)))


def _round(mark: float, step: float) -> float:
    """Give a mark without what binary fractions have added to it."""
    return round(mark, max(0, 3 - math.floor(math.log10(step)))) + 0.0

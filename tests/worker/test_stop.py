"""Limits against clock readings: no clock is needed to test them."""

import pytest

from worker.stop import Bounds, Reading, Stop, overdue

BOUNDS = Bounds(stall=600, first_step=1800, run=3600)


def at(now: float, heard: float | None = None, median: float = 0.0) -> Reading:
    return Reading(now=now, started=0.0, last_heard=heard, median_step=median)


@pytest.mark.parametrize(
    ("reading", "stop"),
    [
        (at(1799), None),
        (at(1801), Stop.STALLED),  # not a word in half an hour
        (at(1000, heard=401), None),
        (at(1002, heard=401), Stop.STALLED),
        (at(1002, heard=401, median=60), None),  # twenty usual steps are more than ten minutes
        (at(1602, heard=401, median=60), Stop.STALLED),
        (at(3601, heard=3600), Stop.TIME_LIMIT),
    ],
)
def test_a_limit_that_is_exceeded_is_named(reading: Reading, stop: Stop | None) -> None:
    assert overdue(BOUNDS, reading) is stop


def test_without_a_time_limit_a_run_may_take_for_ever() -> None:
    assert overdue(Bounds(stall=600, first_step=1800), at(1e9, heard=1e9 - 1)) is None

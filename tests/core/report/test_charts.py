"""Charts: marks are round, curves end where their numbers are, and nothing lies outside."""

import math
import re
from itertools import pairwise

import pytest

from neftune_core.report import charts
from neftune_core.report.axes import axis
from neftune_core.report.curves import MOST_POINTS, curve, losses
from neftune_core.report.document import Interval, Intervals
from neftune_core.report.kinds import bars
from tests.core.report import made


@pytest.mark.parametrize(
    "values",
    [[0, 30], [3.7951, 3.8204], [-0.02, 0.013], [1e-9, 3e-9], [1e8, 3e12], [5], [0], [], [2, 2.0000001]],
)
def test_an_axis_holds_its_values_between_round_marks(values):
    found = axis("x", values)
    assert found.low < found.high
    assert all(found.low <= value <= found.high for value in values)
    assert 2 <= len(found.ticks) <= 9
    assert len({tick.label for tick in found.ticks}) == len(found.ticks)
    assert all(float(tick.label) == pytest.approx(tick.at, rel=1e-5, abs=1e-12) for tick in found.ticks)


def test_an_axis_of_counts_marks_whole_numbers_from_zero():
    labels = [tick.label for tick in axis("examples", [1, 3], whole=True, from_zero=True).ticks]
    assert labels == ["0", "1", "2", "3"]


def points_of(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def test_a_curve_is_drawn_from_corner_to_corner_of_its_axes():
    chart = losses(made.run(alpha=0.0, metrics=[(0, {"train_loss": 4.0}), (10, {"train_loss": 2.0})]))
    drawn = str(charts.lines(chart))
    (start, end) = points_of(re.search(r'd="(M[^"]*)" class="line s0"', drawn)[1])
    assert start == (charts.LEFT, charts.TOP)
    assert end == (charts.WIDTH - charts.RIGHT, charts.HEIGHT - charts.BOTTOM)


def test_noisy_and_clean_losses_are_named_apart_and_a_control_has_one_training_loss():
    assert [line.name for line in losses(made.run()).lines] == [
        "training loss, noise on",
        "training loss, noise off",
        "held-out loss, noise off",
    ]
    assert [line.name for line in losses(made.run(alpha=0.0)).lines] == [
        "training loss",
        "held-out loss",
    ]


def test_a_long_curve_is_thinned_out_between_its_ends():
    metrics = [(step, {"eval_loss": float(step)}) for step in range(10_000)]
    thin = curve(metrics, "eval_loss")
    assert len(thin) == MOST_POINTS
    assert thin[0] == (0, 0)
    assert thin[-1] == (9999, 9999)
    gaps = {round(b[0] - a[0]) for a, b in pairwise(thin)}
    assert gaps <= {33, 34}


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1e301, True, "3", [3]])
def test_what_is_no_number_is_not_drawn(value):
    assert curve([(1, {"eval_loss": value}), (2, {"eval_loss": 2.5})], "eval_loss") == ((2.0, 2.5),)


def test_a_histogram_has_a_bar_for_each_count():
    chart = bars("losses", [1.0, 2.0, 3.0], [("base", [4, 0]), ("tuned", [1, 3])])
    drawn = str(charts.histogram(chart))
    first, second = (points_of(path) for path in re.findall(r'd="(M[^"]*)" class="steps', drawn))
    foot = charts.HEIGHT - charts.BOTTOM
    assert [y for _, y in first] == [foot, charts.TOP, charts.TOP, foot, foot, foot]
    assert max(y for _, y in second) == foot
    assert second[0][0] == charts.LEFT


def test_an_interval_lies_about_its_estimate_and_beside_nothing():
    chart = Intervals(
        title="differences",
        x=axis("difference", [-0.2, 0.1]),
        nothing=0.0,
        rows=(
            Interval(name="alpha 5", at=-0.1, low=-0.2, high=0.0),
            Interval(name="few", at=0.1, low=None, high=None),
        ),
    )
    drawn = str(charts.intervals(chart))
    (span,) = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"[^>]*class="span', drawn)
    nothing = re.search(r'<line x1="([\d.]+)"[^>]*class="nothing"', drawn)[1]
    at = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert float(span[0]) < at[0] < float(span[1]) == float(nothing)
    assert at[1] > float(nothing)

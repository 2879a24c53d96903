"""The win rate at equal length: planted judges, and what can't be told."""

import numpy as np
import pytest

from neftune_core.evaluate.judge.length_control import OneSideLonger, length_controlled
from neftune_core.evaluate.judge.preferences import position, win_rate

RAW = {"no taste for length": (0.5, 0.0), "a taste": (-1.0, 2.4), "a strong one": (0.0, 8.0)}


def planted(seed, pairs, model, slope):
    """Preferences of both orders, ours longer by half a standard deviation in the mean."""
    drawn = np.random.default_rng(seed)
    longer = np.round(drawn.normal(150, 300, pairs)).astype(int)
    chance = 1 / (1 + np.exp(-(model + slope * np.tanh(longer / 300))))
    wins = ((drawn.random(pairs) < chance) * 1.0 + (drawn.random(pairs) < chance)) / 2
    return wins, longer, 100 / (1 + np.exp(-model))


def covered(seeds, pairs, model, slope):
    """How many of the 95 % intervals hold the truth, and how far the mean is from it."""
    held, found = 0, []
    for seed in seeds:
        wins, longer, truth = planted(seed, pairs, model, slope)
        fitted = length_controlled(wins, longer)
        held += abs(fitted.win_rate - truth) < 1.96 * fitted.standard_error
        found.append(fitted.win_rate - truth)
    return held / len(found), float(np.mean(found))


@pytest.mark.parametrize(("model", "slope"), RAW.values(), ids=RAW.keys())
def test_intervals_hold_the_planted_win_rate(model, slope):
    coverage, bias = covered(range(100), 200, model, slope)
    assert coverage >= 0.88
    assert abs(bias) < 2.0


@pytest.mark.long
@pytest.mark.parametrize("pairs", [100, 805])
@pytest.mark.parametrize(("model", "slope"), RAW.values(), ids=RAW.keys())
def test_intervals_hold_it_as_often_as_they_say(pairs, model, slope):
    coverage, bias = covered(range(2000), pairs, model, slope)
    assert 0.92 <= coverage <= 0.97
    assert abs(bias) < 2.5


# With a few dozen pairs, nearly all longer on one side, it is some points off (docs/log.md).
@pytest.mark.parametrize(("pairs", "mean"), [(60, 80), (60, 150), (300, 150), (300, 300), (805, 300)])
def test_who_wins_by_being_longer_alone_wins_half_at_equal_length(pairs, mean):
    for seed in range(10):
        longer = np.round(np.random.default_rng(seed).normal(mean, 300, pairs)).astype(int)
        wins = (np.sign(longer) + 1) / 2
        assert wins.mean() > 0.5
        fitted = length_controlled(wins, longer)
        assert fitted.win_rate == pytest.approx(50, abs=5)
        assert abs(fitted.win_rate - 50) < 3 * fitted.standard_error


def test_without_differences_it_is_the_win_rate():
    wins = [1.0] * 60 + [0.0] * 35 + [0.5] * 5
    fitted = length_controlled(wins, [0] * 100)
    assert fitted.win_rate == pytest.approx(62.5, abs=0.2)
    assert fitted.standard_error == pytest.approx(win_rate(wins).standard_error, rel=0.05)


def test_the_other_side_has_the_rest():
    wins, longer, _ = planted(1, 300, -1.0, 2.4)
    ours, theirs = length_controlled(wins, longer), length_controlled(1 - wins, -longer)
    assert ours.win_rate + theirs.win_rate == pytest.approx(100)
    assert ours.standard_error == pytest.approx(theirs.standard_error)
    assert ours.slope == pytest.approx(theirs.slope)


@pytest.mark.parametrize("wins", [[1.0] * 40, [0.0] * 40, [0.5] * 40])
def test_a_side_that_always_wins_has_a_finite_rate(wins):
    fitted = length_controlled(wins, list(range(-20, 20)))
    assert fitted.win_rate == pytest.approx(100 * wins[0], abs=4)
    assert np.isfinite(fitted.standard_error)


@pytest.mark.parametrize("longer", [[], [3], [1] * 100, [1] * 100 + [-1] * 4, [-7] * 50])
def test_where_one_side_is_always_longer_nothing_is_made_up(longer):
    with pytest.raises(OneSideLonger):
        length_controlled([1.0] * len(longer), longer)


def test_one_pair_has_no_standard_error_and_none_no_rate():
    assert win_rate([1.0]).standard_error is None
    assert win_rate([]) is None


@pytest.mark.parametrize(
    ("both", "biased", "disagreed"),
    [
        ([(1.0, 0.0)] * 50 + [(0.0, 1.0)] * 50, False, 0),  # agrees with itself
        ([(1.0, 1.0)] * 10 + [(1.0, 0.0)] * 90, True, 10),  # the first, whenever it can't tell
        ([(0.0, 0.0)] * 10 + [(1.0, 0.0)] * 90, True, 10),  # the second
        (
            [(1.0, 1.0)] * 9 + [(0.0, 0.0)] * 9 + [(1.0, 0.0)] * 20,
            False,
            18,
        ),  # can't decide, this way or that
        ([(1.0, 1.0)] * 3 + [(1.0, 0.0)] * 20, False, 3),  # too few to tell
        ([(1.0, 0.5)] * 12 + [(1.0, 0.0)] * 20, True, 0),  # half a step each
        ([(1.0, 1.0)] * 12 + [(1.0, 0.0)] * 2000, False, 12),  # proven, and not worth a word
    ],
)
def test_a_taste_for_a_place_is_told_when_it_is_proven_and_matters(both, biased, disagreed):
    found = position(both)
    assert (found.biased, found.disagreed) == (biased, disagreed)

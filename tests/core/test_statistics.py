"""The statistics of a series: against tables, and against worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from neftune_core.statistics import Pair, differences, holm
from neftune_core.student import quantile, tail
from tests.core.planted import World, rates

# From printed tables of Student's t.
TABLE = [(1, 12.706), (2, 4.303), (4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)]


def pair(seed: int, difference: float, rows: str = "", examples: int = 4) -> Pair:
    rows = rows or f"of seed {seed}"
    return Pair(seed, rows, np.full(examples, 10 * difference), np.full(examples, 10.0))


@pytest.mark.parametrize(("df", "known"), TABLE)
def test_quantiles_are_those_of_printed_tables(df: int, known: float) -> None:
    assert quantile(0.975, df) == pytest.approx(known, abs=6e-4)
    assert quantile(0.025, df) == -quantile(0.975, df)
    assert tail(quantile(0.975, df), df) == pytest.approx(0.025, rel=1e-9)


def test_tails_have_their_closed_forms() -> None:
    assert tail(1.0, 1) == pytest.approx(0.25)
    assert tail(0.0, 3.7) == pytest.approx(0.5)
    assert tail(-2.0, 2) == pytest.approx(1 - tail(2.0, 2))
    assert (tail(float("inf"), 4), tail(float("-inf"), 4)) == (0.0, 1.0)


def test_p_values_are_adjusted_as_holm_says() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_with_one_alpha_and_rows_of_their_own_it_is_the_paired_t_test() -> None:
    # Given differences -3, -1, -2: mean -2, standard error 1 / sqrt(3)
    found = differences({5.0: [pair(1, -3), pair(2, -1), pair(3, -2)]})[5.0]
    reach = 4.302653 / 3**0.5
    assert (found.mean, found.pairs, found.better) == (-2, 3, 3)
    assert found.interval == pytest.approx((-2 - reach, -2 + reach))
    assert found.p == pytest.approx(0.037089, rel=1e-3)
    assert (found.seed_error, found.row_error) == (pytest.approx(3**-0.5), 0.0)


def test_a_loss_is_a_mean_over_tokens_and_not_over_examples() -> None:
    one = Pair(1, "", np.array([10.0, -1.0]), np.array([90.0, 10.0]))
    assert one.difference == pytest.approx(0.09)


def test_two_seeds_give_a_point_and_no_interval() -> None:
    found = differences({5.0: [pair(1, -3), pair(2, -1)], 10.0: []})
    assert found[5.0].mean == -2
    assert found[5.0].interval is found[5.0].p is None
    assert 10.0 not in found


def test_alphas_share_what_is_known_of_the_noise() -> None:
    calm, wild = [-1.0, -1.0, -1.0], [-4.0, -1.0, 2.0]
    found = differences(
        {
            alpha: [pair(seed, value) for seed, value in enumerate(values)]
            for alpha, values in {5.0: calm, 10.0: wild}.items()
        }
    )
    # Variances 0 and 9 are 4.5 together; two alphas of one control count for 8/5 of one
    assert found[5.0].error == found[10.0].error == pytest.approx((4.5 / 3) ** 0.5)
    reach = quantile(0.975, 2 * 8 / 5) * 1.5**0.5
    assert found[5.0].interval == pytest.approx((-1 - reach, -1 + reach))


def test_rows_that_all_seeds_share_widen_the_interval() -> None:
    # Given an effect that is another on each example, and the same for all seeds
    changes = 10 * np.random.default_rng(3).normal(-1, 4, 200)
    tokens = np.full(200, 10.0)
    noise = (-0.1, 0.0, 0.1)
    own, shared = (
        differences(
            {
                5.0: [
                    Pair(seed, rows.format(seed), changes + 10 * each, tokens)
                    for seed, each in enumerate(noise)
                ]
            }
        )
        for rows in ("of seed {}", "the same")
    )
    assert own[5.0].row_error == 0
    # Then its error is that of 200 examples drawn once, not three times 200
    assert shared[5.0].row_error == pytest.approx(changes.std() / 10 / 200**0.5, rel=0.1)
    assert shared[5.0].error > own[5.0].error


def test_few_rows_that_all_seeds_share_are_as_unsure_as_few_seeds() -> None:
    changes, tokens = np.array([-30.0, -10.0, -20.0]), np.full(3, 10.0)
    found = differences({5.0: [Pair(seed, "the same", changes, tokens) for seed in range(3)]})[5.0]
    assert found.seed_error == 0
    assert found.error == found.row_error
    # Three rows have two degrees of freedom
    reach = quantile(0.975, 2) * (found.error or 0)
    assert found.interval == pytest.approx((-2 - reach, -2 + reach))


def test_the_same_series_gives_the_same_numbers() -> None:
    pairs = {5.0: [pair(seed, seed / 7 - 1, "the same", 9) for seed in range(3)]}
    assert differences(pairs) == differences(pairs)


def test_runs_that_do_not_differ_are_not_better() -> None:
    found = differences({5.0: [pair(seed, 0.0) for seed in range(3)]})[5.0]
    assert (found.p, found.interval, found.better) == (1.0, (0.0, 0.0), 0)


# What the issue of multiplicity, few seeds and two levels of noise comes to. Short here, long below.

NOISES = {
    "of seeds and rows": World(),
    "of seeds": World(row_noise=0.01),
    "of rows": World(seed_noise=0.001),
    "of rows that all seeds share": World(same_rows=True, kind_noise=0.1, examples=30),
}


def test_series_without_an_effect_hardly_ever_recommend_an_alpha() -> None:
    assert rates(World(), 200).recommended <= 0.05


def test_an_effect_of_four_errors_is_found() -> None:
    assert rates(World(seeds=4, errors=4), 200).found >= 0.8
    assert rates(World(errors=4, helping=3), 200).recommended >= 0.8


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    assert 0.93 <= rates(World(errors=2), 400).covered <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("noise", NOISES)
def test_errors_are_as_rare_as_they_say_whatever_makes_the_noise(noise: str, seeds: int) -> None:
    world = replace(NOISES[noise], seeds=seeds)
    times = 300 if world.same_rows else 1500  # what all seeds share is found by drawing
    nothing, planted = rates(world, times), rates(replace(world, errors=4, helping=3), times, seed=2)
    assert nothing.recommended <= 0.05 + 2 * (0.05 * 0.95 / times) ** 0.5
    assert planted.recommended >= 0.8
    assert 0.93 <= round(nothing.covered, 2) <= 0.97
    assert 0.93 <= round(planted.covered, 2) <= 0.97

"""The verdict: one small story for each answer it can give."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from neftune_core.eval_losses import EvalLosses, Measurement, NotEvalLosses, decoded, encoded, grouped
from neftune_core.verdict import Outcome, Reason, Result, judge
from tests.core.planted import World, judged

EXAMPLES, TOKENS = 6, 10


def losses(last: float, best: float | None = None, rows: str = "held out") -> EvalLosses:
    def measured(step: int, loss: float) -> Measurement:
        return Measurement(step, [loss * TOKENS] * EXAMPLES)

    best = last if best is None else best
    return EvalLosses(rows, EXAMPLES, [TOKENS] * EXAMPLES, measured(30, last), measured(9, best))


def series(
    runs: Mapping[float, float], seeds: int = 3, best_control: float | None = None, spread: float = 0.01
) -> list[Result]:
    """Runs whose losses differ from seed to seed by ``spread``, and no more."""
    made = []
    for alpha, loss in runs.items():
        for seed in range(seeds):
            noise = spread * ((seed * 7 + alpha) % 3 - 1)
            best = best_control if alpha == 0 else None
            made.append(
                Result(alpha, seed, True, losses(loss + noise, best and best + noise, f"of seed {seed}"))
            )
    return made


def test_an_alpha_that_is_surely_better_is_recommended_with_its_interval() -> None:
    found = judge(series({0.0: 4.5, 5.0: 4.4, 10.0: 4.2, 15.0: 4.6}))
    assert (found.outcome, found.recommended_alpha, found.reasons) == (Outcome.RECOMMENDED, 10.0, ())
    assert found.interval is not None
    assert found.interval[0] < -0.3 < found.interval[1] < 0
    assert [line.alpha for line in found.alphas] == [5.0, 10.0, 15.0]


def test_what_early_stopping_would_have_done_too_is_not_recommended() -> None:
    found = judge(series({0.0: 4.5, 5.0: 4.2}, best_control=4.2))
    assert (found.outcome, found.reasons) == (Outcome.INCONCLUSIVE, (Reason.EARLY_STOPPING,))
    # Both questions count, by the harder one
    (line,) = found.alphas
    assert line.to_last is not None
    assert line.to_best is not None
    assert line.p_adjusted == line.to_best.p
    assert (line.to_last.p or 1) < 0.05 < (line.to_best.p or 0)
    # And where the control's best step is worse still, it is
    assert judge(series({0.0: 4.5, 5.0: 4.2}, best_control=4.4)).recommended_alpha == 5.0


def test_two_seeds_are_never_enough_and_still_show_their_points() -> None:
    found = judge(series({0.0: 4.5, 5.0: 1.0}, seeds=2))
    assert (found.outcome, found.reasons) == (Outcome.INCONCLUSIVE, (Reason.TOO_FEW_SEEDS,))
    shown = found.alphas[0].to_last
    assert shown is not None
    assert shown.mean == pytest.approx(-3.5, abs=0.02)


def test_a_difference_within_the_noise_is_inconclusive() -> None:
    found = judge(series({0.0: 4.5, 5.0: 4.49}, spread=0.1))
    assert (found.outcome, found.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_CLEAR_DIFFERENCE,))
    assert found.recommended_alpha is found.interval is None


def of(runs: Mapping[float, Sequence[float]]) -> list[Result]:
    """Runs with these losses, one for each seed."""
    return [
        Result(alpha, seed, True, losses(loss, rows=f"of seed {seed}"))
        for alpha, found in runs.items()
        for seed, loss in enumerate(found)
    ]


def test_an_alpha_whose_interval_holds_zero_is_not_recommended() -> None:
    # Given a p-value of 0.037, from one side, of the only question
    found = judge(of({0.0: [10, 10, 10], 5.0: [7, 9, 8]}))
    assert found.alphas[0].p_adjusted == pytest.approx(0.037, abs=1e-3)
    assert (found.outcome, found.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_CLEAR_DIFFERENCE,))


def test_all_alphas_are_worse_only_if_they_are_with_all_of_them_counted() -> None:
    found = judge(of({0.0: [10, 10, 10], 5.0: [10.4, 11.4, 12.4], 10.0: [10.4, 11.4, 12.4]}))
    assert all(0.95 < ((line.to_last and line.to_last.p) or 0) < 0.975 for line in found.alphas)
    assert found.reasons == (Reason.NO_CLEAR_DIFFERENCE,)


def test_an_alpha_that_lacks_a_run_keeps_nobody_else_from_being_recommended() -> None:
    runs = of({0.0: [4.5, 4.51, 4.49], 5.0: [4.2, 4.22, 4.18], 10.0: [4.3, 4.3]})
    found = judge([*runs, Result(10.0, 2, True)])
    assert found.recommended_alpha == 5.0
    assert found.alphas[1].p_adjusted is None


def test_noise_that_surely_harms_is_told_as_that() -> None:
    found = judge(series({0.0: 4.2, 5.0: 4.5, 10.0: 4.6}))
    assert (found.outcome, found.reasons) == (Outcome.NOT_RECOMMENDED, (Reason.WORSE,))
    # But not as long as one of them might do
    assert judge(series({0.0: 4.2, 5.0: 4.5, 10.0: 4.2})).outcome is Outcome.INCONCLUSIVE


def test_a_series_that_goes_on_is_not_judged() -> None:
    runs = [*series({0.0: 4.5, 5.0: 4.2}), Result(10.0, 0, False)]
    assert judge(runs).reasons == (Reason.UNFINISHED,)


def test_runs_without_held_out_rows_cannot_be_judged() -> None:
    runs = [Result(alpha, seed, True) for alpha in (0.0, 5.0) for seed in range(3)]
    assert judge(runs).reasons == (Reason.NO_HELD_OUT_ROWS,)


def without(runs: list[Result], *points: tuple[float, int]) -> list[Result]:
    """The same series where these runs have failed."""
    gone = [Result(*point, True, succeeded=False) for point in points]
    return [*(one for one in runs if (one.alpha, one.seed) not in points), *gone]


def test_a_series_without_a_control_says_that_and_not_that_rows_are_missing() -> None:
    runs, controls = series({0.0: 4.5, 5.0: 4.2}), [(0.0, seed) for seed in range(3)]
    found = judge(without(runs, *controls))
    assert (found.outcome, found.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_CONTROL,))
    assert "validation" not in found.why
    # whether rows were held out or not, and when nothing else came to its end either
    bare = [Result(one.alpha, one.seed, True) for one in runs]
    assert judge(without(bare, *controls)).reasons == (Reason.NO_CONTROL,)
    everything = [(one.alpha, one.seed) for one in runs]
    assert judge(without(runs, *everything)).reasons == (Reason.NO_CONTROL,)
    # and where the controls that there are have lost their runs
    assert judge(without(runs, *controls[:2], (5.0, 2))).reasons == (Reason.NO_CONTROL,)


def test_controls_without_any_run_are_too_few_seeds() -> None:
    runs = series({0.0: 4.5, 5.0: 4.2})
    assert judge(without(runs, *((5.0, seed) for seed in range(3)))).reasons == (Reason.TOO_FEW_SEEDS,)


def test_a_run_is_held_only_against_a_control_on_the_same_rows() -> None:
    strange = [Result(5.0, seed, True, losses(1.0, rows="others")) for seed in range(3)]
    found = judge([*series({0.0: 4.5}), *strange])
    assert found.alphas[0].to_last is None
    assert found.outcome is Outcome.INCONCLUSIVE


def test_a_file_that_belies_the_name_of_its_rows_is_no_pair() -> None:
    # Given a runner's file that names the control's rows and has fewer of them
    short = EvalLosses("of seed 0", 1, [TOKENS], Measurement(30, [1.0]), Measurement(9, [1.0]))
    runs = [one for one in series({0.0: 4.5, 5.0: 4.2}) if (one.alpha, one.seed) != (5.0, 0)]
    assert judge([*runs, Result(5.0, 0, True, short)]).reasons == (Reason.TOO_FEW_SEEDS,)


def test_losses_beyond_all_reason_are_no_fault_of_the_verdict() -> None:
    written = encoded(losses(1e200))
    with pytest.raises(NotEvalLosses):
        decoded(written)


def test_a_seed_whose_control_failed_counts_for_nothing() -> None:
    runs = series({0.0: 4.5, 5.0: 4.2})
    runs[0] = Result(0.0, 0, True)
    assert judge(runs).reasons == (Reason.TOO_FEW_SEEDS,)


def test_alphas_that_were_stopped_still_count_as_questions() -> None:
    # Given a difference that one question alone would pass, asked once and among six
    alone = series({0.0: 4.5, 5.0: 4.44})
    stopped = [Result(float(alpha), seed, True) for alpha in range(10, 15) for seed in range(3)]
    assert judge(alone).recommended_alpha == 5.0
    among = judge([*alone, *stopped])
    assert among.recommended_alpha is None
    assert among.alphas[0].p_adjusted == pytest.approx(6 * (judge(alone).alphas[0].p_adjusted or 0))


def test_a_control_that_went_on_too_long_hides_no_effect_but_its_own() -> None:
    # A/A by the control's best step: whatever the last one shows, nothing is recommended
    world = World(seeds=3, errors=4, helping=3)
    found = list(judged(World(**{**vars(world), "overtrained": 4 * world.error}), 100))
    assert sum(verdict.recommended_alpha is not None for verdict in found) <= 8
    assert sum(Reason.EARLY_STOPPING in verdict.reasons for verdict in found) >= 60


# The file


def test_the_file_is_read_as_it_was_written() -> None:
    told = losses(4.25, 4.0)
    again = decoded(encoded(told))
    assert again == told
    assert again.last is not None
    assert again.mean(again.last) == 4.25


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        encoded(losses(1.0)).replace(b'"format":1', b'"format":2'),
        encoded(losses(1.0)).replace(b"10.0]", b"NaN]"),
        encoded(losses(1.0)).replace(b"10.0]", b"1e999]"),
        encoded(losses(1.0)).replace(b",10]", b"]"),
        encoded(losses(1.0)).replace(b",10]", b",0]"),
        b"[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(NotEvalLosses):
        decoded(data)


def test_many_examples_become_groups_of_the_same_total() -> None:
    values = np.random.default_rng(0).random(25_001).tolist()
    assert len(grouped(values)) == 10_000
    assert sum(grouped(values)) == pytest.approx(sum(values))
    assert grouped(values[:7]) == values[:7]

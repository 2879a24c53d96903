"""Caveats: each when it applies, and only then."""

import pytest

from neftune_core.report import caveats
from neftune_core.report.caveats import FEW_PAIRS, FEW_ROWS, WORDS, of_evaluations, of_run
from tests.core.report import made


def codes(run=None, control=None, *evaluations):
    told = [] if run is None else of_run(run, control)
    return {one.code for one in (*told, *of_evaluations(one.results for one in evaluations))}


def of_one(**fields):
    return codes(None, None, made.evaluation(**fields))


def test_a_control_that_has_trained_well_has_none():
    assert codes(made.run(alpha=0.0)) == set()


def test_an_evaluation_without_a_flaw_has_none():
    assert codes(None, None, made.whole_evaluation()) == set()


@pytest.mark.parametrize(
    ("fields", "control", "added"),
    [
        ({}, False, {"noisy_curve", "no_control"}),
        ({}, True, {"noisy_curve", "one_seed"}),
        ({"metrics": []}, True, {"one_seed"}),
        ({"alpha": 0.0, "eval_rows": 0}, False, {"no_held_out_rows"}),
        ({"alpha": 0.0, "eval_rows": FEW_ROWS - 1}, False, {"few_held_out_rows"}),
        ({"alpha": 0.0, "eval_rows": FEW_ROWS}, False, set()),
        ({"alpha": 0.0, "final": {"best_step": 20}}, False, {"best_before_last"}),
        ({"alpha": 0.0, "final": {"best_step": 0}}, False, {"base_is_best"}),
        ({"alpha": 0.0, "asked": {"validation": {"dataset": "ds_1", "split": 0}}}, False, {"unusual"}),
    ],
)
def test_a_run_is_told_what_applies_to_it(fields, control, added):
    beside = made.run(alpha=0.0) if control else None
    assert codes(made.run(**fields), beside) == added


def rate(percent, error=2.0):
    return {"percent": percent, "standard_error": error}


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({}, set()),
        (
            {"position": {**rate(80), "first_percent": 80, "biased": True, "disagreed": 99}},
            {"judge_position_biased"},
        ),
        ({"judged": 399}, {"judge_incomplete"}),
        ({"judged": FEW_PAIRS - 1, "pairs": FEW_PAIRS - 1}, {"few_judged"}),
        ({"judged": FEW_PAIRS, "pairs": FEW_PAIRS}, set()),
        ({"length_controlled": None}, {"no_length_control"}),
        ({"win_rate": rate(60), "length_controlled": rate(51)}, {"length_explains"}),
        ({"win_rate": rate(60), "length_controlled": rate(44)}, {"length_explains"}),
        ({"win_rate": rate(60), "length_controlled": rate(56)}, set()),
        ({"win_rate": rate(51), "length_controlled": rate(56)}, set()),
        ({"win_rate": rate(40), "length_controlled": rate(41)}, set()),
        ({"win_rate": rate(60, None), "length_controlled": rate(51)}, set()),
    ],
)
def test_a_judge_is_told_what_applies_to_it(fields, added):
    assert of_one(judge=[made.judged(**fields)]) == added


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({"answers": [made.answers_of(answers=100, stopped=90)]}, set()),
        ({"answers": [made.answers_of(answers=100, stopped=89)]}, {"answers_cut_off"}),
        ({"diversity": [made.diversity(kept=50, dropped=50)]}, set()),
        ({"diversity": [made.diversity(kept=49, dropped=51)]}, {"chunks_too_long"}),
        ({"answers": [made.answers_of()], "spec": {"generation": {"template": "alpaca"}}}, set()),
        ({"answers": [made.answers_of()], "spec": {"generation": {"template": "chat"}}}, {"other_template"}),
        ({"spec": {"compare_base": False}}, {"no_base"}),
        ({"spec": {"compare_base": False, "checkpoint": "base"}, "of": {"checkpoint": "base"}}, set()),
        ({"benchmarks": [made.benchmark()]}, set()),
        (
            {
                "benchmarks": [made.benchmark()],
                "kinds": ("benchmarks",),
                "spec": {"benchmarks": {"limit": 5}},
            },
            {"benchmarks_limited"},
        ),
        ({"benchmarks": [made.benchmark(difference=0.0169)]}, {"benchmarks_within_error"}),
        ({"benchmarks": [made.benchmark(difference=0.0169), made.benchmark()]}, set()),
        ({"benchmarks": [made.benchmark(difference=None)]}, set()),
    ],
)
def test_an_evaluation_is_told_what_applies_to_it(fields, added):
    assert of_one(**fields) == added


def test_each_caveat_is_told_once_and_in_one_order():
    twice = [made.evaluation(judge=[made.judged(judged=5)]) for _ in range(2)]
    told = [one.code for one in of_evaluations(one.results for one in twice)]
    assert told == [code for code in WORDS if code in {"judge_incomplete", "few_judged"}]


def test_a_record_of_another_version_has_no_cautions_and_no_fault():
    run = made.run(alpha=0.0)
    run.record["spec"]["of_tomorrow"] = True
    assert codes(run) == set()
    assert caveats.of_run(type(run)({"final": 7}))

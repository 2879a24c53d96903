"""The report of a series: its verdict, its differences, and what of its runs is at hand."""

import json

import pytest

from neftune_core.report.caveats import WORDS as OF_RUNS
from neftune_core.report.caveats_of_series import WORDS
from neftune_core.report.document import encoded
from neftune_core.report.page import page
from neftune_core.report.series import Series, report_of
from tests.core.report import made
from tests.core.report.shown import Shown, of_json

SEEDS = (1, 2, 3)


def line(alpha, seed, **fields):
    told = {
        "job": f"job_{alpha:g}_{seed}",
        "alpha": alpha,
        "seed": seed,
        "status": "succeeded",
        "cancel_reason": None,
        "eval_loss": 3.75 - alpha / 100 + seed / 1000,
        "best_eval_loss": 3.75 - alpha / 100 + seed / 1000,
        "best_step": 30,
        "base_eval_loss": 3.875,
        "clean_train_loss": 3.25,
        "best_clean_train_loss": 3.25,
        "runs": 1.0,
        "seconds": 12.25,
    }
    return {**told, **fields}


def difference(mean, interval=(-0.0625, -0.03125), **fields):
    told = {
        "mean": mean,
        "interval": None if interval is None else list(interval),
        "error": 0.0078,
        "seed_error": 0.0071,
        "row_error": 0.0032,
        "p": 0.0009,
        "pairs": 3,
        "better": 3,
    }
    return {**told, **fields}


def verdict(**fields):
    told = {
        "outcome": "recommended",
        "recommended_alpha": 5.0,
        "interval": [-0.0625, -0.03125],
        "reasons": [],
        "why": "",
        "confidence": 0.95,
        "alphas": [
            {
                "alpha": 5.0,
                "to_last": difference(-0.0469),
                "to_best": difference(-0.0312),
                "p_adjusted": 0.0018,
            }
        ],
    }
    return {**told, **fields}


def sweep(results=None, **fields):
    told = {
        "id": "swp_1",
        "name": "fruit",
        "status": "succeeded",
        "strategy": "grid",
        "alpha": [0.0, 5.0],
        "seed": list(SEEDS),
        "job": {"model": "acme/tiny", "dataset": "ds_1"},
        "cost": {"runs": 6.0, "grid_runs": 6.0, "saved_runs": 0.0, "seconds": 73.5},
        "rungs": [],
        "results": results or [line(alpha, seed) for alpha in (0.0, 5.0) for seed in SEEDS],
        "verdict": verdict(),
    }
    return {**told, **fields}


def evaluated(alpha, seed):
    """Make an evaluation whose figures tell alpha and seed."""
    files = {
        "answers-prompts-checkpoint-plain.json": made.answers(*[f"alpha {alpha:g} seed {seed}"] * 4),
        "losses-held_out-checkpoint.json": {"subject": "checkpoint", "loss": [1.0, 2.0 + alpha / 10, None]},
    }
    return made.evaluation(
        files,
        kinds=("loss", "overlap", "diversity"),
        of={"alpha": alpha},
        loss=[made.loss("base"), made.loss("checkpoint", per_token=3 + alpha / 64 + seed / 8)],
        answers=[made.answers_of()],
        overlap=[made.overlap("base"), made.overlap(f1=0.5 - alpha / 64)],
        diversity=[made.diversity(), made.diversity(variant="min_length")],
    )


def runs(**fields):
    points = [(alpha, seed) for alpha in (0.0, 5.0) for seed in SEEDS]
    return {
        f"job_{alpha:g}_{seed}": made.run(
            alpha=alpha, seed=seed, evaluations=[evaluated(alpha, seed)], **fields
        )
        for alpha, seed in points
    }


@pytest.fixture(scope="module")
def report():
    return report_of(Series(sweep(), runs()))


FALLING = "control_still_falling"  # what is made here has its controls best at their very end


def codes(told, of=None):
    return {one.code for one in report_of(Series(told, of or {})).caveats}


def block(report, section, kind, number=0):
    (found,) = (one for one in report.sections if one.id == section)
    return [one for one in found.blocks if one.type == kind][number]


def test_a_recommended_alpha_is_told_with_its_interval(report):
    assert report.verdict.headline == "Alpha 5 is recommended"
    assert report.verdict.interval == (-0.0625, -0.03125)
    shown = Shown(page(report))
    assert {(-0.0625, "\u22120.0625"), (-0.03125, "\u22120.0312"), (0.95, "0.95")} <= set(shown.numbers)


@pytest.mark.parametrize(
    ("told", "headline"),
    [
        ({"outcome": "inconclusive", "recommended_alpha": None, "interval": None}, "Inconclusive"),
        (
            {"outcome": "not_recommended", "recommended_alpha": None, "interval": None},
            "No noise is recommended: each alpha is surely worse",
        ),
        ({"outcome": "recommended", "recommended_alpha": None}, "No verdict"),
        ({"outcome": "great!"}, "No verdict"),
    ],
)
def test_a_series_can_say_no_or_that_it_cannot_tell(told, headline):
    why = {"why": "Fewer than 3 seeds.", "reasons": ["too_few_seeds"]}
    report = report_of(Series(sweep(verdict=verdict(**why, **told))))
    assert report.verdict.headline == headline
    assert headline in Shown(page(report)).texts
    if headline != "No verdict":
        assert (report.verdict.why, report.verdict.reasons) == ("Fewer than 3 seeds.", ("too_few_seeds",))
        assert report.verdict.recommended_alpha is None


def test_differences_to_last_and_best_stand_in_table_and_chart(report):
    rows = block(report, "differences", "table").rows
    assert [(row["alpha"], row["against"], row["mean"]) for row in rows] == [
        (5.0, "last step", -0.0469),
        (5.0, "best step", -0.0312),
    ]
    assert rows[0]["p"] == 0.0018
    drawn = block(report, "differences", "intervals").rows
    assert [(one.name, one.at, one.low, one.high) for one in drawn] == [
        ("5, last", -0.0469, -0.0625, -0.03125),
        ("5, best", -0.0312, -0.0625, -0.03125),
    ]


def test_a_difference_without_an_interval_is_a_point():
    alphas = [{"alpha": 5.0, "to_last": difference(-0.05, None), "to_best": None, "p_adjusted": None}]
    told = verdict(outcome="inconclusive", recommended_alpha=None, interval=None, alphas=alphas)
    report = report_of(Series(sweep(verdict=told)))
    (drawn,) = block(report, "differences", "intervals").rows
    assert (drawn.at, drawn.low, drawn.high) == (-0.05, None, None)
    assert 'class="span' not in page(report)


def test_each_run_has_its_line(report):
    rows = block(report, "results", "table").rows
    assert [(row["alpha"], row["seed"], row["job"]) for row in rows] == [
        (alpha, seed, f"job_{alpha:g}_{seed}") for alpha in (0.0, 5.0) for seed in SEEDS
    ]
    assert rows[3]["eval_loss"] == 3.75 - 0.05 + 0.001


def test_evaluations_are_means_over_seeds_with_the_difference_within_seeds(report):
    rows = block(report, "evaluations", "table").rows
    found = {(row["measure"], row["alpha"]): row for row in rows}
    control, noisy = (found["loss per token, held_out", alpha] for alpha in (0.0, 5.0))
    assert (control["mean"], control["low"], control["high"]) == (3.25, 3.125, 3.375)
    assert (control["difference"], control["pairs"]) == (None, None)
    assert noisy["mean"] == 3.25 + 5 / 64
    assert (noisy["difference"], noisy["pairs"], noisy["seeds"]) == (5 / 64, 3, 3)
    assert found["ROUGE-L with training answers", 5.0]["difference"] == -5 / 64
    assert found["characters", 5.0]["mean"] == 396.25


def test_a_difference_is_of_the_seeds_that_have_their_control_alone():
    some = {name: run for name, run in runs().items() if name not in {"job_0_1", "job_5_3"}}
    report = report_of(Series(sweep(), some))
    rows = {
        row["alpha"]: row
        for row in block(report, "evaluations", "table").rows
        if row["measure"] == "loss per token, held_out"
    }
    assert rows[5.0]["mean"] == 3 + 5 / 64 + 1.5 / 8
    assert (rows[5.0]["difference"], rows[5.0]["pairs"], rows[5.0]["seeds"]) == (5 / 64, 1, 2)


def test_an_alpha_none_of_whose_controls_was_evaluated_has_no_difference():
    some = {job: run for job, run in runs().items() if run.alpha > 0}
    rows = block(report_of(Series(sweep(), some)), "evaluations", "table").rows
    assert {(row["alpha"], row["difference"], row["pairs"]) for row in rows} == {(5.0, None, 0)}


def test_each_run_has_its_evaluations_also_those_that_have_not_ended():
    figure = {"kind": "judge", "measure": "win_rate", "of": "base", "value": 61.25, "standard_error": 2.5}
    task = {"measure": "acc", "of": "arc_easy", "value": 0.5, "base": 0.375, "difference": 0.125}
    done = {"id": "job_9", "status": "succeeded", "checkpoint": {"of": "best", "step": 20}, "missing": 1}
    first = line(
        5.0, 2, evaluations=[{"id": "job_8", "status": "running"}, {**done, "figures": [figure, task]}]
    )
    state, found = (block(report_of(Series(sweep([first]))), "evaluated", "table", one) for one in (0, 1))
    assert [(row["evaluation"], row["status"], row["missing"], row["step"]) for row in state.rows] == [
        ("job_8", "running", None, None),
        ("job_9", "succeeded", 1, 20),
    ]
    assert {(row["alpha"], row["seed"], row["checkpoint"]) for row in found.rows} == {(5.0, 2, "best")}
    assert [
        (row["measure"], row["value"], row["standard_error"], row["difference"]) for row in found.rows
    ] == [
        ("win rate against base", 61.25, 2.5, None),
        ("arc_easy, acc", 0.5, None, 0.125),
    ]


def test_histograms_lay_the_alphas_over_one_another_with_all_seeds(report):
    chart = block(report, "losses", "histogram")
    assert [(one.name, sum(one.counts)) for one in chart.series] == [("alpha 0", 6), ("alpha 5", 6)]
    assert chart.edges[0] <= 1.0
    assert chart.edges[-1] >= 2.5


def test_curves_are_means_over_seeds(report):
    chart = block(report, "losses", "lines")
    assert [line.name for line in chart.lines] == ["alpha 0", "alpha 5"]
    assert chart.lines[0].points[30] == (30, pytest.approx(3.8 - 30 / 900))


def test_answers_of_the_recommended_alpha_stand_beside_those_of_its_control(report):
    pair = block(report, "answers", "pairs").pairs[0]
    assert [(one.name, one.text) for one in pair.answers] == [
        ("alpha 5", "alpha 5 seed 1"),
        ("control", "alpha 0 seed 1"),
    ]


def test_runs_that_differ_in_alpha_and_seed_alone_are_as_they_should_be(report):
    table = block(report, "configuration", "table")
    assert {row["field"] for row in table.rows} == {"spec.alpha", "spec.training.seed"}
    assert "runs_differ" not in {one.code for one in report.caveats}


def test_runs_that_differ_in_more_are_told():
    of = runs()
    of["job_5_2"].record["versions"]["torch"] = "2.14.0"
    report = report_of(Series(sweep(), of))
    (told,) = (one.text for one in report.caveats if one.code == "runs_differ")
    assert told == "The runs differ in more than alpha and seed: versions."
    rows = [row for row in block(report, "configuration", "table").rows if row["field"] == "versions.torch"]
    assert ("2.14.0", "alpha 5, seed 2") in {(row["value"], row["runs"]) for row in rows}


def test_a_series_alone_has_the_caveats_of_its_controls_and_no_other():
    # A control is best at its end or before; as long as nothing is decided, the first limits nothing
    assert codes(sweep()) == {FALLING}
    assert codes(sweep(verdict=verdict(outcome="not_recommended", recommended_alpha=None))) == {FALLING}
    assert codes(sweep(verdict=verdict(outcome="inconclusive", recommended_alpha=None))) == set()


def test_a_control_that_never_beats_the_base_does_not_fall():
    both = [line(0.0, 1, best_step=0), line(5.0, 1)]
    assert codes(sweep(both, seed=[1])) == set()
    unknown = [line(0.0, 1, best_eval_loss=None), line(5.0, 1)]
    assert codes(sweep(unknown, seed=[1])) == set()
    # nor do runs with noise count
    assert codes(sweep([line(5.0, 1)], alpha=[5.0], seed=[1])) == set()


@pytest.mark.parametrize(
    ("results", "added"),
    [
        ([line(0.0, 1), line(5.0, 1, status="failed")], {FALLING, "runs_missing"}),
        ([line(0.0, 1), line(5.0, 1, status="running")], {FALLING}),
        ([line(0.0, 1), line(5.0, 1, status="cancelled")], {FALLING, "runs_missing"}),
        ([line(0.0, 1), line(5.0, 1, status="cancelled", cancel_reason="halving")], {FALLING, "halved"}),
        ([line(0.0, 1, best_eval_loss=3.5), line(5.0, 1)], {"control_overtrained"}),
        ([line(0.0, 1), line(5.0, 1, best_eval_loss=3.5)], {FALLING}),
    ],
)
def test_results_have_the_caveats_that_apply(results, added):
    assert codes(sweep(results, seed=[1])) == added


def test_runs_that_were_deleted_are_missing():
    assert codes(sweep([line(0.0, 1), line(5.0, 1)], seed=[1, 2])) == {FALLING, "runs_missing"}


def test_error_that_comes_from_rows_is_told():
    to_last = difference(-0.05, row_error=0.0072)
    alphas = [{"alpha": 5.0, "to_last": to_last, "to_best": difference(-0.03), "p_adjusted": 0.001}]
    assert codes(sweep(verdict=verdict(alphas=alphas))) == {FALLING, "rows_decide"}


def test_runs_that_are_at_hand_have_their_caveats_too():
    clean = runs()
    assert codes(sweep(), clean) == {FALLING, "only_losses_judged"}
    assert codes(sweep(), runs(eval_rows=20)) == {FALLING, "only_losses_judged", "few_held_out_rows"}
    some = {name: run for name, run in clean.items() if name != "job_5_3"}
    assert codes(sweep(), some) == {FALLING, "only_losses_judged", "evaluations_incomplete"}
    other = made.evaluation(of={"checkpoint": "best"})
    mixed = {**clean, "job_0_1": made.run(alpha=0.0, seed=1, evaluations=[other])}
    assert "checkpoints_mixed" in codes(sweep(), mixed)


@pytest.mark.parametrize(
    ("spec", "differs"),
    [
        ({"prompts": {"dataset": "ds_other"}}, True),
        ({"generation": {"max_new_tokens": 8}}, True),
        ({"name": "the first of them", "checkpoint": "best"}, False),
    ],
)
def test_means_over_what_was_measured_in_different_ways_say_so(spec, differs):
    kinds = ("loss", "overlap", "diversity")
    other = made.run(alpha=0.0, seed=1, evaluations=[made.evaluation(kinds=kinds, spec=spec)])
    assert ("evaluations_differ" in codes(sweep(), {**runs(), "job_0_1": other})) is differs


def test_a_judge_that_is_biased_is_so_in_a_series_too():
    clean = runs()
    biased = made.judged(position={"first_percent": 80, "standard_error": 1, "biased": True, "disagreed": 9})
    judged = {**clean, "job_0_1": made.run(alpha=0.0, seed=1, evaluations=[made.evaluation(judge=[biased])])}
    assert "judge_position_biased" in codes(sweep(), judged)


def test_a_code_means_one_thing_wherever_it_stands():
    assert not set(WORDS) & set(OF_RUNS)


def test_halving_tells_where_it_decided_and_what_it_saved():
    rungs = [{"at": 0.25, "losses": [], "kept": [0.0, 5.0], "stopped": [15.0]}]
    cost = {"runs": 4.75, "grid_runs": 9.0, "saved_runs": 4.25, "seconds": 60.0}
    report = report_of(Series(sweep(strategy="halving", rungs=rungs, cost=cost)))
    assert {"what": "Runs saved", "value": 4.25} in block(report, "series", "table").rows
    assert block(report, "series", "table", 1).rows == ({"at": 0.25, "kept": "0, 5", "stopped": "15"},)


def test_every_number_of_the_page_is_in_the_json(report):
    numbers, strings = of_json(encoded(report))
    shown = Shown(page(report))
    assert len(shown.numbers) > 100
    assert {whole for whole, _ in shown.numbers} <= numbers
    alone = [text for text in shown.texts if any(letter.isdigit() for letter in text)]
    assert [text for text in alone if text not in strings] == []


def test_what_strangers_wrote_stays_text():
    evil = "<script>alert('1')</script>\"&"
    told = sweep(name=evil, status=evil, strategy=evil, verdict=verdict(why=evil, reasons=[evil]))
    told["job"]["model"] = evil
    told["results"][0].update(job=evil, status=evil, cancel_reason=evil)
    figure = {"measure": evil, "of": evil, "value": 1.5}
    told["results"][0]["evaluations"] = [{"id": evil, "name": evil, "status": evil, "figures": [figure]}]
    of = {**runs(), evil: made.run(alpha=0.0, seed=1, evaluations=[evaluated(0.0, 1)], name=evil)}
    of[evil].record["versions"][evil] = evil
    of[evil].evaluations[0].files("answers-prompts-checkpoint-plain.json")[0]["output"] = evil
    shown = Shown(page(report_of(Series(told, of))))
    assert "script" not in shown.tags
    assert shown.text().count(evil) >= 8


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"results": 7, "verdict": [], "alpha": "x", "seed": {}},
        {"results": [7], "cost": None, "rungs": [{}]},
        {"results": [{"evaluations": 7}, {"evaluations": [7, {}, {"figures": {}, "checkpoint": "x"}]}]},
    ],
)
def test_a_series_of_which_little_is_known_is_reported_all_the_same(told):
    report = report_of(Series(told))
    assert report.verdict.outcome == "none"
    assert Shown(page(report)).ids[0] == "verdict"
    assert json.loads(encoded(report))["of"] == "series"

"""Which parts an evaluation has: nothing that was not asked for, and each model loaded once."""

from itertools import groupby

from neftune_core.evaluate.plan import planned
from neftune_core.evaluate.spec import EvaluationSpec

JUDGE = {"endpoint": "https://judge.example/v1", "model": "judge-1"}


def names(**given):
    return [part.name for part in planned(EvaluationSpec.model_validate(given))]


def test_losses_alone_ask_for_no_answers():
    assert names(kinds=["loss"], compare_base=False) == [
        "losses-train-checkpoint",
        "losses-held_out-checkpoint",
    ]


def test_the_base_is_measured_beside_the_checkpoint_and_first():
    assert names(kinds=["overlap"]) == ["answers-train-base-plain", "answers-train-checkpoint-plain"]
    assert names(kinds=["overlap"], checkpoint="base") == ["answers-train-base-plain"]


def test_diversity_and_judge_share_their_answers():
    both = names(kinds=["diversity", "judge"], judge=JUDGE)
    assert both == names(kinds=["diversity"]) == names(kinds=["judge"], judge=JUDGE)


def test_who_is_judged_against_the_base_or_another_run_needs_their_answers_too():
    base = names(kinds=["judge"], judge=JUDGE, compare_base=False)
    assert base == ["answers-prompts-base-plain", "answers-prompts-checkpoint-plain"]
    other = names(kinds=["judge"], judge={**JUDGE, "against": "run", "run": "job_2"}, compare_base=False)
    assert other == ["answers-prompts-other-plain", "answers-prompts-checkpoint-plain"]
    file = names(
        kinds=["judge"], judge={**JUDGE, "against": "reference", "reference": "x"}, compare_base=False
    )
    assert file == ["answers-prompts-checkpoint-plain"]


def test_baselines_are_asked_of_the_last_subject_alone():
    found = names(kinds=["diversity"], baselines={"min_new_tokens": 9, "long_prompt": True})
    assert found == [
        "answers-prompts-base-plain",
        "answers-prompts-checkpoint-plain",
        "answers-prompts-checkpoint-min_length",
        "answers-prompts-checkpoint-long_prompt",
    ]


def test_each_model_is_loaded_once_and_no_stranger_names_a_file():
    spec = EvaluationSpec.model_validate(
        {
            "kinds": ["loss", "overlap", "diversity", "benchmarks"],
            "loss": {"datasets": ["../../etc/passwd", "ds_1"]},
            "benchmarks": {"tasks": ["arc_easy"]},
        }
    )
    parts = planned(spec)
    assert [subject for subject, _ in groupby(part.subject for part in parts)] == ["base", "checkpoint"]
    assert len({part.name for part in parts}) == len(parts)
    assert not any("/" in part.name or "." in part.name for part in parts)
    assert "loss/../../etc/passwd/base" in {part.what for part in parts}

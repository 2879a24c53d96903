import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from neftune_core.evaluate.results import Of, Results, written
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.spec_faults import faults_of

JUDGE = {"endpoint": "https://judge.example/v1", "model": "judge-1"}


def fault(**given):
    with pytest.raises(ValidationError) as caught:
        EvaluationSpec.model_validate(given)
    return [(fault.loc, fault.code) for fault in faults_of(caught.value, EvaluationSpec)]


def test_the_kinds_alone_are_a_spec_and_run_in_their_own_order():
    spec = EvaluationSpec.model_validate({"kinds": ["diversity", "loss"]})
    assert spec.asked() == ("loss", "diversity")
    assert spec.checkpoint == "last"
    assert spec.generation.repetition_penalty == 1.2


@pytest.mark.parametrize("checkpoint", ["base", "best", "last", 0, 120])
def test_a_checkpoint_is_a_word_or_a_step(checkpoint):
    spec = EvaluationSpec.model_validate({"kinds": ["loss"], "checkpoint": checkpoint})
    assert spec.checkpoint == checkpoint


@pytest.mark.parametrize("checkpoint", ["first", -1, "120", True, 1.0])
def test_nothing_else_is_a_checkpoint(checkpoint):
    [(loc, _)] = fault(kinds=["loss"], checkpoint=checkpoint)
    assert loc == ("checkpoint",)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kinds": ["loss", "loss"]}, (("kinds",), "kind_twice")),
        ({"kinds": ["loss"], "los": {}}, (("los",), "unknown_field")),
        ({"kinds": ["loss"], "loss": {"bin": 3}}, (("loss", "bin"), "unknown_field")),
        ({"kinds": ["judge"]}, (("judge",), "judge_needed")),
        ({"kinds": ["loss"], "judge": JUDGE}, (("judge",), "kind_not_asked")),
        ({"kinds": ["loss"], "overlap": {"prompts": 3}}, (("overlap",), "kind_not_asked")),
        (
            {"kinds": ["judge"], "judge": {**JUDGE, "against": "run"}},
            (("judge", "run"), "other_side_unclear"),
        ),
        ({"kinds": ["judge"], "judge": {**JUDGE, "run": "x"}}, (("judge", "run"), "other_side_unclear")),
        (
            {"kinds": ["judge"], "judge": {**JUDGE, "model": "sk-aaaaaaaaaaaaaaaaaaaaaaaa"}},
            (("judge",), "secret_in_spec"),
        ),
        (
            {"kinds": ["judge"], "judge": {**JUDGE, "endpoint": "https://user:word@judge.example/v1"}},
            (("judge", "endpoint"), "string_pattern_mismatch"),
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(given, told):
    assert fault(**given) == [told]


def test_a_spec_written_out_in_full_is_the_same_spec():
    spec = EvaluationSpec.model_validate({"kinds": ["loss"], "checkpoint": 3})
    assert EvaluationSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_results_survive_json():
    of = Of(model="org/base", checkpoint="step", step=3, template="alpaca", alpha=5.0, distribution="uniform")
    results = Results(spec=EvaluationSpec(kinds=("loss",)), of=of)
    assert Results.model_validate(json.loads(json.dumps(written(results), allow_nan=False))) == results


def test_results_with_fields_of_a_later_version_are_read():
    of = Of(model="org/base", checkpoint="base", step=None, template="plain", alpha=None, distribution=None)
    later = {**written(Results(spec=EvaluationSpec(kinds=("loss",)), of=of)), "horoscope": 12}
    assert Results.model_validate(later).of == of


def test_spec_and_results_load_neither_torch_nor_a_metric():
    heavy = "{'torch', 'transformers', 'rouge_score', 'sacrebleu', 'lm_eval'}"
    code = f"import sys, neftune_core.evaluate.results; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

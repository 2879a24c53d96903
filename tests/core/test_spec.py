import json
import math
from typing import Literal

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from neftune_core import strict_json
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import faults_of

LEAST = {"model": "org/base-7b", "dataset": "ds_1"}


def spec(**fields):
    return JobSpec.model_validate({**LEAST, **fields})


def faults(**fields):
    with pytest.raises(ValidationError) as caught:
        spec(**fields)
    return faults_of(caught.value, JobSpec)


def only(**fields):
    (fault,) = faults(**fields)
    return fault.loc, fault.code


def test_model_and_dataset_are_enough():
    assert spec().alpha == 5.0
    assert spec().training.batch_size == 16


def test_a_spec_can_not_be_changed_and_survives_json():
    whole = spec(method="qlora", training={"max_steps": 5}, metadata={"a": "b"}, tags=["x"])
    with pytest.raises(ValidationError):
        whole.alpha = 3
    assert JobSpec.model_validate_json(whole.model_dump_json()) == whole
    assert JobSpec.model_validate(json.loads(whole.model_dump_json())) == whole


def test_qlora_is_quantised_without_being_asked():
    assert spec(method="qlora").quantization.bits == 4
    assert spec().quantization is None


@pytest.mark.parametrize("alpha", [0, 5])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distribution", "gaussian"),
        ("distribution", "sphere"),
        ("scale", "batch_width"),
        ("target", "prompt"),
        ("target", "response"),
        ("schedule", "linear_warmup"),
        ("schedule", "linear_decay"),
    ],
)
def test_noise_may_be_asked_for_that_is_not_the_papers(alpha, field, value):
    assert getattr(spec(alpha=alpha, noise={field: value}).noise, field) == value


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_a_seed_may_be_any_number_below_two_to_the_31(seed):
    assert spec(training={"seed": seed}).training.seed == seed


@pytest.mark.parametrize(("given", "kept"), [(0, 0.0), (5, 5.0), (15.5, 15.5), (100, 100.0)])
def test_alpha_may_be_any_number_up_to_a_hundred(given, kept):
    assert spec(alpha=given).alpha == kept


def test_minus_zero_is_zero():
    assert math.copysign(1, spec(alpha=-0.0).alpha) == 1


@pytest.mark.parametrize("alpha", [-1, 100.1, 1e308, 10**400, math.nan, math.inf, "5", True, None, [5], {}])
def test_any_other_alpha_is_refused_at_its_place(alpha):
    (fault,) = faults(alpha=alpha)
    assert fault.loc == ("alpha",)


@pytest.mark.parametrize("alpha", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_what_is_no_json_number_does_not_get_as_far(alpha):
    with pytest.raises(strict_json.JsonFault):
        strict_json.loads(f'{{"alpha": {alpha}}}'.encode())


@pytest.mark.parametrize(
    ("fields", "loc", "near"),
    [
        ({"alpah": 5}, ("alpah",), "alpha"),
        ({"Alpha": 5}, ("Alpha",), "alpha"),
        ({"training": {"learning_rates": 1}}, ("training", "learning_rates"), "learning_rate"),
        ({"training": {"early_stop": {"patient": 1}}}, ("training", "early_stop", "patient"), "patience"),
        ({"lora": {"rank": 8, "alpha": 1}}, None, "lora_alpha"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(fields, loc, near):
    found = [fault for fault in faults(**fields) if fault.code == "unknown_field"]
    assert any(f"did you mean {near}?" in fault.msg for fault in found)
    assert loc is None or found[0].loc == loc


@pytest.mark.parametrize("name", ["__proto__", "id", "status", "project_id", "fence"])
def test_nobody_can_set_what_is_not_theirs(name):
    assert only(**{name: 1}) == ((name,), "unknown_field")


@pytest.mark.parametrize(
    ("fields", "loc", "code"),
    [
        ({"training": {"learning_rate": 0}}, ("training", "learning_rate"), "greater_than_equal"),
        ({"training": {"learning_rate": -1.0}}, ("training", "learning_rate"), "greater_than_equal"),
        ({"training": {"learning_rate": 10}}, ("training", "learning_rate"), "less_than_equal"),
        ({"training": {"learning_rate": 1e-300}}, ("training", "learning_rate"), "greater_than_equal"),
        ({"training": {"epochs": 0}}, ("training", "epochs"), "greater_than"),
        ({"training": {"epochs": -1}}, ("training", "epochs"), "greater_than"),
        ({"training": {"epochs": 1e9}}, ("training", "epochs"), "less_than_equal"),
        ({"training": {"epochs": 1, "max_steps": 5}}, ("training", "max_steps"), "epochs_or_max_steps"),
        ({"training": {"epochs": None}}, ("training", "max_steps"), "epochs_or_max_steps"),
        ({"lora": {"r": 0}}, ("lora", "r"), "greater_than_equal"),
        ({"lora": {"r": -8}}, ("lora", "r"), "greater_than_equal"),
        ({"lora": {"r": 8.0}}, ("lora", "r"), "int_type"),
        ({"lora": {"r": 10**9}}, ("lora", "r"), "less_than_equal"),
        ({"lora": {"lora_alpha": 0}}, ("lora", "lora_alpha"), "greater_than_equal"),
        ({"lora": {"lora_dropout": 1.0}}, ("lora", "lora_dropout"), "less_than"),
        ({"lora": {"target_modules": []}}, ("lora", "target_modules"), "too_short"),
        ({"lora": {"target_modules": ["(a+)+$"]}}, ("lora", "target_modules", 0), "string_pattern_mismatch"),
        ({"lora": {"target_modules": ["q"] * 10_000}}, ("lora", "target_modules"), "too_long"),
        ({"model": "../../etc"}, ("model",), "string_pattern_mismatch"),
        ({"model": "/etc/x"}, ("model",), "string_pattern_mismatch"),
        ({"model": "file://x/y"}, ("model",), "string_pattern_mismatch"),
        ({"model": "a/b/../../c"}, ("model",), "string_pattern_mismatch"),
        ({"model": "-flag/x"}, ("model",), "string_pattern_mismatch"),
        ({"model": "a/b\0"}, ("model",), "string_pattern_mismatch"),
        ({"model": "a/b\n"}, ("model",), "string_pattern_mismatch"),
        ({"model": "аcme/base"}, ("model",), "string_pattern_mismatch"),  # a Cyrillic letter
        ({"revision": "../x"}, ("revision",), "string_pattern_mismatch"),
        ({"training": {"max_length": 0}}, ("training", "max_length"), "greater_than_equal"),
        ({"training": {"batch_size": 0}}, ("training", "batch_size"), "greater_than_equal"),
        ({"training": {"batch_size": 10**9}}, ("training", "batch_size"), "less_than_equal"),
        ({"training": {"micro_batch_size": 32}}, ("training", "micro_batch_size"), "micro_batch_too_large"),
        ({"chat_template": "{{ x }}"}, ("chat_template",), "unknown_field"),
        ({"name": "x" * 121}, ("name",), "string_too_long"),
        ({"name": "a\nb"}, ("name",), "string_pattern_mismatch"),
        ({"name": "a\u202eb"}, ("name",), "string_pattern_mismatch"),
        ({"metadata": {str(n): "x" for n in range(17)}}, ("metadata",), "too_long"),
        ({"metadata": {"k": 5}}, ("metadata",), "string_type"),
        ({"metadata": {"k": "x" * 10_000}}, ("metadata",), "string_too_long"),
        ({"metadata": {"k" * 65: "x"}}, ("metadata",), "string_too_long"),
        ({"tags": ["x"] * 17}, ("tags",), "too_long"),
        ({"training": {"seed": -1}}, ("training", "seed"), "greater_than_equal"),
        ({"training": {"seed": 2**64}}, ("training", "seed"), "less_than_equal"),
        ({"training": {"seed": 1.5}}, ("training", "seed"), "int_type"),
        ({"training": {"seed": "1"}}, ("training", "seed"), "int_type"),
        ({"training": {"seed": True}}, ("training", "seed"), "int_type"),
        ({"training": {"precision": "auto "}}, ("training", "precision"), "literal_error"),
        ({"training": {"micro_batch_size": "Auto"}}, ("training", "micro_batch_size"), "literal_error"),
        ({"quantization": {}}, ("quantization",), "quantization_without_qlora"),
        ({"preset": "paper"}, ("preset",), "literal_error"),
        ({"preset": 5}, ("preset",), "literal_error"),
        ({"preset": "paper-alpaca", "training": 5}, ("training",), "model_type"),
        (
            {"preset": "paper-alpaca", "training": {"batch_size": True}},
            ("training", "batch_size"),
            "int_type",
        ),
        ({"init_from": "job_1"}, ("init_from",), "not_supported"),
        ({"noise": {"distribution": "laplace"}}, ("noise", "distribution"), "literal_error"),
        ({"noise": {"scale": "row"}}, ("noise", "scale"), "literal_error"),
        ({"noise": {"target": "system"}}, ("noise", "target"), "literal_error"),
        ({"noise": {"schedule": "linear"}}, ("noise", "schedule"), "literal_error"),
        ({"resources": {"gpus": 2}}, ("resources", "gpus"), "not_supported"),
        ({"training": {"packing": True}}, ("training", "packing"), "literal_error"),
        ({"training": {"split_conversations": True}}, ("training", "split_conversations"), "literal_error"),
        ({"training": {"drop_last": 1}}, ("training", "drop_last"), "bool_type"),
        (
            {"training": {"loss_reduction": "micro_batch"}},
            ("training", "micro_batch_size"),
            "micro_batch_size_needed",
        ),
        (
            {"training": {"loss_reduction": "micro_batch", "micro_batch_size": 4, "packing": "on"}},
            ("training", "packing"),
            "packing_changes_loss",
        ),
        (
            {"preset": "paper-alpaca", "training": {"packing": "on"}},
            ("training", "packing"),
            "packing_changes_loss",
        ),
        ({"training": 5}, ("training",), "model_type"),
    ],
)
def test_what_makes_no_sense_has_its_code_and_place(fields, loc, code):
    assert only(**fields) == (loc, code)


@pytest.mark.parametrize("missing", ["model", "dataset"])
def test_a_missing_field_is_named(missing):
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate({name: value for name, value in LEAST.items() if name != missing})
    (fault,) = faults_of(caught.value, JobSpec)
    assert (fault.loc, fault.code) == ((missing,), "missing_field")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"training": {"micro_batch_size": "x"}}, ("'auto'", "integer")),
        ({"training": {"save_every": "soon"}}, ("integer", '"5m"')),
        ({"training": {"eval_every": 1.5}}, ("integer", "less than or equal to 1")),
        ({"training": {"gradient_checkpointing": "yes"}}, ("'auto'", "boolean")),
        ({"lora": {"target_modules": "q_proj"}}, ("'all-linear'", "a list")),
        ({"resources": {"gpus": "all"}}, ("'auto'", "integer")),
    ],
)
def test_where_several_kinds_are_fine_all_are_named(fields, words):
    (fault,) = faults(**fields)
    assert all(word in fault.msg for word in words)


def test_faults_are_told_in_words_of_json_and_not_of_python():
    class Body(BaseModel):
        nothing: None = None
        never: Literal[False] = False
        odd: int = 1

        @field_validator("odd")
        @classmethod
        def _odd(cls, given):
            if given % 2 == 0:
                raise ValueError("must be odd")
            return given

    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"nothing": [], "never": True, "odd": 2})
    told = [fault.msg for fault in faults_of(caught.value, Body)]
    assert told == ["It should be null", "It should be false", "It must be odd"]


@pytest.mark.parametrize(
    "fields",
    [
        {"<script>canary": 1},
        {"metadata": {"canary\n<b>": 5}},
        {"metadata": {"canary": "x" * 513}},
        {"name": "canary\n"},
        {"model": "canary"},
        {"training": {"precision": "canary"}},
        {"training": {"canary canary": 1}},
        {"<canary>": "hf_" + "a" * 34},
        {"tags": ["canary\0"]},
    ],
)
def test_what_was_sent_is_not_repeated(fields):
    told = "".join(str(fault) for fault in faults(**fields))
    assert "canary" not in told


@pytest.mark.parametrize(
    "secret",
    ["hf_" + "a" * 34, "sk-proj-" + "b" * 40, "AKIAIOSFODNN7EXAMPLE", "ghp_" + "c" * 36, "nft_" + "d" * 43],
)
@pytest.mark.parametrize(
    ("place", "loc"),
    [
        (lambda secret: {"name": f"run with {secret}"}, ("name",)),
        (lambda secret: {"metadata": {"token": secret}}, ("metadata",)),
        (lambda secret: {"metadata": {secret: "x"}}, ("metadata",)),
        (lambda secret: {"tags": ["a", secret]}, ("tags",)),
        (lambda secret: {"training": {"hf_token": secret}}, ("training",)),
        (lambda secret: {secret: 1}, ()),
    ],
)
def test_a_secret_is_refused_wherever_it_stands(secret, place, loc):
    (fault,) = faults(**place(secret))
    assert (fault.loc, fault.code) == (loc, "secret_in_spec")
    assert secret not in fault.msg


@pytest.mark.parametrize(
    "name", ["sk-short", "hf_test", "task-force-of-the-whole-department", "my nft_ thing"]
)
def test_ordinary_names_are_no_secrets(name):
    assert spec(name=name).name == name


def test_at_most_a_hundred_faults_are_told():
    assert len(faults(**{f"x{number}": 1 for number in range(500)})) == 100

"""Job specs that are refused: each with its code and its place, and nothing recorded."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.live_api import MODEL, make_settings, running, spec, upload


def post(client: httpx.Client, body: str | dict[str, Any]) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    data = text.encode("utf-8", "surrogatepass")
    return client.post("/jobs", content=data, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("alpha", "code"),
    [("-1", "invalid_spec"), ("NaN", "invalid_json"), ("Infinity", "invalid_json"),
     ("-Infinity", "invalid_json"), ("1e999", "invalid_json"), ("1e308", "invalid_spec"),
     ('"5"', "invalid_spec"), ("true", "invalid_spec"), ("null", "invalid_spec"), ("[5]", "invalid_spec"),
     ("1" * 5000, "invalid_json"), ("100.5", "invalid_spec"),
     ("1e-300", "invalid_spec"), ("9e-7", "invalid_spec")],
)  # fmt: skip
def test_a_wrong_alpha_is_refused_in_its_place(client: httpx.Client, alpha: str, code: str) -> None:
    answer = post(client, f'{{"model": "{MODEL}", "dataset": "ds_x", "alpha": {alpha}}}')

    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, code), answer.text
    assert told["errors"][0]["loc"] == ["alpha"]
    assert told["errors"][0]["code"]
    assert client.get("/jobs").json()["items"] == []


def test_a_negative_zero_is_zero(client: httpx.Client) -> None:
    dataset = upload(client)["id"]
    answer = post(client, f'{{"model": "{MODEL}", "dataset": "{dataset}", "alpha": -0.0}}')
    assert answer.status_code == 201
    assert str(answer.json()["spec"]["alpha"]) == "0.0"


@pytest.mark.parametrize("name", ["alpah", "Alpha", "__proto__", "id", "status", "project_id", "fence"])
def test_an_unknown_field_is_refused_with_the_nearest_name(client: httpx.Client, name: str) -> None:
    answer = post(client, {**spec("ds_x"), name: 1})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "invalid_spec")
    assert told["errors"][0]["code"] == "unknown_field"
    if name in {"alpah", "Alpha"}:
        assert "alpha" in told["errors"][0]["msg"]


@pytest.mark.parametrize(
    "change",
    [{"training": {"learning_rate": 0}}, {"training": {"learning_rate": 10}}, {"training": {"epochs": -1}},
     {"training": {"epochs": 3, "max_steps": 5}}, {"training": {"batch_size": 0}},
     {"training": {"batch_size": 10**9}},
     {"training": {"max_length": 0}}, {"training": {"seed": -1}}, {"training": {"seed": 2**64}},
     {"training": {"seed": 1.5}}, {"training": {"seed": "1"}}, {"lora": {"r": 0}}, {"lora": {"r": 8.0}},
     {"lora": {"lora_alpha": 0}}, {"lora": {"lora_dropout": 1.0}}, {"lora": {"target_modules": []}},
     {"lora": {"target_modules": ["(a+)+$"]}}, {"lora": {"target_modules": ["x"] * 10_000}},
     {"lora": {"r": 10**9}},
     {"name": "x" * 121}, {"name": "a\nb"}, {"metadata": {"k": 1}}, {"metadata": {"k": "v" * 10_000}},
     {"metadata": {str(n): "v" for n in range(17)}}, {"tags": ["x"] * 17},
     {"lora": {"nested": 1}}, {"training": None}, {"lora": []}],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(client: httpx.Client, change: dict[str, Any]) -> None:
    answer = post(client, {**spec("ds_x"), **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec"), answer.text
    assert answer.json()["errors"][0]["loc"][0] == next(iter(change))


@pytest.mark.parametrize(
    "model",
    [
        "../../etc",
        "/etc/x",
        "file://x",
        "s3://a/b",
        "http://a/b",
        "a/b/../../c",
        "-flag",
        "a/b\x00",
        "о/b",
        "",
        "a",
    ],
)
def test_a_model_is_an_id_and_never_a_path(client: httpx.Client, model: str) -> None:
    answer = post(client, {**spec("ds_x"), "model": model})
    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid_spec", "invalid_json"}
    assert "etc" not in answer.text


@pytest.mark.parametrize("model", ["org/unknown", "other/base"])
def test_a_model_that_is_not_there_or_not_allowed_is_refused(client: httpx.Client, model: str) -> None:
    answer = post(client, {**spec(upload(client)["id"]), "model": model})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "model_not_available")
    assert told["errors"][0]["loc"] == ["model"]


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [({"quantization": {}}, ["quantization"], "quantization_without_qlora"),
     ({"training": {"loss_reduction": "micro_batch"}}, ["training", "micro_batch_size"],
      "micro_batch_size_needed"),
     ({"preset": "paper-qlora", "training": {"packing": "on"}}, ["training", "packing"],
      "packing_changes_loss"),
     ({"preset": "paper-vicuna"}, ["preset"], "literal_error"),
     ({"noise": {"target": "system"}}, ["noise", "target"], "literal_error"),
     ({"noise": {"schedule": 5}}, ["noise", "schedule"], "literal_error")],
)  # fmt: skip
def test_fields_that_do_not_fit_are_refused_in_their_place(
    client: httpx.Client, change: dict[str, Any], loc: list[str], code: str
) -> None:
    answer = post(client, {**spec("ds_x"), **change})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "invalid_spec")
    assert [(one["loc"], one["code"]) for one in told["errors"]] == [(loc, code)]


def test_what_is_not_built_yet_says_so(client: httpx.Client) -> None:
    answer = post(client, {**spec("ds_x"), "resources": {"gpus": 2}})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_supported")


@pytest.mark.parametrize(
    "body",
    ["", "{", "nul", '{"a": 1, "a": 2}', "[" * 1000 + "]" * 1000, '{"a": "\\ud800"}', '{"a": "\\u0000"}',
     "\ufeff{}", '{"a": 1} x', '"\ud800"'],
)  # fmt: skip
def test_what_is_not_json_is_refused(client: httpx.Client, body: str) -> None:
    answer = post(client, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_json"), answer.text
    assert answer.json()["errors"][0]["code"]


@pytest.mark.parametrize("body", ["[]", "null", "5", '"x"'])
def test_json_that_is_no_object_is_refused(client: httpx.Client, body: str) -> None:
    answer = post(client, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")


def test_the_input_is_never_repeated(client: httpx.Client) -> None:
    answer = post(client, {**spec("sesame-1"), "alpha": "sesame-2", "name": "sesame-3\n", "sesame 4": 1,
                           "metadata": {"sesame-5\n": "x"}, "method": "sesame-6"})  # fmt: skip
    assert answer.status_code == 422
    assert "sesame" not in answer.text


def test_many_faults_are_told_at_once(client: httpx.Client) -> None:
    answer = post(client, {**spec("ds_x"), **{f"unknown{n}": 1 for n in range(300)}})
    assert 1 < len(answer.json()["errors"]) <= 100


def test_the_queue_is_bounded(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, queue_limit=2)) as small, small.client() as client:
        dataset = upload(client)["id"]
        answers = [post(client, spec(dataset)) for _ in range(3)]
    assert [one.status_code for one in answers] == [201, 201, 429]
    assert answers[2].json()["code"] == "queue_full"
    assert answers[2].headers["retry-after"]

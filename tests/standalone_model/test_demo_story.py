"""The demo against a service that does not do what it should: it says so and ends with 1."""

import io
import json

import pytest
from rich.console import Console

from neftune_core.spec import JobSpec
from standalone.demo import run_demo
from standalone.demo.dataset import PATH
from standalone.demo.story import ALPHA, spec
from tests.client.scripted import Answer, as_json, scripted

WRONG = "0" * 64
DATASET = {"id": "ds_1", "rows": 320, "sha256": "ab"}
VERIFIED = {"alpha": 5.0, "effective_alpha": 5.0, "examples": 9, "noise_ratio": 0.2, "noise_on_pads": 0.0}


def _sent(*messages):
    lines = [
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        for number, (kind, data) in enumerate(messages, start=1)
    ]
    return Answer("".join(lines).encode())


SUCCEEDED = _sent(
    ("event", {"name": "neftune.verified", "data": VERIFIED}), ("status", {"status": "succeeded"})
)
ANSWERS = {
    "/readyz": as_json({"status": "ok"}),
    "/datasets": as_json(DATASET, 201),
    "/jobs": as_json({"id": "job_1"}, 201),
    "/jobs/job_1/stream": SUCCEEDED,
    "/jobs/job_1/artifacts": as_json({"items": [{"name": "adapter", "sha256": WRONG}], "next": None}),
    "/jobs/job_1/artifacts/adapter": Answer(b"tar", headers={"etag": f'"{WRONG}"'}),
}


def _run(tmp_path, changed, seen=None, stopping=lambda: False):
    def answer(request):
        if seen is not None:
            seen.append(request)
        return (ANSWERS | changed).get(request.path, Answer(b"", 404))

    console = Console(file=io.StringIO(), width=200)
    with scripted(answer) as url:
        code = run_demo(url, "key", tmp_path, console, stopping)
    return code, console.file.getvalue()


def test_a_failed_job_is_told_with_code_detail_and_the_end_of_its_log(tmp_path):
    changed = {
        "/jobs/job_1/stream": _sent(("status", {"status": "failed"})),
        "/jobs/job_1": as_json(
            {"error": {"code": "nan_loss", "detail": "The loss was NaN.", "retryable": False}}
        ),
        "/jobs/job_1/log": Answer(b"first\n" * 50 + b"the last words"),
    }
    code, text = _run(tmp_path, changed)
    assert code == 1
    assert "failed: nan_loss: The loss was NaN." in text
    assert "the last words" in text


def test_who_stops_the_service_is_told_nothing(tmp_path):
    code, text = _run(tmp_path, {"/jobs/job_1/stream": Answer(b"", 503)}, stopping=lambda: True)
    assert code == 1
    assert "failed" not in text


def test_a_refused_dataset_is_told_with_its_faults(tmp_path):
    problem = {
        "code": "dataset_invalid",
        "detail": "1 row is wrong.",
        "errors": [{"line": 3, "msg": "No role."}],
    }
    code, text = _run(tmp_path, {"/datasets": as_json(problem, 422)})
    assert code == 1
    assert "422" in text
    assert "dataset_invalid: 1 row is wrong." in text
    assert "3: No role." in text


def test_a_download_that_is_not_what_its_tag_says_is_refused(tmp_path):
    code, text = _run(tmp_path, {})
    assert code == 1
    assert f"its ETag says {WRONG}" in text


def test_a_run_without_proof_of_its_noise_is_refused(tmp_path):
    code, text = _run(tmp_path, {"/jobs/job_1/stream": _sent(("status", {"status": "succeeded"}))})
    assert code == 1
    assert "did not prove its noise" in text


def test_a_success_without_an_adapter_is_refused(tmp_path):
    code, text = _run(tmp_path, {"/jobs/job_1/artifacts": as_json({"items": [], "next": None})})
    assert code == 1
    assert "without an adapter" in text


def test_the_dataset_goes_in_as_it_is_and_the_job_has_the_papers_noise(tmp_path):
    seen = []
    _run(tmp_path, {}, seen)
    posts = {request.path: request for request in seen if request.method == "POST"}
    assert posts["/datasets"].body == PATH.read_bytes()
    assert json.loads(posts["/jobs"].body)["alpha"] == ALPHA == 5.0


def test_the_job_is_a_valid_spec():
    asked = JobSpec.model_validate(spec("ds_1"))
    assert asked.training.seed == 42
    assert asked.method == "lora"


@pytest.mark.parametrize("path", ["/datasets", "/jobs"])
def test_an_answer_that_is_no_problem_document_is_told_too(tmp_path, path):
    code, text = _run(tmp_path, {path: Answer(b"<html>bad gateway", 502)})
    assert code == 1
    assert "502" in text
    assert "bad gateway" in text

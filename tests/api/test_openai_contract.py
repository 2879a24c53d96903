"""What clients of OpenAI's API rely on beside the objects: errors, repeated requests, ends that are told."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from openai import OpenAI
from sqlalchemy import text

from neftune_store.db import unit_of_work
from neftune_store.settling import settle_failed
from neftune_store.webhooks import take
from tests.api.live_api import MODEL, Service, claim, make_settings, rows, running, spec, upload
from tests.api.openai_sdk import create, key_of, native_id, put, sdk
from worker.deliver import signed


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK, with the key that `client` has."""
    with sdk(service.url, key_of(client)) as found:
        yield found


# Errors


def test_a_wrong_key_is_told_as_the_sdk_expects(service: Service) -> None:
    with sdk(service.url, "wrong-key-wrong-key") as ai, pytest.raises(openai.AuthenticationError) as refused:
        ai.models.list()
    assert (refused.value.code, refused.value.type) == ("unauthorized", "authentication_error")


def test_a_key_that_may_only_read_is_told_so(service: Service) -> None:
    with sdk(service.url, service.key("read")) as ai:
        assert list(ai.files.list()) == []
        for ask in (lambda: put(ai), lambda: ai.fine_tuning.jobs.cancel("ftjob-x")):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                ask()
            assert (refused.value.code, refused.value.type) == ("forbidden", "permission_error")


@pytest.mark.parametrize(
    ("line", "body", "status", "code"),
    [
        ("GET /v1", None, 404, "not_found"),
        ("GET /v1/", None, 404, "not_found"),
        ("GET /v1/nothing", None, 404, "not_found"),
        ("PUT /v1/files", None, 405, "method_not_allowed"),
        ("POST /v1/files", b"{}", 400, "malformed_multipart"),
        ("POST /v1/fine_tuning/jobs", b"", 415, "unsupported_media"),
        ("POST /v1/fine_tuning/jobs", b'{"model": NaN}', 400, "invalid_json"),
        ("POST /v1/fine_tuning/jobs", b'{"model": "a", "model": "b"}', 400, "invalid_json"),
        ("POST /v1/fine_tuning/jobs", b"[]", 400, "invalid_request"),
        ("POST /v1/fine_tuning/jobs", b'"' + b"x" * 70_000 + b'"', 413, "body_too_large"),
        ("GET /v1/files?limit=0", None, 400, "invalid_request"),
        ("GET /v1/files?order=up", None, 400, "invalid_request"),
    ],
)
def test_every_refusal_has_the_envelope(
    client: httpx.Client, line: str, body: bytes | None, status: int, code: str
) -> None:
    method, _, path = line.partition(" ")
    headers = {"Content-Type": "application/json"} if body else {}
    answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert error["message"]
    assert answer.headers["x-request-id"]


def test_a_path_that_only_looks_like_this_surface_answers_natively(client: httpx.Client) -> None:
    assert client.get("/v1x").json()["type"] == "/problems/not_found"


def test_the_id_of_a_request_is_told(ai: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ai.fine_tuning.jobs.retrieve("ftjob-x", extra_headers={"x-request-id": "mine-12345678"})
    assert refused.value.request_id == "mine-12345678"
    assert ai.models.list()._request_id


def test_a_full_queue_is_told_as_a_limit(api_database: str, tmp_path: Path) -> None:
    few = make_settings(api_database, tmp_path, queue_limit=1)
    with running(few) as service, sdk(service.url, service.key()) as ai:
        file = put(ai).id
        create(ai, file)
        with pytest.raises(openai.RateLimitError) as refused:
            create(ai, file)
    assert (refused.value.code, refused.value.type) == ("queue_full", "rate_limit_error")
    assert int(refused.value.response.headers["retry-after"]) > 0


def test_a_database_that_is_away_is_told_as_a_fault_of_ours(tmp_path: Path) -> None:
    nowhere = make_settings("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    told = pytest.raises(openai.InternalServerError)
    with running(nowhere) as service, sdk(service.url, "nft_" + "k" * 43) as ai, told as refused:
        ai.models.list()
    assert (refused.value.status_code, refused.value.code) == (503, "database_unavailable")
    assert refused.value.type == "server_error"
    assert refused.value.response.headers["retry-after"]


def test_what_is_not_served_is_told_once(ai: OpenAI, service: Service) -> None:
    with sdk(service.url, ai.api_key, max_retries=2) as patient:
        graders, permissions = patient.fine_tuning.alpha.graders, patient.fine_tuning.checkpoints.permissions
        grader: Any = {"type": "string_check", "name": "n", "operation": "eq", "input": "a", "reference": "b"}
        asks = [
            lambda: graders.run(grader=grader, model_sample="x"),
            lambda: graders.validate(grader=grader),
            lambda: permissions.create("ft:a:b:c:d", project_ids=["p"]),
            lambda: permissions.list("ft:a:b:c:d"),
            lambda: permissions.delete("cp_x", fine_tuned_model_checkpoint="ft:a:b:c:d"),
        ]
        for ask in asks:
            with pytest.raises(openai.InternalServerError) as refused:
                ask()
            assert (refused.value.status_code, refused.value.code) == (501, "not_implemented")
            assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


# Repeated requests


class Losing(httpx2.HTTPTransport):
    """A way to the service on which the first answers are lost, when the request has been carried out."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.left = lost
        self.counts: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if not request.url.path.endswith("/jobs"):
            return answer
        self.counts.append(request.headers["x-stainless-retry-count"])
        if self.left == 0:
            return answer
        self.left -= 1
        answer.read()
        answer.close()
        return httpx2.Response(503, json={"error": {"message": "lost"}}, headers={"retry-after-ms": "1"})


def through(service: Service, ai: OpenAI, way: httpx2.BaseTransport) -> Any:
    http = openai.DefaultHttpxClient(transport=way, trust_env=False)
    return sdk(service.url, ai.api_key, max_retries=2, http_client=http)


def test_a_creation_whose_answer_was_lost_makes_one_job(service: Service, ai: OpenAI) -> None:
    file, way = put(ai).id, Losing(2)
    with through(service, ai, way) as losing:
        job = create(losing, file, metadata={"only": "once"})
        assert way.counts == ["0", "1", "2"]
        assert [one.id for one in ai.fine_tuning.jobs.list()] == [job.id]
        # and asking for the same on purpose makes another one
        assert create(losing, file, metadata={"only": "once"}).id != job.id
    assert len(list(ai.fine_tuning.jobs.list())) == 2


def repeated(ai: OpenAI, file: str, count: str = "1", **more: Any) -> str:
    """Create a job as an attempt that the SDK makes by itself."""
    return create(ai, file, extra_headers={"x-stainless-retry-count": count}, **more).id


def test_only_an_equal_body_of_the_same_key_within_a_minute_is_the_same(
    service: Service, ai: OpenAI, client: httpx.Client
) -> None:
    file = put(ai).id
    first = create(ai, file, seed=1).id
    assert repeated(ai, file, seed=1) == first
    assert repeated(ai, file, seed=1, count="many") != first
    last = repeated(ai, file, seed=1, count="0")
    assert repeated(ai, file, seed=1) == last
    assert repeated(ai, file, seed=2) not in {first, last}
    with unit_of_work(service.engine) as session:
        owner = "SELECT projects.name FROM projects JOIN jobs ON project_id = projects.id WHERE jobs.id = :id"
        project = session.scalar(text(owner), {"id": last.replace("ftjob-", "job_")})
    with sdk(service.url, service.key(project=project)) as colleague:
        assert repeated(colleague, file, seed=1) != last
    with service.engine.begin() as line:
        line.execute(text("UPDATE recent_bodies SET created_at = created_at - interval '61 seconds'"))
    assert repeated(ai, file, seed=1) != last


def test_a_first_attempt_that_comes_in_last_is_given_the_job_once(service: Service, ai: OpenAI) -> None:
    file = put(ai).id
    job = repeated(ai, file, seed=3)
    assert repeated(ai, file, seed=3, count="2") == job
    assert repeated(ai, file, seed=3, count="0") == job
    other = repeated(ai, file, seed=3, count="0")
    assert other != job
    # and not when it comes a minute later
    job = repeated(ai, file, seed=4)
    with service.engine.begin() as line:
        line.execute(text("UPDATE recent_bodies SET created_at = created_at - interval '61 seconds'"))
    assert repeated(ai, file, seed=4, count="0") != job


def test_a_deleted_job_is_not_given_again(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai).id
    job = create(ai, file)
    ai.fine_tuning.jobs.cancel(job.id)
    client.delete(f"/jobs/{native_id(job)['id']}")
    assert repeated(ai, file) != job.id


def test_attempts_at_the_same_time_make_one_job(service: Service, ai: OpenAI) -> None:
    file = put(ai).id
    made: list[str] = []
    start = threading.Barrier(10)

    def attempt(number: int) -> None:
        with sdk(service.url, ai.api_key) as mine:
            start.wait(10)
            made.append(repeated(mine, file, str(number), seed=9))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 10
    assert len(set(made)) == 1
    assert len(list(ai.fine_tuning.jobs.list())) == 1


def test_what_is_remembered_of_bodies_is_forgotten(service: Service, ai: OpenAI) -> None:
    file = put(ai).id

    def remembered() -> int:
        count = "SELECT count(*) FROM recent_bodies JOIN jobs ON jobs.id = job_id WHERE dataset_id = :file"
        with service.engine.connect() as line:
            return line.scalar(text(count), {"file": file.replace("file-", "ds_")}) or 0

    create(ai, file, seed=1)
    create(ai, file, seed=2)
    assert remembered() == 2
    with service.engine.begin() as line:
        line.execute(text("UPDATE recent_bodies SET created_at = created_at - interval '61 seconds'"))
    create(ai, file, seed=3)
    assert remembered() == 1


# Ends that are told


def test_a_webhook_is_unwrapped_and_leads_to_its_job(
    service: Service, ai: OpenAI, client: httpx.Client
) -> None:
    made = client.post("/webhooks", json={"url": "https://example.org/hook"}).json()
    job = create(ai)
    with unit_of_work(service.engine) as session:
        settle_failed(session, claim(service, native_id(job)), "host_oom", "Too much.")
    with unit_of_work(service.engine) as session:
        errand = next(one for one in iter(lambda: take(session), None) if one.secret == made["secret"])
    data = json.dumps(errand.body, separators=(",", ":"))
    headers = signed(errand, data)

    event = ai.webhooks.unwrap(data, headers, secret=made["secret"])

    assert event.type == "fine_tuning.job.failed"
    assert (event.object, event.data.id) == ("event", job.id)
    assert abs(event.created_at - datetime.now(UTC).timestamp()) < 300
    assert ai.fine_tuning.jobs.retrieve(event.data.id).status == "failed"
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(openai.InvalidWebhookSignatureError):
        ai.webhooks.unwrap(data, headers, secret=other)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        ai.webhooks.unwrap(data + " ", headers, secret=made["secret"])


# Both surfaces are one service


def test_a_job_of_the_native_surface_is_here_too(ai: OpenAI, client: httpx.Client) -> None:
    dataset = upload(client, rows())["id"]
    native = client.post("/jobs", json=spec(dataset, alpha=10, name="From there")).json()
    (job,) = ai.fine_tuning.jobs.list()
    assert native_id(job) == {"id": native["id"]}
    assert job.model == MODEL
    assert (job.hyperparameters.model_extra or {})["neftune_alpha"] == 10
    assert ai.files.retrieve(job.training_file).status == "processed"

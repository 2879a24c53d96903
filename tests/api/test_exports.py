"""Asking for exports: what is refused, what is asked for twice, and where the result stands."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from neftune_store.db import unit_of_work
from neftune_store.settling import settle_failed, settle_succeeded
from tests.api.live_api import Service, claim, store_artifact, submit, succeed, upload

MERGED = {"kind": "merged"}


@pytest.fixture
def trained(service: Service, client: httpx.Client) -> dict[str, Any]:
    """A job that has trained an adapter, before all others in the queue."""
    return succeed(service, client, adapter=(b"tar", "application/x-tar"))


def ask(client: httpx.Client, job: dict[str, Any], **headers: str) -> httpx.Response:
    return client.post(f"/jobs/{job['id']}/export", json=MERGED, headers=headers)


def test_an_export_is_a_job_and_what_it_makes_stands_under_both(
    service: Service, client: httpx.Client, stranger: httpx.Client, trained: dict[str, Any]
) -> None:
    answer = ask(client, trained)
    export = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/jobs/{export['id']}"
    assert (export["kind"], export["of_job"], export["options"]) == ("export", trained["id"], MERGED)
    assert export["status"] == "queued"
    assert ask(stranger, trained).status_code == 404
    # As long as it has not ended, what it reads stays
    refused = client.delete(f"/jobs/{trained['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_in_use")
    assert refused.headers["x-should-retry"] == "false"
    # When it has succeeded
    held = claim(service, export)
    artifact = store_artifact(service, "merged", b"weights", "application/x-tar")
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, held, {"export": "merged"}, [replace(artifact, kind="merged")])
    # Then it can be downloaded from either
    for job in (trained, export):
        listed = client.get(f"/jobs/{job['id']}/artifacts").json()["items"]
        (merged,) = (one for one in listed if one["name"] == "merged")
        assert merged["url"] == f"/jobs/{job['id']}/artifacts/merged"
        assert client.get(merged["url"]).content == b"weights"
    # and asking again gives that job
    again = ask(client, trained)
    assert (again.status_code, again.json()["id"]) == (200, export["id"])
    # With the export its result goes, and may be asked for anew
    assert client.delete(f"/jobs/{export['id']}").status_code == 204
    assert client.get(f"/jobs/{trained['id']}/artifacts/merged").status_code == 404
    fresh = ask(client, trained)
    assert fresh.status_code == 201
    client.post(f"/jobs/{fresh.json()['id']}/cancel")


def test_a_second_request_gives_the_export_there_is_with_any_key(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    first = ask(client, trained, **{"Idempotency-Key": "one"})
    for headers in ({}, {"Idempotency-Key": "one"}, {"Idempotency-Key": "two"}):
        again = ask(client, trained, **headers)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    # A key that has made something else makes no export
    dataset = upload(client)["id"]
    made = client.post(
        "/jobs", json={"model": "org/base", "dataset": dataset}, headers={"Idempotency-Key": "k"}
    )
    assert made.status_code == 201
    other = ask(client, trained, **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    client.post(f"/jobs/{first.json()['id']}/cancel")


def test_an_export_that_failed_is_retried_as_an_export(
    service: Service, client: httpx.Client, trained: dict[str, Any]
) -> None:
    export = ask(client, trained).json()
    held = claim(service, export)
    with unit_of_work(service.engine) as session:
        settle_failed(session, held, "export_mismatch", "The merged model's logits differ.")
    again = client.post(f"/jobs/{export['id']}/retry")
    assert again.status_code == 201
    assert (again.json()["kind"], again.json()["of_job"]) == ("export", trained["id"])
    assert again.json()["retry_of"] == export["id"]
    clone = client.post(f"/jobs/{export['id']}/clone")
    assert (clone.status_code, clone.json()["code"]) == (409, "invalid_move")
    client.post(f"/jobs/{again.json()['id']}/cancel")


def test_what_has_no_adapter_cannot_be_exported(
    service: Service, client: httpx.Client, trained: dict[str, Any]
) -> None:
    waiting = submit(client)
    full = submit(client, method="full")
    with unit_of_work(service.engine) as session:
        settle_succeeded(
            session, claim(service, full), {}, [store_artifact(service, "model", b"x", "text/plain")]
        )
    export = ask(client, trained).json()
    for job, code in (
        (waiting, "job_not_succeeded"),
        (full, "nothing_to_merge"),
        (export, "nothing_to_merge"),
    ):
        refused = ask(client, job)
        assert (refused.status_code, refused.json()["code"]) == (409, code)
        assert refused.headers["x-should-retry"] == "false"
    for job in (waiting, export):
        client.post(f"/jobs/{job['id']}/cancel")


@pytest.mark.parametrize("body", [{}, {"kind": "gguf"}, {"kind": "merged", "bits": 4}, [], {"kind": None}])
def test_an_export_of_something_else_is_refused(
    client: httpx.Client, trained: dict[str, Any], body: object
) -> None:
    answer = client.post(f"/jobs/{trained['id']}/export", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert not client.get("/jobs", params={"kind": "export"}).json()["items"]


def test_the_openai_surface_knows_only_jobs_that_train(client: httpx.Client, trained: dict[str, Any]) -> None:
    export = ask(client, trained).json()
    client.post(f"/jobs/{export['id']}/cancel")
    theirs = f"ftjob-{export['id'].removeprefix('job_')}"
    listed = client.get("/v1/fine_tuning/jobs").json()["data"]
    assert [one["id"] for one in listed] == [f"ftjob-{trained['id'].removeprefix('job_')}"]
    for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/checkpoints")):
        assert client.request(method, f"/v1/fine_tuning/jobs/{theirs}{path}").status_code == 404
    assert [one["id"] for one in client.get("/jobs", params={"kind": "export"}).json()["items"]] == [
        export["id"]
    ]

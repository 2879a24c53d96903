"""Asking for evaluations: what is fixed and held, what is refused, and what is told of them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from neftune_store.artifacts import ArtifactRow
from neftune_store.blobs import Blobs
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settling import settle_failed, settle_succeeded
from tests.api.live_api import Service, claim, store_artifact, submit, upload
from tests.api.test_retry import stored

LOSS = {"kinds": ["loss"]}
JSON = "application/json"
ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]


def trained(
    service: Service,
    client: httpx.Client,
    *,
    best: int | None = 5,
    saved: Sequence[int] = (5, 10),
    more: Sequence[str] = (),
    **spec: Any,
) -> dict[str, Any]:
    """A job that has trained ten steps, saved at some, with what it has published."""
    job = submit(client, **spec)
    claimed = claim(service, job)
    names = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/README.md", *more]
    files = [store_artifact(service, name, f"{name} of {job['id']}".encode(), JSON) for name in names]
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0}) for step in range(1, 11)])
        for step in saved:
            parts = [f"{part}.safetensors" for part in ("weights", "best", "optimizer")]
            kept = [stored(service, name, f"{step}{name}".encode()) for name in parts]
            commit_checkpoint(session, claimed, step, kept)
        record = {"final": {"best_step": best}, "model": {"commit": None}}
        settle_succeeded(session, claimed, record, [replace(one, kind=kind_of(one)) for one in files])
    return job


def kind_of(artifact: ArtifactRow) -> str:
    return artifact.name.partition("/")[0]


def ask(client: httpx.Client, job: dict[str, Any], body: object = LOSS, **headers: str) -> httpx.Response:
    return client.post(f"/jobs/{job['id']}/evaluations", json=body, headers=headers)


def asked(client: httpx.Client, job: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = ask(client, job, {**LOSS, **body})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def fails(service: Service, claimed: Claim) -> None:
    with unit_of_work(service.engine) as session:
        settle_failed(session, claimed, "host_oom", "Too much.")


def test_an_evaluation_is_a_job_that_tells_what_it_measures_and_what_it_found(
    service: Service, client: httpx.Client
) -> None:
    job = trained(service, client)
    answer = ask(client, job, {"kinds": ["loss"], "name": "once"})
    told = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/evaluations/{told['id']}"
    assert (told["of_job"], told["name"], told["status"]) == (job["id"], "once", "queued")
    assert told["spec"]["loss"]["train_sample"] == 256
    assert told["queue"]["position"] >= 1
    assert client.get(f"/jobs/{told['id']}").json()["kind"] == "evaluate"
    # Before it has an end it has found nothing
    before = client.get(f"/evaluations/{told['id']}").json()
    assert (before["results"], before["missing"]) == (None, [])
    assert before["checkpoint"] == {"of": "last", "step": 10}
    # With its end there are results, what is missing, and files
    missing = [{"what": "loss/held_out", "why": "The run had no held-out rows."}]
    file = store_artifact(service, "loss.json", b"{}", JSON)
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claim(service, told), {"format": 1, "missing": missing}, [file])
    after = client.get(f"/evaluations/{told['id']}").json()
    assert after["status"] == "succeeded"
    assert after["results"] == {"format": 1, "missing": missing}
    assert after["missing"] == missing
    assert client.get(after["artifacts"][0]["url"]).content == b"{}"


@pytest.mark.parametrize(
    ("checkpoint", "means", "files"),
    [
        ("base", {"of": "base", "step": 0}, ("base", [])),
        (0, {"of": "base", "step": 0}, ("base", [])),
        ("last", {"of": "last", "step": 10}, ("adapter", ADAPTER)),
        ("best", {"of": "best", "step": 5}, ("lora", ["weights.safetensors"])),
        (5, {"of": "step", "step": 5}, ("lora", ["weights.safetensors"])),
    ],
)
def test_a_checkpoint_means_these_very_files(
    service: Service, client: httpx.Client, checkpoint: Any, means: Any, files: tuple[str, list[str]]
) -> None:
    told = asked(client, trained(service, client), checkpoint=checkpoint)
    assert client.get(f"/evaluations/{told['id']}").json()["checkpoint"] == means
    (weights,) = (one.weights for one in claim(service, told).inputs if one.place == "weights")
    assert weights is not None
    assert (weights.kind, [file.name for file in weights.files]) == files
    if checkpoint == "best":  # the best until the end, not what was best when step 5 was saved
        content = b"".join(Blobs.open(service.settings).stream(weights.files[0].blob_key))
        assert content == b"10best.safetensors"


@pytest.mark.parametrize(
    ("best", "of", "kind"),
    [(10, "last", "adapter"), (0, "base", "base"), (7, "published", "adapter")],
)
def test_the_best_may_be_the_last_the_base_or_published(
    service: Service, client: httpx.Client, best: int, of: str, kind: str
) -> None:
    more = [f"best/{name}" for name in ("adapter_config.json", "adapter_model.safetensors", "README.md")]
    job = trained(service, client, best=best, saved=(), more=more)
    told = asked(client, job, checkpoint="best")
    (weights,) = (one.weights for one in claim(service, told).inputs if one.place == "weights")
    assert weights is not None
    assert (weights.kind, weights.step) == (kind, best)
    first = b"".join(Blobs.open(service.settings).stream(weights.files[0].blob_key)) if weights.files else b""
    assert first.startswith({"last": b"adapter/", "base": b"", "published": b"best/"}[of])


@pytest.mark.parametrize(
    ("run", "checkpoint", "refusal"),
    [
        ({"best": None}, "best", "best_unknown"),
        ({"saved": ()}, "best", "checkpoint_not_kept"),
        ({"saved": (5,)}, "best", "checkpoint_not_kept"),  # what was best by step 5 may not be of all
        ({}, 7, "checkpoint_not_kept"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused(
    service: Service, client: httpx.Client, run: dict[str, Any], checkpoint: Any, refusal: str
) -> None:
    job = trained(service, client, **run)
    answer = ask(client, job, {**LOSS, "checkpoint": checkpoint})
    assert code(answer) == (409, refusal)
    assert answer.headers["x-should-retry"] == "false"
    assert not client.get("/evaluations").json()["items"]


def test_only_what_was_trained_is_measured(service: Service, client: httpx.Client) -> None:
    waiting = submit(client)
    assert code(ask(client, waiting)) == (409, "job_not_succeeded")
    job = trained(service, client)
    evaluation = asked(client, job)
    assert code(ask(client, evaluation)) == (409, "nothing_to_evaluate")


def test_a_checkpoint_of_a_job_that_failed_can_be_measured(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(4, {"train_loss": 1.0})])
        commit_checkpoint(session, claimed, 4, [stored(service, "weights.safetensors", b"four")])
    fails(service, claimed)
    assert asked(client, job, checkpoint=4)["status"] == "queued"
    assert code(ask(client, job, {**LOSS, "checkpoint": "last"})) == (409, "job_not_succeeded")


def test_what_an_evaluation_reads_stays_until_its_end(service: Service, client: httpx.Client) -> None:
    # Given an evaluation that reads rows of the run and others
    job = trained(service, client)
    other = upload(client)["id"]
    told = asked(client, job, loss={"datasets": [other]})
    own = client.get(f"/jobs/{job['id']}").json()["spec"]["dataset"]
    # Then neither its rows nor its job can be deleted
    for path, why in (
        (f"/datasets/{other}", "dataset_in_use"),
        (f"/datasets/{own}", "dataset_in_use"),
        (f"/jobs/{job['id']}", "job_in_use"),
    ):
        assert code(client.delete(path)) == (409, why)
    # and all of that only until then
    fails(service, claim(service, told))
    assert client.delete(f"/datasets/{other}").status_code == 204
    assert client.delete(f"/jobs/{job['id']}").status_code == 204


def test_rows_that_are_not_read_need_not_be_there(service: Service, client: httpx.Client) -> None:
    job = trained(service, client)
    own = client.get(f"/jobs/{job['id']}").json()["spec"]["dataset"]
    assert client.delete(f"/datasets/{own}").status_code == 204
    assert code(ask(client, job)) == (404, "not_found")
    assert ask(client, job, {"kinds": ["benchmarks"]}).status_code == 201
    prompts = upload(client)["id"]
    assert ask(client, job, {"kinds": ["diversity"], "prompts": {"dataset": prompts}}).status_code == 201


JUDGE = {"endpoint": "https://judge.example/v1", "model": "judge"}


def test_all_that_is_named_has_to_be_the_projects_own(
    service: Service, client: httpx.Client, stranger: httpx.Client
) -> None:
    job, theirs = trained(service, client), trained(service, stranger)
    foreign = upload(stranger)["id"]
    for body in (
        {"kinds": ["loss"], "loss": {"datasets": [foreign]}},
        {"kinds": ["diversity"], "prompts": {"dataset": foreign}},
        {"kinds": ["judge"], "judge": {**JUDGE, "against": "reference", "reference": foreign}},
        {"kinds": ["judge"], "judge": {**JUDGE, "against": "run", "run": theirs["id"]}},
    ):
        never = json.dumps(body).replace(foreign, new_id("ds")).replace(theirs["id"], new_id("job"))
        first, second = ask(client, job, body), ask(client, job, json.loads(never))
        assert code(first) == code(second) == (404, "not_found")
        assert first.json()["detail"] == second.json()["detail"]
    assert code(ask(stranger, job)) == (404, "not_found")
    told = asked(client, job)
    assert stranger.get(f"/evaluations/{told['id']}").status_code == 404
    assert stranger.get("/evaluations", params={"job": job["id"]}).status_code == 404
    keyless = ask(client, job, {"kinds": ["judge"], "judge": {**JUDGE, "key": {"secret": "none"}}})
    assert code(keyless) == (422, "secret_unknown")
    assert keyless.json()["errors"][0]["loc"] == ["judge", "key", "secret"]


def test_two_runs_are_compared_on_one_base(service: Service, client: httpx.Client) -> None:
    job, other = trained(service, client), trained(service, client)
    body = {"kinds": ["judge"], "judge": {**JUDGE, "against": "run", "run": other["id"]}}
    told = ask(client, job, body).json()
    assert code(client.delete(f"/jobs/{other['id']}")) == (409, "job_in_use")
    inputs = {one.place: one.weights for one in claim(service, told).inputs}
    assert inputs["other"] is not None
    assert (inputs["other"].job_id, inputs["other"].of) == (other["id"], "last")
    with service.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE jobs SET model = 'org/else' WHERE id = :job"), {"job": other["id"]})
        connection.execute(text("ALTER TABLE jobs ENABLE TRIGGER USER"))
    assert code(ask(client, job, body)) == (409, "other_base")


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["kinds"]),
        ({"kinds": []}, ["kinds"]),
        ({"kinds": ["loss", "los"]}, ["kinds", 1]),
        ({"kinds": ["judge"]}, ["judge"]),
        ({"kinds": ["loss"], "checkpoint": -1}, ["checkpoint"]),
        ({"kinds": ["loss"], "chekpoint": "best"}, ["chekpoint"]),
        (
            {"kinds": ["judge"], "judge": {**JUDGE, "endpoint": "http://me:x@host"}},
            ["judge", "endpoint"],
        ),
        ([], []),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    service: Service, client: httpx.Client, body: object, loc: list[Any]
) -> None:
    job = trained(service, client)
    answer = ask(client, job, body)
    assert code(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == loc
    assert not client.get("/evaluations").json()["items"]


def test_a_key_makes_one_evaluation(service: Service, client: httpx.Client) -> None:
    job = trained(service, client)
    first = ask(client, job, **{"Idempotency-Key": "one"})
    again = ask(client, job, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = ask(client, job, {"kinds": ["overlap"]}, **{"Idempotency-Key": "one"})
    assert code(other) == (409, "idempotency_conflict")
    # without one each is another
    assert ask(client, job).json()["id"] != ask(client, job).json()["id"]


def test_lists_tell_evaluations_from_jobs(service: Service, client: httpx.Client) -> None:
    job, other = trained(service, client), trained(service, client)
    mine, theirs = asked(client, job), asked(client, other)
    client.post(f"/evaluations/{theirs['id']}/cancel")

    def listed(path: str, **query: str) -> list[str]:
        return [one["id"] for one in client.get(path, params=query).json()["items"]]

    assert listed("/evaluations") == [theirs["id"], mine["id"]]
    assert listed("/evaluations", job=job["id"]) == [mine["id"]]
    assert listed("/evaluations", status="cancelled") == [theirs["id"]]
    assert listed("/jobs", kind="evaluate") == [theirs["id"], mine["id"]]
    assert job["id"] in listed("/jobs", kind="train")
    assert client.get(f"/evaluations/{job['id']}").status_code == 404
    assert client.post(f"/evaluations/{job['id']}/cancel").status_code == 404


def test_an_evaluation_that_failed_is_asked_again_and_goes_on(service: Service, client: httpx.Client) -> None:
    job = trained(service, client)
    told = asked(client, job, checkpoint=5)
    claimed = claim(service, told)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(1, {"parts": 1.0})])
        commit_checkpoint(session, claimed, 1, [stored(service, "loss.json", b"{}")])
    fails(service, claimed)
    again = client.post(f"/jobs/{told['id']}/retry").json()
    assert (again["kind"], again["of_job"], again["retry_of"]) == ("evaluate", job["id"], told["id"])
    retried = claim(service, again)
    assert retried.inputs == claimed.inputs
    assert [one.step for one in retried.checkpoints] == [1]
    assert code(client.post(f"/jobs/{told['id']}/clone")) == (409, "invalid_move")


def test_a_repeated_retry_is_known_by_its_key_although_its_rows_are_gone(
    service: Service, client: httpx.Client
) -> None:
    rows = upload(client)["id"]
    told = asked(client, trained(service, client), loss={"datasets": [rows]})
    fails(service, claim(service, told))
    key = {"Idempotency-Key": "again"}
    first = client.post(f"/jobs/{told['id']}/retry", headers=key)
    fails(service, claim(service, first.json()))
    assert client.delete(f"/datasets/{rows}").status_code == 204
    again = client.post(f"/jobs/{told['id']}/retry", headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert code(client.post(f"/jobs/{told['id']}/retry")) == (404, "not_found")


def test_what_compares_with_a_run_that_was_deleted_is_not_asked_again(
    service: Service, client: httpx.Client
) -> None:
    job, other = trained(service, client), trained(service, client)
    judge = {**JUDGE, "against": "run", "run": other["id"]}
    told = ask(client, job, {"kinds": ["judge"], "judge": judge}).json()
    fails(service, claim(service, told))
    assert client.delete(f"/jobs/{other['id']}").status_code == 204
    assert code(client.post(f"/jobs/{told['id']}/retry")) == (404, "not_found")


def test_a_base_that_is_gone_is_told_before_anything_is_asked_for(
    service: Service, client: httpx.Client
) -> None:
    base = service.settings.models_dirs[0] / "org" / "passing"
    shutil.copytree(base.parent / "base", base)
    job = trained(service, client, model="org/passing")
    shutil.rmtree(base)
    answer = ask(client, job)
    assert code(answer) == (422, "model_not_available")
    assert answer.json()["errors"][0]["loc"] == ["model"]
    assert not client.get("/evaluations").json()["items"]


def test_a_dry_run_tells_the_parts_and_the_judges_calls_and_makes_nothing(
    service: Service, client: httpx.Client
) -> None:
    job, prompts = trained(service, client), upload(client)["id"]
    judge = {**JUDGE, "price_in": 2.0, "price_out": 10.0, "max_tokens": 8, "most": 5}
    body = {
        "kinds": ["diversity", "judge"],
        "prompts": {"dataset": prompts, "most": 7},
        "generation": {"max_new_tokens": 100, "max_total_tokens": 300},
        "baselines": {"long_prompt": True},
        "judge": judge,
    }
    answer = client.post(f"/jobs/{job['id']}/evaluations", params={"dry_run": "true"}, json=body)
    assert answer.status_code == 200
    told = answer.json()
    assert told["parts"] == [
        "answers/prompts/base",
        "answers/prompts/checkpoint",
        "answers/prompts/checkpoint/long_prompt",
    ]
    assert told["prompts"] == 7
    # Five pairs in both orders, for the checkpoint and for its baseline
    calls, sent, heard = 20, 20 * (200 + 300 + 100), 20 * 8
    assert told["judge"] == {
        "calls": calls,
        "prompt_tokens": sent,
        "completion_tokens": heard,
        "price": (sent * 2 + heard * 10) / 1e6,
    }
    assert not client.get("/evaluations").json()["items"]
    # Of the run's own rows only those are asked that it has held out
    own = trained(service, client, validation={"split": 0.4})
    rows = client.get(f"/datasets/{own['spec']['dataset']}").json()["rows"]
    answer = client.post(
        f"/jobs/{own['id']}/evaluations", params={"dry_run": "true"}, json={"kinds": ["diversity"]}
    )
    assert 0 < answer.json()["prompts"] == int(0.4 * rows) < rows
    # It refuses what the real one would refuse
    refused = client.post(
        f"/jobs/{job['id']}/evaluations", params={"dry_run": "true"}, json={**LOSS, "checkpoint": 7}
    )
    assert code(refused) == (409, "checkpoint_not_kept")

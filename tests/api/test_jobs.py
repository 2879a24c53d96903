"""Jobs are recorded, shown, told to stop; all without Redis."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from neftune_core.spec import JobSpec
from neftune_store.db import unit_of_work
from neftune_store.runs import add_event, write_metrics
from tests.api.live_api import (
    MODEL,
    Service,
    claim,
    make_settings,
    rows,
    running,
    spec,
    submit,
    succeed,
    upload,
)


def test_a_job_is_recorded_without_redis(client: httpx.Client) -> None:
    dataset = upload(client)["id"]
    answer = client.post("/jobs", json=spec(dataset, name="first", tags=["a"], training={"epochs": 1}))

    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["intent"], job["attempt"], job["name"]) == ("queued", "run", 0, "first")
    assert job["spec"]["alpha"] == 5.0
    assert job["spec"]["training"]["epochs"] == 1
    assert job["queue"]["position"] >= 1
    shown = client.get(f"/jobs/{job['id']}").json()
    assert shown["id"] == job["id"]
    assert shown["artifacts"] == []


def test_the_same_idempotency_key_gives_the_same_job(client: httpx.Client) -> None:
    body = spec(upload(client)["id"])
    headers = {"Idempotency-Key": "abc"}
    first = client.post("/jobs", json=body, headers=headers)
    second = client.post("/jobs", json=body, headers=headers)
    other = client.post("/jobs", json={**body, "alpha": 6}, headers=headers)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert other.headers["x-should-retry"] == "false"


def many(service: Service, client: httpx.Client, keys: int, at_once: int) -> None:
    """Hold that each key makes one job, whoever else uses it, and that all its answers name that job."""
    body = spec(upload(client)["id"])

    def post(turn: int) -> tuple[str, int, dict[str, object]]:
        key = f"key-{turn // at_once}"
        answer = client.post("/jobs", json=body, headers={"Idempotency-Key": key}, timeout=120)
        return key, answer.status_code, answer.json()

    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(post, range(keys * at_once)))
    made = {key: told["id"] for key, status, told in answers if status == 201}
    assert Counter(status for _, status, _ in answers) == {201: keys, 200: keys * (at_once - 1)}
    assert len(set(made.values())) == len(made) == keys
    assert len({json.dumps(told | {"queue": None}, sort_keys=True) for _, _, told in answers}) == keys
    assert all(told["id"] == made[key] for key, _, told in answers)
    with service.engine.connect() as connection:
        asked = text("SELECT count(*) FROM jobs WHERE dataset_id = :dataset")
        assert connection.scalar(asked, {"dataset": body["dataset"]}) == keys


@pytest.mark.fault("F33")
def test_fifty_at_once_with_each_of_four_keys_make_four_jobs(service: Service, client: httpx.Client) -> None:
    many(service, client, keys=4, at_once=50)


@pytest.mark.long
@pytest.mark.fault("F33")
def test_fifty_at_once_with_each_of_two_hundred_keys(api_database: str, tmp_path: Path) -> None:
    settings = make_settings(api_database, tmp_path, queue_limit=1000)
    with running(settings) as found, found.client() as client:
        many(found, client, keys=200, at_once=50)


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "\u00e9"])
def test_an_odd_idempotency_key_is_refused(client: httpx.Client, key: str) -> None:
    answer = client.post("/jobs", json=spec("ds_x"), headers={"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


def test_a_replay_after_deletion_is_gone(client: httpx.Client) -> None:
    body = spec(upload(client)["id"])
    job = client.post("/jobs", json=body, headers={"Idempotency-Key": "k"}).json()
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(f"/jobs/{job['id']}").status_code == 204

    answer = client.post("/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (410, "job_deleted")


def test_a_dry_run_plans_and_creates_nothing(client: httpx.Client) -> None:
    dataset = upload(client, rows(100))["id"]
    body = spec(dataset, alpha=20, training={"batch_size": 10, "epochs": 2}, validation={"split": 0})

    answer = client.post("/jobs", json=body, params={"dry_run": "true"})

    assert answer.status_code == 200
    told = answer.json()
    assert told["plan"]["total_steps"] == 20
    assert any("alpha" in warning for warning in told["warnings"])
    assert client.get("/jobs").json()["items"] == []


def test_a_preset_shows_what_it_fills_in_before_and_after_the_submit(client: httpx.Client) -> None:
    body = spec(upload(client)["id"], preset="paper-alpaca", alpha=10, training={"max_length": 256})

    rehearsed = client.post("/jobs", json=body, params={"dry_run": "true"}).json()
    job = client.post("/jobs", json=body).json()

    assert rehearsed["spec"] == job["spec"] == client.get(f"/jobs/{job['id']}").json()["spec"]
    assert (job["spec"]["preset"], job["spec"]["method"], job["spec"]["alpha"]) == (
        "paper-alpaca",
        "full",
        10.0,
    )
    training = job["spec"]["training"]
    assert (training["learning_rate"], training["batch_size"], training["max_length"]) == (5e-5, 128, 256)
    assert any("gives way to the job's own training.max_length" in told for told in rehearsed["warnings"])


def test_what_is_asked_of_noise_and_layout_reaches_the_trainer_as_it_was_sent(
    service: Service, client: httpx.Client
) -> None:
    asked = {
        "alpha": 7.5,
        "noise": {
            **{"distribution": "sphere", "scale": "batch_width", "target": "response"},
            **{"schedule": "linear_decay", "clean_loss_every": 3},
        },
        "training": {
            **{"seed": 7, "batch_size": 12, "micro_batch_size": 3, "packing": "off", "drop_last": True},
            **{"loss_reduction": "micro_batch", "train_on": "all", "early_stop": {"patience": 2}},
        },
    }
    claimed = claim(service, submit(client, **asked))
    given = JobSpec.model_validate_json(json.dumps(claimed.spec))  # as a worker writes it and a run reads it

    told = given.model_dump(mode="json")
    assert told["alpha"] == 7.5
    assert told["noise"] == asked["noise"]  # all there is
    assert {name: told["training"][name] for name in asked["training"]} == asked["training"]


def test_a_preset_is_part_of_what_an_idempotency_key_stands_for(client: httpx.Client) -> None:
    body = spec(upload(client)["id"], preset="paper-alpaca")

    def post(**changed: object) -> httpx.Response:
        return client.post("/jobs", json={**body, **changed}, headers={"Idempotency-Key": "p"})

    first, again = post(), post(training={"epochs": 3})  # which the preset says too
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert [post(preset=other).status_code for other in ("paper-qlora", None)] == [409, 409]


def test_a_dry_run_tells_what_is_not_the_papers_and_where_steps_may_be_more(client: httpx.Client) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    lines = "\n".join(json.dumps({"conversations": [*turns, {"from": "human", "value": str(n)}, turns[1]]})
                      for n in range(9))  # fmt: skip
    dataset = client.post("/datasets", content=lines.encode()).json()["id"]

    def warnings(**changed: object) -> str:
        answer = client.post("/jobs", json=spec(dataset, **changed), params={"dry_run": "true"})
        return " ".join(answer.json()["warnings"])

    assert "more steps than planned" in warnings()
    assert "more steps than planned" not in warnings(training={"template": "chat"})
    assert "no prompt" not in warnings(noise={"target": "prompt"})
    assert "noise.distribution gaussian is experimental" in warnings(noise={"distribution": "gaussian"})


def test_a_dry_run_tells_that_rows_of_text_have_no_prompt_to_be_noised(client: httpx.Client) -> None:
    dataset = client.post("/datasets", content=b'{"text": "a"}\n{"text": "b"}').json()["id"]

    def warned(**changed: object) -> bool:
        body = spec(dataset, **changed)
        answer = client.post("/jobs", json=body, params={"dry_run": "true"})
        return "have no prompt" in " ".join(answer.json()["warnings"])

    assert warned(noise={"target": "prompt"})
    assert not warned(noise={"target": "response"})
    assert not warned(noise={"target": "prompt"}, alpha=0)


@pytest.mark.parametrize(("split", "steps"), [(0, 10), (0.5, 5)])
def test_a_dry_run_leaves_out_what_is_held_out(client: httpx.Client, split: float, steps: int) -> None:
    dataset = upload(client, rows(100))["id"]
    body = spec(dataset, training={"batch_size": 10, "epochs": 1}, validation={"split": split})

    told = client.post("/jobs", json=body, params={"dry_run": "true"}).json()

    assert told["plan"]["steps_per_epoch"] == steps


def test_a_job_moves_as_it_is_told(client: httpx.Client) -> None:
    path = f"/jobs/{submit(client)['id']}"

    assert client.post(f"{path}/pause").json()["status"] == "paused"
    assert client.post(f"{path}/pause").status_code == 202  # a repeated intent changes nothing
    assert client.post(f"{path}/resume").json()["status"] == "queued"
    early = client.delete(path)
    assert (early.status_code, early.json()["code"]) == (409, "invalid_move")
    cancelled = client.post(f"{path}/cancel", headers={"Content-Type": "application/json"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    late = client.post(f"{path}/resume")
    assert (late.status_code, late.json()["code"]) == (409, "already_finished")
    assert late.headers["x-should-retry"] == "false"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_a_running_job_shows_the_intent_beside_the_status(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    claim(service, job)

    told = client.post(f"/jobs/{job['id']}/cancel").json()
    assert (told["status"], told["intent"], told["attempt"]) == ("running", "cancel", 1)


def test_lists_are_filtered(client: httpx.Client) -> None:
    dataset = upload(client)["id"]
    low = submit(client, dataset=dataset, alpha=1, tags=["x"])["id"]
    high = submit(client, dataset=dataset, alpha=9)["id"]
    client.post(f"/jobs/{high}/cancel")

    def ids(**query: str) -> list[str]:
        return [one["id"] for one in client.get("/jobs", params=query).json()["items"]]

    assert ids() == [high, low]
    assert ids(status="cancelled") == [high]
    assert ids(ended="true") == [high]
    assert ids(ended="false") == [low]
    assert ids(alpha_max="5") == [low]
    assert ids(alpha_min="5") == [high]
    assert ids(tag="x") == [low]
    assert ids(model=MODEL, limit="1") == [high]
    assert ids(model="org/' OR 1=1 --") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1000000000", "limit=x", "cursor=forged", "cursor=" + "A" * 600,
     "status=nope", "alpha_min=nan", "alpha_max=1e999", "tag=%00"],
)  # fmt: skip
def test_odd_questions_are_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/jobs?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in {"invalid_request", "invalid_cursor"}


def test_events_and_curves_are_read(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0 / step}) for step in range(1, 101)])
        add_event(session, claimed, "neftune.verified", {"alpha": 5.0})

    names = [one["name"] for one in client.get(f"/jobs/{job['id']}/events").json()["items"]]
    assert names[:2] == ["job.queued", "run.started"]
    assert names[-1] == "neftune.verified"
    first = client.get(f"/jobs/{job['id']}/events", params={"limit": 1}).json()
    rest = client.get(f"/jobs/{job['id']}/events", params={"after": first["next"]}).json()
    assert [first["items"][0]["name"], *(one["name"] for one in rest["items"])] == names

    curves = client.get(f"/jobs/{job['id']}/metrics", params={"keys": "train_loss"}).json()["series"]
    assert curves["train_loss"][0] == [1, 1.0]
    assert len(curves["train_loss"]) == 100
    thin = client.get(f"/jobs/{job['id']}/metrics", params={"max_points": 10}).json()["series"]["train_loss"]
    assert len(thin) <= 10
    assert thin[0] == [1, 1.0]


def test_a_succeeded_job_gives_record_log_and_artifacts(service: Service, client: httpx.Client) -> None:
    job = succeed(service, client, adapter=(b"tar bytes", "application/x-tar"), log=(b"line\n", "text/plain"))

    assert job["status"] == "succeeded"
    assert {one["name"] for one in job["artifacts"]} == {"adapter", "log"}
    assert client.get(f"/jobs/{job['id']}/record").json()["probe"] == {"input_ids": [1]}
    log = client.get(f"/jobs/{job['id']}/log")
    assert (log.text, log.headers["content-type"]) == ("line\n", "text/plain; charset=utf-8")


def test_a_job_without_a_run_has_an_empty_log_and_no_record(client: httpx.Client) -> None:
    job = submit(client)
    assert client.get(f"/jobs/{job['id']}/log").text == ""
    assert client.get(f"/jobs/{job['id']}/record").status_code == 404


def test_models_are_listed(client: httpx.Client) -> None:
    assert [one["id"] for one in client.get("/models").json()["items"]] == [MODEL]

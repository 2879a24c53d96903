"""A job that failed or was cancelled can be asked for again, and goes on where it was last saved."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from neftune_store.blobs import Blobs, blob_key
from neftune_store.checkpoints import CheckpointFile
from neftune_store.db import unit_of_work
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settling import settle_failed
from tests import invariants
from tests.api.live_api import Service, claim, submit, succeed


def stored(service: Service, name: str, data: bytes) -> CheckpointFile:
    """Put one file of a checkpoint into storage, as a supervisor would."""
    digest = hashlib.sha256(data).hexdigest()
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        Blobs.open(service.settings).put_file(blob_key("prj_test", digest), Path(file.name))
    return CheckpointFile(name, digest, len(data), blob_key("prj_test", digest))


def failed(service: Service, client: httpx.Client, *saved: int, steps: int = 9) -> dict[str, Any]:
    """A job that failed after ``steps``, saved at some of them."""
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(0, {"eval_loss": 3.0})])
        for step in range(1, steps + 1):
            write_metrics(session, claimed, [(step, {"train_loss": 1 / step})])
            if step in saved:
                files = [stored(service, "weights.bin", b"weights %d" % step)]
                commit_checkpoint(session, claimed, step, files)
        settle_failed(session, claimed, "host_oom", "It was too much.")
    told: dict[str, Any] = client.get(f"/jobs/{job['id']}").json()
    return told


def retry(client: httpx.Client, job: dict[str, Any], key: str | None = None) -> httpx.Response:
    """Ask for it again."""
    return client.post(f"/jobs/{job['id']}/retry", headers={"Idempotency-Key": key} if key else {})


def found(service: Service, question: str, job: dict[str, Any]) -> list[Any]:
    """Ask the database about a job."""
    with service.engine.connect() as connection:
        return list(connection.execute(text(question), {"job": job["id"]}))


def end(client: httpx.Client, job: dict[str, Any]) -> None:
    """Leave nothing that another test would claim."""
    client.post(f"/jobs/{job['id']}/cancel")


def test_a_retry_goes_on_from_the_last_checkpoint(service: Service, client: httpx.Client) -> None:
    # Given a job that failed two steps after it was last saved
    old = failed(service, client, 4, 7)
    # When it is retried
    answer = retry(client, old)
    # Then a new job of the same spec stands at the checkpoint, with the curve up to it
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/jobs/{new['id']}")
    assert (new["status"], new["retry_of"], new["spec"]) == ("queued", old["id"], old["spec"])
    (row,) = found(service, "SELECT committed_step, live_step, ckpt_id FROM jobs WHERE id = :job", new)
    assert (row.committed_step, row.live_step) == (7, 7)
    places = "SELECT id, step, fence, manifest FROM checkpoints WHERE job_id = :job ORDER BY step DESC"
    assert [(place.step, place.fence) for place in found(service, places, new)] == [(7, 0), (4, 0)]
    assert row.ckpt_id == found(service, places, new)[0].id
    assert [place.manifest for place in found(service, places, new)] == [
        place.manifest for place in found(service, places, old)
    ]
    metrics = "SELECT step, fence FROM metrics WHERE job_id = :job ORDER BY seq"
    assert [tuple(one) for one in found(service, metrics, new)] == [(step, 0) for step in range(8)]
    assert new["metrics"] == {"eval_loss": 3.0, "base_eval_loss": 3.0, "train_loss": 1 / 7}
    (queued,) = client.get(f"/jobs/{new['id']}/events").json()["items"]
    assert queued["name"] == "job.queued"
    assert queued["data"] == {"attempt": 0, "retry_of": old["id"], "step": 7}
    assert queued["seq"] == new["last_seq"] - 1
    invariants.check(service.engine)
    end(client, new)


def test_a_claim_of_a_retry_is_offered_the_checkpoint(service: Service, client: httpx.Client) -> None:
    new = retry(client, failed(service, client, 4)).json()
    claimed = claim(service, new)
    assert [place.step for place in claimed.checkpoints] == [4]
    assert [file.name for file in claimed.checkpoints[0].files] == ["weights.bin"]
    events = client.get(f"/jobs/{new['id']}/events").json()["items"]
    assert "rewound" not in [event["name"] for event in events]
    with unit_of_work(service.engine) as session:
        settle_failed(session, claimed, "host_oom", "Again.")
    invariants.check(service.engine)


def test_a_job_that_was_never_saved_begins_again(service: Service, client: httpx.Client) -> None:
    new = retry(client, failed(service, client)).json()
    (row,) = found(service, "SELECT committed_step, ckpt_id FROM jobs WHERE id = :job", new)
    assert (row.committed_step, row.ckpt_id) == (0, None)
    assert found(service, "SELECT step FROM metrics WHERE job_id = :job", new) == []
    assert new["metrics"] == {}
    end(client, new)


def test_a_checkpoint_that_was_given_up_is_not_taken_over(service: Service, client: httpx.Client) -> None:
    old = failed(service, client, 4, 7)
    with service.engine.begin() as connection:
        dropped = "UPDATE checkpoints SET dropped_at = now(), dropped_why = 'corrupt'"
        connection.execute(text(f"{dropped} WHERE job_id = :job AND step = 7"), {"job": old["id"]})
    new = retry(client, old).json()
    (row,) = found(service, "SELECT committed_step FROM jobs WHERE id = :job", new)
    assert row.committed_step == 4
    end(client, new)


def test_the_same_key_gives_the_same_retry(service: Service, client: httpx.Client) -> None:
    old = failed(service, client, 4)
    first, second = retry(client, old, "r"), retry(client, old, "r")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    submitted = client.post("/jobs", json=old["spec"], headers={"Idempotency-Key": "r"})
    assert (submitted.status_code, submitted.json()["code"]) == (409, "idempotency_conflict")
    end(client, first.json())


def test_only_what_failed_or_was_cancelled_is_retried(service: Service, client: httpx.Client) -> None:
    waiting, done = submit(client), succeed(service, client, adapter=(b"bytes", "application/x-tar"))
    for job in (waiting, done):
        answer = retry(client, job)
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_move")
        assert answer.headers["x-should-retry"] == "false"
    end(client, waiting)
    again = retry(client, waiting)
    assert again.status_code == 201
    end(client, again.json())


def test_without_its_dataset_nothing_is_retried(client: httpx.Client) -> None:
    job = submit(client)
    end(client, job)
    assert client.delete(f"/datasets/{job['spec']['dataset']}").status_code == 204
    before = client.get("/jobs").json()["items"]
    assert retry(client, job).status_code == 404
    assert client.get("/jobs").json()["items"] == before


@pytest.mark.parametrize("verb", ["retry", "clone"])
def test_a_strangers_job_is_neither_retried_nor_cloned(
    client: httpx.Client, stranger: httpx.Client, verb: str
) -> None:
    job = submit(client)
    end(client, job)
    assert stranger.post(f"/jobs/{job['id']}/{verb}").status_code == 404


def test_a_clone_begins_at_the_beginning(service: Service, client: httpx.Client) -> None:
    old = failed(service, client, 4)
    answer = client.post(f"/jobs/{old['id']}/clone", headers={"Idempotency-Key": "c"})
    again = client.post(f"/jobs/{old['id']}/clone", headers={"Idempotency-Key": "c"})
    new = answer.json()
    assert (answer.status_code, again.status_code, again.json()["id"]) == (201, 200, new["id"])
    assert (new["clone_of"], new["retry_of"], new["spec"]) == (old["id"], None, old["spec"])
    assert found(service, "SELECT id FROM checkpoints WHERE job_id = :job", new) == []
    end(client, new)


def test_a_clone_takes_changes_of_the_spec(client: httpx.Client) -> None:
    old = submit(client, training={"epochs": 2, "seed": 7})
    new = client.post(f"/jobs/{old['id']}/clone", json={"alpha": 9, "training": {"seed": 8}}).json()
    assert new["spec"] == {**old["spec"], "alpha": 9.0, "training": {**old["spec"]["training"], "seed": 8}}
    for job in (old, new):
        end(client, job)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"alhpa": 5}, "invalid_spec"), ({"alpha": "5"}, "invalid_spec"), ([], "invalid_json")],
)
def test_a_clone_refuses_what_a_submit_refuses(client: httpx.Client, changes: object, code: str) -> None:
    old = submit(client)
    answer = client.post(f"/jobs/{old['id']}/clone", json=changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    end(client, old)

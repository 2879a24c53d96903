"""The files of a checkpoint can be downloaded like any artifact, as long as it is kept."""

import hashlib
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from neftune_store.db import unit_of_work
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settling import settle_failed, settle_succeeded
from tests.api.live_api import Service, claim, store_artifact, submit
from tests.api.test_retry import stored


def saved(service: Service, client: httpx.Client, *, good: bool) -> dict[str, Any]:
    """An ended job with two checkpoints of two files."""
    job = submit(client)
    claimed = claim(service, job)
    result = store_artifact(service, "adapter", b"adapter", "application/x-tar")
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0}) for step in range(1, 11)])
        for step in (5, 10):
            files = [stored(service, name, f"{name} {step}".encode()) for name in ("state.json", "a/w.bin")]
            commit_checkpoint(session, claimed, step, files)
        if good:
            settle_succeeded(session, claimed, {}, [result])
        else:
            settle_failed(session, claimed, "host_oom", "Too much.")
    return job


@pytest.mark.parametrize("good", [True, False])
def test_files_of_checkpoints_are_listed_and_sent(service: Service, client: httpx.Client, good: bool) -> None:
    job = saved(service, client, good=good)
    listed = client.get(f"/jobs/{job['id']}/artifacts").json()["items"]
    files = [one for one in listed if one["kind"] == "checkpoint"]
    assert [one["name"] for one in files] == [
        *("checkpoint-10/state.json", "checkpoint-10/a/w.bin"),
        *("checkpoint-5/state.json", "checkpoint-5/a/w.bin"),
    ]
    assert {one["partial"] for one in files} == {not good}
    assert [one["partial"] for one in listed if one["kind"] == "adapter"] == [False] * good
    assert client.get(f"/jobs/{job['id']}").json()["artifacts"] == listed
    for one, data in zip(files[:2], (b"state.json 10", b"a/w.bin 10"), strict=True):
        answer = client.get(one["url"])
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        part = client.get(one["url"], headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, data[1:4])


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-10",
        "checkpoint-10/",
        "checkpoint-7/state.json",
        "checkpoint-10/none",
        "checkpoint-010/state.json",
    ],
)
def test_what_is_no_file_of_a_checkpoint_is_unknown(
    service: Service, client: httpx.Client, name: str
) -> None:
    job = saved(service, client, good=False)
    assert client.get(f"/jobs/{job['id']}/artifacts/{name}").status_code == 404


def test_a_checkpoint_that_was_given_up_is_gone(
    service: Service, client: httpx.Client, stranger: httpx.Client
) -> None:
    job = saved(service, client, good=False)
    path = f"/jobs/{job['id']}/artifacts/checkpoint-10/state.json"
    assert (client.get(path).status_code, stranger.get(path).status_code) == (200, 404)
    with service.engine.begin() as connection:
        dropped = "UPDATE checkpoints SET dropped_at = now(), dropped_why = 'expired' WHERE job_id = :job"
        connection.execute(text(dropped), {"job": job["id"]})
    assert client.get(path).status_code == 404

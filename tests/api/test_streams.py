"""Several jobs as they happen, on one line that may be lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.streams import MOST_JOBS
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.runs import write_metrics
from tests.api.live_api import Service, claim, make_settings, running, submit
from tests.api.test_security import without_request_id
from tests.api.test_stream import cancel

Told = tuple[str, str, dict[str, Any]]


def messages(answer: httpx.Response) -> Iterator[Told]:
    """Each message as id, event and data."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def follow(client: httpx.Client, *jobs: dict[str, Any], last: str | None = None) -> list[Told]:
    headers = {"Last-Event-ID": last} if last is not None else {}
    asked = {"jobs": ",".join(job["id"] for job in jobs)}
    with client.stream("GET", "/stream", params=asked, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(messages(answer))


def of(told: list[Told], job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What was told of one job."""
    return [(kind, data) for _, kind, data in told if data["job"] == job["id"]]


def test_each_job_is_told_whole_and_in_order_and_the_line_ends_with_the_last(client: httpx.Client) -> None:
    first, second = submit(client), submit(client)
    for job in (first, second):
        cancel(client, job)
    told = follow(client, first, second)

    for job in (first, second):
        alone = [json.loads(line.removeprefix("data: "))
                 for line in client.get(f"/jobs/{job['id']}/stream").text.splitlines()
                 if line.startswith("data: ")]  # fmt: skip
        assert [{**data, "job": job["id"]} for data in alone] == [data for _, data in of(told, job)]
        assert of(told, job)[-1][1]["status"] == "cancelled"
    last = dict(part.split(":") for part in told[-1][0].split(","))
    assert last == {job["id"]: str(client.get(f"/jobs/{job['id']}").json()["last_seq"])
                    for job in (first, second)}  # fmt: skip


def test_a_lost_line_goes_on_in_every_job_where_it_was(client: httpx.Client) -> None:
    jobs = submit(client), submit(client)
    for job in jobs:
        cancel(client, job)
    whole = follow(client, *jobs)
    for cut in range(1, len(whole)):
        assert whole[:cut] + follow(client, *jobs, last=whole[cut - 1][0]) == whole


def test_what_happens_in_either_job_arrives_at_once(service: Service, client: httpx.Client) -> None:
    quiet, busy = submit(client), submit(client)
    claimed = claim(service, busy)
    asked = {"jobs": f"{quiet['id']},{busy['id']}"}
    with client.stream("GET", "/stream", params=asked) as answer:
        coming = messages(answer)
        while next(coming)[2].get("status") != "running":
            pass
        with unit_of_work(service.engine) as session:
            write_metrics(session, claimed, [(1, {"train_loss": 2.0})])
        _, kind, data = next(coming)
        assert (kind, data) == ("metric", {"job": busy["id"], "step": 1, "values": {"train_loss": 2.0}})
        cancel(client, quiet)
        assert next(coming)[2]["job"] == quiet["id"]


def test_a_change_of_any_of_the_jobs_wakes_the_line(api_database: str, tmp_path: Path) -> None:
    # Given streams that do not look by themselves while the test lasts
    settings = make_settings(api_database, tmp_path, sse_poll_seconds=300)
    with running(settings) as sleepy, sleepy.client() as client:
        jobs = submit(client), submit(client)
        asked = {"jobs": ",".join(job["id"] for job in jobs)}
        with client.stream("GET", "/stream", params=asked) as answer:
            coming = messages(answer)
            for _ in range(4):  # queued, as event and as status
                next(coming)
            for job in reversed(jobs):
                cancel(client, job)
                assert next(coming)[2]["job"] == job["id"]
                next(coming)


@pytest.mark.parametrize("last", ["", ":", "nonsense", "job_x:1", "a:b:c,,", "99999999999999999999", "é"])
def test_an_id_that_is_not_ours_begins_at_the_beginning(client: httpx.Client, last: str) -> None:
    job = submit(client)
    cancel(client, job)
    own = f"{job['id']}:" + "9" * 30
    headers = {"Last-Event-ID": last.encode()}
    with client.stream("GET", "/stream", params={"jobs": job["id"]}, headers=headers) as answer:
        assert list(messages(answer)) == follow(client, job) == follow(client, job, last=own)


def test_a_job_of_others_is_as_unknown_as_one_that_never_was(
    client: httpx.Client, stranger: httpx.Client
) -> None:
    mine, theirs = submit(client)["id"], submit(stranger)["id"]
    answers = [
        without_request_id(client.get("/stream", params={"jobs": asked}))
        for asked in (f"{mine},{theirs}", f"{mine},{new_id('job')}", f"{mine},x", f"{mine},")
    ]
    assert answers[0][0] == 404
    assert all(answer == answers[0] for answer in answers)


def test_one_line_follows_so_many_jobs_and_the_same_one_once(client: httpx.Client) -> None:
    many = ",".join(new_id("job") for _ in range(MOST_JOBS + 1))
    answer = client.get("/stream", params={"jobs": many})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert client.get("/stream").status_code == 422
    job = submit(client)
    cancel(client, job)
    assert follow(client, job, job) == follow(client, job)

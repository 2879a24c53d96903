"""A job as it happens, over a connection that may be lost."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from api import feed
from neftune_store.db import make_engine, unit_of_work
from neftune_store.jobs import JobLedger
from neftune_store.runs import add_event, write_metrics
from neftune_store.settling import settle_succeeded
from tests import factories
from tests.api.live_api import Service, claim, make_settings, running, submit


def messages(answer: httpx.Response) -> Iterator[tuple[int, str, Any]]:
    """Each message as id, event and data."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


def cancel(client: httpx.Client, job: dict[str, Any]) -> None:
    """On a connection of its own: the client's is busy with the stream."""
    url = client.base_url.join(f"/jobs/{job['id']}/cancel")
    httpx.post(url, headers={"Authorization": client.headers["authorization"]}, trust_env=False)


def read_all(
    client: httpx.Client, job: dict[str, Any], last: str | None = None
) -> list[tuple[int, str, Any]]:
    headers = {"Last-Event-ID": last} if last is not None else {}
    with client.stream("GET", f"/jobs/{job['id']}/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(messages(answer))


def test_a_stream_tells_everything_in_order_and_ends_with_the_last_status(
    service: Service, client: httpx.Client
) -> None:
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(1, {"train_loss": 2.0}), (2, {"train_loss": 1.0})])
        add_event(session, claimed, "neftune.verified", {})
        settle_succeeded(session, claimed, {}, [factories.make_artifact()])

    told = read_all(client, job)

    assert [one[0] for one in told] == sorted({one[0] for one in told})
    assert [one[2]["step"] for one in told if one[1] == "metric"] == [1, 2]
    assert [one[2]["name"] for one in told if one[1] == "event"][:2] == ["job.queued", "run.started"]
    assert (told[-1][1], told[-1][2]["status"]) == ("status", "succeeded")


def test_a_lost_connection_loses_nothing(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0}) for step in range(1, 451)])
        settle_succeeded(session, claimed, {}, [factories.make_artifact()])
    whole = read_all(client, job)

    for cut in (0, 1, 200, 201, len(whole) - 2):
        assert read_all(client, job, str(whole[cut][0])) == whole[cut + 1 :]
    # Even after the very last message the stream ends, and does not wait for more.
    assert read_all(client, job, str(whole[-1][0])) == []


@pytest.mark.parametrize("last", ["-1", "x", "1e3", "9" * 40, "\u00b2", "3 3"])
def test_a_forged_id_starts_at_the_beginning(client: httpx.Client, last: str) -> None:
    job = submit(client)
    client.post(f"/jobs/{job['id']}/cancel")
    headers = {"Last-Event-ID": last.encode("utf-8")}
    with client.stream("GET", f"/jobs/{job['id']}/stream", headers=headers) as answer:
        told = list(messages(answer))
    assert told[0][2].get("name") == "job.queued"


def test_what_happens_is_told_at_once(service: Service, api_database: str, tmp_path: Path) -> None:
    # Given a stream that looks by itself only once a minute
    with (
        running(make_settings(api_database, tmp_path, sse_poll_seconds=60)) as patient,
        patient.client() as client,
    ):
        job = submit(client)
        with client.stream("GET", f"/jobs/{job['id']}/stream") as answer:
            told = messages(answer)
            while next(told)[1] != "status":
                pass
            # When the job is cancelled
            began = time.monotonic()
            cancel(client, job)
            rest = list(told)
        # Then the wake-up has brought it
        assert rest[-1][2]["status"] == "cancelled"
        assert time.monotonic() - began < 15  # not the minute


def test_without_wake_ups_a_stream_looks_by_itself(api_database: str, tmp_path: Path) -> None:
    with (
        running(make_settings(api_database, tmp_path, sse_poll_seconds=0.1)) as deaf,
        deaf.client() as client,
    ):
        deaf.server.config.app.state.wakeups.wake = lambda _job_id: None  # type: ignore[union-attr]  # our app
        job = submit(client)
        with client.stream("GET", f"/jobs/{job['id']}/stream") as answer:
            told = messages(answer)
            next(told)
            cancel(client, job)
            assert list(told)[-1][2]["status"] == "cancelled"


def test_a_stream_ends_by_itself(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, sse_seconds=0.5)) as brief, brief.client() as client:
        began = time.monotonic()
        read_all(client, submit(client))
        assert 0.4 < time.monotonic() - began < 15  # not ten minutes


def test_streams_are_counted_by_key(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, sse_per_key=2)) as small, small.client() as client:
        path = f"/jobs/{submit(client)['id']}/stream"
        with client.stream("GET", path), client.stream("GET", path):
            third = client.get(path)
            assert (third.status_code, third.json()["code"]) == (429, "too_many_streams")
            assert third.headers["retry-after"]
            assert client.get("/jobs").status_code == 200
        until = time.monotonic() + 5
        while small.server.config.app.state.stream_slots._open and time.monotonic() < until:  # type: ignore[union-attr]  # our app
            time.sleep(0.05)
        with client.stream("GET", path) as again:
            assert again.status_code == 200


def test_a_reader_that_reads_nothing_is_let_go(api_database: str, tmp_path: Path) -> None:
    with (
        running(make_settings(api_database, tmp_path, stalled_reader_s=0.5)) as strict,
        strict.client() as client,
    ):
        job = submit(client)
        claimed = claim(strict, job)
        big = {f"key_{n}": float(n) for n in range(200)}
        for first in range(0, 4000, 500):
            with unit_of_work(strict.engine) as session:
                write_metrics(session, claimed, [(first + n + 1, big) for n in range(500)])
        slots = strict.server.config.app.state.stream_slots  # type: ignore[union-attr]  # our app
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", strict.port))
            line.sendall(
                f"GET /jobs/{job['id']}/stream HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: {client.headers['authorization']}\r\n\r\n".encode()
            )
            assert line.recv(10)
            until = time.monotonic() + 10
            while slots._open and time.monotonic() < until:
                time.sleep(0.05)
            assert not slots._open


def test_a_stop_does_not_wait_for_streams(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path)) as ending, ending.client() as client:
        path = f"/jobs/{submit(client)['id']}/stream"
        with client.stream("GET", path) as answer:
            told = messages(answer)
            next(told)
            ending.server.should_exit = True
            began = time.monotonic()
            list(told)
            assert time.monotonic() - began < 3


def test_a_job_that_ends_between_two_looks_still_tells_its_last_status(engine: Engine, database: str) -> None:
    # Given a follower who has heard everything so far
    job = factories.make_job(engine)
    elsewhere = make_engine(database, application_name="the user")

    def cancel_now(*_: object) -> None:
        with unit_of_work(elsewhere) as session:
            JobLedger(session).cancel(job.project_id, job.id)

    # When the job ends right after the look that found nothing new
    event.listen(engine, "after_cursor_execute", cancel_now, once=True)
    items, ended = feed.read(engine, job, job.last_seq)
    elsewhere.dispose()

    # Then the stream does not end before it has told so
    assert ended
    assert items[-1].data["status"] == "cancelled"

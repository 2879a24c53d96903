"""What a job tells is read once, however many follow, and nobody who is slow keeps the others waiting."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event, text

from api import feed, stream
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.errors import DatabaseUnavailable
from neftune_store.runs import add_event, write_metrics
from tests.api.live_api import Service, claim, make_settings, running, submit
from tests.api.openai_sdk import key_of
from tests.api.test_stream import cancel, messages, read_all
from tests.worker_house import until

LONG = "x" * 50_000


@pytest.fixture
def alone(api_database: str, tmp_path: Path) -> Iterator[Service]:
    """An api whose streams look only when they are woken."""
    with running(make_settings(api_database, tmp_path, sse_poll_seconds=300)) as found:
        yield found


@contextmanager
def following(client: httpx.Client, job: dict[str, Any], **headers: str) -> Iterator[Iterator[Any]]:
    with client.stream("GET", f"/jobs/{job['id']}/stream", headers=headers) as answer:
        yield messages(answer)


def until_step(told: Iterator[Any], step: int) -> list[int]:
    """Read on, and give the steps that came."""
    steps: list[int] = []
    while not steps or steps[-1] < step:
        _, kind, data = next(told)
        if kind == "metric":
            steps.append(data["step"])
    return steps


def write(service: Service, claimed: Claim, *steps: int) -> None:
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0}) for step in steps])


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Everything that is asked of the database meanwhile."""
    asked: list[str] = []

    def listen(_line: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def test_what_many_follow_is_read_once(alone: Service) -> None:
    with ExitStack() as held:
        client = held.enter_context(alone.client())
        job = submit(client)
        claimed = claim(alone, job)
        lines = [held.enter_context(following(client, job)) for _ in range(6)]
        write(alone, claimed, 1)
        for line in lines:
            until_step(line, 1)
        with statements(alone.server.config.app.state.engine) as asked:  # type: ignore[union-attr]  # our app
            write(alone, claimed, 2)
            for line in lines:
                assert until_step(line, 2) == [2]
        # One reading of two tables, and not one for each who follows.
        assert len([one for one in asked if "FROM metrics" in one]) == 1


def test_a_reader_who_stops_reading_keeps_nobody_waiting(alone: Service) -> None:
    with ExitStack() as held:
        client = held.enter_context(alone.client())
        job = submit(client)
        claimed = claim(alone, job)
        stuck = held.enter_context(socket.socket())
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", alone.port))
        key = client.headers["authorization"]
        stuck.sendall(
            f"GET /jobs/{job['id']}/stream HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\r\n\r\n".encode()
        )
        assert stuck.recv(10)
        line = held.enter_context(following(client, job))
        # Far more than the system and the api hold for one connection
        for number in range(160):
            with unit_of_work(alone.engine) as session:
                add_event(session, claimed, "eval.told", {"number": number, "text": LONG})
            while "number" not in (found := next(line)[2].get("data", {})):
                pass
            assert found["number"] == number
        # And who was stuck goes on where he was, from the rows.
        stuck.settimeout(20)
        heard = b""
        while b'"number":159' not in heard[-2 * len(LONG) :]:
            heard += stuck.recv(1 << 20)
        numbers = [int(one) for one in re.findall(rb'"number":(\d+)', heard)]
        assert numbers == list(range(160))


@pytest.mark.parametrize("kept", [0, 1500])
def test_whoever_is_behind_what_is_kept_misses_nothing(
    alone: Service, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    # Given a feed that keeps next to nothing
    monkeypatch.setattr(feed, "_KEPT_BYTES", kept)
    with ExitStack() as held:
        client = held.enter_context(alone.client())
        job = submit(client)
        claimed = claim(alone, job)
        line = held.enter_context(following(client, job))
        for step in range(1, 40):
            write(alone, claimed, step)
            until_step(line, step)
        # When others come who have heard nothing, or some of it
        whole = held.enter_context(following(client, job))
        seqs = []
        for seq, kind, _ in whole:
            seqs.append(seq)
            if kind == "metric" and len(seqs) == 43:  # two facts, each with its status
                break
        assert seqs == list(range(1, 44))
        for last in (5, 30, 41):
            late = held.enter_context(following(client, job, **{"Last-Event-ID": str(last)}))
            assert [next(late)[0] for _ in range(43 - last)] == list(range(last + 1, 44))
        write(alone, claimed, 40)
        assert until_step(line, 40) == until_step(whole, 40) == until_step(late, 40) == [40]


def test_a_batch_larger_than_one_reading_comes_whole(alone: Service) -> None:
    with alone.client() as client:
        job = submit(client)
        claimed = claim(alone, job)
        with following(client, job) as line, following(client, job) as other:
            write(alone, claimed, *range(1, 2 * feed.BATCH + 8))
            everything = list(range(1, 2 * feed.BATCH + 8))
            assert until_step(line, everything[-1]) == until_step(other, everything[-1]) == everything


def test_numbers_that_no_row_has_any_more_hold_nobody_up(alone: Service) -> None:
    # Given steps that were written twice, and last numbers that no row has
    with alone.client() as client:
        job = submit(client)
        claimed = claim(alone, job)
        write(alone, claimed, 1, 2, 3)
        write(alone, claimed, 1, 2, 3)
        with alone.engine.begin() as connection:
            connection.execute(
                text("UPDATE jobs SET last_seq = last_seq + 5 WHERE id = :id"), {"id": job["id"]}
            )
        with following(client, job, **{"Last-Event-ID": "4"}) as line, following(client, job) as other:
            assert until_step(line, 3) == until_step(other, 3) == [1, 2, 3]
            # Then they wait for the next, and do not look for these again and again
            with statements(alone.server.config.app.state.engine) as asked:  # type: ignore[union-attr]  # our app
                write(alone, claimed, 4)
                assert until_step(line, 4) == until_step(other, 4) == [4]
            assert len([one for one in asked if "FROM metrics" in one]) == 1


def test_a_quiet_line_says_that_it_lives(alone: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_QUIET_S", 0.1)
    with alone.client() as client:
        job = submit(client)
        for path in (f"/jobs/{job['id']}/stream", f"/stream?jobs={job['id']}"):
            with client.stream("GET", path) as answer:
                lines = answer.iter_lines()
                while not next(lines).startswith("event: status"):
                    pass
                said = (line for line in lines if line)
                assert [next(said) for _ in range(5)][2:] == [": ping"] * 3  # after its data and id


def test_a_database_that_goes_away_ends_the_line_and_not_the_next_one(
    alone: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with alone.client() as client:
        job = submit(client)
        claimed = claim(alone, job)
        with following(client, job) as line:
            while next(line)[2].get("status") != "running":
                pass
            broken = threading.Event()

            def fail(*_: object) -> None:
                broken.set()
                raise DatabaseUnavailable

            with monkeypatch.context() as patched:
                patched.setattr(feed, "feed_after", fail)
                write(alone, claimed, 1)
                with pytest.raises(httpx.RemoteProtocolError):
                    list(line)
                assert broken.is_set()
        with following(client, job) as again:
            assert until_step(again, 1) == [1]
            write(alone, claimed, 2)
            assert until_step(again, 2) == [2]


def test_who_leaves_takes_nobody_else_along(alone: Service) -> None:
    feeds = alone.server.config.app.state.feeds  # type: ignore[union-attr]  # our app
    with alone.client() as client, alone.client(key_of(client)) as second:
        job = submit(client)
        claimed = claim(alone, job)
        with following(client, job) as staying:
            with following(second, job) as leaving:
                next(staying), next(leaving)
                [(followed, _)] = feeds._open.values()
            until(lambda: followed.followers == 1 or None)
            write(alone, claimed, 1)
            assert until_step(staying, 1) == [1]
        cancel(client, job)


def test_who_follows_is_forgotten_when_he_leaves(alone: Service) -> None:
    feeds = alone.server.config.app.state.feeds  # type: ignore[union-attr]  # our app
    with alone.client() as client:
        job = submit(client)
        with following(client, job) as line, following(client, job) as other:
            next(line), next(other)
            [(_, task)] = feeds._open.values()
            cancel(client, job)
            assert list(line)[-1][2]["status"] == list(other)[-1][2]["status"] == "cancelled"
        assert read_all(client, job)[-1][2]["status"] == "cancelled"
        going = submit(client)
        with following(client, going) as line:
            next(line)
            [task_of_going] = [one for feed, one in feeds._open.values() if feed._job.id == going["id"]]
        until = time.monotonic() + 20
        while (feeds._open or not task.done() or not task_of_going.done()) and time.monotonic() < until:
            time.sleep(0.02)
        assert not feeds._open
        assert task.done()
        assert task_of_going.done()

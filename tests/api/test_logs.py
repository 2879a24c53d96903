"""A job's log over HTTP: followed while it grows, over attempts, and let go."""

import threading
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text as sql

from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.errors import LeaseLost
from neftune_store.live_logs import KEPT_PARTS, add_part, drop_old_parts
from neftune_store.settling import give_back, settle_failed, settle_succeeded
from tests.api.live_api import Service, claim, store_artifact, submit, succeed
from tests.factories import end_rest
from tests.worker_house import until


def said(service: Service, held: Claim, number: int, text: str) -> None:
    with unit_of_work(service.engine) as session:
        add_part(session, held, number, text)


class Follower:
    """A client that follows, on a thread, and what it has heard."""

    def __init__(self, client: httpx.Client, job: str, **query: object) -> None:
        self.heard = ""
        self.status = 0
        self._client, self._url = client, f"/jobs/{job}/log"
        self._query = {"follow": "true", **query}
        self._gone = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        until(lambda: self.status or None)

    def _follow(self) -> None:
        with self._client.stream("GET", self._url, params=self._query) as answer:
            self.status = answer.status_code
            for text in answer.iter_text():
                self.heard += text
                if self._gone.is_set():
                    return

    def wait(self, text: str) -> None:
        until(lambda: text in self.heard or None)

    def leave(self) -> None:
        self._gone.set()

    def ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


@pytest.fixture
def other(service: Service, client: httpx.Client) -> Iterator[httpx.Client]:
    """A second line with the same key, for what is asked while one follows."""
    with httpx.Client(base_url=service.url, headers=client.headers, timeout=20, trust_env=False) as found:
        yield found


def test_a_follower_hears_what_is_printed_over_attempts_until_the_end(
    service: Service, client: httpx.Client
) -> None:
    job = submit(client)
    follower = Follower(client, job["id"])  # before anything runs
    first = claim(service, job)
    said(service, first, 1, "loading\n")
    follower.wait("loading\n")
    said(service, first, 2, "step 1\n")
    follower.wait("step 1\n")
    # When the run is lost and another one goes on
    with unit_of_work(service.engine) as session:
        give_back(session, first, "drained")
    end_rest(service.engine, job["id"])
    second = claim(service, job)
    said(service, second, 1, "loading again\n")
    follower.wait("loading again\n")
    with unit_of_work(service.engine) as session:
        add_part(session, second, 2, "done\n")
        settle_succeeded(session, second, {}, [store_artifact(service, "log", b"whole\n", "text/plain")])
    # Then it has heard all of it, once and in order, and the answer ends
    assert follower.ended()
    assert follower.heard == (
        "loading\nstep 1\n\n[the job goes on in another attempt]\nloading again\ndone\n"
    )
    # and from then on the log is the one that was stored
    assert Follower(client, job["id"]).ended()
    assert client.get(f"/jobs/{job['id']}/log").text == "whole\n"


def test_what_is_printed_with_the_end_comes_whole_however_much(
    service: Service, client: httpx.Client
) -> None:
    # Given somebody who follows the second attempt
    job = submit(client)
    first = claim(service, job)
    with unit_of_work(service.engine) as session:
        give_back(session, first, "drained")
    end_rest(service.engine, job["id"])
    second = claim(service, job)
    follower = Follower(client, job["id"])
    # When more than is read at once comes in one moment with the end
    late = "INSERT INTO log_parts (job_id, fence, number, said) VALUES (:job, :fence, :number, :said)"
    with unit_of_work(service.engine) as session:
        for number in range(1, KEPT_PARTS + 1):
            told = {"job": job["id"], "fence": first.fence, "number": number, "said": f"early {number}\n"}
            session.execute(sql(late), told)
            add_part(session, second, number, f"late {number}\n")
        settle_failed(session, second, "nan_loss", "x")
    # Then nothing of it is missing
    assert follower.ended()
    lines = [f"{when} {number}" for when in ("early", "late") for number in range(1, KEPT_PARTS + 1)]
    assert [line for line in follower.heard.splitlines() if line[:1] in {"e", "l"}] == lines


def test_a_follower_that_leaves_gives_its_place_back(
    service: Service, client: httpx.Client, other: httpx.Client
) -> None:
    job = submit(client)
    held = claim(service, job)
    slots = service.server._api.state.stream_slots
    before = slots.open
    follower = Follower(client, job["id"])
    assert slots.open == before + 1
    said(service, held, 1, "one\n")
    follower.wait("one\n")
    follower.leave()
    said(service, held, 2, "two\n")
    assert follower.ended()
    until(lambda: slots.open == before or None)
    assert other.get(f"/jobs/{job['id']}/log").text == "one\ntwo\n"
    with unit_of_work(service.engine) as session:
        settle_failed(session, held, "nan_loss", "x")


def test_a_key_may_follow_so_many_at_once(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    slots = service.server._api.state.stream_slots
    before = slots.open
    followers = [Follower(client, job["id"]) for _ in range(service.settings.sse_per_key)]
    refused = client.get(f"/jobs/{job['id']}/log", params={"follow": "true"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert client.get(f"/jobs/{job['id']}/log").status_code == 200  # who doesn't follow needs no place
    client.post(f"/jobs/{job['id']}/cancel")
    assert all(one.ended() for one in followers)
    until(lambda: slots.open == before or None)


def test_a_tail_begins_with_the_last_lines(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    held = claim(service, job)
    said(service, held, 1, "1\n2\n3\n")
    assert client.get(f"/jobs/{job['id']}/log", params={"tail": 2}).text == "2\n3\n"
    assert client.get(f"/jobs/{job['id']}/log", params={"tail": 0}).text == ""
    follower = Follower(client, job["id"], tail=1)
    follower.wait("3\n")
    said(service, held, 2, "4\n5\n")
    follower.wait("5\n")
    assert follower.heard == "3\n4\n5\n"
    lines = "".join(f"line {number}\n" for number in range(10_000)).encode()
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, held, {}, [store_artifact(service, "log", lines, "text/plain")])
    assert follower.ended()
    assert client.get(f"/jobs/{job['id']}/log", params={"tail": 2}).text == "line 9998\nline 9999\n"
    for bad in ("-1", "1001", "x"):
        assert client.get(f"/jobs/{job['id']}/log", params={"tail": bad}).status_code == 422


def test_the_newest_parts_are_kept_and_after_the_end_none(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    held = claim(service, job)
    for number in range(1, KEPT_PARTS + 11):
        said(service, held, number, f"part {number}\n")
        said(service, held, number, "said twice\n")  # its commit was in doubt
    text = client.get(f"/jobs/{job['id']}/log").text
    assert text.splitlines() == [f"part {number}" for number in range(11, KEPT_PARTS + 11)]
    with unit_of_work(service.engine) as session:
        settle_failed(session, held, "nan_loss", "x", log_tail="the tail\n")
    with pytest.raises(LeaseLost):  # and who is no longer its run adds nothing
        said(service, held, 999, "too late\n")
    with unit_of_work(service.engine) as session:
        drop_old_parts(session)
    assert "part 74" in client.get(f"/jobs/{job['id']}/log").text  # who follows may still be reading
    with service.engine.begin() as line:
        line.exec_driver_sql("ALTER TABLE jobs DISABLE TRIGGER jobs_guard")
        line.exec_driver_sql(
            f"UPDATE jobs SET finished_at = finished_at - interval '11 minutes' WHERE id = '{job['id']}'"
        )
        line.exec_driver_sql("ALTER TABLE jobs ENABLE TRIGGER jobs_guard")
    with unit_of_work(service.engine) as session:
        assert drop_old_parts(session) >= KEPT_PARTS
    assert client.get(f"/jobs/{job['id']}/log").text == "the tail\n".strip()


def test_a_job_that_has_ended_is_not_followed(service: Service, client: httpx.Client) -> None:
    job = succeed(service, client, log=(b"all of it\n", "text/plain"))
    assert client.get(f"/jobs/{job['id']}/log", params={"follow": "true"}).text == "all of it\n"

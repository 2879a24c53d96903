"""Dependencies that take everything and answer nothing: requests are answered soon, runs keep their lease."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.proxy import Proxy
from tests.faults.s3_stub import Store
from tests.faults.test_redis import Line, line
from tests.faults.test_storage import remote, store
from tests.faults.test_unknown_outcomes import Api
from tests.faults.test_unknown_outcomes import line as database_line
from tests.worker_house import LEASE, MODEL, ROWS, House, house, quiet_redis, short_home

__all__ = ["database_line", "house", "line", "quiet_redis", "remote", "short_home", "store"]

SOON = 5.0  # no request takes longer, whatever is away


def ask(api: Api, method: str, path: str, **more: object) -> tuple[httpx.Response, float]:
    """Ask, and tell how long the answer took."""
    began = time.monotonic()
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{api.port}{path}",
        headers={"authorization": f"Bearer {api.key}"},
        timeout=120,
        trust_env=False,
        **more,
    )
    return answer, time.monotonic() - began


def down(answer: httpx.Response) -> str:
    """Name what is down."""
    told = answer.json()["dependencies"]
    return ", ".join(name for name, state in told.items() if state == "down")


@pytest.mark.fault("F19")
def test_a_database_that_never_answers_keeps_no_request_waiting(
    house: House, database_line: Proxy, record_property
) -> None:
    # Given an api whose lines to the database are open
    api = Api(house, DATABASE_URL=database_line.url)
    body = {"model": MODEL, "dataset": house.dataset().id}
    assert api.post(body, "before").status_code == 201
    # When nothing comes back any more, on these lines and on new ones
    database_line.turn("black_hole")
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(ask, api, "GET", "/jobs"),
            pool.submit(ask, api, "POST", "/jobs", json=body),
            pool.submit(ask, api, "POST", "/datasets", content=ROWS),
            pool.submit(ask, api, "GET", "/readyz"),
        ]
    answers = [one.result() for one in asked]
    # Then each is told soon to come back later
    record_property("slowest_s", round(max(took for _, took in answers), 2))
    assert [answer.status_code for answer, _ in answers] == [503] * 4
    assert all(answer.headers["retry-after"] for answer, _ in answers)
    assert down(answers[-1][0]) == "postgres"
    assert max(took for _, took in answers) < SOON
    alive, took = ask(api, "GET", "/healthz")
    assert (alive.status_code, took < 1) == (200, True)
    # And when it answers again, so does the api
    database_line.turn("cut")
    database_line.turn("pass")
    assert api.post(body, "after").status_code == 201


@pytest.mark.long  # test_redis.py silences it in the middle
@pytest.mark.fault("F18")
def test_a_busy_worker_drains_the_table_while_redis_never_answers(house: House, line: Line) -> None:
    # Given a worker in its first job, and two that wait
    api = Api(house)
    house.start()
    house.start("worker.reconcile")
    first = house.submit("steps=60 sleep=0.05")
    house.wait_for_step(first, 2)
    line.silence()
    began = time.monotonic()
    others = [house.submit("steps=2", rung=False) for _ in range(2)]
    # Then all three end as if nothing were, for longer than a lease
    for job in (first, *others):
        assert house.wait(job, "succeeded", "failed").attempt == 1
    assert time.monotonic() - began > LEASE
    ready, took = ask(api, "GET", "/readyz")
    assert (ready.status_code, down(ready), took < SOON) == (200, "redis", True)


@pytest.mark.fault("F25")
def test_a_store_that_never_answers_keeps_no_request_waiting_that_needs_it_not(
    remote: House, store: Store
) -> None:
    api = Api(remote)
    body = {"model": MODEL, "dataset": remote.rows}
    store.mode = "hang"
    for told, method, path, more in (
        (201, "POST", "/jobs", {"json": body}),
        (200, "GET", "/jobs", {}),
        (503, "GET", "/readyz", {}),
        (200, "GET", "/healthz", {}),
    ):
        answer, took = ask(api, method, path, **more)
        assert (answer.status_code, took < SOON) == (told, True), (path, took)


@pytest.mark.long
@pytest.mark.fault("F25")
def test_an_upload_to_a_store_that_never_answers_is_refused_in_the_end(
    remote: House, store: Store, record_property
) -> None:
    api = Api(remote)
    store.mode = "hang"
    answer, took = ask(api, "POST", "/datasets", content=ROWS)
    record_property("upload_refused_after_s", round(took, 2))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")

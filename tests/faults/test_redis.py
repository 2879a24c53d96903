"""Redis flushed, killed, silent, or never there: submits do not ask it, runs do not need it, all jobs end."""

import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from neftune_store.bells import ANSWER_SECONDS
from standalone.redis import EmbeddedRedis, client_url
from tests.faults.proxy import Proxy
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import MODEL, RECONCILE, House, house, kill, quiet_redis, short_home, until

__all__ = ["house", "quiet_redis", "short_home"]

SEED = 20261121
TOY = {"toy": "steps=2 sleep=0.01"}


class Line:
    """The way to a Redis of our own, which may be flushed, killed and silenced."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedRedis(home)
        self.url = self._server.start()
        self.proxy = Proxy(client_url(self.url).removeprefix("unix://"))

    def flush(self) -> None:
        """Lose everything."""
        redis.from_url(client_url(self.url)).flushall()

    def die(self) -> None:
        """Die, until it is mended."""
        kill(self._server.process)
        self._server.process.wait()

    def silence(self) -> None:
        """Take everything and answer nothing, until it is mended."""
        self.proxy.turn("black_hole")

    def mend(self) -> None:
        """Come back."""
        if self._server.process.poll() is not None:
            self._server.start()
        if self.proxy.mode != "pass":
            self.proxy.turn("cut")
            self.proxy.turn("pass")

    def close(self) -> None:
        """End it all."""
        self.proxy.close()
        self._server.stop()


@pytest.fixture
def line(house: House, short_home: Path) -> Iterator[Line]:
    """A Redis that only this house uses."""
    made = Line(short_home)
    house.redis_url = house.environ["REDIS_URL"] = f"redis://127.0.0.1:{made.proxy.port}/0"
    yield made
    house.close()
    made.close()


def runs(house: House) -> dict[str, tuple[str, int]]:
    """Tell of every job its status and how many runs it had."""
    asked = text("SELECT jobs.id, jobs.status, (SELECT count(*) FROM runs WHERE job_id = jobs.id) FROM jobs")
    with house.engine.connect() as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(asked)}


@pytest.mark.fault("F17", "F18")
@pytest.mark.parametrize("away", ["black hole", pytest.param("dead", marks=pytest.mark.long)])
def test_a_submit_opens_no_line_to_redis(house: House, away: str, record_property) -> None:
    # Given an api whose Redis takes every connection, counts it and says nothing, or is not there
    opened = 0

    def count() -> None:
        nonlocal opened
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return
            opened += 1

    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        threading.Thread(target=count, daemon=True).start()
        port = listener.getsockname()[1] if away == "black hole" else 1
        api = Api(house, REDIS_URL=f"redis://127.0.0.1:{port}/0")
        body = {"model": MODEL, "dataset": house.dataset().id}
        took = []
        began = time.monotonic()
        for number in range(40):
            asked = time.monotonic()
            assert api.post(body, f"key-{number}").status_code == 201
            took.append(time.monotonic() - asked)
        seconds = time.monotonic() - began
        listener.shutdown(socket.SHUT_RDWR)
    for one in held:
        one.close()
    record_property("median_ms", round(1000 * statistics.median(took), 1))
    record_property("lines_opened", opened)
    # Then none waited for it, and the lines are those of the one bell that rings beside the requests
    assert statistics.median(took) < ANSWER_SECONDS / 2
    assert opened <= 2 + 2 * seconds / ANSWER_SECONDS < 40
    assert len(runs(house)) == 40


@pytest.mark.fault("F17", "F18")
@pytest.mark.parametrize("count", [26, pytest.param(50, marks=pytest.mark.long)])
def test_jobs_end_once_each_while_redis_is_flushed_killed_and_silent(
    house: House, line: Line, count: int, record_property
) -> None:
    # Given two workers that start without Redis, and an api that is sent a job every now and then
    line.die()
    workers = [house.start() for _ in range(2)]
    house.start("worker.reconcile")
    api = Api(house)
    until(lambda: house.logs().count("Cannot connect") >= 2, 30)
    body = {"model": MODEL, "dataset": house.dataset().id, "metadata": TOY}
    rng = random.Random(SEED)
    hurts = [line.flush, line.die, line.silence] * (count // 12)
    rng.shuffle(hurts)
    took = []
    for number in range(count):
        # When something happens to Redis before every fourth, and it is mended two later
        if number % 4 == 2:
            line.mend()
        elif number % 4 == 0 and number:
            hurts.pop()()
        asked = time.monotonic()
        answer = api.post(body, f"key-{number}")
        took.append(time.monotonic() - asked)
        assert answer.status_code == 201, answer.text
        time.sleep(rng.uniform(0, 0.15))
    line.mend()
    mended = time.monotonic()
    # Then all of them end, in one run each
    try:
        until(lambda: all(status == "succeeded" for status, _ in runs(house).values()), 60)
    except TimeoutError:
        raise AssertionError(f"{runs(house)}\n{house.logs()[-6000:]}") from None
    record_property("all_done_after_mending_s", round(time.monotonic() - mended, 2))
    record_property("slowest_submit_s", round(max(took), 2))
    assert list(runs(house).values()) == [("succeeded", 1)] * count
    assert statistics.median(took) < ANSWER_SECONDS / 2
    assert [worker.poll() for worker in workers] == [None, None]


@pytest.mark.fault("F17")
def test_a_worker_whose_receipt_was_cut_off_hears_the_next_bell(house: House, line: Line) -> None:
    # Given a worker whose Redis takes the receipt of a message, and is gone before it says so
    house.start()
    house.wait(house.submit("steps=1"), "succeeded")
    line.proxy.cut_after(b"ZREM")
    house.wait(house.submit("steps=1"), "succeeded")
    until(lambda: line.proxy.cuts == 1, 10)
    # Then it does not take that message for one that it still holds, and hears again
    house.wait(house.submit("steps=1"), "succeeded", seconds=15)


@pytest.mark.long
@pytest.mark.fault("F17")
def test_an_idle_worker_hears_of_redis_soon_after_a_long_absence(
    house: House, line: Line, record_property
) -> None:
    # Given a worker that has nothing to do, and no Redis for longer than any first tries last
    house.start()
    house.start("worker.reconcile")
    house.wait(house.submit("steps=1"), "succeeded")
    line.die()
    time.sleep(7)
    job = house.submit("steps=1", rung=False)
    line.mend()
    began = time.monotonic()
    # Then it starts what waits as soon as it hears again
    house.wait(job, "succeeded", seconds=60)
    record_property("done_after_s", round(time.monotonic() - began, 2))
    assert time.monotonic() - began < RECONCILE + 2.0 + 2.0  # and the run itself, on a busy machine

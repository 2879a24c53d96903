"""The reconciler as a process: it looks, rings, survives its neighbours, and leaves at once."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from neftune_store.claims import claim_next
from neftune_store.db import unit_of_work
from tests.worker_house import House, kill, until


def test_it_returns_a_lost_job_to_the_queue(house: House) -> None:
    job = house.submit(rung=False)
    with unit_of_work(house.engine) as session:
        claim_next(session, "a worker that died", 0.3)
    house.start("worker.reconcile")
    back = until(lambda: now if (now := house.job(job)).status == "queued" else None, 5)
    assert (back.attempt, back.crashes) == (1, 1)


def test_it_leaves_at_once_when_asked(house: House) -> None:
    process = house.start("worker.reconcile", RECONCILE_SECONDS="60")
    until(lambda: "reconciler.started" in house.logs() or None, 10)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - began < 15  # its next look is due in a minute


def test_it_drops_what_an_upload_that_broke_off_has_left(house: House) -> None:
    staging = house.root / "blobs" / "staging"
    staging.mkdir(parents=True)
    forgotten, under_way = staging / "up_forgotten", staging / "up_under_way"
    forgotten.write_bytes(b"half")
    under_way.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(forgotten, (two_days_ago, two_days_ago))

    house.start("worker.reconcile")

    until(lambda: "collect.done" in house.logs() or None, 10)
    assert [path.name for path in staging.iterdir()] == [under_way.name]


@pytest.mark.fault("F18")
def test_it_survives_a_redis_that_never_answers(house: House) -> None:
    # Given a listener that accepts and says nothing
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        house.start("worker.reconcile", REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        waiting = house.submit(rung=False)
        until(lambda: "bell.not_rung" in house.logs() or None, 20)
        # When a job is lost, then it is found all the same
        with unit_of_work(house.engine) as session:
            assert claim_next(session, "a worker that died", 0.3) is not None
        until(lambda: house.job(waiting).crashes or None, 5)


@pytest.mark.fault("F45")
def test_two_of_them_do_no_harm_and_one_may_die(house: House) -> None:
    first = house.start("worker.reconcile")
    house.start("worker.reconcile")
    house.start()
    job = house.submit("steps=2", rung=False)
    kill(first)
    assert house.wait(job, "succeeded").attempt == 1


def test_it_survives_a_database_that_goes_away(house: House, short_home: Path) -> None:
    from standalone.postgres import EmbeddedPostgres  # noqa: PLC0415 - a server that may die

    own = EmbeddedPostgres(short_home)
    url = own.start()
    process = house.start("worker.reconcile", DATABASE_URL=url)
    own.stop()
    until(lambda: "reconcile.failed" in house.logs() or None, 10)
    assert process.poll() is None

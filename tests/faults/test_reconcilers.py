"""Reconcilers: many have the effect of one, and without any the workers look for themselves."""

import time

import pytest
from sqlalchemy import text

from neftune_store.claims import claim_next
from neftune_store.db import unit_of_work
from tests.worker_house import LEASE, RECONCILE, House, house, kill, quiet_redis, until

__all__ = ["house", "quiet_redis"]

PATIENCE = 30.0


def losses(house: House, job) -> list[int]:
    """Name the attempts that were found lost."""
    return [fact.data["attempt"] for fact in house.facts(job) if fact.name == "run.lost"]


@pytest.mark.fault("F45")
def test_several_reconcilers_find_each_loss_once(house: House) -> None:
    # Given three of them, and twenty runs whose workers are gone at the same moment
    for _ in range(3):
        house.start("worker.reconcile", RECONCILE_SECONDS="0.05")
    until(lambda: house.logs().count("reconciler.started") == 3, PATIENCE)
    dataset = house.dataset().id
    jobs = [house.submit(rung=False, dataset=dataset) for _ in range(20)]
    for _ in jobs:
        with unit_of_work(house.engine) as session:
            assert claim_next(session, "a worker that died", 60) is not None
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 s'"))
    # Then each is lost once, counted once, and queued once
    for job in jobs:
        back = house.wait(job, "queued", seconds=PATIENCE)
        assert (back.attempt, back.crashes) == (1, 1)
    time.sleep(0.5)
    for job in jobs:
        assert (losses(house, job), house.events(job).count("job.requeued")) == ([1], 1)


@pytest.mark.fault("F45")
def test_without_a_reconciler_an_idle_worker_finds_what_is_lost_and_starts_what_waits(
    house: House, record_property
) -> None:
    # Given a worker alone, a job nobody rings for, and one whose run is lost
    lost = house.submit("steps=2", rung=False)
    with unit_of_work(house.engine) as session:
        assert claim_next(session, "a worker that died", LEASE) is not None
    began = time.monotonic()
    house.start()
    waiting = house.submit("steps=2", rung=False)
    # Then both run
    assert house.wait(waiting, "succeeded", "failed", seconds=PATIENCE).attempt == 1
    done = house.wait(lost, "succeeded", "failed", seconds=PATIENCE)
    record_property("both_done_after_s", time.monotonic() - began)
    assert (done.status, done.attempt, losses(house, lost)) == ("succeeded", 2, [1])


@pytest.mark.fault("F45")
def test_without_a_reconciler_a_busy_worker_settles_what_a_dead_one_left(house: House) -> None:
    # Given a worker in a long run, and a job that is to be cancelled while its worker is gone
    house.start()
    gone = house.submit("steps=2", rung=False, paused=True)
    busy = house.submit("steps=200 sleep=0.05")
    house.wait_for_step(busy, 2)
    house.resume(gone)
    with unit_of_work(house.engine) as session:
        claim = claim_next(session, "a worker that died", LEASE)
    assert claim is not None
    house.cancel(gone)
    # Then the cancel is settled when the lease has run out, not when the long run has ended
    house.wait(gone, "cancelled", seconds=LEASE + RECONCILE + 3.0)
    assert house.job(busy).status == "running"
    house.cancel(busy)
    house.wait(busy, "cancelled")


@pytest.mark.long  # a rare pair of events
@pytest.mark.fault("F45")
def test_a_new_pool_child_looks_as_its_predecessor_did(house: House) -> None:
    worker = house.start()
    house.wait(house.submit("steps=1"), "succeeded")
    kill(house.pool_child(worker))
    job = house.submit("steps=1", rung=False)
    assert house.wait(job, "succeeded", "failed", seconds=PATIENCE).attempt == 1

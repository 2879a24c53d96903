"""``kill -9`` of whatever runs a job, a flushed and a broken Redis: the job runs again and ends well.

Real processes, leases of two seconds, the toy runner; ``test_kill_trainer.py`` does it with the real one.
"""

import os
import signal
import time
from contextlib import suppress

import psutil
import pytest
import redis

from neftune_store.errors import AlreadyFinished
from neftune_store.job import Job
from standalone.redis import EmbeddedRedis, client_url
from tests.faults.elapsed import lost_after
from tests.worker_house import LEASE, RECONCILE, House, busy_house, house, kill, quiet_redis, until

pytestmark = pytest.mark.long  # faults/ and chaos/ kill the same processes at worse moments
__all__ = ["busy_house", "house", "quiet_redis"]

ROUND = 40  # steps
CELERY = 5.0  # it looks for dead children every so often
SLACK = 20.0  # patience: a new worker starts on a busy machine; test_claiming.py holds how soon


@pytest.fixture
def running(house: House) -> tuple[House, Job]:
    """A house whose only job is in its middle."""
    house.worker = house.start()
    house.start("worker.reconcile")
    job = house.submit(f"steps={ROUND} sleep=0.05")
    house.wait_for_step(job, 5)
    return house, job


def runs_again(house: House, job: Job, within: float) -> None:
    """Hold the promise: running again in time, and a whole curve at the end."""
    again = until(lambda: now if (now := house.job(job)).attempt == 2 else None, within)
    assert again.crashes == 1
    done = house.wait(job, "succeeded", "failed")
    assert (done.status, done.attempt) == ("succeeded", 2), house.logs()[-4000:]
    assert house.steps(job) == list(range(ROUND + 1))
    names = house.events(job)
    assert names.count("job.succeeded") == 1
    assert names.count("rewound") == 1
    # Nor is a folder left of the run that died
    until(lambda: not list(house.work_dir.glob("run-*")), 5)


@pytest.mark.fault("F9")
def test_a_killed_runner(running: tuple[House, Job], record_property) -> None:
    house, job = running
    fault = time.time()
    kill(house.runner(house.worker))
    runs_again(house, job, LEASE + RECONCILE + SLACK)
    # Its supervisor saw it, at once, and nobody had to wait for the lease
    (lost,) = [fact.data for fact in house.facts(job) if fact.name == "run.lost"]
    assert lost["code"] == "worker_crashed"
    assert "SIGKILL" in lost["detail"]
    record_property("found_after_s", lost_after(house, job, fault))


@pytest.mark.fault("F10")
def test_a_killed_pool_child(running: tuple[House, Job], record_property) -> None:
    house, job = running
    child, runner = house.pool_child(house.worker), house.runner(house.worker)
    fault = time.time()
    kill(child)
    # Nothing of the run outlives its supervisor, and a new child takes over
    until(lambda: gone(runner), 2.0)
    runs_again(house, job, LEASE + RECONCILE + CELERY + SLACK)
    assert house.worker.poll() is None
    record_property("found_after_s", lost_after(house, job, fault))


@pytest.mark.fault("F4")
def test_a_killed_worker(running: tuple[House, Job]) -> None:
    house, job = running
    child, runner = house.pool_child(house.worker), house.runner(house.worker)
    kill(house.worker)
    until(lambda: gone(child) and gone(runner), 2.0)
    house.start()
    runs_again(house, job, LEASE + RECONCILE + SLACK)


@pytest.mark.long  # faults/test_frozen.py freezes all processes of one
@pytest.mark.fault("F11")
def test_a_frozen_worker_loses_its_job_and_writes_nothing_more(
    running: tuple[House, Job], record_property
) -> None:
    # Given a worker that is frozen for longer than its lease, and another one
    house, job = running
    frozen = house.pool_child(house.worker)
    fault = time.time()
    frozen.suspend()
    house.start()
    until(lambda: house.job(job).attempt == 2, LEASE + RECONCILE + SLACK)
    # When it wakes up while the other one runs the job
    frozen.resume()
    # Then the job is run once more, and each step stands once
    done = house.wait(job, "succeeded", "failed")
    assert (done.status, done.attempt) == ("succeeded", 2), house.logs()[-4000:]
    assert house.steps(job) == list(range(ROUND + 1))
    with house.engine.connect() as connection:
        fences = connection.exec_driver_sql("SELECT DISTINCT fence FROM metrics").scalars().all()
    assert fences == [2]
    record_property("found_after_s", lost_after(house, job, fault))


@pytest.mark.long  # faults/test_signals.py tells one to leave in the middle of a run
@pytest.mark.fault("F43")
def test_a_leaving_worker_gives_its_job_back_without_a_mark(running: tuple[House, Job]) -> None:
    house, job = running
    began = time.monotonic()
    house.worker.send_signal(signal.SIGTERM)
    house.worker.send_signal(signal.SIGTERM)  # impatient, but idempotent
    assert house.worker.wait(15) == 0
    assert time.monotonic() - began < 10
    resting = house.job(job)
    assert (resting.status, resting.crashes, resting.drains) == ("queued", 0, 1)
    house.start()
    done = house.wait(job, "succeeded")
    assert done.attempt == 2
    assert house.steps(job) == list(range(ROUND + 1))


@pytest.mark.long  # test_redis.py does worse in less time
@pytest.mark.fault("F17")
def test_three_queued_jobs_survive_a_flushed_redis(house: House) -> None:
    # Given three jobs in the queue behind a running one
    jobs = [house.submit("steps=10 sleep=0.05") for _ in range(4)]
    house.start()
    house.wait_for_step(jobs[0], 1)
    # When Redis loses everything
    redis.from_url(client_url(house.redis_url)).flushdb()
    house.start("worker.reconcile")
    # Then all of them finish, each in one run
    for job in jobs:
        assert house.wait(job, "succeeded", "failed").attempt == 1


@pytest.mark.fault("F17")
def test_an_idle_worker_hears_the_bell_again_after_a_flush(house: House) -> None:
    house.start()
    house.start("worker.reconcile")
    house.wait(house.submit("steps=1"), "succeeded")
    redis.from_url(client_url(house.redis_url)).flushdb()
    job = house.submit("steps=1", rung=False)
    house.wait(job, "succeeded", seconds=10)


@pytest.mark.fault("F34")
def test_an_answered_cancel_never_becomes_a_success(house: House) -> None:
    # Given runs that end at about the moment of the cancel, before or after it
    house.start()
    house.start("worker.reconcile")
    answered = []
    for late in range(12):
        job = house.submit("steps=3 sleep=0.01")
        until(lambda job=job: house.job(job).status != "queued", 10)
        time.sleep(late * 0.03)
        with suppress(AlreadyFinished):
            house.cancel(job)
            answered.append(job)
    # Then whoever got an answer is cancelled
    assert answered
    for job in answered:
        house.wait(job, "cancelled", seconds=10)
        assert "job.succeeded" not in house.events(job)


def test_a_cancel_with_its_worker_dead_is_settled_by_the_reconciler(running: tuple[House, Job]) -> None:
    house, job = running
    kill(house.worker)
    house.cancel(job)
    house.wait(job, "cancelled", seconds=LEASE + RECONCILE + SLACK)


def test_a_cancel_is_heard_long_before_the_next_heartbeat(house: House) -> None:
    house.start(LEASE_SECONDS="60", HEARTBEAT_SECONDS="20", LEASE_STOP_SECONDS="45")
    job = house.submit("steps=1000 sleep=0.05")
    house.wait_for_step(job, 2)
    house.cancel(job)
    house.wait(job, "cancelled", seconds=10)  # a heartbeat is due every 20 seconds


@pytest.mark.long  # as above
@pytest.mark.fault("F17")
def test_a_broken_redis_disturbs_no_running_job_and_loses_no_queued_one(house: House, tmp_path) -> None:
    # Given a worker on a Redis of its own, with one job running and two queued
    own = EmbeddedRedis(tmp_path / "own")
    url = own.start()
    house.redis_url = url
    worker = house.start(REDIS_URL=url)
    house.start("worker.reconcile", REDIS_URL=url)
    first = house.submit("steps=40 sleep=0.05")
    house.wait_for_step(first, 2)
    others = [house.submit("steps=2", rung=False) for _ in range(2)]
    # When Redis dies in the middle, and comes back empty
    try:
        os.kill(own.process.pid, signal.SIGKILL)
        own.process.wait()
        house.wait(first, "succeeded")
        again = EmbeddedRedis(tmp_path / "own")
        assert again.start() == url
        # Then the running job was undisturbed, and the others finish
        for job in (first, *others):
            assert house.wait(job, "succeeded", seconds=30).attempt == 1
        late = house.submit("steps=1", rung=False)
        house.wait(late, "succeeded", seconds=30)
        assert worker.poll() is None
    finally:
        house.close()
        own.stop()
        again.stop()


def gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

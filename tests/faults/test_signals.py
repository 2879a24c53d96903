"""A worker that is told to leave, once or as often as one likes: it drains, and the job costs nothing."""

import os
import signal
import subprocess
import time

import pytest

from neftune_store.job import Job
from tests.worker_house import House, family, house, kill, quiet_redis, until

__all__ = ["house", "quiet_redis"]

LEAVING = 25.0  # a drain is promised within so many seconds
PATIENCE = 30.0


@pytest.fixture
def running(house: House) -> tuple[House, subprocess.Popen[bytes], Job]:
    """A worker in the middle of a job. What Celery sleeps before an impatient end is 2 s of its grace."""
    worker = house.start(GRACE_SECONDS="12")
    job = house.submit("steps=60 sleep=0.05")
    house.wait_for_step(job, 5)
    return house, worker, job


def left_after(house: House, worker: subprocess.Popen[bytes]) -> float:
    """Hold that a worker that was told to leave ends well; give the seconds that it took."""
    began = time.monotonic()
    try:
        status = worker.wait(LEAVING)
    except subprocess.TimeoutExpired:
        still = [(one.pid, one.name(), one.status()) for one in family(worker.pid)]
        raise AssertionError(f"{still}\n{house.logs()[-4000:]}") from None
    assert status == 0, house.logs()[-4000:]
    return time.monotonic() - began


def drained(house: House, worker: subprocess.Popen[bytes], job: Job) -> float:
    """Hold that it leaves well and the next worker goes on; give the seconds that leaving took."""
    took = left_after(house, worker)
    resting = house.job(job)
    assert (resting.status, resting.crashes, resting.drains) == ("queued", 0, 1), house.logs()[-4000:]
    house.start()
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt, done.crashes) == ("succeeded", 2, 0)
    assert house.steps(job) == list(range(61))
    assert house.events(job).count("run.drained") == 1
    return took


@pytest.mark.fault("F44")
@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.long)])
def test_one_signal_drains(running, name: str, record_property) -> None:
    house, worker, job = running
    worker.send_signal(getattr(signal, name))
    record_property("left_after_s", drained(house, worker, job))


@pytest.mark.long
@pytest.mark.fault("F44")
def test_a_storm_of_signals_drains_once(running, record_property) -> None:
    house, worker, job = running
    for _ in range(50):
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    record_property("left_after_s", drained(house, worker, job))


@pytest.mark.long  # as above
@pytest.mark.fault("F44")
def test_a_storm_on_all_its_processes_drains_once(running, record_property) -> None:
    # As an init system does that signals a whole control group
    house, worker, job = running
    for _ in range(10):
        os.killpg(worker.pid, signal.SIGTERM)
        time.sleep(0.03)
    record_property("left_after_s", drained(house, worker, job))


@pytest.mark.long  # a kill in the middle of a drain is below
@pytest.mark.fault("F44")
@pytest.mark.parametrize("names", [("SIGINT", "SIGINT"), pytest.param(("SIGQUIT",), marks=pytest.mark.long)])
def test_an_impatient_end_loses_nothing(running, names: tuple[str, ...]) -> None:
    # Given somebody who wants it to end at once
    house, worker, job = running
    for name in names:
        worker.send_signal(getattr(signal, name))
        time.sleep(0.1)
    worker.wait(LEAVING)
    # Then the job is back in the queue, at once or when its lease has run out
    house.start()
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 2), house.logs()[-4000:]
    assert house.steps(job) == list(range(61))


@pytest.mark.fault("F44")
def test_an_idle_worker_leaves_at_once_and_its_child_may_be_told_to(house: House) -> None:
    worker = house.start()
    house.wait(house.submit("steps=1"), "succeeded")
    # When only the pool child is told to leave, with no bell left to answer, then another one takes its place
    child = house.pool_child(worker)
    until(lambda: house.logs().count("] received") == house.logs().count("] succeeded in") > 0, PATIENCE)
    child.terminate()
    until(lambda: not child.is_running() or child.status() == "zombie", 5)
    house.wait(house.submit("steps=1"), "succeeded", seconds=PATIENCE)
    assert worker.poll() is None
    for _ in range(10):
        os.killpg(worker.pid, signal.SIGTERM)
    left_after(house, worker)


@pytest.mark.fault("F44")
def test_a_worker_killed_while_it_drains_loses_its_job_to_the_lease(running) -> None:
    house, worker, job = running
    child = house.pool_child(worker)
    worker.send_signal(signal.SIGTERM)
    kill(child)
    kill(worker)
    house.start()
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert house.steps(job) == list(range(61))

"""Runners that die, hang, and start what they should not: bounded attempts, and nothing of them stays."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.faults.elapsed import lost_after
from tests.worker_house import LEASE, QUICK, House, busy_house, house, kill, quiet_redis, until

__all__ = ["busy_house", "house", "quiet_redis"]

PATIENCE = 30.0


def alive(word: str) -> list[psutil.Process]:
    """List the live processes with this word in their command line."""
    return [process for process in psutil.process_iter() if _says(process, word)]


def _says(process: psutil.Process, word: str) -> bool:
    with contextlib.suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            return any(word in part for part in process.cmdline())
    return False


@pytest.fixture
def tidy(house: House) -> Iterator[House]:
    """A house whose strays end with the test, also where it fails."""
    yield house
    for process in alive(str(house.root)):
        with contextlib.suppress(psutil.Error):
            process.kill()


@pytest.mark.fault("F9")
def test_a_killed_runner_is_told_with_its_memory_and_runs_again_at_once(
    busy_house: House, record_property
) -> None:
    # Given a runner that holds much
    job = busy_house.submit("steps=100 sleep=0.05 hog=300")
    busy_house.wait_for_step(job, 2)
    # When somebody kills it, as a host without memory does
    began = time.monotonic()
    kill(busy_house.runner(busy_house.processes[0]))
    until(lambda: busy_house.job(job).crashes == 1, 10)
    record_property("found_after_s", time.monotonic() - began)
    # Then the loss says by what, how much it held, and what to do; no lease had to run out
    (lost,) = [fact.data for fact in busy_house.facts(job) if fact.name == "run.lost"]
    assert (lost["code"], lost["reason"]) == ("worker_crashed", "crashed")
    assert "SIGKILL" in lost["detail"]
    assert "It held 0.3 GiB" in lost["detail"]
    assert "batch_size" in lost["detail"]
    until(lambda: busy_house.job(job).attempt == 2, 10)
    busy_house.cancel(job)
    busy_house.wait(job, "cancelled")


@pytest.mark.fault("F10")
@pytest.mark.parametrize("whole", [False, True], ids=["the pool child", "the whole worker"])
def test_nothing_of_a_run_outlives_its_supervisor(tidy: House, whole: bool, record_property) -> None:
    # Given a runner with a child in its group, and one that has left group and parent
    worker = tidy.start(**QUICK)
    job = tidy.submit("steps=100 sleep=0.05 child=1 orphan=1")
    tidy.wait_for_step(job, 2)
    runner = tidy.runner(worker)
    word = f"{tidy.root}/work/run-"
    assert len(alive(word)) == 3
    # When the supervisor is killed, then the runner dies at once
    victim = worker if whole else tidy.pool_child(worker)
    began = time.monotonic()
    kill(victim)
    until(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, 3)
    record_property("runner_dead_after_s", round(time.monotonic() - began, 2))
    # And whoever works in this folder next ends the others before it claims anything
    if whole:
        tidy.start(**QUICK)
    tidy.cancel(job)
    tidy.wait(job, "cancelled", seconds=PATIENCE)
    tidy.wait(tidy.submit("steps=1"), "succeeded", seconds=PATIENCE)
    assert alive(word) == []


@pytest.mark.fault("F47")
def test_a_run_leaves_no_process_behind_wherever_it_hides(busy_house: House) -> None:
    job = busy_house.submit("steps=2 child=1 orphan=1")
    assert busy_house.wait(job, "succeeded", "failed").status == "succeeded"
    assert alive(f"{busy_house.work_dir}/run-") == []
    # Nor as a zombie of its supervisor
    assert busy_house.pool_child(busy_house.processes[0]).children() == []


@pytest.mark.fault("F47")
def test_a_runner_that_leaks_open_files_is_refused_and_its_supervisor_lives(busy_house: House) -> None:
    job = busy_house.submit("steps=2 leak=1")
    assert busy_house.wait(job, "succeeded", "failed").attempt == 1
    (refused,) = [fact.data for fact in busy_house.facts(job) if fact.name == "run.refused"]
    assert refused["errno"] == 24  # EMFILE
    assert refused["files"] < 65_536
    assert busy_house.wait(busy_house.submit("steps=1"), "succeeded").attempt == 1


@pytest.mark.fault("F14")
def test_a_poison_job_ends_after_three_runs_and_others_go_on(busy_house: House) -> None:
    # Given a job that kills its process each time, among others
    poison = busy_house.submit("steps=3 die=2 print=the-last-words")
    others = [busy_house.submit("steps=2") for _ in range(3)]
    for other in others:
        assert busy_house.wait(other, "succeeded", "failed", seconds=PATIENCE).attempt == 1
    # Its second loss costs it a rest, so that it keeps nobody from working
    until(lambda: busy_house.job(poison).crashes == 2, PATIENCE)
    assert busy_house.job(poison).run_after is not None
    busy_house.hurry(poison)
    done = busy_house.wait(poison, "failed", seconds=PATIENCE)
    assert (done.error_code, done.attempt, done.crashes) == ("worker_crashed", 3, 3)
    assert "SIGKILL" in (done.error_message or "")
    assert "the-last-words" in busy_house.log_tail(poison)
    assert busy_house.wait(busy_house.submit("steps=1"), "succeeded").attempt == 1


@pytest.mark.long  # store/test_runs.py counts them
@pytest.mark.fault("F9")
def test_crashes_with_progress_between_them_are_no_row_of_crashes(house: House) -> None:
    # Given a runner that dies in each run, but never before a new checkpoint
    house.start()
    job = house.submit("steps=15 ckpt=3 dieafter=4 sleep=0.01")
    # Then it comes to its end after more losses than a job without progress is granted
    done = house.wait(job, "succeeded", "failed", seconds=2 * PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 5), house.logs()[-4000:]
    assert house.steps(job) == list(range(16))
    begun = [fact.data["step"] for fact in house.facts(job) if fact.name == "run.resumed"]
    assert begun == [3, 6, 9, 12]


@pytest.mark.long  # the poison job below kills its runners
@pytest.mark.fault("F14")
def test_a_job_that_kills_its_workers_ends_after_three_runs(house: House, tmp_path) -> None:
    # Given a job that takes its supervisor down each time, as a broken driver may
    worker = house.start(NEFT_TEST="1", FAILPOINTS="run.spawned:kill")
    poison = house.submit("steps=3")
    until(lambda: house.job(poison).crashes == 2, PATIENCE)
    house.hurry(poison)
    done = house.wait(poison, "failed", seconds=PATIENCE)
    assert (done.error_code, done.attempt) == ("worker_crashed", 3)
    assert worker.poll() is None


@pytest.mark.fault("F13")
def test_a_frozen_runner_is_stalled_though_its_supervisor_beats(house: House, record_property) -> None:
    # Given a runner that stands still, as in a deadlock, for longer than a lease
    worker = house.start(STALL_SECONDS=str(LEASE + 2))
    job = house.submit("steps=60 sleep=0.05")
    house.wait_for_step(job, 5)
    fault = time.time()
    os.kill(house.runner(worker).pid, signal.SIGSTOP)
    # Then its lease is kept until it counts as stalled, and a second run ends well
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt, done.crashes) == ("succeeded", 2, 0)
    (lost,) = [fact.data for fact in house.facts(job) if fact.name == "run.lost"]
    assert (lost["code"], lost["reason"]) == ("stalled", "once")
    record_property("found_after_s", lost_after(house, job, fault))
    assert house.steps(job) == list(range(61))

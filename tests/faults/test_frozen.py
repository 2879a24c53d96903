"""A worker frozen inside a transaction: the server ends its session, another worker ends the job."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.faults.elapsed import hurt_at, lost_after
from tests.worker_house import LEASE, House, family, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]

PATIENCE = 30.0


def frozen(house: House) -> psutil.Process | None:
    """Find the process that was stopped."""
    members = [member for process in house.processes for member in family(process.pid)]
    return next((member for member in members if stopped(member)), None)


def stopped(process: psutil.Process) -> bool:
    """Tell whether it was; one that has ended meanwhile was not."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_STOPPED
    return False


def silent(house: House) -> list[str]:
    """Name the sessions that have held a transaction open for a while and say nothing."""
    with house.engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '0.5 s'"
            )
        )
        return list(found.scalars())


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("where", "attempts"),
    [
        ("claim.updated", 1),
        pytest.param("report.inside", 2, marks=pytest.mark.long),
        ("settle.inside", 2),
    ],
)
def test_a_worker_frozen_inside_a_transaction_blocks_nobody(
    house: House, tmp_path: Path, where: str, attempts: int, record_property
) -> None:
    # Given two workers, of which one freezes while it holds the job's row
    once = tmp_path / "once"
    once.mkdir()
    hurt = {"NEFT_TEST": "1", "FAILPOINTS": f"{where}:stop", "FAILPOINTS_ONCE": str(once)}
    for _ in range(2):
        house.start(**hurt)
    job = house.submit("steps=10 sleep=0.05")
    asleep = until(lambda: frozen(house), 20)
    until(lambda: "neftune-worker" in silent(house), 5)  # its heartbeat may be caught in a transaction too
    # Then its session ends before its lease does, and the other one ends the job
    until(lambda: not silent(house), LEASE + 4.0)
    record_property("session_ended_after_s", round(time.time() - hurt_at(once), 2))
    done = house.wait(job, "succeeded", "failed", seconds=LEASE + PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", attempts), house.logs()[-4000:]
    assert house.steps(job) == list(range(11))
    if attempts > 1:
        record_property("found_after_s", lost_after(house, job, hurt_at(once)))
    # When it wakes up, then nothing it still had to say is heard
    artifacts, said = house.artifacts(job), house.feed(job)
    os.kill(asleep.pid, signal.SIGCONT)
    later = [house.submit("steps=8 sleep=0.2") for _ in range(2)]  # so both workers have one
    for one in later:
        assert house.wait(one, "succeeded", "failed", seconds=PATIENCE).attempt == 1
    assert workers(house, *later) == 2
    assert (house.job(job), house.artifacts(job), house.feed(job)) == (done, artifacts, said)
    assert house.events(job).count("job.succeeded") == 1


@pytest.mark.fault("F11")
def test_a_worker_frozen_with_all_its_processes_finds_its_job_gone(house: House, record_property) -> None:
    # Given a worker whose every process stands still, the runner too
    worker = house.start()
    job = house.submit("steps=30 sleep=0.05")
    house.wait_for_step(job, 5)
    tree = family(worker.pid)
    fault = time.time()
    for member in tree:
        member.suspend()
    # When another one has taken its job over, and it wakes up in the middle
    house.start()
    until(lambda: house.job(job).attempt == 2 and house.job(job).live_step > 3, PATIENCE)
    for member in reversed(tree):
        member.resume()
    # Then its runner ends, its writes are refused, and each step stands once
    runner = tree[-1]
    until(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, 10)
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 2), house.logs()[-4000:]
    assert house.steps(job) == list(range(31))
    with house.engine.connect() as connection:
        fences = connection.exec_driver_sql("SELECT DISTINCT fence FROM metrics").scalars().all()
    assert fences == [2]
    assert worker.poll() is None
    record_property("found_after_s", lost_after(house, job, fault))


def workers(house: House, *jobs) -> int:
    with house.engine.connect() as connection:
        found = text("SELECT count(DISTINCT worker) FROM runs WHERE job_id = ANY(:jobs)")
        return connection.scalar(found, {"jobs": [job.id for job in jobs]})

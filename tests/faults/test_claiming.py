"""A worker that dies around its claim, and two that claim at once: one run has the job, or none has."""

import multiprocessing
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, text

from neftune_store.claims import claim_next
from neftune_store.db import make_engine, unit_of_work
from neftune_store.job import Job
from tests.factories import make_job
from tests.faults.elapsed import lost_after
from tests.worker_house import LEASE, RECONCILE, House, house, kill, quiet_redis, until

__all__ = ["house", "quiet_redis"]

PATIENCE = 20.0  # a new process on a busy machine
CLAIMS = 100


def once(folder: Path, plan: str) -> dict[str, str]:
    """Settings with which the first process to come there is hurt, and no other one."""
    folder.mkdir()
    return {"NEFT_TEST": "1", "FAILPOINTS": plan, "FAILPOINTS_ONCE": str(folder)}


def found_after(house: House, job: Job) -> float:
    """Seconds from the first run's start to the moment at which it was found lost."""
    with house.engine.connect() as connection:
        return float(
            connection.scalar(
                text(
                    "SELECT extract(epoch FROM min(created_at) FILTER (WHERE name = 'run.lost')"
                    " - min(created_at) FILTER (WHERE name = 'run.started')) FROM events WHERE job_id = :job"
                ),
                {"job": job.id},
            )
        )


@pytest.mark.fault("F1")
def test_a_worker_killed_inside_its_claim_leaves_the_job_queued(house: House, tmp_path: Path) -> None:
    # Given a worker that dies between the claim's update and its commit
    hurt = tmp_path / "hurt"
    house.start(**once(hurt, "claim.updated:kill"))
    job = house.submit("steps=3")
    # Then nobody ever had the job, and it is run as if nothing had been
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert [path.name for path in hurt.iterdir()] == ["claim.updated"]
    assert (done.status, done.attempt, done.crashes) == ("succeeded", 1, 0)
    assert house.events(job).count("run.started") == 1
    assert "run.lost" not in house.events(job)


@pytest.mark.fault("F2")
@pytest.mark.parametrize("where", [pytest.param("claim.committed", marks=pytest.mark.long), "run.spawned"])
def test_a_worker_killed_after_its_claim_loses_the_job_to_the_next_run(
    house: House, tmp_path: Path, where: str, record_property
) -> None:
    hurt = tmp_path / "hurt"
    house.start("worker.reconcile")  # Celery takes up to 5 s to replace a dead child, which looks too
    house.start(**once(hurt, f"{where}:kill"))
    job = house.submit("steps=3")
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert [path.name for path in hurt.iterdir()] == [where]
    assert (done.status, done.attempt) == ("succeeded", 2)
    (lost,) = [fact.data for fact in house.facts(job) if fact.name == "run.lost"]
    assert (lost["code"], lost["attempt"]) == ("worker_lost", 1)
    record_property("found_after_s", found_after(house, job))
    # Not before its lease ended, which began a moment before the start was written down
    assert LEASE - 0.2 <= found_after(house, job) <= LEASE + RECONCILE + 3.0


@pytest.mark.long  # as after its claim
@pytest.mark.fault("F3")
def test_a_worker_killed_while_the_runner_loads_its_model(house: House, record_property) -> None:
    # Given a runner that has not spoken yet
    house.start("worker.reconcile")
    worker = house.start()
    job = house.submit("steps=3 load=2")
    runner = house.runner(worker)
    # When its worker dies, then so does it, and the job runs again
    fault = time.time()
    kill(house.pool_child(worker))
    until(lambda: gone(runner), 5)
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert house.steps(job) == [0, 1, 2, 3]
    assert found_after(house, job) <= LEASE + LEASE + RECONCILE + 3.0  # it was beating until it was killed
    record_property("found_after_s", lost_after(house, job, fault))


@pytest.mark.fault("F8")
def test_a_worker_killed_after_its_success_was_committed_changes_nothing(
    house: House, tmp_path: Path
) -> None:
    hurt = tmp_path / "hurt"
    house.start(**once(hurt, "settle.committed:kill"))
    job = house.submit("steps=3")
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    until(lambda: list(hurt.iterdir()) or None, 5)
    # The next run finds its worker well, and no folder of the one that was cut off
    after = house.submit("steps=1")
    assert house.wait(after, "succeeded", "failed", seconds=PATIENCE).status == "succeeded"
    assert house.job(job) == done
    assert (done.attempt, house.events(job).count("run.started")) == (1, 1)
    assert until(lambda: not list(house.work_dir.glob("run-*")), 5)


def claims(url: str, worker: str, start, done) -> None:
    """Claim as soon as the barrier falls, again and again; tell what was won."""
    engine = make_engine(url, pool_size=1, application_name=worker)
    for _ in range(CLAIMS):
        start.wait(30)
        with unit_of_work(engine) as session:
            claim = claim_next(session, worker, 60)
        done.put(None if claim is None else (claim.job_id, claim.fence))
    engine.dispose()


@pytest.mark.fault("F15")
def test_of_two_supervisors_that_claim_at_once_one_has_the_job(engine: Engine, database: str) -> None:
    # Given two processes and a job for each of a hundred rounds
    context = multiprocessing.get_context("spawn")
    start, won = context.Barrier(3), context.Queue()
    rivals = [context.Process(target=claims, args=(database, f"rival-{n}", start, won)) for n in (1, 2)]
    for rival in rivals:
        rival.start()
    for _ in range(CLAIMS):
        job = make_job(engine)
        start.wait(30)
        # Then in each one has it, and the other one has nothing
        answers = Counter(won.get(timeout=30) for _ in rivals)
        assert answers == {(job.id, 1): 1, None: 1}
    for rival in rivals:
        rival.join(10)
    with engine.connect() as connection:
        runs = connection.execute(text("SELECT count(*), count(DISTINCT job_id) FROM runs")).one()
    assert tuple(runs) == (CLAIMS, CLAIMS)


def gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

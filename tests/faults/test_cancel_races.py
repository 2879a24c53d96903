"""Cancels that meet their job anywhere: none that was answered becomes a success, each is settled soon."""

import random
import statistics
import sys
import time
from contextlib import suppress

import pytest
from sqlalchemy import text

from neftune_store.errors import AlreadyFinished
from neftune_store.job import Job
from neftune_store.lifecycle import TERMINAL
from tests.worker_house import House, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]

WORKERS = 2
QUEUED = 40
SEED = 20261121
PATIENCE = 60.0


def standing(house: House, jobs: list[Job]) -> dict[str, tuple[str, float]]:
    """Tell of each job its status, and for how long its run has lasted by the database's clock."""
    asked = text(
        "SELECT jobs.id, jobs.status, coalesce(extract(epoch FROM clock_timestamp() - jobs.started_at), 0)"
        " FROM jobs WHERE id = ANY(:jobs)"
    )
    with house.engine.connect() as connection:
        rows = connection.execute(asked, {"jobs": [job.id for job in jobs]}).all()
    return {row[0]: (row[1], float(row[2])) for row in rows}


def usual(house: House, dataset: str) -> float:
    """Measure how long a run lasts here, from its claim to its settling."""
    jobs = [house.submit("steps=2 sleep=0.01", dataset=dataset) for _ in range(6)]
    for job in jobs:
        house.wait(job, "succeeded", seconds=PATIENCE)
    return statistics.median(
        (now.finished_at - now.started_at).total_seconds() for now in map(house.job, jobs)
    )


def race(house: House, count: int) -> dict[str, Job]:
    """Run ``count`` jobs and cancel each at a random moment; give the cancels that were answered."""
    rng = random.Random(SEED)
    dataset = house.dataset().id
    length = usual(house, dataset)
    answered: dict[str, Job] = {}
    left: list[tuple[Job, float]] = []
    for place in range(count):
        # A third around the claim, a third anywhere in the run, a third about its last step and publishing
        job = house.submit("steps=2 sleep=0.01", dataset=dataset, rung=False)
        left.append((job, _moment(rng, place % 3, length)))
        while len(left) >= QUEUED:
            left = _look(house, left, answered)
    while left:
        left = _look(house, left, answered)
    return answered


def _look(house: House, left: list[tuple[Job, float]], answered: dict[str, Job]) -> list[tuple[Job, float]]:
    """Cancel the jobs whose moment has come; give those whose has not."""
    waiting, now = [], standing(house, [job for job, _ in left])
    for job, moment in left:
        status, lasted = now[job.id]
        if status == "queued" or (status == "running" and lasted < moment):
            waiting.append((job, moment))
        elif status == "running":
            with suppress(AlreadyFinished):
                house.cancel(job)
                answered[job.id] = job
    time.sleep(0.005)
    return waiting


def _moment(rng: random.Random, third: int, length: float) -> float:
    if third == 0:
        return rng.uniform(0, 0.02)
    return rng.uniform(0, length) if third == 1 else rng.uniform(0.6 * length, 1.1 * length)


def settled_after(house: House, answered: dict[str, Job]) -> list[float]:
    """Seconds from each answer to the end of its job."""
    asked = text(
        "SELECT extract(epoch FROM jobs.finished_at - min(events.created_at)) FROM jobs"
        " JOIN events ON events.job_id = jobs.id AND events.name = 'job.cancel_requested'"
        " WHERE jobs.id = ANY(:jobs) GROUP BY jobs.id, jobs.finished_at"
    )
    with house.engine.connect() as connection:
        return sorted(float(row[0]) for row in connection.execute(asked, {"jobs": list(answered)}))


def hold(house: House, count: int, record_property) -> None:
    for _ in range(WORKERS):
        house.start()
    house.start("worker.reconcile")
    answered = race(house, count)
    # Then whoever was answered is cancelled, once, and whoever was too late is told so
    for job in answered.values():
        house.wait(job, *TERMINAL, seconds=PATIENCE)
    with house.engine.connect() as connection:
        ends = connection.execute(
            text("SELECT job_id, name FROM events WHERE kind = 'event' AND name = ANY(:ends)"),
            {"ends": [f"job.{status}" for status in TERMINAL]},
        ).all()
    told = {end.job_id: end.name for end in ends}
    assert len(told) == len(ends)
    assert {told[job_id] for job_id in answered} == {"job.cancelled"}
    assert until(lambda: set(house_statuses(house)) <= set(TERMINAL) or None, PATIENCE)
    took = settled_after(house, answered)
    p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
    record_property("answered", len(answered))
    record_property("p99_s", p99)
    sys.stderr.write(f"{len(answered)} of {count} cancels were answered; settled after {p99:.2f} s (p99)\n")
    assert count / 4 < len(answered) < count
    assert p99 < 10  # patience; what it was is recorded


def house_statuses(house: House) -> list[str]:
    with house.engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT DISTINCT status FROM jobs").scalars())


@pytest.mark.long  # chaos/ cancels at random, too
@pytest.mark.fault("F34")
@pytest.mark.parametrize("count", [200, 1000])
def test_cancels_at_random_moments(house: House, count: int, record_property) -> None:
    hold(house, count, record_property)

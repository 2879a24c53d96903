"""A retry goes on from what its forerunner saved, in another job, by another run."""

import pytest

from neftune_store.bells import ring
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from tests.worker_house import House, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]

STEPS = 40


def retried(house: House, job: Job) -> Job:
    """Ask for an ended job again, as the api would."""
    with unit_of_work(house.engine) as session:
        new, _ = JobLedger(session).retry(job.project_id, job.id)
    ring(house.redis_url)
    return new


def cancelled(house: House, toy: str) -> Job:
    """A job that was cancelled after its second checkpoint."""
    job = house.submit(toy)
    until(lambda: house.job(job).committed_step >= 10, 60)
    house.cancel(job)
    return house.wait(job, "cancelled", seconds=60)


@pytest.mark.parametrize(
    "forgotten", [pytest.param(False, marks=pytest.mark.long), True], ids=["kept", "deleted"]
)
def test_a_retry_of_a_cancelled_job_is_not_trained_from_the_beginning(house: House, forgotten: bool) -> None:
    # Given a job that was cancelled half-way, and one that nobody disturbed
    house.start()
    calm = house.submit(f"steps={STEPS} ckpt=5 sleep=0")
    old = cancelled(house, f"steps={STEPS} ckpt=5 sleep=0.1")
    # When it is retried, whether or not the old one stays
    new = retried(house, old)
    if forgotten:
        with unit_of_work(house.engine) as session:
            JobLedger(session).delete(old.project_id, old.id)
    new = house.wait(new, "succeeded", "failed", seconds=60)
    # Then it went on, every step stands once, and the result is the undisturbed one's
    assert (new.status, new.attempt, new.retry_of) == ("succeeded", 1, old.id), house.logs()[-6000:]
    assert [told.data["step"] for told in house.facts(new) if told.name == "run.resumed"] == [
        old.committed_step
    ]
    assert house.steps(new) == list(range(STEPS + 1))
    house.wait(calm, "succeeded")
    assert house.artifacts(new)["adapter"].sha256 == house.artifacts(calm)["adapter"].sha256

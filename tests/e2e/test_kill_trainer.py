"""``kill -9`` of the whole worker while the real trainer trains the bundled model: nothing is lost.

What the interrupted job ends with equals, bit for bit, what an undisturbed one ends with.
"""

import json
from pathlib import Path

import psutil
import pytest

from tests.worker_house import LEASE, RECONCILE, House, house, kill, quiet_redis, until
from worker.settings import DEFAULT_RUNNER

__all__ = ["house", "quiet_redis"]

MODELS = Path(__file__).parents[2] / "standalone" / "models"
STEPS = 16
LOAD_SECONDS = 120.0  # importing torch on a busy machine


@pytest.fixture
def training(house: House) -> House:
    """A house with the real trainer and the bundled model."""
    house.environ["RUNNER"] = json.dumps(list(DEFAULT_RUNNER))
    house.environ["MODELS_DIRS"] = str(MODELS)
    return house


def submit(house: House, dataset: str):
    return house.submit(
        model="neftune/demo-base",
        dataset=dataset,
        alpha=5.0,
        training={"max_steps": STEPS, "batch_size": 4, "max_length": 64},
    )


@pytest.mark.fault("F4")
@pytest.mark.long  # before its first checkpoint; with one it is the first way of test_resume
def test_a_killed_worker_costs_no_job_and_changes_no_result(training: House) -> None:
    house = training
    dataset = house.dataset().id
    house.start("worker.reconcile")
    # Given a job that ran undisturbed, and one in its middle
    worker = house.start()
    calm = house.wait(submit(house, dataset), "succeeded", "failed", seconds=LOAD_SECONDS)
    assert calm.status == "succeeded", house.log_tail(calm)
    job = submit(house, dataset)
    house.wait_for_step(job, 2, seconds=LOAD_SECONDS)
    runner = house.runner(worker)
    # When the worker is killed and another one starts
    kill(worker)
    until(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE or None, 3)
    house.start()
    # Then the job runs again in time, and ends with the same adapter and the same whole curve
    again = until(lambda: now if (now := house.job(job)).attempt == 2 else None, LEASE + RECONCILE + 3)
    assert again.crashes == 1
    done = house.wait(job, "succeeded", "failed", seconds=LOAD_SECONDS)
    assert done.status == "succeeded", house.log_tail(done)
    assert house.steps(job) == house.steps(calm) == list(range(STEPS + 1))
    first, second = house.artifacts(calm), house.artifacts(job)
    assert first["adapter"].sha256 == second["adapter"].sha256
    assert house.events(job).count("job.succeeded") == 1

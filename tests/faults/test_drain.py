"""A worker of the real trainer is replaced in the middle of a job, with the numbers of production."""

import json
import time
from pathlib import Path

import pytest

from tests.worker_house import House, house, quiet_redis
from worker.settings import DEFAULT_RUNNER, WorkerSettings

__all__ = ["house", "quiet_redis"]

MODELS = Path(__file__).parents[2] / "standalone" / "models"
NUMBERS = ("lease_seconds", "heartbeat_seconds", "lease_stop_seconds", "reconcile_seconds", "stop_seconds")
LOAD_SECONDS = 120.0  # importing torch on a busy machine
PROMISED = 25.0  # from SIGTERM to exit, with a checkpoint


@pytest.fixture
def production(house: House) -> House:
    """A house as it stands in production: its numbers, the real trainer, the bundled model."""
    for name in NUMBERS:
        house.environ[name.upper()] = str(WorkerSettings.model_fields[name].default)
    house.environ.update(RUNNER=json.dumps(list(DEFAULT_RUNNER)), MODELS_DIRS=str(MODELS))
    return house


@pytest.mark.long  # test_signals.py drains a toy; test_resume.py drains the trainer
@pytest.mark.fault("F43")
def test_a_worker_that_is_replaced_leaves_in_time_and_loses_no_step(
    production: House, record_property
) -> None:
    # Given a long run, far from any checkpoint that its schedule asks for
    house = production
    worker = house.start()
    job = house.submit(
        model="neftune/demo-base",
        alpha=5.0,
        training={"max_steps": 5000, "batch_size": 4, "max_length": 64},
    )
    before = house.wait_for_step(job, 10, LOAD_SECONDS)
    assert before.committed_step == 0
    # When its worker is asked to leave
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(60) == 0, house.logs()[-4000:]
    took = time.monotonic() - began
    record_property("left_after_seconds", round(took, 2))
    # Then it has left in time, and every step it took is in a checkpoint
    assert took <= PROMISED
    left = house.job(job)
    assert (left.status, left.drains, left.crashes) == ("queued", 1, 0)
    assert left.committed_step == max(house.steps(job)) >= 10
    # and the next one goes on with the step after it
    house.start()
    house.wait_for_step(job, left.committed_step + 2, LOAD_SECONDS)
    house.cancel(job)
    house.wait(job, "cancelled", seconds=60)
    resumed = [fact.data["step"] for fact in house.facts(job) if fact.name == "run.resumed"]
    assert resumed == [left.committed_step]
    assert "rewound" not in house.events(job)

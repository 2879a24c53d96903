"""A job of the real trainer, interrupted in every way there is, ends with the bytes it would have had.

Each interruption comes after at least one new checkpoint. All through the service: real worker processes,
the bundled model, storage and database.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from neftune_store.job import Job
from tests.worker_house import House, house, kill, quiet_redis, until
from worker.settings import DEFAULT_RUNNER

__all__ = ["house", "quiet_redis"]

MODELS = Path(__file__).parents[2] / "standalone" / "models"
LOAD_SECONDS = 180.0  # importing torch on a busy machine
TIMED = {"tokens_per_s"}  # the only figure of a step that may differ
LORA: dict[str, object] = {"method": "lora", "lora": {"r": 8, "lora_dropout": 0.1}}
QLORA: dict[str, object] = {"method": "qlora", "lora": {"r": 8}}


class Service:
    """A house with the real trainer, of which something always runs the jobs."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.environ["RUNNER"] = json.dumps(list(DEFAULT_RUNNER))
        house.environ["MODELS_DIRS"] = str(MODELS)
        self.dataset = house.dataset().id
        self.worker = house.start()
        house.start("worker.reconcile")

    def submit(self, method: Mapping[str, object], steps: int, save_every: int) -> Job:
        """Ask for a run that saves every few steps."""
        training = {"max_steps": steps, "batch_size": 4, "max_length": 64, "save_every": save_every}
        return self.house.submit(
            model="neftune/demo-base",
            dataset=self.dataset,
            alpha=5.0,
            validation={"split": 0.1},
            noise={"clean_loss_every": 5},
            training={**training, "eval_every": 10},
            **method,
        )

    def done(self, job: Job) -> Job:
        """Wait for a good end."""
        done = self.house.wait(job, "succeeded", "failed", seconds=LOAD_SECONDS)
        assert done.status == "succeeded", self.house.log_tail(job) + self.house.logs()[-4000:]
        return done

    def curve(self, job: Job) -> dict[int, dict[str, float]]:
        """Give every number of every step but the timed ones."""
        with self.house.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT step, numbers FROM metrics WHERE job_id = :job ORDER BY step"), {"job": job.id}
            )
            return {row.step: {k: v for k, v in row.numbers.items() if k not in TIMED} for row in rows}

    # Ways to interrupt a run

    def kill_runner(self, _job: Job) -> None:
        """``kill -9`` of the trainer alone."""
        kill(self.house.runner(self.worker))

    def kill_worker(self, _job: Job) -> None:
        """``kill -9`` of the whole worker."""
        kill(self.worker)
        self.worker = self.house.start()

    def pause(self, job: Job) -> None:
        """Let it rest, and wake it."""
        self.house.pause(job)
        self.house.wait(job, "paused", seconds=60)
        self.house.resume(job)

    def drain(self, job: Job) -> None:
        """Let the worker leave, and another one come."""
        self.worker.terminate()
        assert self.worker.wait(60) == 0
        assert self.house.job(job).status == "queued"
        self.worker = self.house.start()

    def freeze(self, job: Job) -> None:
        """Let the supervisor sleep for longer than its lease."""
        child = self.house.pool_child(self.worker)
        child.suspend()
        until(lambda: self.house.job(job).status == "queued" or None, 30)
        child.resume()

    def interrupt(self, job: Job, way: Callable[[Job], None]) -> None:
        """Interrupt it after a checkpoint that is newer than the last one."""
        before = self.house.job(job)
        until(lambda: self.house.job(job).committed_step > before.committed_step or None, LOAD_SECONDS)
        attempt = self.house.job(job).attempt
        way(job)
        until(lambda: self.house.job(job).attempt > attempt or None, LOAD_SECONDS)


@pytest.fixture
def service(house: House) -> Service:
    """A service with the real trainer."""
    return Service(house)


def same(service: Service, calm: Job, job: Job, interruptions: int) -> None:
    """Hold the interrupted job's curve and bytes against the undisturbed one's."""
    done = service.done(job)
    assert done.attempt == 1 + interruptions
    resumed = [fact.data["step"] for fact in service.house.facts(job) if fact.name == "run.resumed"]
    assert len(resumed) == interruptions, "each run went on from a checkpoint"
    assert service.curve(job) == service.curve(calm)
    first, second = service.house.artifacts(calm), service.house.artifacts(job)
    assert first["adapter"].sha256 == second["adapter"].sha256
    assert [fact.name for fact in service.house.facts(job)].count("job.succeeded") == 1


def ways(service: Service, number: int) -> list[Callable[[Job], None]]:
    """Take the ways in turn; after a new checkpoint each loss is the first in a row, and costs no rest."""
    every = [service.kill_worker, service.pause, service.drain, service.freeze, service.kill_runner]
    return [every[turn % len(every)] for turn in range(number)]


def interrupted(service: Service, method: Mapping[str, object], number: int, steps: int) -> tuple[Job, Job]:
    """Run a job undisturbed and once more with interruptions."""
    calm: Any = service.submit(method, steps, 3)
    service.done(calm)
    job = service.submit(method, steps, 3)
    for way in ways(service, number):
        service.interrupt(job, way)
    return calm, job


@pytest.mark.fault("F4")
def test_a_killed_worker_changes_no_byte_of_a_lora_run(service: Service) -> None:
    calm, job = interrupted(service, LORA, 1, 40)
    same(service, calm, job, 1)


@pytest.mark.fault("F4")
@pytest.mark.long
@pytest.mark.parametrize("number", [1, 3, 10])
@pytest.mark.parametrize("method", [LORA, QLORA], ids=["lora", "qlora"])
def test_any_number_of_interruptions_changes_no_byte(
    service: Service, method: Mapping[str, object], number: int
) -> None:
    calm, job = interrupted(service, method, number, 60 if number < 10 else 240)
    same(service, calm, job, number)

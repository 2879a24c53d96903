"""A series through real processes: killed in its middle it comes to what it would have come to."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from neftune_core.eval_losses import NAME
from neftune_store.db import unit_of_work
from neftune_store.sweep import Child, Sweep, status_of
from neftune_store.sweeps import SweepLedger
from tests.worker_house import MODEL, House, house, kill, quiet_redis
from worker.settings import DEFAULT_RUNNER

__all__ = ["house", "quiet_redis"]

MODELS = Path(__file__).parents[2] / "standalone" / "models"


def kill_in(house: House, sweep: Sweep, alpha: float, step: int, seconds: float = 30.0) -> None:
    """Kill the worker when the job with this alpha has come so far, and start another one."""
    job = next(child.job for child in house.children(sweep) if child.alpha == alpha)
    house.wait_for_step(job, step, seconds)
    kill(house.processes[-1])
    house.start()


def test_halving_decides_the_same_with_a_worker_killed_in_the_middle(house: House) -> None:
    toy = {
        "model": MODEL,
        "dataset": house.dataset().id,
        "metadata": {"toy": "steps=40 sleep=0.1 ckpt=2 evals=5"},
    }
    house.start("worker.reconcile")
    house.start()
    sweep = house.submit_sweep(toy, alpha=[5.0, 10.0], seed=[1], strategy="halving")
    # Given that the worker dies while an alpha is on its way to the first rung
    kill_in(house, sweep, 5.0, 4)
    # When all has ended
    found = house.ended(sweep)
    # Then the loser was stopped, with what was lost run again
    ends = {child.alpha: (child.job.status, child.job.cancel_reason) for child in found}
    assert ends == {
        0.0: ("succeeded", None),
        5.0: ("cancelled", "halving"),
        10.0: ("succeeded", None),
    }
    assert status_of(found) == "succeeded"
    with unit_of_work(house.engine) as session:
        rungs = SweepLedger(session).get(sweep.project_id, sweep.id).rungs
    assert [(rung["kept"], rung["stopped"]) for rung in rungs] == [([10.0], [5.0])]
    assert [line["eval_loss"] for line in rungs[0]["losses"]] == pytest.approx([4.49, 3.99])
    # And less was run than all of it
    taken = {child.alpha: child.runs for child in found}
    assert taken[0.0] == taken[10.0] == 1
    assert 0.25 <= taken[5.0] < 1
    died = next(child.job for child in found if child.alpha == 5.0)
    assert "run.lost" in house.events(died)


def table(house: House, found: Sequence[Child]) -> list[tuple[float, int, object, str]]:
    return [
        (child.alpha, child.seed, child.final, house.artifacts(child.job)[NAME].sha256) for child in found
    ]


@pytest.mark.long  # four real runs; what a run goes on to is shown in test_resume
def test_a_series_has_the_same_table_with_a_worker_killed_in_the_middle(house: House) -> None:
    house.environ["RUNNER"] = json.dumps(list(DEFAULT_RUNNER))
    house.environ["MODELS_DIRS"] = str(MODELS)
    training = {"max_steps": 40, "batch_size": 4, "max_length": 64, "save_every": 5}
    job = {
        "model": "neftune/demo-base",
        "dataset": house.dataset().id,
        "validation": {"split": 0.2},
        "training": training,
    }
    house.start("worker.reconcile")
    house.start()
    calm = house.ended(house.submit_sweep(job, alpha=[5.0], seed=[1]), 300)
    killed = house.submit_sweep(job, alpha=[5.0], seed=[1])
    kill_in(house, killed, 5.0, 7, seconds=120)
    again = house.ended(killed, 300)
    assert [child.job.status for child in again] == ["succeeded"] * 2
    assert max(child.job.attempt for child in again) == 2
    assert table(house, again) == table(house, calm)
    assert sum(child.runs for child in again) == sum(child.runs for child in calm) == 2

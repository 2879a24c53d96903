"""A series as a value: what was asked, its jobs, and what follows from them. It has no status of its own.

Pure: knows no SQL.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from neftune_store.job import Job
from neftune_store.lifecycle import Intent, Status

HALVING = "halving"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was asked, and what was decided on the way."""

    id: str
    project_id: str
    spec: Mapping[str, Any]
    rungs: Sequence[Mapping[str, Any]]  # of halving: where, which alphas went on, which were stopped
    intent: Intent
    created_at: datetime
    deleted: Sequence[Status] = ()  # how its jobs ended, where none is left of it

    @property
    def points(self) -> Sequence[tuple[float, int]]:
        """Give each alpha and seed that was asked for, also where the job has been deleted since."""
        return tuple(product(self.spec["alpha"], self.spec["seed"]))

    @property
    def strategy(self) -> str:
        """Tell how its jobs are run."""
        return str(self.spec["strategy"])


@dataclass(frozen=True, slots=True)
class Child:
    """The latest job of one point. ``final``: what its record says of its losses."""

    job: Job
    seconds: float  # of all its runs
    final: Mapping[str, Any] | None

    @property
    def alpha(self) -> float:
        """Give its strength of noise."""
        return self.job.alpha

    @property
    def seed(self) -> int:
        """Give the seed that it shares with its control."""
        return int(self.job.spec["training"]["seed"])

    @property
    def runs(self) -> float:
        """Tell how much of a whole run it has taken, in steps."""
        total = (self.job.resolved or {}).get("total_steps")
        if not isinstance(total, int) or total < 1:
            return 0.0
        return min(1.0, self.job.live_step / total)

    @property
    def is_held(self) -> bool:
        """Tell whether it waits for the others, to be stopped or to go on."""
        return self.job.held_step is not None and self.job.intent == Intent.PAUSE


def status_of(children: Sequence[Child], deleted: Sequence[Status] = ()) -> Status:
    """Derive the status of a series from its jobs; those that halving stopped did what they were to do.

    ``deleted``: how those of a series ended of which no job is left.
    """
    done = [child for child in children if child.job.cancel_reason != HALVING]
    if not children:
        return _ended(Counter(deleted))
    found = Counter(child.job.status for child in done)
    if len(done) == found[Status.SUCCEEDED] + found[Status.FAILED] + found[Status.CANCELLED]:
        return _ended(found)
    if found[Status.RUNNING]:
        return Status.RUNNING
    if found[Status.QUEUED]:
        return Status.QUEUED if found[Status.QUEUED] == len(done) else Status.RUNNING
    resting = [child for child in done if child.job.status == Status.PAUSED]
    return Status.RUNNING if all(child.is_held for child in resting) else Status.PAUSED


def _ended(found: Counter[Status]) -> Status:
    return next((status for status in (Status.FAILED, Status.CANCELLED) if found[status]), Status.SUCCEEDED)

"""What happens when: drawn from a seed, so that a failing storm can be had again.

The same seed gives the same faults at the same offsets with the same draws for their targets. Which process
a draw hits depends on what runs at that moment.
"""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill_runner", "kill_supervisor", "kill_worker", "kill_reconciler", "kill_api",
    "freeze", "drain", "crash_postgres", "flush_redis", "kill_redis",
    "submit", "cancel", "pause", "resume",
]  # fmt: skip

KILLS = ("kill_runner", "kill_supervisor", "kill_worker", "kill_reconciler", "kill_api")
FAULTS = (*KILLS, "freeze", "drain", "crash_postgres", "flush_redis", "kill_redis")
LEAST_SECONDS = 60.0

# How often in a minute.
PER_MINUTE: dict[Kind, float] = {
    "kill_runner": 12,
    "kill_supervisor": 7,
    "kill_worker": 7,
    "kill_reconciler": 3,
    "kill_api": 3,
    "freeze": 18,
    "drain": 3,
    "crash_postgres": 5,
    "flush_redis": 14,
    "kill_redis": 8,
    "cancel": 12,
    "pause": 14,
    "resume": 14,
}


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """One thing that happens."""

    at: float  # seconds from the start
    kind: Kind
    draw: float  # in [0, 1): which of the targets there are
    length: float  # in [0, 1): of a pause, where it has one


def plan(seed: int, seconds: float, jobs: int, force: float = 1.0) -> list[Act]:
    """Draw a storm: each kind as often as its rate says, and jobs all along its first nine tenths.

    ``force`` multiplies the rates: what takes long to start needs a milder storm to get anywhere.
    """
    dice = random.Random(seed)
    counts = {kind: max(1, round(rate * force * seconds / 60)) for kind, rate in PER_MINUTE.items()}
    counts["submit"] = jobs
    acts = [
        Act(
            at=dice.uniform(0, seconds * (0.9 if kind == "submit" else 1.0)),
            kind=kind,
            draw=dice.random(),
            length=dice.random(),
        )
        for kind, count in counts.items()
        for _ in range(count)
    ]
    return sorted(acts)

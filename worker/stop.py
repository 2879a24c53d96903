"""When a run has to stop: limits held against clock readings. Pure: no clock, process or database of its own.

Every reading is monotonic seconds of this machine; the wall clock decides nothing.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """Why the supervisor ends a run before the runner does."""

    LOST = "lost"  # the lease is no longer ours
    LEASE = "lease"  # no heartbeat got through for too long
    CANCEL = "cancel"
    PAUSE = "pause"
    DRAIN = "drain"
    STALLED = "stalled"
    TIME_LIMIT = "time_limit"
    PROTOCOL = "protocol"  # the runner speaks nonsense
    BROKEN = "broken"  # we cannot record what it says


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long what may last, in seconds."""

    stall: float
    first_step: float
    stall_steps: float = 20.0  # a step may take this many usual steps
    run: float | None = None  # what is left of max_minutes


@dataclass(frozen=True, slots=True)
class Reading:
    """How things stand now."""

    now: float
    started: float
    last_heard: float | None
    median_step: float


def overdue(bounds: Bounds, reading: Reading) -> Stop | None:
    """Name the limit that is exceeded."""
    if bounds.run is not None and reading.now - reading.started > bounds.run:
        return Stop.TIME_LIMIT
    if reading.last_heard is None:
        return Stop.STALLED if reading.now - reading.started > bounds.first_step else None
    patience = max(bounds.stall, bounds.stall_steps * reading.median_step)
    return Stop.STALLED if reading.now - reading.last_heard > patience else None

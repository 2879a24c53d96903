"""The life of a job: its states, its intents and every move there is.

Pure: knows no SQL. The trigger in the migrations enforces the same table inside the database, and the
tests hold the two against each other.
"""

from datetime import timedelta
from enum import StrEnum


class Status(StrEnum):
    """Where a job is. Written by claims, settlings and the reconciler; by the api only without a runner."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Intent(StrEnum):
    """What the user wants. Written by the api alone."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


KINDS = ("train", "evaluate", "export")
READ_ROWS = frozenset({"train"})  # the kinds of job that need the datasets of their spec; others name theirs

TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    # queued again: drained, a retryable error, or the lease ran out
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}

INTENT_MOVES: dict[Intent, frozenset[Intent]] = {
    Intent.RUN: frozenset({Intent.PAUSE, Intent.CANCEL}),
    Intent.PAUSE: frozenset({Intent.RUN, Intent.CANCEL}),
    Intent.CANCEL: frozenset(),
}

CRASH_LIMIT = 3  # lost runs in a row without a new committed step
INFRA_LIMIT = 5  # infrastructure errors in a row
BACKOFF_FIRST = timedelta(seconds=10)
BACKOFF_MOST = timedelta(minutes=15)


def backoff(losses: int) -> timedelta:
    """Tell how long a job rests after its n-th loss in a row; the first one costs nothing."""
    if losses < 2:
        return timedelta(0)
    factor: int = 3 ** min(losses - 2, 8)
    return min(BACKOFF_FIRST * factor, BACKOFF_MOST)

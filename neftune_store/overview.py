"""The whole service in a few numbers, over all projects: what waits, what runs, what was lost.

Each question is answered from an index over what is alive, or over what ended since it was asked last, so
asking costs the same after a million jobs as after ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from neftune_store.lifecycle import Status
from neftune_store.models import DeliveryRow, JobRow, RunRow
from neftune_store.workers import Heard, WorkerLedger

_MOST = 50_000  # ended runs of one look


@dataclass(frozen=True, slots=True)
class Alive:
    """Jobs of one kind and status."""

    kind: str
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What is alive now."""

    jobs: Sequence[Alive]
    workers: Sequence[Heard]
    oldest_queued_s: float
    shortest_lease_s: float | None  # None: nothing runs
    longest_silence_s: float  # since a running job last wrote a number
    gpu_memory_bytes: float | None  # the most that one running job holds
    deliveries_due: int
    oldest_delivery_s: float  # how long the one that is latest is overdue


@dataclass(frozen=True, slots=True)
class EndedRun:
    """An attempt that is over, and the job it may have ended."""

    id: str
    kind: str
    outcome: str
    run_s: float
    job_s: float | None  # from submit to end; None: the job goes on


def overview(session: Session) -> Overview:
    """Look at what is alive."""
    now = func.clock_timestamp()
    alive = (
        select(JobRow.kind, JobRow.status, func.count(), func.min(JobRow.created_at))
        .where(JobRow.status.in_([Status.QUEUED, Status.RUNNING]))
        .group_by(JobRow.kind, JobRow.status)
    )
    jobs = session.execute(alive).all()
    running = session.execute(
        select(
            func.min(_seconds(JobRow.lease_expires_at - now)),
            func.max(_seconds(now - JobRow.progress_at)),
            func.max(JobRow.metrics_summary["gpu_memory_bytes"].as_float()),
            func.clock_timestamp(),
        ).where(JobRow.status == Status.RUNNING)
    ).one()
    due = select(func.count(), func.max(_seconds(now - DeliveryRow.due_at)))
    deliveries, overdue = session.execute(due.where(DeliveryRow.due_at.is_not(None))).one()
    oldest = [since for _, status, _, since in jobs if status == Status.QUEUED]
    return Overview(
        workers=WorkerLedger(session).heard(),
        jobs=[Alive(kind, status, count) for kind, status, count, _ in jobs],
        oldest_queued_s=max(((running[3] - since).total_seconds() for since in oldest), default=0.0),
        shortest_lease_s=_number(running[0]),
        longest_silence_s=_number(running[1]) or 0.0,
        gpu_memory_bytes=_number(running[2]),
        deliveries_due=deliveries,
        oldest_delivery_s=max(_number(overdue) or 0.0, 0.0),
    )


def ended_lately(session: Session, seconds: float) -> Sequence[EndedRun]:
    """List the attempts that ended in the last so many seconds, by the database's clock."""
    found = (
        select(
            RunRow.id,
            JobRow.kind,
            RunRow.outcome,
            _seconds(RunRow.ended_at - RunRow.started_at),
            _seconds(JobRow.finished_at - JobRow.created_at),
            RunRow.fence == JobRow.fence,
        )
        .join(JobRow, JobRow.id == RunRow.job_id)
        .where(RunRow.ended_at > func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds))
        .order_by(RunRow.ended_at)
        .limit(_MOST)
    )
    return [
        EndedRun(id_, kind, outcome or "", float(run_s), float(job_s) if last and job_s is not None else None)
        for id_, kind, outcome, run_s, job_s, last in session.execute(found)
    ]


def _seconds(length: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", length)


def _number(found: object) -> float | None:
    return None if found is None else float(str(found))

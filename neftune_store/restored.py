"""A database that came back from a backup, before any of our processes looks at it.

What ran when the backup was made runs no longer, so it goes back to the queue without a mark. Runs handed out
since then are forgotten by these rows, but perhaps not by their workers: the fences of all unfinished
jobs jump, so that no number is handed out twice. And what the rows name is looked for in storage.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Result, delete, select, text
from sqlalchemy.orm import Session

from neftune_store.blobs import Blobs
from neftune_store.errors import BlobCorrupt, BlobNotFound, Conflict
from neftune_store.journal import FRESH
from neftune_store.lifecycle import TERMINAL, Status
from neftune_store.models import (
    ArtifactRecord,
    CheckpointRow,
    CondemnedBlobRow,
    DatasetRow,
    JobInputRow,
    JobRow,
)
from neftune_store.settling import Loss, RunEnd, settle_lost

FENCE_JUMP = 1000  # more claims than any job had between the backup and the loss
_OVER = sorted(TERMINAL)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was changed in the rows."""

    settled: int  # jobs that ran at the time of the backup
    raised: int  # jobs whose fence jumped
    spared: int  # objects that were about to be collected, and get their full time again


@dataclass(frozen=True, slots=True)
class Named:
    """An object that a row speaks of."""

    what: str
    key: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One that isn't as its row says."""

    named: Named
    why: str  # missing | damaged


def make_fit(session: Session) -> Fitted:
    """Do all that the rows need, in one transaction; raise when somebody of ours is connected."""
    _refuse_company(session)
    settled = _settle_runs(session)
    # The guard lets fences rise by one with each claim, only then; a restore is the exception.
    session.execute(text("ALTER TABLE jobs DISABLE TRIGGER jobs_guard"))
    jump = text("UPDATE jobs SET fence = fence + :jump WHERE status <> ALL(:over)")
    raised = _rows(session.execute(jump, {"jump": FENCE_JUMP, "over": _OVER}))
    session.execute(text("ALTER TABLE jobs ENABLE TRIGGER jobs_guard"))
    spared = _rows(session.execute(delete(CondemnedBlobRow)))
    return Fitted(settled, raised, spared)


def _rows(done: Result[Any]) -> int:
    return cast("CursorResult[Any]", done).rowcount


def _refuse_company(session: Session) -> None:
    company = session.scalar(
        text(
            "SELECT string_agg(DISTINCT application_name, ', ') FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name LIKE 'neftune-%'"
        )
    )
    if company:
        raise Conflict(f"Stop what uses this database first: {company}.")


def _settle_runs(session: Session) -> int:
    running = select(JobRow).where(JobRow.status == Status.RUNNING).with_for_update()
    rows = session.scalars(running, execution_options=FRESH).all()
    loss = Loss("drained", "restored", "The run is older than the backup this database came from.")
    for row in rows:
        settle_lost(session, row, loss, RunEnd())
    return len(rows)


def named_objects(session: Session) -> Iterator[Named]:
    """List what the rows name: datasets, results, checkpoints to go on from, weights to be measured."""
    for dataset in session.scalars(select(DatasetRow).where(DatasetRow.deleted_at.is_(None))):
        yield Named(f"dataset {dataset.id}", dataset.blob_key, dataset.sha256, dataset.bytes)
    kept = JobRow.deleted_at.is_(None)
    results = select(ArtifactRecord).join(JobRow, JobRow.id == ArtifactRecord.job_id).where(kept)
    for result in session.scalars(results):
        yield Named(f"{result.name} of {result.job_id}", result.blob_key, result.sha256, result.bytes)
    saved = select(CheckpointRow).join(JobRow, JobRow.id == CheckpointRow.job_id)
    for checkpoint in session.scalars(saved.where(kept, CheckpointRow.dropped_at.is_(None))):
        for file in checkpoint.manifest.get("files", []):
            what = f"checkpoint {checkpoint.step} of {checkpoint.job_id}"
            yield Named(what, file["blob_key"], file["sha256"], file["bytes"])
    # Perhaps of a checkpoint that is given up by now: then no other row names them.
    read = select(JobInputRow).join(JobRow, JobRow.id == JobInputRow.job_id)
    for one in session.scalars(read.where(JobRow.status.not_in(TERMINAL))):
        for file in (one.weights or {}).get("files", []):
            yield Named(f"input {one.place} of {one.job_id}", file["blob_key"], file["sha256"], file["bytes"])


def faults(named: Iterable[Named], blobs: Blobs) -> Iterator[Fault]:
    """Read back what rows name, each object once, and tell what storage lacks or has damaged."""
    seen: dict[str, str | None] = {}
    for one in named:
        if one.key not in seen:
            seen[one.key] = _fault(one, blobs)
        if why := seen[one.key]:
            yield Fault(one, why)


def _fault(one: Named, blobs: Blobs) -> str | None:
    try:
        blobs.verify(one.key, sha256=one.sha256, size=one.bytes)
    except BlobNotFound:
        return "missing"
    except BlobCorrupt:
        return "damaged"
    return None

"""The ledger of checkpoints: where a job may go on, and which of these places are given up.

A row is written when its objects are complete in storage, so a row that is not dropped can be trusted until
its bytes turn out to be others. ``committed_step`` is the furthest place there ever was: it never falls.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Select, bindparam, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from neftune_store.ids import new_id
from neftune_store.journal import Fact, change
from neftune_store.models import CheckpointRow, JobRow, MetricRow

Why = Literal["old", "corrupt", "expired"]

_SUMMARY = text(
    """
    SELECT coalesce(jsonb_object_agg(pair.key, pair.value ORDER BY metric.step), '{}')
    FROM metrics AS metric, jsonb_each(metric.numbers) AS pair
    WHERE metric.job_id = :job AND metric.step <= :step
    """
).bindparams(bindparam("job"), bindparam("step"))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """One file of a checkpoint, and where its bytes are."""

    name: str
    sha256: str
    bytes: int
    blob_key: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place where a job may go on."""

    id: str
    step: int
    files: tuple[CheckpointFile, ...]


def candidates(session: Session, job_id: str) -> list[Checkpoint]:
    """List the places where a job may go on, the furthest first."""
    return [checkpoint_of(row) for row in session.scalars(_candidates(job_id))]


def held_places(session: Session, job_id: str) -> list[CheckpointRow]:
    """Give the rows that may be gone on from, the furthest first; of one step the last run's alone."""
    newest: dict[int, CheckpointRow] = {}
    for row in session.scalars(_candidates(job_id)):
        newest.setdefault(row.step, row)
    return list(newest.values())


def checkpoint_of(row: CheckpointRow) -> Checkpoint:
    """Give the value of a row."""
    files = tuple(CheckpointFile(**file) for file in row.manifest.get("files", ()))
    return Checkpoint(row.id, row.step, files)


def manifest_of(files: Sequence[CheckpointFile]) -> dict[str, Any]:
    """Give what a row keeps of the files."""
    return {"files": [asdict(file) for file in files]}


def add(session: Session, row: JobRow, step: int, files: Sequence[CheckpointFile], keep: int) -> str:
    """Add a place to a job whose row is locked, and let go of all but the ``keep`` furthest.

    New ground ends a row of losses. A step that this run has added before stays as it is: a commit whose
    outcome was in doubt may be sent again.
    """
    known = select(CheckpointRow.id).where(
        CheckpointRow.job_id == row.id, CheckpointRow.step == step, CheckpointRow.fence == row.fence
    )
    if (earlier := session.scalar(known)) is not None:
        return earlier
    id_ = new_id("ckpt")
    session.execute(
        insert(CheckpointRow).values(
            id=id_, job_id=row.id, fence=row.fence, step=step, manifest=manifest_of(files)
        )
    )
    _let_go(session, row.id, keep)
    values: dict[str, Any] = {"ckpt_id": id_}
    if step > row.committed_step:
        values |= {"committed_step": step, "crashes": 0, "infra_errors": 0}
    change(session, row.id, (), values, [Fact("checkpoint.committed", {"step": step})])
    return id_


def pass_over(session: Session, row: JobRow, checkpoint: Checkpoint) -> None:
    """Give up a place whose bytes are damaged or gone: the job goes on from the one before.

    The metrics after that one go with it, for those steps run again.
    """
    drop(session, [checkpoint.id], "corrupt")
    left = candidates(session, row.id)
    step = left[0].step if left else 0
    values, rewound = rewind(session, row, step)
    facts = [Fact("checkpoint.corrupt", {"step": checkpoint.step, "attempt": row.attempt}), *rewound]
    change(session, row.id, (), {**values, "ckpt_id": left[0].id if left else None}, facts)


def rewind(session: Session, row: JobRow, step: int) -> tuple[dict[str, Any], list[Fact]]:
    """Remove the metrics after a step; give what the locked job changes to, and what is told of it.

    What was measured before training stays.
    """
    values: dict[str, Any] = {"live_step": step}
    again = delete(MetricRow).where(MetricRow.job_id == row.id, MetricRow.step > step)
    if not session.execute(again).rowcount:  # type: ignore[attr-defined]  # a DELETE gives a CursorResult
        return values, []
    values["metrics_summary"] = summary_to(session, row, step)
    return values, [Fact("rewound", {"step": step, "attempt": row.attempt})]


def summary_to(session: Session, row: JobRow, step: int) -> dict[str, Any]:
    """Give the last value of each number up to a step."""
    summary = dict(session.scalar(_SUMMARY, {"job": row.id, "step": step}) or {})
    if (base := row.metrics_summary.get("base_eval_loss")) is not None:
        summary["base_eval_loss"] = base
    return summary


def drop(session: Session, ids: Sequence[str], why: Why) -> None:
    """Hold the objects of these checkpoints no longer."""
    dropped = update(CheckpointRow).where(CheckpointRow.id.in_(ids))
    session.execute(dropped.values(dropped_at=func.clock_timestamp(), dropped_why=why))


def _let_go(session: Session, job_id: str, keep: int) -> None:
    """Drop all but the furthest, and what an earlier run has left at the same step."""
    rows = session.scalars(_candidates(job_id)).all()
    steps = sorted({row.step for row in rows}, reverse=True)[:keep]
    newest = {row.step: row.id for row in reversed(rows)}
    old = [row.id for row in rows if row.step not in steps or newest[row.step] != row.id]
    if old:
        drop(session, old, "old")


def _candidates(job_id: str) -> Select[CheckpointRow]:
    return (
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id, CheckpointRow.dropped_at.is_(None))
        .order_by(CheckpointRow.step.desc(), CheckpointRow.fence.desc())
    )

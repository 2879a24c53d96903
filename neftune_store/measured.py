"""What runs have left for a report: their records in parts, and what was evaluated of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from neftune_store.artifacts import Artifact, artifact_of
from neftune_store.lifecycle import Status
from neftune_store.models import ArtifactRecord, JobInputRow, JobRow, ResultRow

_PARTS = ("spec", "resolved", "model", "dataset", "versions", "hardware", "noise", "final", "seed")
_FOLDER = "evaluation/"
_WEIGHTS = "weights"  # the place of what is measured
MOST = 5  # evaluations of a job that are told with it: the latest

Files = Mapping[str, Artifact]  # of one evaluation, by their names in its folder


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is or was evaluated of a job, in short; ``headline`` is there when it has succeeded."""

    id: str
    name: str | None
    status: Status
    checkpoint: Mapping[str, Any] | None  # as which weights are named: of, step
    headline: Mapping[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Evaluations:
    """The latest of a job, the newest first, and how many there are."""

    latest: Sequence[Evaluation] = ()
    total: int = 0


def records_of(session: Session, job_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Give of each job that has succeeded what a report tells of its record; some parts of it are large."""
    found = select(ResultRow.job_id, *(ResultRow.record[part] for part in _PARTS))
    rows = session.execute(found.where(ResultRow.job_id.in_(job_ids)))
    return {job_id: dict(zip(_PARTS, parts, strict=True)) for job_id, *parts in rows}


def evaluations_of(session: Session, job_ids: Sequence[str]) -> dict[str, list[Files]]:
    """Give what was evaluated of each job, the oldest first."""
    found = (
        select(JobRow.of_job, JobRow.id, ArtifactRecord)
        .join(ArtifactRecord, ArtifactRecord.job_id == JobRow.id)
        .where(
            JobRow.of_job.in_(job_ids),
            JobRow.kind == "evaluate",
            JobRow.status == Status.SUCCEEDED,
            JobRow.deleted_at.is_(None),
            ArtifactRecord.name.startswith(_FOLDER, autoescape=True),
        )
        .order_by(JobRow.created_at, JobRow.id)
    )
    by_job: dict[str, dict[str, dict[str, Artifact]]] = {}
    for of_job, job_id, row in session.execute(found):
        files = by_job.setdefault(of_job or "", {}).setdefault(job_id, {})
        files[row.name.removeprefix(_FOLDER)] = artifact_of(row)
    return {of_job: list(evaluations.values()) for of_job, evaluations in by_job.items()}


def headlines_of(session: Session, job_ids: Sequence[str]) -> dict[str, Evaluations]:
    """Give in short what is or was evaluated of each job, in one question however many there are."""
    newest = (JobRow.created_at.desc(), JobRow.id.desc())
    number = func.row_number().over(partition_by=JobRow.of_job, order_by=newest).label("number")
    total = func.count().over(partition_by=JobRow.of_job).label("total")
    of_these = JobRow.of_job.in_(job_ids), JobRow.kind == "evaluate", JobRow.deleted_at.is_(None)
    ranked = select(JobRow.id, number, total).where(*of_these).subquery()
    weights = and_(JobInputRow.job_id == JobRow.id, JobInputRow.place == _WEIGHTS)
    found = (
        select(
            JobRow.of_job,
            ranked.c.total,
            JobRow.id,
            JobRow.options["name"],
            JobRow.status,
            JobInputRow.weights["of"],
            JobInputRow.weights["step"],
            ResultRow.headline,
            JobRow.created_at,
        )
        .join(ranked, ranked.c.id == JobRow.id)
        .outerjoin(JobInputRow, weights)
        .outerjoin(ResultRow, ResultRow.job_id == JobRow.id)
        .where(ranked.c.number <= MOST)
        .order_by(*newest)
    )
    told: dict[str, tuple[int, list[Evaluation]]] = {}
    for of_job, count, job_id, name, status, of, step, headline, created_at in session.execute(found):
        checkpoint = None if of is None else {"of": of, "step": step}
        evaluation = Evaluation(job_id, name, Status(status), checkpoint, headline, created_at)
        told.setdefault(of_job, (count, []))[1].append(evaluation)
    return {of_job: Evaluations(tuple(latest), count) for of_job, (count, latest) in told.items()}

"""What runs have left for a report: their records in parts, and the files of what was evaluated of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_store.artifacts import Artifact, artifact_of
from neftune_store.lifecycle import Status
from neftune_store.models import ArtifactRecord, JobRow, ResultRow

_PARTS = ("spec", "resolved", "model", "dataset", "versions", "hardware", "noise", "final", "seed")
_FOLDER = "evaluation/"

Files = Mapping[str, Artifact]  # of one evaluation, by their names in its folder


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

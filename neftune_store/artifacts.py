"""The ledger of artifacts: stored results, visible from the commit that settles their job.

The files of a job's checkpoints stand beside them, visible from the commit of each, as long as it is kept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, or_, select
from sqlalchemy.orm import Session

from neftune_store.checkpoints import checkpoint_of, held_places
from neftune_store.claims import Claim
from neftune_store.errors import ArtifactNotFound, RecordNotFound
from neftune_store.events import known
from neftune_store.ids import new_id
from neftune_store.lifecycle import Status
from neftune_store.models import ArtifactRecord, CheckpointRow, JobRow, ResultRow

_OF_CHECKPOINT = re.compile(r"checkpoint-(?P<step>[1-9][0-9]{0,17})/")


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """A result whose bytes are complete in storage, about to become visible."""

    name: str
    kind: str
    sha256: str
    bytes: int
    blob_key: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored result of a job."""

    id: str
    job_id: str
    name: str
    kind: str
    sha256: str
    bytes: int
    blob_key: str
    media_type: str
    created_at: datetime
    partial: bool = False  # of a job that has not, or not yet, come to its end


def add_artifacts(session: Session, claim: Claim, artifacts: Sequence[ArtifactRow]) -> None:
    """Write results down in the settling transaction; the caller holds the fence."""
    if not artifacts:
        return
    rows = [
        {
            "id": new_id("art"),
            "job_id": claim.job_id,
            "fence": claim.fence,
            "name": given.name,
            "kind": given.kind,
            "sha256": given.sha256,
            "bytes": given.bytes,
            "blob_key": given.blob_key,
            "media_type": given.media_type,
        }
        for given in artifacts
    ]
    session.execute(insert(ArtifactRecord), rows)


class ArtifactLedger:
    """Every question about results."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, project_id: str, job_id: str) -> list[Artifact]:
        """List what a job has left, by name."""
        known(self._session, project_id, job_id)
        found = select(ArtifactRecord).where(_of(job_id)).order_by(ArtifactRecord.name)
        return [artifact_of(row) for row in self._session.scalars(found)]

    def downloads(self, project_id: str, job_id: str) -> Sequence[Artifact]:
        """List what a job has left, and the files of the checkpoints that are kept, the furthest first."""
        return [*self.list(project_id, job_id), *self._checkpoints(job_id)]

    def get(self, project_id: str, job_id: str, name: str) -> Artifact:
        """Give one result, or one file of a checkpoint, by its name."""
        known(self._session, project_id, job_id)
        if "\x00" in name or not name.isprintable():
            raise ArtifactNotFound
        if (match := _OF_CHECKPOINT.match(name)) is not None:
            for file in self._checkpoints(job_id, int(match["step"])):
                if file.name == name:
                    return file
        found = select(ArtifactRecord).where(_of(job_id), ArtifactRecord.name == name)
        row = self._session.scalars(found).one_or_none()
        if row is None:
            raise ArtifactNotFound
        return artifact_of(row)

    def _checkpoints(self, job_id: str, step: int | None = None) -> Iterator[Artifact]:
        status = self._session.scalar(select(JobRow.status).where(JobRow.id == job_id))
        for row in held_places(self._session, job_id):
            if step in {None, row.step}:
                yield from _files_of(row, partial=status != Status.SUCCEEDED)

    def record(self, project_id: str, job_id: str) -> dict[str, Any]:
        """Give the frozen record of the run that succeeded."""
        known(self._session, project_id, job_id)
        record = self._session.scalar(select(ResultRow.record).where(ResultRow.job_id == job_id))
        if record is None:
            raise RecordNotFound
        return record


def _of(job_id: str) -> ColumnElement[bool]:
    """Say in SQL what stands under a job: what it has left, and what its exports have made of that."""
    exported = select(JobRow.id).where(
        JobRow.of_job == job_id,
        JobRow.kind == "export",
        JobRow.status == Status.SUCCEEDED,
        JobRow.deleted_at.is_(None),
    )
    made = ArtifactRecord.job_id.in_(exported) & (ArtifactRecord.kind == "merged")
    return or_(ArtifactRecord.job_id == job_id, made)


def _files_of(row: CheckpointRow, *, partial: bool) -> Iterator[Artifact]:
    for file in checkpoint_of(row).files:
        yield Artifact(
            id=row.id,
            job_id=row.job_id,
            name=f"checkpoint-{row.step}/{file.name}",
            kind="checkpoint",
            sha256=file.sha256,
            bytes=file.bytes,
            blob_key=file.blob_key,
            media_type="application/octet-stream",
            created_at=row.created_at,
            partial=partial,
        )


def artifact_of(row: ArtifactRecord) -> Artifact:
    """Give the value of a row."""
    return Artifact(
        row.id,
        row.job_id,
        row.name,
        row.kind,
        row.sha256,
        row.bytes,
        row.blob_key,
        row.media_type,
        row.created_at,
    )

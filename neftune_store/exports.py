"""Exports: jobs that make something else of what another job has trained.

A job of the same table, claim, lease and settling. For each job and kind of export one at a time is alive or
has succeeded: who asks again gets that one. What it reads are the other job's artifacts, so that job stays as
long as one works on it.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_core.spec import JobSpec
from neftune_store.artifacts import Artifact, ArtifactLedger
from neftune_store.claims import Claim
from neftune_store.errors import JobNotFound, JobNotSucceeded, NothingToMerge
from neftune_store.job import Job, job_of
from neftune_store.lifecycle import Status
from neftune_store.models import JobRow
from neftune_store.submit import Origin, known_by_key, submit


@dataclass(frozen=True, slots=True)
class Subject:
    """What the job that is worked on has left."""

    record: dict[str, Any]
    files: tuple[Artifact, ...]  # named as in its folder


def submit_export(  # noqa: PLR0913 - what was asked, by whom, and under which limit
    session: Session,
    row: JobRow,
    options: dict[str, Any],
    *,
    idempotency_key: str | None,
    queue_limit: int,
    retry_of: str | None = None,
) -> tuple[Job, bool]:
    """Write down an export of the job ``row``, which the caller has locked, or find the one there is."""
    origin = Origin(retry_of=retry_of, kind="export", of_job=row.id, options=options)
    spec = JobSpec.model_validate(row.spec)
    if idempotency_key is not None:
        known = known_by_key(session, row.project_id, idempotency_key, spec, origin)
        if known is not None:
            return known, False
    _refuse_unfit(row)
    found = select(JobRow).where(
        JobRow.of_job == row.id,
        JobRow.kind == "export",
        JobRow.options["kind"].as_string() == options["kind"],
        JobRow.status.not_in([Status.FAILED, Status.CANCELLED]),
        JobRow.deleted_at.is_(None),
    )
    if (there := session.scalars(found).one_or_none()) is not None:
        return job_of(there), False
    return submit(
        session,
        row.project_id,
        spec,
        idempotency_key=idempotency_key,
        origin=origin,
        queue_limit=queue_limit,
    )


def _refuse_unfit(row: JobRow) -> None:
    if row.kind != "train":
        raise NothingToMerge("Only what was trained can be exported; name the job that trained it.")
    if row.status != Status.SUCCEEDED:
        raise JobNotSucceeded
    if row.spec.get("method") == "full":
        raise NothingToMerge(
            "A full fine-tune has no adapter: its artifact model is what a merge would give."
        )


def subject_of(session: Session, claim: Claim, kind: str) -> Subject:
    """Give what an export reads: the record of the job it is about, and its artifact's files."""
    if claim.of_job is None:
        raise JobNotFound
    ledger = ArtifactLedger(session)
    files = ledger.list(claim.project_id, claim.of_job)
    return Subject(
        record=ledger.record(claim.project_id, claim.of_job),
        files=tuple(file for file in files if file.kind == kind and file.name.startswith(f"{kind}/")),
    )

"""Submitting: a job, its first event and the client's key, in one transaction.

"Run this job" is the queued row itself. Whoever rings a bell does so after the commit.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_core.spec import JobSpec
from neftune_store.datasets import DatasetLedger
from neftune_store.errors import IdempotencyConflict, JobDeleted
from neftune_store.ids import new_id
from neftune_store.job import Job, job_of
from neftune_store.journal import FRESH, Fact, write_down
from neftune_store.lifecycle import READ_ROWS
from neftune_store.models import IdempotencyKeyRow, JobRow
from neftune_store.quotas import check_queue
from neftune_store.secrets import check_known
from neftune_store.takeover import Inheritance

_INSERT = insert(JobRow).returning(JobRow)  # built once


@dataclass(frozen=True, slots=True)
class Origin:
    """The job this one repeats, if any; or the one on whose result it works, and what it does with it."""

    retry_of: str | None = None
    clone_of: str | None = None
    kind: str = "train"
    of_job: str | None = None
    options: dict[str, Any] | None = None
    sweep_id: str | None = None
    hold_at: float | None = None  # see the column


def submit(  # noqa: PLR0913 - what was asked, by whom, and under which limit
    session: Session,
    project_id: str,
    spec: JobSpec,
    *,
    idempotency_key: str | None,
    origin: Origin,
    queue_limit: int,
    repeats: JobRow | None = None,
) -> tuple[Job, bool]:
    """Write the job down, or find the one this key has made. Tells whether the job is new.

    ``repeats``: an ended job that this one goes on from, with its row locked.
    """
    body = spec.model_dump(mode="json")
    digest = sha256_of(body)
    job_id = new_id("job")
    if idempotency_key is not None:
        known = _take_key(session, project_id, idempotency_key, _body_of(digest, origin), job_id)
        if known is not None:
            return known, False
    check_queue(session, project_id, queue_limit)
    if origin.kind in READ_ROWS:  # others have held what they read
        DatasetLedger(session).of_spec(project_id, spec, hold=True)
        if spec.hub_token is not None:
            check_known(session, project_id, spec.hub_token.secret)
    values = {
        "id": job_id,
        "project_id": project_id,
        "kind": origin.kind,
        "name": spec.name,
        "model": spec.model,
        "alpha": spec.alpha,
        "tags": list(spec.tags),
        "priority": spec.resources.priority,
        "spec": body,
        "spec_sha256": digest,
        "dataset_id": spec.dataset,
        "validation_dataset_id": spec.validation.dataset,
        "retry_of": origin.retry_of,
        "clone_of": origin.clone_of,
        "of_job": origin.of_job,
        "options": origin.options,
        "sweep_id": origin.sweep_id,
        "hold_at": origin.hold_at,
        "last_seq": 2,
    }
    told: dict[str, Any] = {"attempt": 0}
    left = Inheritance(session, repeats) if repeats is not None else None
    if left is not None:
        values |= left.columns()
        told |= {"retry_of": origin.retry_of, "step": left.step}
    row = session.scalars(_INSERT, values, execution_options=FRESH).one()
    if left is not None:
        left.hand_over(row.id)
    write_down(session, row, [Fact("job.queued", told)])
    return job_of(row), True


def sha256_of(body: dict[str, Any]) -> str:
    """Hash a spec: the same for the same meaning, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _body_of(digest: str, origin: Origin) -> str:
    if origin == Origin():
        return digest
    body: dict[str, Any] = {"spec": digest, "retry_of": origin.retry_of, "clone_of": origin.clone_of}
    if origin.of_job is not None:
        body |= {"of_job": origin.of_job, "kind": origin.kind, "options": origin.options}
    return sha256_of(body)


def known_by_key(session: Session, project_id: str, key: str, spec: JobSpec, origin: Origin) -> Job | None:
    """Give the job that this key has made of the same body; refuse another body."""
    digest = sha256_of(spec.model_dump(mode="json"))
    return _made_by(session, project_id, key, _body_of(digest, origin))


def _take_key(session: Session, project_id: str, key: str, body_sha256: str, job_id: str) -> Job | None:
    """Take the key for ``job_id``; a key that is taken gives the job it made.

    Of many first uses at once one inserts; the others wait here for its commit and then see its row.
    """
    taken = (
        insert(IdempotencyKeyRow)
        .values(project_id=project_id, key=key, body_sha256=body_sha256, job_id=job_id)
        .on_conflict_do_nothing()
        .returning(IdempotencyKeyRow.job_id)
    )
    if session.scalar(taken) is not None:
        return None
    return _made_by(session, project_id, key, body_sha256)


def _made_by(session: Session, project_id: str, key: str, body_sha256: str) -> Job | None:
    found = select(IdempotencyKeyRow).where(
        IdempotencyKeyRow.project_id == project_id, IdempotencyKeyRow.key == key
    )
    earlier = session.scalars(found).one_or_none()
    if earlier is None:
        return None
    if earlier.body_sha256 != body_sha256:
        raise IdempotencyConflict
    row = session.scalars(select(JobRow).where(JobRow.id == earlier.job_id)).one()
    if row.deleted_at is not None:
        raise JobDeleted
    return job_of(row)

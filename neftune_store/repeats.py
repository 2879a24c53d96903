"""Creations that a client repeats by itself: equal bodies of one key, close together, are one job.

Some clients repeat a request whose answer was lost, and send nothing by which it could be known again but a
count of their attempts. So the last job that a key has made of a body is remembered for a minute. Attempts
may overtake one another: a job that a repeated one has made is owed to the first, and given to it once.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.job import Job, job_of
from neftune_store.models import JobRow, RecentBodyRow

WINDOW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a creation: whose, of what, and whether the client says it is a repeated one."""

    key_id: str
    body_sha256: str
    repeated: bool


def once(session: Session, attempt: Attempt, make: Callable[[], Job]) -> Job:
    """Make the job, unless this attempt repeats one that has made it already.

    The lock makes a repeated attempt wait for the one before, should that be still under way.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _lock_of(attempt)})
    known = _made(session, attempt) if attempt.repeated else _owed(session, attempt)
    if known is not None:
        return known
    job = make()
    _remember(session, attempt, job)
    return job


def _owed(session: Session, attempt: Attempt) -> Job | None:
    """Give the job that a repeated attempt has made meanwhile. Whoever asks again wants another one."""
    claimed = (
        update(RecentBodyRow)
        .where(
            RecentBodyRow.api_key_id == attempt.key_id,
            RecentBodyRow.body_sha256 == attempt.body_sha256,
            RecentBodyRow.owed,
        )
        .values(owed=False)
    )
    taken = session.scalar(claimed.returning(RecentBodyRow.job_id))
    return None if taken is None else _made(session, attempt)


def _made(session: Session, attempt: Attempt) -> Job | None:
    found = (
        select(JobRow)
        .join(RecentBodyRow, RecentBodyRow.job_id == JobRow.id)
        .where(
            RecentBodyRow.api_key_id == attempt.key_id,
            RecentBodyRow.body_sha256 == attempt.body_sha256,
            RecentBodyRow.created_at > func.clock_timestamp() - WINDOW,
            JobRow.deleted_at.is_(None),
        )
    )
    row = session.scalars(found).one_or_none()
    return None if row is None else job_of(row)


def _remember(session: Session, attempt: Attempt, job: Job) -> None:
    old = delete(RecentBodyRow).where(
        RecentBodyRow.api_key_id == attempt.key_id,
        RecentBodyRow.created_at <= func.clock_timestamp() - WINDOW,
        RecentBodyRow.body_sha256 != attempt.body_sha256,
    )
    session.execute(old)
    new = insert(RecentBodyRow).values(
        api_key_id=attempt.key_id, body_sha256=attempt.body_sha256, job_id=job.id, owed=attempt.repeated
    )
    again = {"job_id": job.id, "created_at": func.clock_timestamp(), "owed": attempt.repeated}
    session.execute(new.on_conflict_do_update(index_elements=["api_key_id", "body_sha256"], set_=again))


def _lock_of(attempt: Attempt) -> int:
    digest = hashlib.sha256(f"{attempt.key_id} {attempt.body_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)

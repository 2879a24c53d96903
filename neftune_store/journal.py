"""How a job changes: one UPDATE, and the facts about it, in one order that nobody can skip.

Each job counts its rows in ``last_seq``. The UPDATE that raises it also locks the job until commit, so
numbers become visible in their order, and "after seq n" misses nothing. Metrics, events and status
changes share the count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, insert, text, update
from sqlalchemy.orm import Session

from neftune_store.models import EventRow, JobRow
from neftune_store.sanitise import clean_json
from neftune_store.webhooks import tell_of

JOBS_CHANNEL = "neftune_jobs"  # LISTEN: something about this job is new; the payload is its id
LOGS_CHANNEL = "neftune_logs"  # LISTEN: the run of this job has printed something
INTENT_CHANNEL = "neftune_intent"  # LISTEN: the user's intent for this job has changed
FRESH = {"synchronize_session": False, "populate_existing": True}
_NOTIFY = text("SELECT pg_notify(:channel, :job_id)")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that has happened, named in the past tense."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


def change(
    session: Session,
    job_id: str,
    conditions: Sequence[ColumnElement[bool]],
    values: Mapping[str, Any],
    facts: Sequence[Fact],
) -> JobRow | None:
    """Move a job that meets the conditions and write down the facts; ``None`` when it does not meet them."""
    statement = (
        update(JobRow)
        .where(JobRow.id == job_id, *conditions)
        .values(last_seq=JobRow.last_seq + len(facts) + 1, **values)
        .returning(JobRow)
    )
    row = session.scalars(statement, execution_options=FRESH).one_or_none()
    if row is not None:
        write_down(session, row, facts)
        if "intent" in values:
            notify(session, INTENT_CHANNEL, job_id)
    return row


def write_down(session: Session, row: JobRow, facts: Sequence[Fact]) -> None:
    """Add the facts and the new status under the last numbers the row has taken."""
    first = row.last_seq - len(facts)
    rows = [
        event_row(row.id, first + place, row.fence, fact.name, fact.data) for place, fact in enumerate(facts)
    ]
    rows.append(event_row(row.id, row.last_seq, row.fence, "status", status_of(row), kind="status"))
    session.execute(insert(EventRow), rows)
    for fact in facts if row.kind == "train" else ():  # the types of webhooks are those of fine-tuning
        tell_of(session, row.project_id, row.id, fact.name)
    notify(session, JOBS_CHANNEL, row.id)


def event_row(  # noqa: PLR0913 - the columns of one row
    job_id: str, seq: int, fence: int, name: str, data: Mapping[str, Any], *, kind: str = "event"
) -> dict[str, Any]:
    """Make the values of one row of events."""
    return {
        "job_id": job_id,
        "seq": seq,
        "fence": fence,
        "kind": kind,
        "name": name,
        "data": clean_json(dict(data)),
    }


def status_of(row: JobRow) -> dict[str, Any]:
    """Show what a client that follows the job needs to know after a change."""
    error = None
    if row.error_code is not None:
        error = {"code": row.error_code, "detail": row.error_message, "retryable": bool(row.error_retryable)}
    return {"status": row.status, "intent": row.intent, "attempt": row.attempt, "error": error}


def notify(session: Session, channel: str, job_id: str) -> None:
    """Wake who listens, when this transaction commits; a lost wake-up loses nothing."""
    session.execute(_NOTIFY, {"channel": channel, "job_id": job_id})

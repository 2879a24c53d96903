"""What a run prints, while it goes on: parts in a ring, so that any api can show them and none is kept long.

The whole log is an artifact once the job has ended. Until then the newest parts of each attempt stand here;
a while after the end they go. Writes stand under the fence, like all that a run writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.claims import Claim
from neftune_store.journal import LOGS_CHANNEL, notify
from neftune_store.leases import fenced
from neftune_store.lifecycle import TERMINAL
from neftune_store.models import JobRow, LogPartRow
from neftune_store.sanitise import clean_text

PART_CHARACTERS = 16 * 1024
KEPT_PARTS = 64  # of an attempt: a mebibyte at most
KEPT_AFTER = timedelta(minutes=10)  # who follows has read the end by then
_PAGE = 64


@dataclass(frozen=True, slots=True)
class LogPart:
    """Some of what an attempt has printed."""

    fence: int
    number: int
    said: str


def add_part(session: Session, claim: Claim, number: int, said: str) -> None:
    """Write a part down, and let the oldest go; the same number twice is one part."""
    fenced(session, claim)
    part = insert(LogPartRow).values(
        job_id=claim.job_id, fence=claim.fence, number=number, said=clean_text(said)[:PART_CHARACTERS]
    )
    session.execute(part.on_conflict_do_nothing())
    old = delete(LogPartRow).where(
        LogPartRow.job_id == claim.job_id,
        LogPartRow.fence == claim.fence,
        LogPartRow.number <= number - KEPT_PARTS,
    )
    session.execute(old)
    notify(session, LOGS_CHANNEL, claim.job_id)


def parts_after(session: Session, job_id: str, fence: int = 0, number: int = 0) -> Sequence[LogPart]:
    """List what was printed after a place, in order, some at a time. The caller has checked the project."""
    found = (
        select(LogPartRow)
        .where(LogPartRow.job_id == job_id, tuple_(LogPartRow.fence, LogPartRow.number) > (fence, number))
        .order_by(LogPartRow.fence, LogPartRow.number)
        .limit(_PAGE)
    )
    return [LogPart(row.fence, row.number, row.said) for row in session.scalars(found)]


def drop_old_parts(session: Session) -> int:
    """Remove the parts of jobs that ended a while ago."""
    ended = select(JobRow.id).where(
        JobRow.status.in_(sorted(TERMINAL)), JobRow.finished_at < func.clock_timestamp() - KEPT_AFTER
    )
    gone = delete(LogPartRow).where(LogPartRow.job_id.in_(ended)).returning(LogPartRow.number)
    return len(session.scalars(gone).all())

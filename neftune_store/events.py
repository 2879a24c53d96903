"""Reading what happened: facts of a job, and the one feed that a follower draws from.

Everything about a job carries a number of one series, so "after seq n" is a complete question. To be
woken, LISTEN on :data:`JOBS_CHANNEL`; the payload is a job's id. A lost wake-up loses nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import literal, select, union_all
from sqlalchemy.orm import Session

from neftune_store.errors import JobNotFound
from neftune_store.ids import is_id
from neftune_store.journal import INTENT_CHANNEL, JOBS_CHANNEL
from neftune_store.models import EventRow, JobRow, MetricRow
from neftune_store.paging import check_limit

__all__ = [
    "INTENT_CHANNEL",
    "JOBS_CHANNEL",
    "Event",
    "FeedItem",
    "events_after",
    "feed_after",
    "story_before",
]

MOST = 1000
SEQ_MAX = 2**63 - 1

Kind = Literal["metric", "event", "status"]


@dataclass(frozen=True, slots=True)
class Event:
    """A past-tense fact about a job."""

    seq: int
    name: str
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One thing that a follower of a job draws.

    ``data`` is ``{"step", "values"}`` for a metric, ``{"name", "data"}`` for an event, and
    ``{"status", "intent", "attempt", "error"}`` for a status.
    """

    seq: int
    kind: Kind
    data: dict[str, Any]
    created_at: datetime


def events_after(
    session: Session, project_id: str, job_id: str, after_seq: int = 0, limit: int = 100
) -> list[Event]:
    """List the facts after a number, oldest first."""
    known(session, project_id, job_id)
    found = (
        select(EventRow)
        .where(EventRow.job_id == job_id, EventRow.seq > place(after_seq), EventRow.kind == "event")
        .order_by(EventRow.seq)
        .limit(check_limit(limit, MOST))
    )
    return [Event(row.seq, row.name, row.data, row.created_at) for row in session.scalars(found)]


def feed_after(session: Session, job_id: str, seq: int, limit: int = 500) -> list[FeedItem]:
    """List metrics, facts and status changes after a number, in order. The caller has checked the project."""
    limit = check_limit(limit, MOST)
    seq = place(seq)
    facts = (
        select(EventRow.seq, EventRow.kind, EventRow.name, EventRow.data, EventRow.created_at, literal(0))
        .where(EventRow.job_id == job_id, EventRow.seq > seq)
        .order_by(EventRow.seq)
        .limit(limit)
    )
    numbers = (
        select(
            MetricRow.seq,
            literal("metric"),
            literal(""),
            MetricRow.numbers,
            MetricRow.created_at,
            MetricRow.step,
        )
        .where(MetricRow.job_id == job_id, MetricRow.seq > seq)
        .order_by(MetricRow.seq)
        .limit(limit)
    )
    both = union_all(facts.subquery().select(), numbers.subquery().select()).subquery()
    rows = session.execute(select(both).order_by(both.c.seq).limit(limit))
    return [_item(*row) for row in rows]


def story_before(
    session: Session, project_id: str, job_id: str, seq: int | None = None, limit: int = 20
) -> list[FeedItem]:
    """List metrics and facts before a number, or the latest ones, newest first."""
    known(session, project_id, job_id)
    limit = check_limit(limit, MOST)
    before = SEQ_MAX if seq is None else place(seq)
    columns = EventRow.seq, EventRow.kind, EventRow.name, EventRow.data, EventRow.created_at, literal(0)
    facts = select(*columns).where(EventRow.job_id == job_id, EventRow.seq < before, EventRow.kind == "event")
    same = literal("metric"), literal(""), MetricRow.numbers, MetricRow.created_at, MetricRow.step
    numbers = select(MetricRow.seq, *same).where(MetricRow.job_id == job_id, MetricRow.seq < before)
    last = (
        facts.order_by(EventRow.seq.desc()).limit(limit).subquery().select(),
        numbers.order_by(MetricRow.seq.desc()).limit(limit).subquery().select(),
    )
    both = union_all(*last).subquery()
    rows = session.execute(select(both).order_by(both.c.seq.desc()).limit(limit))
    return [_item(*row) for row in rows]


def known(session: Session, project_id: str, job_id: str) -> None:
    """Raise :class:`JobNotFound` unless the project has this job."""
    found = select(JobRow.id).where(
        JobRow.project_id == project_id, JobRow.id == job_id, JobRow.deleted_at.is_(None)
    )
    if not is_id("job", job_id) or session.scalar(found) is None:
        raise JobNotFound


def place(seq: int) -> int:
    """Bring a number a client sent into the range that the database can compare."""
    return min(max(seq, 0), SEQ_MAX)


def _item(  # noqa: PLR0913, PLR0917 - the columns of one row
    seq: int, kind: Kind, name: str, data: dict[str, Any], created_at: datetime, step: int
) -> FeedItem:
    if kind == "metric":
        return FeedItem(seq, kind, {"step": step, "values": data}, created_at)
    if kind == "event":
        return FeedItem(seq, kind, {"name": name, "data": data}, created_at)
    return FeedItem(seq, kind, data, created_at)

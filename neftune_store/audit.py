"""The ledger of who changed what: keys, projects, quotas, webhooks, secrets, logins, and operators' ways.

An entry is written in the transaction of the change itself, so neither is there without the other. Nothing is
ever changed or removed; the database refuses it. Entries name things and hold no secret of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.orm import Session

from neftune_store.ids import new_id
from neftune_store.models import AuditRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.sanitise import clean_json

ENTERED = "operator.entered"
ENTERED_AGAIN = timedelta(minutes=10)  # an operator that stays is written down so often


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose request it is, and from where."""

    key_id: str
    request_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that somebody has done."""

    id: str
    project_id: str | None
    key_id: str
    action: str
    target: str | None
    data: dict[str, Any]
    request_id: str
    address: str
    created_at: datetime


class AuditLedger:
    """What was done, and by whom."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(
        self,
        actor: Actor,
        project_id: str | None,
        action: str,
        target: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down what is done in this very transaction."""
        values = {
            "id": new_id("aud"),
            "project_id": project_id,
            "key_id": actor.key_id,
            "action": action,
            "target": target,
            "data": clean_json(dict(data or {})),
            "request_id": actor.request_id,
            "address": actor.address,
        }
        self._session.execute(insert(AuditRow).values(**values))

    def note_entry(self, actor: Actor, project_id: str) -> None:
        """Write down that an operator is in a project, unless that was written a moment ago."""
        lately = select(AuditRow.id).where(
            AuditRow.project_id == project_id,
            AuditRow.key_id == actor.key_id,
            AuditRow.action == ENTERED,
            AuditRow.created_at > func.clock_timestamp() - ENTERED_AGAIN,
        )
        if self._session.scalar(lately.limit(1)) is None:
            self.note(actor, project_id, ENTERED, project_id)

    def page(self, project_id: str | None, cursor: str | None = None, limit: int = 50) -> Page[Entry]:
        """Give a page, newest first; of all projects when none is named."""
        found = select(AuditRow)
        if project_id is not None:
            found = found.where(AuditRow.project_id == project_id)
        if cursor is not None:
            after = decode_cursor(cursor, "aud")
            place = tuple_(AuditRow.created_at, AuditRow.id)
            found = found.where(place < tuple_(after.created_at, after.id))
        found = found.order_by(AuditRow.created_at.desc(), AuditRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        return page_of([_entry(row) for row in rows], [Place(row.created_at, row.id) for row in rows], limit)


def _entry(row: AuditRow) -> Entry:
    return Entry(
        id=row.id,
        project_id=row.project_id,
        key_id=row.key_id,
        action=row.action,
        target=row.target,
        data=row.data,
        request_id=row.request_id,
        address=row.address,
        created_at=row.created_at,
    )

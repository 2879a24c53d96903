"""Uploads that come in parts: what is promised, what has come of it, and what file it became.

The parts lie in storage as staged objects, which the collector sweeps a day later whatever became of the
upload; an upload itself may be gone on with for an hour. Knows nothing of rows: a file is made elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from neftune_store.errors import TooManyOpenUploads, UploadMismatch, UploadNotPending, UploadUnknown
from neftune_store.ids import is_id, new_id
from neftune_store.models import UploadPartRow, UploadRow
from neftune_store.sanitise import clean_text

PATIENCE = timedelta(hours=1)
MOST_OPEN = 20  # of a project
_SPARE = 2  # times what was promised: parts whose answer was lost are sent again

State = Literal["pending", "completed", "cancelled", "expired"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A promise of so many bytes."""

    id: str
    name: str
    bytes: int
    state: State
    file: str | None  # the tail of what it became
    created_at: datetime

    @property
    def expires_at(self) -> datetime:
        """Tell until when it may be gone on with."""
        return self.created_at + PATIENCE


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the bytes."""

    id: str
    bytes: int
    blob_key: str
    created_at: datetime


class UploadLedger:
    """Every question and every change about uploads in parts."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, project_id: str, name: str, bytes: int) -> Upload:
        """Write a promise down."""
        fresh = UploadRow.created_at > func.clock_timestamp() - PATIENCE
        is_open = (UploadRow.project_id == project_id, UploadRow.ended_as.is_(None), fresh)
        if (
            self._session.scalar(select(func.count()).select_from(UploadRow).where(*is_open)) or 0
        ) >= MOST_OPEN:
            raise TooManyOpenUploads(MOST_OPEN)
        values = {"id": new_id("upload"), "project_id": project_id, "name": clean_text(name), "bytes": bytes}
        row = self._session.scalars(insert(UploadRow).values(**values).returning(UploadRow)).one()
        return _upload_of(row, "pending")

    def get(self, project_id: str, upload_id: str) -> Upload:
        """Give one upload of the project."""
        row = self._row(project_id, upload_id)
        return _upload_of(row, self._state(row))

    def add_part(self, project_id: str, upload_id: str, blob_key: str, bytes: int) -> Part:
        """Write down a part whose bytes are staged, while there is room in what was promised."""
        row = self._pending(project_id, upload_id)
        held = select(func.coalesce(func.sum(UploadPartRow.bytes), 0)).where(
            UploadPartRow.upload_id == row.id
        )
        if (self._session.scalar(held) or 0) + bytes > _SPARE * row.bytes:
            raise UploadMismatch("The parts hold more bytes than the upload was said to have.")
        values = {"id": new_id("part"), "upload_id": row.id, "blob_key": blob_key, "bytes": bytes}
        made = self._session.scalars(insert(UploadPartRow).values(**values).returning(UploadPartRow)).one()
        return _part_of(made)

    def parts(self, project_id: str, upload_id: str, part_ids: Sequence[str]) -> list[Part]:
        """Give these parts in this order; together they must be the bytes that were promised."""
        row = self._pending(project_id, upload_id)
        found = {part.id: part for part in self.all_parts(row.id)}
        if len(set(part_ids)) != len(part_ids) or not found.keys() >= set(part_ids):
            raise UploadMismatch("A part is named twice, or is none of this upload.")
        parts = [found[one] for one in part_ids]
        if sum(part.bytes for part in parts) != row.bytes:
            raise UploadMismatch("The parts together are not as many bytes as the upload was said to have.")
        return parts

    def all_parts(self, upload_id: str) -> list[Part]:
        """Give all parts that have come, also those that nobody named in the end."""
        rows = self._session.scalars(select(UploadPartRow).where(UploadPartRow.upload_id == upload_id))
        return [_part_of(row) for row in rows]

    def end(self, project_id: str, upload_id: str, state: State, file: str | None = None) -> Upload:
        """End a pending upload; of two that want to, one does."""
        row = self._pending(project_id, upload_id)
        ended = update(UploadRow).where(UploadRow.id == row.id).values(ended_as=state, file=file)
        self._session.execute(ended)
        return Upload(row.id, row.name, row.bytes, state, file, row.created_at)

    def _pending(self, project_id: str, upload_id: str) -> UploadRow:
        row = self._row(project_id, upload_id, lock=True)
        if self._state(row) != "pending":
            raise UploadNotPending(self._state(row))
        return row

    def _state(self, row: UploadRow) -> State:
        if row.ended_as is not None:
            return "completed" if row.ended_as == "completed" else "cancelled"
        late = select(func.clock_timestamp() - PATIENCE >= row.created_at)
        return "expired" if self._session.scalar(late) else "pending"

    def _row(self, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow:
        found = select(UploadRow).where(UploadRow.project_id == project_id, UploadRow.id == upload_id)
        if lock:
            found = found.with_for_update()
        row = self._session.scalars(found).one_or_none() if is_id("upload", upload_id) else None
        if row is None:
            raise UploadUnknown
        return row


def _upload_of(row: UploadRow, state: State) -> Upload:
    return Upload(row.id, row.name, row.bytes, state, row.file, row.created_at)


def _part_of(row: UploadPartRow) -> Part:
    return Part(row.id, row.bytes, row.blob_key, row.created_at)

"""The ledger of datasets: sealed rows, told by their sha256.

A dataset is written down only after its bytes were read back from storage, so a row here means that
the bytes are there. Deleting hides it; the blob goes when nothing refers to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from neftune_core.spec import JobSpec
from neftune_store.errors import DatasetInUse, DatasetNotFound
from neftune_store.ids import is_id, new_id
from neftune_store.lifecycle import READ_ROWS, TERMINAL
from neftune_store.models import DatasetRow, JobInputRow, JobRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.quotas import check_room
from neftune_store.sanitise import clean_json, clean_text

# Built once: every submit asks it, and putting a statement together costs as much as asking it.
_ROW = select(DatasetRow).where(
    DatasetRow.project_id == bindparam("project_id"),
    DatasetRow.id == bindparam("id"),
    DatasetRow.deleted_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Immutable rows with a sha256."""

    id: str
    project_id: str
    name: str
    format: str
    rows: int
    bytes: int
    sha256: str
    blob_key: str
    stats: dict[str, Any]
    warnings: tuple[Any, ...]
    created_at: datetime
    deleted_at: datetime | None = None


class DatasetLedger:
    """Every question and every change about datasets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(  # noqa: PLR0913 - a dataset is all of these
        self,
        project_id: str,
        *,
        name: str,
        format: str,
        rows: int,
        bytes: int,
        sha256: str,
        blob_key: str,
        stats: dict[str, Any],
        warnings: list[Any],
    ) -> Dataset:
        """Write down a dataset whose bytes are complete in storage, while the project has room for it."""
        check_room(self._session, project_id, bytes)
        values = {
            "id": new_id("ds"),
            "project_id": project_id,
            "name": clean_text(name),
            "format": format,
            "rows": rows,
            "bytes": bytes,
            "sha256": sha256,
            "blob_key": blob_key,
            "stats": clean_json(stats),
            "warnings": clean_json(warnings),
        }
        row = self._session.scalars(insert(DatasetRow).values(**values).returning(DatasetRow)).one()
        return dataset_of(row)

    def get(self, project_id: str, dataset_id: str) -> Dataset:
        """Give one dataset of the project."""
        return dataset_of(self._row(project_id, dataset_id))

    def list(self, project_id: str, cursor: str | None = None, limit: int = 50) -> Page[Dataset]:
        """Give a page, newest first."""
        found = select(DatasetRow).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
        if cursor is not None:
            after = decode_cursor(cursor, "ds")
            found = found.where(
                tuple_(DatasetRow.created_at, DatasetRow.id) < tuple_(after.created_at, after.id)
            )
        found = found.order_by(DatasetRow.created_at.desc(), DatasetRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        return page_of(
            [dataset_of(row) for row in rows], [Place(row.created_at, row.id) for row in rows], limit
        )

    def delete(self, project_id: str, dataset_id: str) -> None:
        """Hide a dataset that no unfinished job needs.

        The lock makes a submit that names this dataset wait, and the other way round.
        """
        row = self._row(project_id, dataset_id, lock=True)
        needs = select(JobRow.id).where(
            or_(JobRow.dataset_id == row.id, JobRow.validation_dataset_id == row.id),
            JobRow.status.not_in(TERMINAL),
            JobRow.kind.in_(READ_ROWS),
        )
        reads = (
            select(JobRow.id)
            .join(JobInputRow, JobInputRow.job_id == JobRow.id)
            .where(JobInputRow.dataset_id == row.id, JobRow.status.not_in(TERMINAL))
        )
        if any(self._session.scalar(found.limit(1)) is not None for found in (needs, reads)):
            raise DatasetInUse
        hidden = update(DatasetRow).where(DatasetRow.id == row.id).values(deleted_at=func.clock_timestamp())
        self._session.execute(hidden)

    def hold(self, project_id: str, dataset_id: str) -> Dataset:
        """Give a dataset and keep it from being deleted until this transaction ends."""
        return dataset_of(self._row(project_id, dataset_id, share=True))

    def of_spec(self, project_id: str, spec: JobSpec, *, hold: bool = False) -> Dataset:
        """Find the datasets that a job names, and give that of its training rows.

        ``hold``: keep them from being deleted until this transaction ends. ``DatasetNotFound`` tells the
        place of the one that is missing.
        """
        rows = self._at(project_id, spec.dataset, ("dataset",), hold=hold)
        if spec.validation.dataset is not None:
            self._at(project_id, spec.validation.dataset, ("validation", "dataset"), hold=hold)
        return rows

    def _at(self, project_id: str, dataset_id: str, place: Sequence[str], *, hold: bool) -> Dataset:
        try:
            return dataset_of(self._row(project_id, dataset_id, share=hold))
        except DatasetNotFound:
            raise DatasetNotFound(place) from None

    def _row(
        self, project_id: str, dataset_id: str, *, lock: bool = False, share: bool = False
    ) -> DatasetRow:
        if not is_id("ds", dataset_id):
            raise DatasetNotFound
        found = _ROW.with_for_update(read=share) if lock or share else _ROW
        row = self._session.scalars(found, {"project_id": project_id, "id": dataset_id}).one_or_none()
        if row is None:
            raise DatasetNotFound
        return row


def dataset_of(row: DatasetRow) -> Dataset:
    """Give the value of a row."""
    return Dataset(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        format=row.format,
        rows=row.rows,
        bytes=row.bytes,
        sha256=row.sha256,
        blob_key=row.blob_key,
        stats=row.stats,
        warnings=tuple(row.warnings),
        created_at=row.created_at,
        deleted_at=row.deleted_at,
    )

"""Files as clients of the OpenAI surface see them: datasets, uploads with faults, and tables of results.

One list over three tables. A file's id is the tail of its row's id, so no row says twice what it is. An
upload with faults is a row without bytes: what was wrong with it, for whoever comes to ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, insert, literal, null, select, tuple_, union_all, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute, Session

from neftune_store.datasets import DatasetLedger
from neftune_store.errors import FileBelongsToJob, FileUnknown
from neftune_store.ids import is_id, new_id
from neftune_store.models import ArtifactRecord, DatasetRow, FaultyFileRow, JobRow
from neftune_store.paging import check_limit
from neftune_store.sanitise import clean_json, clean_text

__all__ = ["RESULTS", "FileLedger", "Kind", "StoredFile"]

RESULTS = "results.csv"  # the artifact that is a file too
MOST = 10_000

Kind = Literal["dataset", "faulty", "result"]
PREFIXES: dict[Kind, str] = {"dataset": "ds", "faulty": "bad", "result": "art"}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, or what is left of one."""

    kind: Kind
    id: str
    name: str
    bytes: int
    sha256: str | None
    blob_key: str | None
    report: dict[str, Any]
    created_at: datetime

    @property
    def tail(self) -> str:
        """Give what is left of the id without its kind."""
        return self.id.partition("_")[2]


@dataclass(frozen=True, slots=True)
class Files:
    """Some files, and whether there are more."""

    items: tuple[StoredFile, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class _Arm:
    """One of the tables, as rows of the one list."""

    kind: Kind
    id: InstrumentedAttribute[str]
    created_at: InstrumentedAttribute[datetime]
    there: ColumnElement[bool]  # not deleted
    rows: Any  # a SELECT of the members of StoredFile


class FileLedger:
    """Every question and every change about files."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_faulty(self, project_id: str, *, name: str, bytes: int, report: dict[str, Any]) -> StoredFile:
        """Write down that an upload had faults; its bytes are kept nowhere."""
        values = {
            "id": new_id(PREFIXES["faulty"]),
            "project_id": project_id,
            "name": clean_text(name),
            "bytes": bytes,
            "report": clean_json(report),
        }
        row = self._session.scalars(insert(FaultyFileRow).values(**values).returning(FaultyFileRow)).one()
        return StoredFile("faulty", row.id, row.name, row.bytes, None, None, row.report, row.created_at)

    def get(self, project_id: str, tail: str) -> StoredFile:
        """Give one file of the project."""
        for kind, arm in _arms(project_id).items():
            id_ = f"{PREFIXES[kind]}_{tail}"
            if not is_id(PREFIXES[kind], id_):
                break
            row = self._session.execute(arm.rows.where(arm.id == id_, arm.there)).one_or_none()
            if row is not None:
                return StoredFile(*row)
        raise FileUnknown

    def list(
        self,
        project_id: str,
        kinds: Sequence[Kind],
        after: str | None = None,
        limit: int = MOST,
        *,
        ascending: bool = False,
    ) -> Files:
        """Give the files that come after one, by age; also after one that was deleted meanwhile."""
        limit = check_limit(limit, MOST)
        arms = {kind: arm for kind, arm in _arms(project_id).items() if kind in kinds}
        since = self._created_at(project_id, after) if after is not None else None
        if not arms:
            return Files((), more=False)
        pages = []
        for kind, arm in arms.items():
            found = arm.rows.where(arm.there)
            if since is not None:
                place = tuple_(literal(since), literal(f"{PREFIXES[kind]}_{after}"))
                here = tuple_(arm.created_at, arm.id)
                found = found.where(here > place if ascending else here < place)
            order = (arm.created_at, arm.id) if ascending else (arm.created_at.desc(), arm.id.desc())
            pages.append(found.order_by(*order).limit(limit + 1).subquery().select())
        both = union_all(*pages).subquery()
        tail = func.split_part(both.c.id, "_", 2)
        last = (both.c.created_at, tail) if ascending else (both.c.created_at.desc(), tail.desc())
        rows = [
            StoredFile(*row) for row in self._session.execute(select(both).order_by(*last).limit(limit + 1))
        ]
        return Files(tuple(rows[:limit]), more=len(rows) > limit)

    def delete(self, project_id: str, tail: str) -> None:
        """Forget a file that no unfinished job needs; a table of results goes with its job."""
        found = self.get(project_id, tail)
        if found.kind == "dataset":
            DatasetLedger(self._session).delete(project_id, found.id)
        elif found.kind == "faulty":
            row = update(FaultyFileRow).where(FaultyFileRow.id == found.id)
            self._session.execute(row.values(deleted_at=func.clock_timestamp()))
        else:
            raise FileBelongsToJob

    def results(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Give the tail of the results' id for those of the jobs that have left some."""
        found = select(ArtifactRecord.job_id, ArtifactRecord.id).where(
            ArtifactRecord.job_id.in_(job_ids), ArtifactRecord.name == RESULTS
        )
        return {job_id: id_.partition("_")[2] for job_id, id_ in self._session.execute(found)}

    def _created_at(self, project_id: str, tail: str) -> datetime:
        for kind, arm in _arms(project_id).items():
            id_ = f"{PREFIXES[kind]}_{tail}"
            if not is_id(PREFIXES[kind], id_):
                break
            row = self._session.execute(arm.rows.where(arm.id == id_)).one_or_none()
            if row is not None:
                return StoredFile(*row).created_at
        raise FileUnknown


def _arms(project_id: str) -> dict[Kind, _Arm]:
    arms = (_datasets(project_id), _faulty(project_id), _results(project_id))
    return {arm.kind: arm for arm in arms}


def _datasets(project_id: str) -> _Arm:
    row = DatasetRow
    report = func.jsonb_build_object(
        "format", row.format, "rows", row.rows, "stats", row.stats, "warnings", row.warnings, type_=JSONB
    )
    columns = (row.id, row.name, row.bytes, row.sha256, row.blob_key, report.label("report"), row.created_at)
    found = select(literal("dataset").label("kind"), *columns).where(row.project_id == project_id)
    return _Arm("dataset", row.id, row.created_at, row.deleted_at.is_(None), found)


def _faulty(project_id: str) -> _Arm:
    row = FaultyFileRow
    nothing = null().label("sha256"), null().label("blob_key")
    columns = (row.id, row.name, row.bytes, *nothing, row.report, row.created_at)
    found = select(literal("faulty").label("kind"), *columns).where(row.project_id == project_id)
    return _Arm("faulty", row.id, row.created_at, row.deleted_at.is_(None), found)


def _results(project_id: str) -> _Arm:
    row = ArtifactRecord
    report = func.jsonb_build_object("job", row.job_id, type_=JSONB)
    columns = (row.id, row.name, row.bytes, row.sha256, row.blob_key, report.label("report"), row.created_at)
    found = (
        select(literal("result").label("kind"), *columns)
        .join(JobRow, JobRow.id == row.job_id)
        .where(JobRow.project_id == project_id, row.name == RESULTS)
    )
    return _Arm("result", row.id, row.created_at, JobRow.deleted_at.is_(None), found)

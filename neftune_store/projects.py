"""The ledger of projects: who owns rows, and how much of everything they may have.

Knows no HTTP. Keys stand in :mod:`neftune_store.keys`; those who bring a service up meet both here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.errors import ProjectExists, ProjectUnknown
from neftune_store.ids import is_id, new_id
from neftune_store.keys import (
    ALL_SCOPES,
    SCOPES,
    SHORTEST_PRESET,
    ApiKey,
    KeyLedger,
    Principal,
    digest_of,
    new_key,
)
from neftune_store.models import ApiKeyRow, ProjectRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of

__all__ = ["ALL_SCOPES", "SCOPES", "SHORTEST_PRESET", "ApiKey", "Principal", "Project", "ProjectLedger"]
__all__ += ["Quotas", "digest_of", "new_key"]

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a project may have; ``None``: the default of queued jobs, and no bound on the others."""

    queued_jobs: int | None = None
    running_jobs: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Who owns rows."""

    id: str
    name: str
    created_at: datetime
    quotas: Quotas = Quotas()


_COLUMNS = {"queued_jobs": "max_queued", "running_jobs": "max_running", "stored_bytes": "max_bytes"}


class ProjectLedger:
    """Every question and every change about projects."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys = KeyLedger(session)

    def ensure_default(self) -> Project:
        """Give the default project; make it at the first call."""
        return self.ensure(DEFAULT_PROJECT)

    def ensure(self, name: str) -> Project:
        """Give the project of this name; make it at the first call."""
        new = insert(ProjectRow).values(id=new_id("prj"), name=name).on_conflict_do_nothing()
        self._session.execute(new)
        return _project(self._session.scalars(select(ProjectRow).where(ProjectRow.name == name)).one())

    def add(self, name: str, quotas: Mapping[str, int | None]) -> Project:
        """Make a project whose name nobody has."""
        values = {"id": new_id("prj"), "name": name, **_columns(quotas)}
        new = insert(ProjectRow).values(**values).on_conflict_do_nothing().returning(ProjectRow)
        row = self._session.scalars(new).one_or_none()
        if row is None:
            raise ProjectExists
        return _project(row)

    def change(self, project_id: str, name: str | None, quotas: Mapping[str, int | None]) -> Project:
        """Change what is named; everything else stays."""
        self.get(project_id)
        if name is not None:
            taken = select(ProjectRow.id).where(ProjectRow.name == name, ProjectRow.id != project_id)
            if self._session.scalar(taken) is not None:
                raise ProjectExists
        values = {**({"name": name} if name is not None else {}), **_columns(quotas)}
        if values:
            changed = update(ProjectRow).where(ProjectRow.id == project_id).values(**values)
            self._session.execute(changed, execution_options={"synchronize_session": False})
        return self.get(project_id)

    def get(self, project_id: str, seen_from: str | None = None) -> Project:
        """Give one project; seen from a project there is no other."""
        found = select(ProjectRow).where(ProjectRow.id == project_id)
        if seen_from is not None:
            found = found.where(ProjectRow.id == seen_from)
        fresh = {"populate_existing": True}
        row = None
        if is_id("prj", project_id):
            row = self._session.scalars(found, execution_options=fresh).one_or_none()
        if row is None:
            raise ProjectUnknown
        return _project(row)

    def chosen(self, by: str) -> str:
        """Give the id of the project that has this id or this name."""
        if "\x00" in by:
            raise ProjectUnknown
        found = select(ProjectRow.id).where(or_(ProjectRow.id == by, ProjectRow.name == by))
        project_id = self._session.scalar(found.order_by((ProjectRow.id == by).desc()).limit(1))
        if project_id is None:
            raise ProjectUnknown
        return project_id

    def page(self, cursor: str | None = None, limit: int = 50) -> Page[Project]:
        """Give a page of all projects, newest first."""
        found = select(ProjectRow)
        if cursor is not None:
            after = decode_cursor(cursor, "prj")
            place = tuple_(ProjectRow.created_at, ProjectRow.id)
            found = found.where(place < tuple_(after.created_at, after.id))
        found = found.order_by(ProjectRow.created_at.desc(), ProjectRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        places = [Place(row.created_at, row.id) for row in rows]
        return page_of([_project(row) for row in rows], places, limit)

    def create_key(
        self, project_id: str, name: str, scopes: Sequence[str] = SCOPES, preset: str | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key, or take a preset one. The plaintext is given once, here, and kept nowhere."""
        plaintext = preset if preset is not None else new_key()
        return self._keys.ensure(plaintext, project_id, name, scopes), plaintext

    def ensure_key(
        self, plaintext: str, project_id: str, name: str, scopes: Sequence[str] = SCOPES
    ) -> ApiKey:
        """Let this key open the project; a key that is known already stays as it is."""
        return self._keys.ensure(plaintext, project_id, name, scopes)

    def authenticate(self, plaintext: str) -> Principal | None:
        """Tell who holds this key; ``None`` for one that is unknown, revoked or over."""
        return self._keys.holder(plaintext)

    def keys(self, project_id: str) -> list[ApiKey]:
        """List the keys of a project, oldest first."""
        found = select(ApiKeyRow.id).where(ApiKeyRow.project_id == project_id).order_by(ApiKeyRow.id)
        return [self._keys.get(project_id, key_id) for key_id in self._session.scalars(found)]

    def revoke_key(self, project_id: str, key_id: str) -> None:
        """Close a key for ever, be it the last one; a second time changes nothing."""
        self._keys.revoke(project_id, key_id, even_last_admin=True)


def _columns(quotas: Mapping[str, int | None]) -> dict[str, int | None]:
    return {_COLUMNS[name]: value for name, value in quotas.items()}


def _project(row: ProjectRow) -> Project:
    return Project(row.id, row.name, row.created_at, Quotas(row.max_queued, row.max_running, row.max_bytes))

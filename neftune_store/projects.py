"""The ledger of projects and their keys.

A key is 256 random bits; only its hash is kept, so a stolen table opens nothing. Knows no HTTP.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.errors import NotFound, WeakKey
from neftune_store.ids import is_id, new_id
from neftune_store.models import ApiKeyRow, ProjectRow

DEFAULT_PROJECT = "default"
SCOPES = ("read", "write", "admin")
SHORTEST_PRESET = 16  # characters


@dataclass(frozen=True, slots=True)
class Project:
    """Who owns rows."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its project sees it: never the key itself."""

    id: str
    project_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do."""

    project_id: str
    key_id: str
    scopes: frozenset[str]


class ProjectLedger:
    """Projects, their keys, and who a key belongs to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure_default(self) -> Project:
        """Give the default project; make it at the first call."""
        return self.ensure(DEFAULT_PROJECT)

    def ensure(self, name: str) -> Project:
        """Give the project of this name; make it at the first call."""
        new = insert(ProjectRow).values(id=new_id("prj"), name=name).on_conflict_do_nothing()
        self._session.execute(new)
        row = self._session.scalars(select(ProjectRow).where(ProjectRow.name == name)).one()
        return Project(row.id, row.name, row.created_at)

    def create_key(
        self, project_id: str, name: str, scopes: Sequence[str] = SCOPES, preset: str | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key, or take a preset one. The plaintext is given once, here, and kept nowhere."""
        plaintext = preset if preset is not None else new_key()
        return self.ensure_key(plaintext, project_id, name, scopes), plaintext

    def ensure_key(
        self, plaintext: str, project_id: str, name: str, scopes: Sequence[str] = SCOPES
    ) -> ApiKey:
        """Let this key open the project; a key that is known already stays as it is."""
        if len(plaintext) < SHORTEST_PRESET:
            raise WeakKey(SHORTEST_PRESET)
        digest = digest_of(plaintext)
        new = insert(ApiKeyRow).values(
            id=new_id("key"),
            project_id=project_id,
            name=name,
            prefix=plaintext[:8] if plaintext.startswith("nft_") else "",
            sha256=digest,
            scopes=list(scopes),
        )
        self._session.execute(new.on_conflict_do_nothing(index_elements=["sha256"]))
        return _key(self._session.scalars(select(ApiKeyRow).where(ApiKeyRow.sha256 == digest)).one())

    def authenticate(self, plaintext: str) -> Principal | None:
        """Tell who holds this key; ``None`` for an unknown or revoked one.

        The lookup is by hash, so its timing tells nothing about keys that exist.
        """
        known = select(ApiKeyRow).where(
            ApiKeyRow.sha256 == digest_of(plaintext), ApiKeyRow.revoked_at.is_(None)
        )
        row = self._session.scalars(known).one_or_none()
        return None if row is None else Principal(row.project_id, row.id, frozenset(row.scopes))

    def keys(self, project_id: str) -> list[ApiKey]:
        """List the keys of a project, oldest first."""
        found = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id).order_by(ApiKeyRow.id)
        return [_key(row) for row in self._session.scalars(found)]

    def revoke_key(self, project_id: str, key_id: str) -> None:
        """Close a key for ever; a second time changes nothing."""
        revoked = (
            update(ApiKeyRow)
            .where(ApiKeyRow.project_id == project_id, ApiKeyRow.id == key_id)
            .values(revoked_at=func.coalesce(ApiKeyRow.revoked_at, func.clock_timestamp()))
            .returning(ApiKeyRow.id)
        )
        if not is_id("key", key_id) or self._session.scalar(revoked) is None:
            raise NotFound


def new_key() -> str:
    """Make a key of 256 random bits."""
    return "nft_" + secrets.token_urlsafe(32)


def digest_of(plaintext: str) -> str:
    """Hash a key for storage and lookup; a fast hash is right for 256 random bits."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        row.id, row.project_id, row.name, row.prefix, tuple(row.scopes), row.created_at, row.revoked_at
    )

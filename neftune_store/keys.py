"""The ledger of keys: who holds one, what it may do, and until when.

A key is 256 random bits; only its hash is kept, so a stolen table opens nothing, and a lookup by hash tells
by its timing nothing about keys that exist. Knows no HTTP.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.errors import KeyUnknown, LastAdminKey, TooManyKeys, WeakKey
from neftune_store.ids import is_id, new_id
from neftune_store.models import ApiKeyRow, LoginRow, ProjectRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.sanitise import clean_text

SCOPES = ("read", "write", "admin")
OPERATOR = "operator"
ALL_SCOPES = (*SCOPES, OPERATOR)
SHORTEST_PRESET = 16  # characters
MOST = 200  # keys of a project that open something
USE_NOTED = timedelta(minutes=1)  # how old `last_used_at` may be while a key is in use


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
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, in which project, and what they may do there."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    expires_at: datetime | None = None
    use_unnoted: bool = False  # `last_used_at` is older than it may be
    login_id: str | None = None  # of a browser that came with its cookie
    login_ends: datetime | None = None
    chose_project: bool = False  # an operator that named one

    @property
    def is_operator(self) -> bool:
        """Tell whether all projects are open to this key."""
        return OPERATOR in self.scopes


class KeyLedger:
    """Every question and every change about keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure(
        self,
        plaintext: str,
        project_id: str,
        name: str,
        scopes: Sequence[str] = SCOPES,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Let this key open the project; a key that is known already stays as it is."""
        if len(plaintext) < SHORTEST_PRESET:
            raise WeakKey(SHORTEST_PRESET)
        digest = digest_of(plaintext)
        new = insert(ApiKeyRow).values(
            id=new_id("key"),
            project_id=project_id,
            name=clean_text(name),
            prefix=plaintext[:8] if plaintext.startswith("nft_") else "",
            sha256=digest,
            scopes=list(scopes),
            expires_at=expires_at,
        )
        self._session.execute(new.on_conflict_do_nothing(index_elements=["sha256"]))
        return _key(self._session.scalars(select(ApiKeyRow).where(ApiKeyRow.sha256 == digest)).one())

    def make(
        self, project_id: str, name: str, scopes: Sequence[str], expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key while the project may have more. The plaintext is given once and kept nowhere."""
        self._lock(project_id)
        found = select(func.count()).select_from(ApiKeyRow).where(ApiKeyRow.project_id == project_id, good())
        if (self._session.scalar(found) or 0) >= MOST:
            raise TooManyKeys(MOST)
        plaintext = new_key()
        return self.ensure(plaintext, project_id, name, scopes, expires_at), plaintext

    def page(self, project_id: str, cursor: str | None = None, limit: int = 50) -> Page[ApiKey]:
        """Give a page of the project's keys, newest first; also those that open nothing any more."""
        found = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id)
        if cursor is not None:
            after = decode_cursor(cursor, "key")
            place = tuple_(ApiKeyRow.created_at, ApiKeyRow.id)
            found = found.where(place < tuple_(after.created_at, after.id))
        found = found.order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        return page_of([_key(row) for row in rows], [Place(row.created_at, row.id) for row in rows], limit)

    def get(self, project_id: str, key_id: str) -> ApiKey:
        """Give one key of the project."""
        found = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id, ApiKeyRow.id == key_id)
        row = self._session.scalars(found).one_or_none() if is_id("key", key_id) else None
        if row is None:
            raise KeyUnknown
        return _key(row)

    def by_id(self, key_id: str) -> ApiKey:
        """Give the key that somebody has just come with."""
        return _key(self._session.scalars(select(ApiKeyRow).where(ApiKeyRow.id == key_id)).one())

    def revoke(self, project_id: str, key_id: str, *, even_last_admin: bool = False) -> bool:
        """Close a key for ever; tell whether it was open till now. A second time changes nothing.

        The lock on the project keeps two keys from revoking each other at once and leaving nobody.
        """
        if not is_id("key", key_id):
            raise KeyUnknown
        self._lock(project_id)
        key = self.get(project_id, key_id)
        if key.revoked_at is not None:
            return False
        if "admin" in key.scopes and not even_last_admin and not self._other_admin(key):
            raise LastAdminKey
        closed = update(ApiKeyRow).where(ApiKeyRow.id == key.id)
        self._session.execute(closed.values(revoked_at=func.clock_timestamp()))
        return True

    def holder(self, plaintext: str) -> Principal | None:
        """Tell who holds this key; ``None`` for one that is unknown, revoked or over."""
        row = self._session.execute(_HOLDS, {"sha256": digest_of(plaintext)}).one_or_none()
        return None if row is None else Principal(row[0], row[1], frozenset(row[2]), *row[3:])

    def holder_by_login(self, cookie: str) -> Principal | None:
        """Tell who logged this browser in; ``None`` when the login or its key is over."""
        row = self._session.execute(_LOGGED_IN, {"sha256": digest_of(cookie)}).one_or_none()
        return None if row is None else Principal(row[0], row[1], frozenset(row[2]), *row[3:])

    def still_good(self, key_ids: Iterable[str]) -> set[str]:
        """Tell which of these keys still open something."""
        found = select(ApiKeyRow.id).where(ApiKeyRow.id.in_(list(key_ids)), good())
        return set(self._session.scalars(found))

    def note_use(self, key_ids: Collection[str]) -> None:
        """Write down that these keys are in use. Whoever changes one of them just now is not waited for."""
        free = (
            select(ApiKeyRow.id)
            .where(ApiKeyRow.id.in_(sorted(key_ids)), _use_unnoted())
            .with_for_update(key_share=True, skip_locked=True)
        )
        noted = update(ApiKeyRow).where(ApiKeyRow.id.in_(free.scalar_subquery()))
        self._session.execute(
            noted.values(last_used_at=func.clock_timestamp()),
            execution_options={"synchronize_session": False},
        )

    def _other_admin(self, key: ApiKey) -> bool:
        others = select(ApiKeyRow.id).where(
            ApiKeyRow.project_id == key.project_id,
            ApiKeyRow.id != key.id,
            ApiKeyRow.scopes.contains(["admin"]),
            good(),
        )
        return self._session.scalar(others.limit(1)) is not None

    def _lock(self, project_id: str) -> None:
        locked = select(ProjectRow.id).where(ProjectRow.id == project_id).with_for_update(key_share=True)
        self._session.execute(locked)


def new_key() -> str:
    """Make a key of 256 random bits."""
    return "nft_" + secrets.token_urlsafe(32)


def digest_of(plaintext: str) -> str:
    """Hash a key for storage and lookup; a fast hash is right for 256 random bits."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).hexdigest()


def good() -> ColumnElement[bool]:
    """Say in SQL that a key opens something now."""
    ends = ApiKeyRow.expires_at
    return ApiKeyRow.revoked_at.is_(None) & or_(ends.is_(None), ends > func.clock_timestamp())


def _use_unnoted() -> ColumnElement[bool]:
    noted = ApiKeyRow.last_used_at
    return or_(noted.is_(None), noted < func.clock_timestamp() - USE_NOTED)


# Built once: every request asks one of them, and putting a statement together costs as much as asking it.
_HOLDER = (ApiKeyRow.project_id, ApiKeyRow.id, ApiKeyRow.scopes, ApiKeyRow.expires_at, _use_unnoted())
_HOLDS = select(*_HOLDER).where(ApiKeyRow.sha256 == bindparam("sha256"), good())
_LOGGED_IN = (
    select(*_HOLDER, LoginRow.id, LoginRow.expires_at)
    .join(LoginRow, LoginRow.api_key_id == ApiKeyRow.id)
    .where(LoginRow.sha256 == bindparam("sha256"), LoginRow.expires_at > func.clock_timestamp(), good())
)


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        row.id,
        row.project_id,
        row.name,
        row.prefix,
        tuple(row.scopes),
        row.created_at,
        row.revoked_at,
        row.expires_at,
        row.last_used_at,
    )

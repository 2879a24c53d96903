"""Keys of a project: listed, made and revoked by who holds its scope admin."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from api.bodies import body_as, described
from api.deps import PLAIN, Admin, Audited, Cursor, Limit, Tx, problems
from api.refusals import GrantsTooMuch
from api.schemas import Listing, Schema
from api.security import includes
from neftune_store.keys import ApiKey, KeyLedger, Principal

router = APIRouter(prefix="/keys", tags=["keys"])

Scope = Literal["read", "write", "admin", "operator"]


class KeySpec(BaseModel):
    """What a new key is called and may do."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=120, pattern=PLAIN, description="Display text.")
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=4,
        description="admin may write, and write may read; operator opens all projects.",
    )
    expires_at: AwareDatetime | None = Field(
        None, strict=False, description="When it ends by itself, in RFC 3339; left out: never."
    )

    @field_validator("expires_at", mode="before")
    @classmethod
    def _is_text(cls, given: Any) -> Any:
        if given is not None and not isinstance(given, str):  # numbers would be read as seconds
            raise ValueError("must be a time in RFC 3339, such as 2027-01-31T12:00:00Z")
        return given

    @field_validator("expires_at")
    @classmethod
    def _is_to_come(cls, given: datetime | None) -> datetime | None:
        if given is not None and given <= datetime.now(UTC):
            raise ValueError("must lie in the future")
        return given


class KeyRead(Schema):
    """A key; never the key itself."""

    id: str
    name: str
    prefix: str = Field(description="Its first eight characters; empty for one that was preset.")
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, known: ApiKey, **more: Any) -> Self:
        """Show a key."""
        return cls(
            id=known.id,
            name=known.name,
            prefix=known.prefix,
            scopes=list(known.scopes),
            created_at=known.created_at,
            expires_at=known.expires_at,
            revoked_at=known.revoked_at,
            last_used_at=known.last_used_at,
            **more,
        )


class KeyMade(KeyRead):
    """A new one, with the key itself; it is not shown again."""

    key: str


@router.get("", summary="List keys, newest first", responses=problems(400, 401, 403, 422))
def list_keys(who: Admin, tx: Tx, cursor: Cursor = None, limit: Limit = 50) -> Listing[KeyRead]:
    """List the project's keys, also those that were revoked or are over."""
    page = KeyLedger(tx).page(who.project_id, cursor, limit)
    return Listing(items=[KeyRead.of(one) for one in page.items], next=page.next)


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    openapi_extra=described(KeySpec),
    responses=problems(400, 401, 403, 409, 413, 415, 422),
)
def make_key(
    response: Response,
    who: Admin,
    tx: Tx,
    audit: Audited,
    wanted: Annotated[KeySpec, Depends(body_as(KeySpec))],
) -> KeyMade:
    """Make a key of the project; the answer is the only one that holds it."""
    check_grant(who, wanted.scopes, wanted.expires_at)
    scopes = sorted(set(wanted.scopes))
    key, plaintext = KeyLedger(tx).make(who.project_id, wanted.name, scopes, wanted.expires_at)
    audit.note(who.project_id, "key.created", key.id, scopes=scopes, expires_at=_said(wanted.expires_at))
    response.headers["location"] = f"/keys/{key.id}"
    return KeyMade.of(key, key=plaintext)


@router.get("/{key_id}", summary="Look at a key", responses=problems(400, 401, 403, 404))
def get_key(who: Admin, tx: Tx, key_id: str) -> KeyRead:
    """Tell what the key may do, and when it was last used."""
    return KeyRead.of(KeyLedger(tx).get(who.project_id, key_id))


@router.delete(
    "/{key_id}", status_code=204, summary="Revoke a key", responses=problems(400, 401, 403, 404, 409)
)
def revoke_key(
    who: Admin,
    tx: Tx,
    audit: Audited,
    key_id: str,
    even_last_admin: Annotated[
        bool, Query(description="Also when nobody is left who could make keys for the project.")
    ] = False,
) -> None:
    """Close a key for ever: from the next request on it opens nothing, and its live streams end."""
    if KeyLedger(tx).revoke(who.project_id, key_id, even_last_admin=even_last_admin):
        audit.note(who.project_id, "key.revoked", key_id)


def check_grant(who: Principal, scopes: list[Scope], expires_at: datetime | None) -> None:
    """Refuse to make a key that may do more, or for longer, than the one that asks."""
    if any(not includes(who.scopes, scope) for scope in scopes):
        raise GrantsTooMuch("this one lacks a scope that the new one would have")
    if who.expires_at is not None and (expires_at is None or expires_at > who.expires_at):
        raise GrantsTooMuch("the new one would outlive this one, which ends by itself")


def _said(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None

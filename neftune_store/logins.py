"""The ledger of logins: browsers that a key has let in, known by a cookie of 256 random bits.

Only the cookie's hash is kept. A login ends with its own time, with its key, or when it is told to.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from neftune_store.ids import new_id
from neftune_store.keys import digest_of
from neftune_store.models import LoginRow

MOST = 50  # of a key; the oldest one ends when another begins


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that may come in until then."""

    id: str
    expires_at: datetime


class LoginLedger:
    """Every change about logins."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def begin(self, key_id: str, lasts: timedelta) -> tuple[Login, str]:
        """Let a browser in; the cookie is given once and kept nowhere."""
        self._sweep(key_id)
        cookie = secrets.token_urlsafe(32)
        values = {
            "id": new_id("login"),
            "sha256": digest_of(cookie),
            "api_key_id": key_id,
            "expires_at": func.clock_timestamp() + lasts,
        }
        row = self._session.scalars(insert(LoginRow).values(**values).returning(LoginRow)).one()
        return Login(row.id, row.expires_at), cookie

    def end(self, login_id: str) -> None:
        """Let it in no more; a second time changes nothing."""
        self._session.execute(delete(LoginRow).where(LoginRow.id == login_id))

    def _sweep(self, key_id: str) -> None:
        """Forget what is over, and what is one too many."""
        mine = LoginRow.api_key_id == key_id
        self._session.execute(delete(LoginRow).where(mine, LoginRow.expires_at <= func.clock_timestamp()))
        newest = select(LoginRow.id).where(mine).order_by(LoginRow.created_at.desc()).limit(MOST - 1)
        self._session.execute(delete(LoginRow).where(mine, LoginRow.id.not_in(newest.scalar_subquery())))

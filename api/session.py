"""Logins of browsers: a key is exchanged for a cookie that no script can read.

The key stands in the header, as everywhere, so no page of another site can log somebody in.
"""

from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.cookies import drop_cookie, set_cookie
from api.deps import Anybody, Audited, Tx, problems
from api.refusals import Unauthorized
from api.schemas import Schema
from neftune_store.keys import KeyLedger, Principal
from neftune_store.logins import LoginLedger
from neftune_store.projects import ProjectLedger

router = APIRouter(prefix="/session", tags=["keys"])


class KeyShown(Schema):
    """The key behind this request; never the key itself."""

    id: str
    name: str
    prefix: str
    scopes: list[str]


class ProjectShown(Schema):
    """The project it is in."""

    id: str
    name: str


class SessionRead(Schema):
    """Who asks, and until when their browser is logged in."""

    key: KeyShown
    project: ProjectShown
    scopes: list[str] = Field(description="What the key may do in this project.")
    expires_at: datetime | None = Field(description="When the login ends; null for a key without one.")


@router.post("", status_code=201, summary="Log a browser in", responses=problems(401, 429))
def log_in(request: Request, response: Response, who: Anybody, tx: Tx, audit: Audited) -> SessionRead:
    """Exchange the key in `Authorization` for a cookie; it ends with its key, or after `LOGIN_HOURS`."""
    if who.login_id is not None:  # a cookie makes no cookies
        raise Unauthorized
    lasts = timedelta(hours=request.app.state.settings.login_hours)
    login, cookie = LoginLedger(tx).begin(who.key_id, lasts)
    audit.note(who.project_id, "session.began", login.id)
    set_cookie(request, response, cookie, int(lasts.total_seconds()))
    return _shown(tx, who, login.expires_at)


@router.get("", summary="Tell who is logged in", responses=problems(401))
def who_is_it(who: Anybody, tx: Tx) -> SessionRead:
    """Tell which key, project and scopes this request has; for a key as for a cookie."""
    return _shown(tx, who, who.login_ends)


@router.delete("", status_code=204, summary="Log a browser out", responses=problems(401, 403))
def log_out(request: Request, response: Response, who: Anybody, tx: Tx, audit: Audited) -> None:
    """End the login that the cookie stands for; with a key there is none to end."""
    if who.login_id is None:
        return
    LoginLedger(tx).end(who.login_id)
    audit.note(who.project_id, "session.ended", who.login_id)
    drop_cookie(request, response)


def _shown(tx: Session, who: Principal, ends: datetime | None) -> SessionRead:
    key = KeyLedger(tx).by_id(who.key_id)
    project = ProjectLedger(tx).get(who.project_id)
    return SessionRead(
        key=KeyShown(id=key.id, name=key.name, prefix=key.prefix, scopes=list(key.scopes)),
        project=ProjectShown(id=project.id, name=project.name),
        scopes=sorted(who.scopes),
        expires_at=ends,
    )

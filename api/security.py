"""Who asks: keys, cookies, scopes, and addresses that guess.

A key opens one project. What it may do is ordered: admin may write, and who writes may read. An operator's
key opens every project that it names in a header; without the header it is in the key's own project. A
browser comes with the cookie of its login instead; a key in the header wins over it.
"""

import re
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from sqlalchemy.orm import Session
from starlette.requests import Request

from api.cookies import cookie_of, refuse_foreign
from api.openai.envelope import speaks
from api.refusals import (
    BadRequest,
    Forbidden,
    ProjectNeeded,
    ProjectNotYours,
    TooManyFailures,
    TooManyRequests,
    Unauthorized,
)
from neftune_store.audit import Actor, AuditLedger
from neftune_store.keys import ALL_SCOPES, KeyLedger, Principal
from neftune_store.projects import ProjectLedger

Scope = Literal["read", "write", "admin", "operator"]

_INCLUDES: dict[str, set[Scope]] = {
    "read": {"read"},
    "write": {"read", "write"},
    "admin": {"read", "write", "admin"},
    "operator": {"operator"},
}
_KEY = re.compile(r"[\x21-\x7e]{8,256}")
PROJECT_HEADER = "neftune-project"
_THEIR_PROJECT_HEADER = "openai-project"  # what clients under /v1 can send
_LONGEST_PROJECT = 255


class WrongKeys:
    """Counts wrong keys per address in one-minute windows, for a bounded number of addresses.

    A good key always passes: who shares an address with a guesser is not locked out.
    """

    def __init__(self, per_minute: int, *, addresses: int = 10_000) -> None:
        self._per_minute = per_minute
        self._addresses = addresses
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, address: str) -> bool:
        """Count one; tell whether the address went over its measure."""
        minute = int(time.monotonic() // 60)
        since, count = self._seen.pop(address, (minute, 0))
        count = count + 1 if since == minute else 1
        self._seen[address] = (minute, count)
        while len(self._seen) > self._addresses:
            self._seen.popitem(last=False)
        return count > self._per_minute


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who sends it, and which project it names."""

    key: str | None
    cookie: str | None
    project: str | None
    their_project: str | None


async def identify(request: Request, scope: Scope, *, or_operator: bool = False) -> Principal:
    """Tell whose request this is; refuse unless they have ``scope``, or are an operator, if that will do."""
    who = await known(request)
    if includes(who.scopes, scope) or (or_operator and who.is_operator):
        return who
    if who.is_operator and scope != "operator":
        raise ProjectNeeded
    raise Forbidden(scope)


def includes(held: frozenset[str], scope: str) -> bool:
    """Tell whether these scopes have this one in them."""
    return any(scope in _INCLUDES.get(one, ()) for one in held)


async def known(request: Request) -> Principal:
    """Tell whose request this is, in a short transaction of its own, once; count it against their measure."""
    found: Principal | None = getattr(request.state, "principal", None)
    if found is not None:
        return found
    shown = _shown(request)
    if shown.cookie is not None:
        refuse_foreign(request)
    if shown.key is not None or shown.cookie is not None:
        look = partial(_look_up, shown, _origin(request))
        found = await request.app.state.database.ask(look)
    if found is None:
        if shown.cookie is None and request.app.state.wrong_keys.add(_address(request)):
            raise TooManyFailures
        raise Unauthorized
    if found.use_unnoted:
        request.app.state.keeper.note(found.key_id)
    rate = request.app.state.rates.take(found.key_id)
    request.state.rate = rate  # told on the answer, whatever it is
    if rate is not None and rate.wait_s is not None:
        raise TooManyRequests(rate.limit, rate.wait_s)
    request.state.principal = found
    return found


def actor(request: Request) -> Actor:
    """Give who is written down for what this request changes."""
    return replace(_origin(request), key_id=request.state.principal.key_id)


def _look_up(shown: Shown, origin: Actor, session: Session) -> Principal | None:
    keys = KeyLedger(session)
    who = keys.holder(shown.key) if shown.key is not None else keys.holder_by_login(shown.cookie or "")
    if who is None:
        return None
    if not who.is_operator:
        # Taking no notice would do in one project what was meant for another.
        if shown.project not in {None, who.project_id}:
            raise ProjectNotYours
        return who
    wanted = shown.project or shown.their_project
    if wanted is None:
        return who
    project_id = ProjectLedger(session).chosen(wanted)
    AuditLedger(session).note_entry(replace(origin, key_id=who.key_id), project_id)
    return replace(who, project_id=project_id, scopes=frozenset(ALL_SCOPES), chose_project=True)


def _shown(request: Request) -> Shown:
    given = request.headers.getlist("authorization")
    projects = request.headers.getlist(PROJECT_HEADER)
    if len(projects) > 1 or any(not 0 < len(one) <= _LONGEST_PROJECT for one in projects):
        raise BadRequest("Neftune-Project must be the id or the name of one project, sent once.")
    theirs = request.headers.get(_THEIR_PROJECT_HEADER, "") if speaks(request.scope["path"]) else ""
    return Shown(
        key=_bearer(given),
        cookie=None if given else cookie_of(request),
        project=projects[0] if projects else None,
        their_project=theirs if 0 < len(theirs) <= _LONGEST_PROJECT else None,
    )


def bearer(request: Request) -> str | None:
    """Give what was sent as a key, if it can be one."""
    return _bearer(request.headers.getlist("authorization"))


def _bearer(given: list[str]) -> str | None:
    if len(given) != 1:
        return None
    scheme, _, key = given[0].partition(" ")
    return key if scheme.lower() == "bearer" and _KEY.fullmatch(key) else None


def _origin(request: Request) -> Actor:
    return Actor("", request.state.request_id, _address(request))


def _address(request: Request) -> str:
    return request.client.host if request.client else "?"

"""Who asks: keys, scopes, and addresses that guess.

A key opens one project. What it may do is ordered: admin may write, and who writes may read.
"""

import re
import time
from collections import OrderedDict
from typing import Literal

from starlette.requests import Request

from api.refusals import Forbidden, TooManyFailures, Unauthorized
from neftune_store.projects import Principal, ProjectLedger

Scope = Literal["read", "write", "admin"]

_INCLUDES: dict[str, set[Scope]] = {
    "read": {"read"},
    "write": {"read", "write"},
    "admin": {"read", "write", "admin"},
}
_KEY = re.compile(r"[\x21-\x7e]{8,256}")


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


async def identify(request: Request, scope: Scope) -> Principal:
    """Tell whose key this is, in a short transaction of its own; refuse unless it has ``scope``."""
    key = _bearer(request)
    principal: Principal | None = None
    if key is not None:
        principal = await request.app.state.database.ask(lambda tx: ProjectLedger(tx).authenticate(key))
    if principal is None:
        client = request.client.host if request.client else "?"
        if request.app.state.wrong_keys.add(client):
            raise TooManyFailures
        raise Unauthorized
    if not any(scope in _INCLUDES.get(held, ()) for held in principal.scopes):
        raise Forbidden(scope)
    return principal


def _bearer(request: Request) -> str | None:
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        return None
    scheme, _, key = given[0].partition(" ")
    return key if scheme.lower() == "bearer" and _KEY.fullmatch(key) else None

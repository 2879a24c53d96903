"""Requests and their answers: who we are, what is sent again, and how a refusal is told.

While the service is away, what may arrive twice is sent again. Knows HTTP and problem documents, no route.
"""

import ipaddress
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from neftune_client.config import Access
from neftune_client.errors import BadInput, Refused, Unreachable
from neftune_client.patience import Patience, Pause, Tell, may_come_back, silent

PATIENCE_S = 60.0
FIRST_S = 3.0  # of patience with an address that has never answered: it may well be wrong
_REPEATABLE = frozenset({"GET", "HEAD", "DELETE", "PUT"})


class Wire:
    """A connection to one service."""

    def __init__(
        self,
        access: Access,
        *,
        patience_s: float = PATIENCE_S,
        tell: Tell = silent,
        pause: Pause = time.sleep,
    ) -> None:
        self.access, self.patience_s, self.tell, self.pause = access, patience_s, tell, pause
        self.here = _is_here(access.url)
        self._met = False
        try:
            self.http = httpx.Client(
                base_url=_checked(access.url),
                headers={"authorization": f"Bearer {access.key}", "user-agent": "neftune-client"},
                timeout=httpx.Timeout(30.0, connect=5.0),
                trust_env=not self.here,  # no proxy leads to this machine
            )
        except UnicodeEncodeError:
            raise BadInput("The key holds characters that no key has.") from None

    def send(self, method: str, path: str, *, again: bool | None = None, **request: Any) -> httpx.Response:
        """Send until it succeeds or is refused; ``again`` tells whether it may arrive twice."""
        repeatable = method in _REPEATABLE if again is None else again
        patience: Patience | None = None
        while True:
            answer = None
            try:
                answer = self.http.request(method, path, **request)
                self._met = True
                if answer.is_success:
                    return answer
                trouble: Refused | Unreachable = Refused.of(answer)
                hopeful = repeatable and may_come_back(answer)
            except httpx.TransportError as error:
                trouble = self.unreachable(error)
                hopeful = repeatable or never_arrived(error)
            patience = patience or self.patience(None if self._met else min(FIRST_S, self.patience_s))
            if not hopeful or not patience.wait(trouble, answer):
                raise trouble

    def patience(self, seconds: float | None = None) -> Patience:
        """Give the patience for one thing."""
        return Patience(self.patience_s if seconds is None else seconds, self.tell, self.pause)

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        """Say that nobody answers, and what may help."""
        why = str(error) or type(error).__name__
        url = self.access.url
        if never_arrived(error):
            here = " `neftune up` starts a service on this machine." if self.here else ""
            return Unreachable(f"{url} does not answer ({why}).{here}")
        return Unreachable(f"The connection to {url} broke ({why}).")

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()


def never_arrived(error: httpx.TransportError) -> bool:
    """Tell whether the request can't have reached the service."""
    return isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput("The address must look like http://127.0.0.1:8000.")
    return url


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""How long to go on with a service that is away: pauses that grow, or that it asks for, and their end."""

import random
import time
from collections.abc import Callable

import httpx

_FIRST_S, _LONGEST_S = 0.5, 8.0
_AWAY = frozenset({429, 502, 503, 504})

Tell = Callable[[str], None]
Pause = Callable[[float], None]


def silent(_what: str) -> None:
    """Tell nobody."""


class Patience:
    """So many seconds of waiting for one thing; what goes well again renews it."""

    def __init__(self, seconds: float, tell: Tell = silent, pause: Pause = time.sleep) -> None:
        self._seconds, self._tell, self._pause = seconds, tell, pause
        self.renew()

    def renew(self) -> None:
        """Begin anew."""
        self._left, self._next = self._seconds, _FIRST_S

    def wait(self, why: Exception, answer: httpx.Response | None = None) -> bool:
        """Wait before the next try, and say so; False when there is no patience left for it."""
        asked = retry_after(answer)
        # Spread out, so that all who were cut off do not come back at once.
        seconds = self._next * random.uniform(0.8, 1.2) if asked is None else asked  # noqa: S311 - no secret
        if seconds > self._left:
            return False
        self._left -= max(seconds, 0.1)
        self._next = min(2 * self._next, _LONGEST_S)
        self._tell(f"{str(why).splitlines()[0]} Trying again in {seconds:.0f} s.")
        self._pause(seconds)
        return True


def may_come_back(answer: httpx.Response) -> bool:
    """Tell whether the same request may be answered otherwise in a while."""
    return answer.status_code in _AWAY and answer.headers.get("x-should-retry") != "false"


def retry_after(answer: httpx.Response | None) -> float | None:
    """Read how long to wait, in seconds; a date is nothing that our services send."""
    told = answer.headers.get("retry-after", "") if answer is not None else ""
    return float(told) if told.isascii() and told.isdigit() else None

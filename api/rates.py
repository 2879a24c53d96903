"""How many requests a key may make in a minute: counted in this process, so nothing is waited for.

Each key has a bucket as large as a minute's measure, which fills evenly. Nobody is asked, so there is nothing
that could be away: see docs/decisions/0010.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a key stands after a request."""

    limit: int
    remaining: int
    reset_s: int  # until the bucket is full
    wait_s: int | None  # until the next request will pass, when this one does not

    def headers(self) -> dict[str, str]:
        """Tell it as the IETF's draft names it (draft-ietf-httpapi-ratelimit-headers, up to 06)."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset_s),
        }


class Rates:
    """The buckets of a bounded number of keys; who was idle longest is forgotten, and so has a full one."""

    def __init__(
        self, per_minute: int, *, keys: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = per_minute
        self._keys = keys
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when each bucket will be full again

    def take(self, key_id: str) -> Rate | None:
        """Take one request out of the key's bucket; ``None`` when there is no measure."""
        if not self._limit:
            return None
        now, each = self._clock(), _MINUTE / self._limit
        full_at = max(self._full_at.pop(key_id, now), now)
        wait = full_at + each - now - _MINUTE
        over = wait > 1e-9  # sums of sixtieths are not exact
        if not over:
            full_at += each
        self._full_at[key_id] = full_at
        while len(self._full_at) > self._keys:
            self._full_at.popitem(last=False)
        left = full_at - now
        return Rate(
            self._limit,
            max(int((_MINUTE - left) / each + 1e-6), 0),
            math.ceil(left),
            max(math.ceil(wait), 1) if over else None,
        )

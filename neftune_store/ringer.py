"""Rings the bell on a thread of its own, so that no answer and no look at the table waits for Redis.

The first ring is at once; those that come close behind it are rung together.
A bell that could not be rung is logged and forgotten; the reconciler rings again for whatever is queued.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import structlog

if TYPE_CHECKING:
    from neftune_store.bells import Bells

log = structlog.get_logger()

_REST_S = 0.1  # after a ring: who asks meanwhile waits so long at most


class Ringer:
    """One background thread and a count of wishes."""

    def __init__(self, ring: Callable[[int], None], let_go: Callable[[], None] = lambda: None) -> None:
        self._ring = ring
        self._let_go = let_go
        self._wishes = 0
        self._count = threading.Lock()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)

    @classmethod
    def of(cls, redis_url: str) -> Self:
        """Make one that rings there."""
        bells = _Bells(redis_url)
        return cls(bells.ring, bells.close)

    def start(self) -> None:
        """Begin to listen for wishes."""
        self._thread.start()

    def ask(self) -> None:
        """Ring soon; returns at once."""
        with self._count:
            self._wishes += 1
        self._wanted.set()

    def close(self, timeout_s: float = 1) -> None:
        """Stop; a ring that hangs is left to the daemon thread."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._closing.is_set():
                self._let_go()
                return
            self._wanted.clear()
            with self._count:
                wishes, self._wishes = self._wishes, 0
            try:
                self._ring(wishes)
            except Exception as error:  # the edge of a thread; the reconciler makes up for it
                log.warning("bell.not_rung", error=type(error).__name__)
            self._closing.wait(_REST_S)


class _Bells:
    """Bells whose library is loaded by the first ring: it is slow to import."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._bells: Bells | None = None

    def ring(self, times: int) -> None:
        if self._bells is None:
            from neftune_store.bells import Bells  # noqa: PLC0415 - as said above

            self._bells = Bells(self._redis_url)
        self._bells.ring(times)

    def close(self) -> None:
        if self._bells is not None:
            self._bells.close()

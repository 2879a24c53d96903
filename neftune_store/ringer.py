"""Rings the bell on a thread of its own, so that no answer and no look at the table waits for Redis.

Rings that come close together are one ring: a bell says "look at the table", not what to find there. A
bell that could not be rung is logged and forgotten; the reconciler rings again for whatever is queued.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Self

import structlog

log = structlog.get_logger()


class Ringer:
    """One background thread and a flag."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._wanted = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)

    @classmethod
    def of(cls, redis_url: str) -> Self:
        """Make one that rings there."""
        return cls(partial(_ring, redis_url))

    def start(self) -> None:
        """Begin to listen for wishes."""
        self._thread.start()

    def ask(self) -> None:
        """Ring soon; returns at once."""
        self._wanted.set()

    def close(self, timeout_s: float = 1) -> None:
        """Stop; a ring that hangs is left to the daemon thread."""
        self._closing = True
        self._wanted.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closing:
                return
            try:
                self._ring()
            except Exception as error:  # the edge of a thread; the reconciler makes up for it
                log.warning("bell.not_rung", error=type(error).__name__)


def _ring(redis_url: str) -> None:
    from neftune_store import bells  # noqa: PLC0415 - the broker client is slow to import

    bells.ring(redis_url)

"""Hears from Postgres which job changed, and wakes the streams that wait for it.

A wake-up carries no content and may be lost: streams also look by themselves every few seconds. So this
thread is speed, never correctness, and is simply started anew when its connection dies.
"""

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator

import psycopg
import structlog

from neftune_store.events import JOBS_CHANNEL
from neftune_store.journal import LOGS_CHANNEL

log = structlog.get_logger()

_LOOK_UP_S = 1.0  # how often the thread sees that it shall end


class Wakeups:
    """Streams that wait, by job. Lives on the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.contextmanager
    def of(self, *job_ids: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever one of the jobs changes."""
        event = asyncio.Event()
        for job_id in job_ids:
            self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            for job_id in job_ids:
                self._waiting[job_id].discard(event)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def wake(self, job_id: str) -> None:
        """Wake who waits for this job, or for its log."""
        for event in self._waiting.get(job_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody; said at the end, so that streams see it."""
        for events in self._waiting.values():
            for event in events:
                event.set()


class Listener:
    """A thread that follows the channel and hands what it hears to the loop."""

    def __init__(self, database_url: str, wakeups: Wakeups, *, retry_s: float = 2) -> None:
        self._conninfo = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._wakeups = wakeups
        self._retry_s = retry_s
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._run, args=(loop,), name="listener", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2) -> None:
        """Stop listening."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._closing.is_set():
            try:
                self._follow(loop)
            except psycopg.Error as error:  # streams go on by looking
                log.warning("listener.lost", error=type(error).__name__)
            self._closing.wait(self._retry_s)

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        with psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=2,
            application_name="neftune-api-listener",
            keepalives_idle=5,
            keepalives_interval=5,
            keepalives_count=2,
        ) as line:
            line.execute(f"LISTEN {JOBS_CHANNEL}")
            line.execute(f"LISTEN {LOGS_CHANNEL}")
            while not self._closing.is_set():
                for heard in line.notifies(timeout=_LOOK_UP_S):
                    about = (
                        heard.payload if heard.channel == JOBS_CHANNEL else f"{LOGS_CHANNEL}:{heard.payload}"
                    )
                    loop.call_soon_threadsafe(self._wakeups.wake, about)

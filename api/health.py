"""Is the process alive, and can it do its work?

``/healthz`` asks nobody. ``/readyz`` asks every dependency, each in its own thread and all within a
bound, so that a black hole is told as ``down`` and never makes the question hang. Redis is told but not
needed: jobs are accepted without it, and run when it is back.
"""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy import Engine, text

from api.schemas import Schema
from neftune_store.blobs import Blobs
from neftune_store.db import unit_of_work

log = structlog.get_logger()
router = APIRouter(tags=["health"])

_NEEDED = ("postgres", "storage")
_BOUND_S = 2.0
_FRESH_S = 1.0

Check = Callable[[], None]
Told = dict[str, Literal["up", "down"]]


class Readiness:
    """Asks the dependencies, and remembers the answer for a second: who asks need no key."""

    def __init__(self, checks: Mapping[str, Check], *, bound_s: float = _BOUND_S) -> None:
        self._checks = dict(checks)
        self._bound_s = bound_s
        self._lock = anyio.Lock()
        self._threads = anyio.CapacityLimiter(8)
        self._told: tuple[float, Told] | None = None

    async def ask(self) -> Told:
        """Tell of each dependency whether it is up or down."""
        async with self._lock:
            if self._told is None or time.monotonic() - self._told[0] > _FRESH_S:
                told = await self._ask_all()
                self._told = (time.monotonic(), told)  # the time of the answer: who waited meanwhile takes it
            return self._told[1]

    async def _ask_all(self) -> Told:
        told: Told = dict.fromkeys(self._checks, "down")

        async def ask(name: str, check: Check) -> None:
            try:
                await anyio.to_thread.run_sync(check, abandon_on_cancel=True, limiter=self._threads)
            except Exception as error:  # whatever it is, it is down
                log.warning("dependency.down", dependency=name, error=type(error).__name__)
            else:
                told[name] = "up"

        with anyio.move_on_after(self._bound_s):
            async with anyio.create_task_group() as group:
                for name, check in self._checks.items():
                    group.start_soon(ask, name, check)
        return told


def checks(engine: Engine, blobs: Blobs, redis_url: str) -> dict[str, Check]:
    """List how to ask each dependency."""

    def postgres() -> None:
        with unit_of_work(engine) as session:
            session.execute(text("select 1"))

    return {"postgres": postgres, "storage": blobs.check, "redis": lambda: _ping(redis_url)}


def _ping(redis_url: str) -> None:
    """Ask for any answer at all: the api holds no Redis client and needs none for this."""
    url = urlsplit(redis_url)
    if url.scheme in {"unix", "redis+socket", "socket"}:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(url.path)
            _expect_answer(line)
    else:
        with socket.create_connection((url.hostname or "localhost", url.port or 6379), timeout=1) as line:
            _expect_answer(line)


def _expect_answer(line: socket.socket) -> None:
    line.sendall(b"PING\r\n")
    if not line.recv(64):  # PONG, or a wish for a password: it lives
        raise ConnectionError


class Alive(Schema):
    """The process is there."""

    status: Literal["ok"] = "ok"


class Ready(Schema):
    """Whether the service can do its work, and what of that is there."""

    status: Literal["ready", "not_ready"]
    dependencies: dict[str, Literal["up", "down"]] = Field(
        description="By name; without redis jobs are accepted and wait."
    )


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Answer as long as the process can."""
    return Alive()


@router.get(
    "/readyz",
    summary="Are the dependencies there?",
    responses={503: {"model": Ready, "description": "A needed one is down"}},
)
async def readyz(request: Request, response: Response) -> Ready:
    """Tell which dependency is up; 503 while a needed one is down."""
    told = await request.app.state.readiness.ask()
    ready = all(told.get(name) == "up" for name in _NEEDED)
    if not ready:
        response.status_code = 503
        response.headers["retry-after"] = "2"
    return Ready(status="ready" if ready else "not_ready", dependencies=told)

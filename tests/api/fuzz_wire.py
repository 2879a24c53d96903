"""Says the bytes of a case to the app itself, as a server would, and looks at what comes back.

No HTTP client stands between: what a client would refuse to send arrives here.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp

Headers = tuple[tuple[bytes, bytes], ...]

_GONE_AFTER_S = 0.05  # a client that follows a stream hangs up
_HUNG_AFTER_S = 30.0


@dataclass(frozen=True)
class Case:
    """One request, to the byte. ``@own:/jobs@`` stands for an id of that list, to be filled in."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Headers = ()
    body: tuple[bytes, ...] = ()
    cut: bool = False  # the client goes away before the body is whole

    def filled(self, ids: Mapping[bytes, bytes]) -> "Case":
        """Put ids into their places."""

        def fill(text: bytes) -> bytes:
            if b"@" in text:
                for name, value in ids.items():
                    text = text.replace(name, value)
            return text

        headers = tuple((name, fill(value)) for name, value in self.headers)
        body = tuple(map(fill, self.body))
        lengths = {str(sum(map(len, self.body))).encode(): str(sum(map(len, body))).encode()}
        headers = tuple(
            (name, lengths.get(value, value) if name == b"content-length" else value)
            for name, value in headers
        )
        return Case(self.method, fill(self.path), fill(self.query), headers, body, self.cut)


@dataclass(frozen=True)
class Answer:
    """What came back, and what it cost."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    route: str | None
    seconds: float
    cpu_seconds: float

    def told(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except ValueError:
            return None


async def ask(app: ASGIApp, case: Case) -> Answer:
    """Send one case; an exception that leaves the app, or an answer out of order, is raised."""
    told: list[MutableMapping[str, Any]] = []
    done = asyncio.Event()
    waiting = [*case.body[:-1], *case.body[-1:]] or [b""]
    scope = _scope(case)

    async def receive() -> MutableMapping[str, Any]:
        if waiting:
            piece = waiting.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting) or case.cut}
        if not case.cut:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _GONE_AFTER_S)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            done.set()

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(_HUNG_AFTER_S):
        await app(scope, receive, send)
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    starts = [message for message in told if message["type"] == "http.response.start"]
    assert len(starts) == 1, f"{len(starts)} answers"
    assert told[0] is starts[0], "a body before its head"
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in starts[0]["headers"]
    }
    assert not any("\r" in value or "\n" in value for value in headers.values()), "a header of two lines"
    body = b"".join(message.get("body", b"") for message in told[1:])
    return Answer(starts[0]["status"], headers, body, _route(scope), spent, cpu)


def _scope(case: Case) -> dict[str, Any]:
    """What uvicorn makes of the head, percent signs included."""
    path = case.path.decode("ascii", "replace")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": case.method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": case.path,
        "root_path": "",
        "query_string": case.query,
        "headers": [(name.lower(), value) for name, value in case.headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def _route(scope: Mapping[str, Any]) -> str | None:
    return getattr(scope.get("route"), "path", None)


def _no_constant(_name: str) -> None:
    raise ValueError("no JSON")

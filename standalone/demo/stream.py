"""Following a job live: server-sent events, gone on with after a lost connection.

Knows the wire format and ``Last-Event-ID``. Knows nothing of what the messages mean, but for the status
that ends a job.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from standalone.demo.client import Client
from standalone.errors import DemoFailed

ENDED = frozenset({"succeeded", "failed", "cancelled"})
_SILENCE_S = 45.0  # three of the service's keep-alives
_TRIES = 20  # connections in a row that bring nothing
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Message:
    """One event of the stream."""

    id: str
    kind: str
    data: dict[str, Any]


def follow(client: Client, job_id: str, stopping: Callable[[], bool] = lambda: False) -> Iterator[Message]:
    """Give every message of a job once, in order, until the one that ends it or the service stops."""
    last, tries = "", 0
    while True:
        try:
            for message in _connection(client, job_id, last):
                last, tries = message.id or last, 0
                yield message
                if message.kind == "status" and message.data.get("status") in ENDED:
                    return
        except httpx.HTTPError:
            pass  # the next connection goes on after the last message
        if stopping():
            raise DemoFailed("The service was stopped.")
        tries += 1
        if tries >= _TRIES:
            raise DemoFailed(f"The stream of {job_id} brought nothing in {_TRIES} connections.")
        time.sleep(_PAUSE_S)


def _connection(client: Client, job_id: str, last: str) -> Iterator[Message]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    timeout = httpx.Timeout(30.0, connect=5.0, read=_SILENCE_S)
    with client.http.stream("GET", f"/jobs/{job_id}/stream", headers=headers, timeout=timeout) as answer:
        if answer.is_client_error:
            raise DemoFailed(f"The stream of {job_id} was refused with {answer.status_code}.")
        answer.raise_for_status()
        yield from parse(answer.iter_lines())


def parse(lines: Iterable[str]) -> Iterator[Message]:
    """Read messages as the standard says: fields of a line each, a blank line ends one."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields['data']}\n{value}" if name == "data" and "data" in fields else value
        else:
            if "data" in fields:
                yield Message(
                    fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"])
                )
            fields = {}

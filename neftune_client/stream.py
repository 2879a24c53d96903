"""Following jobs live: server-sent events, gone on with after a lost connection.

Knows the wire format and ``Last-Event-ID``. Knows nothing of what the messages mean, but for the status
that ends a job.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from neftune_client.errors import ClientError, Refused, Unreachable
from neftune_client.patience import Patience, may_come_back
from neftune_client.wire import Wire

ENDED = frozenset({"succeeded", "failed", "cancelled"})
PATIENCE_S = 600.0  # of waiting for a service that is away; a train through a tunnel
_SILENCE_S = 45.0  # three of the service's keep-alives
_BETWEEN_S = 0.5  # connections that end by themselves


class Interrupted(ClientError):
    """Who follows was told to stop."""

    code = "interrupted"


@dataclass(frozen=True, slots=True)
class Message:
    """One event of the stream."""

    id: str
    kind: str
    data: dict[str, Any]


def follow(
    wire: Wire, jobs: Sequence[str], stopping: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """Give every message of the jobs once, in order, until all have ended or somebody wants to stop."""
    last, going, patience = "", set(jobs), wire.patience(PATIENCE_S)
    while True:
        trouble: Refused | Unreachable | None = None
        answer = None
        try:
            with wire.http.stream("GET", _path(jobs), **_request(last)) as answer:
                _check(answer, patience)
                for message in parse(answer.iter_lines()):
                    last = message.id or last
                    yield message
                    if message.kind == "status" and message.data.get("status") in ENDED:
                        going.discard(message.data.get("job", jobs[0]))
                        if not going:
                            return
        except httpx.TransportError as error:
            trouble = wire.unreachable(error)
        except Refused as refused:
            if answer is None or not may_come_back(answer):
                raise
            trouble = refused
        if stopping():
            raise Interrupted("The service was stopped.")
        if trouble is None:
            wire.pause(_BETWEEN_S)  # streams end by themselves after ten minutes
        elif not patience.wait(trouble, answer):
            raise trouble


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


def _path(jobs: Sequence[str]) -> str:
    return f"/jobs/{jobs[0]}/stream" if len(jobs) == 1 else f"/stream?jobs={','.join(jobs)}"


def _request(last: str) -> dict[str, Any]:
    headers = {"accept": "text/event-stream"} | ({"last-event-id": last} if last else {})
    return {"headers": headers, "timeout": httpx.Timeout(30.0, connect=5.0, read=_SILENCE_S)}


def _check(answer: httpx.Response, patience: Patience) -> None:
    if not answer.is_success:
        raise Refused.of(answer)
    patience.renew()

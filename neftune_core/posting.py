"""One POST to an address that somebody else named: looked at, connected to as it was looked at, and limited.

No redirect is followed. One clock runs over all of it, however slowly bytes come, and only so much of the
answer is read. Neither the URL nor a header is ever in an error's text; both may open doors.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from neftune_core.address import resolved


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be gone to, for how long, and how much of the answer is read (0: its status alone)."""

    allowed: Sequence[str]  # patterns of hosts that may be inside our network
    seconds: float
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of the headers, their names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerTooLong(Exception):
    """More came back than is read."""


def post(url: str, data: bytes, headers: Mapping[str, str], limits: Limits) -> Answer:
    """Send it once.

    Raises :class:`neftune_core.address.Refused`, :class:`AnswerTooLong`, ``TimeoutError``, another
    ``OSError``, ``http.client.HTTPException`` or ``ValueError``.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    line = connected(resolved(host, port, limits.allowed), port, host if secure else None, limits.seconds)
    connection = http.client.HTTPConnection(host, port, timeout=limits.seconds)
    connection.sock = line
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):  # it is over already
            socket.socket.shutdown(line, socket.SHUT_RDWR)

    clock = threading.Timer(limits.seconds, cut)
    clock.daemon = True
    clock.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, data, {**headers, "Host": parts.netloc})
        with connection.getresponse() as response:
            answer = _read(response, limits)
        if late.is_set():  # cut, where only the end of the line ends the answer
            raise TimeoutError
        return answer
    except (OSError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        clock.cancel()
        connection.close()


def connected(address: str, port: int, name: str | None, seconds: float) -> socket.socket:
    """Connect to this very address; with a name, over TLS that must prove it, whose handshake comes later."""
    line = socket.create_connection((address, port), timeout=seconds)
    if name is None:
        return line
    context = ssl.create_default_context()
    return context.wrap_socket(line, server_hostname=name, do_handshake_on_connect=False)


def _read(response: http.client.HTTPResponse, limits: Limits) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    if not limits.answer_bytes:
        return Answer(response.status, headers, b"")
    body = response.read(limits.answer_bytes + 1)
    if len(body) > limits.answer_bytes:
        raise AnswerTooLong
    if response.length:  # what was announced and did not come; a read of so many bytes doesn't mind
        raise http.client.IncompleteRead(b"", response.length)
    return Answer(response.status, headers, body)

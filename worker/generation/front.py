"""Where the api asks: a small HTTP server for one route, on TCP or on a Unix socket, behind a token.

``POST /orders`` takes an order and gives a JSON line for each thing that is said, until all is said. Who
hangs up is noticed while waiting, too. Knows the desk; knows no models.
"""

import hmac
import json
import select
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Empty
from typing import Any

import msgspec

from neftune_core.generation_lines import MAX_LINE_BYTES, Order, Said, Wait, encode, order
from worker.generation.desk import Desk, DeskFull, Ticket

_HEAD_SECONDS = 10.0  # for a request to come
_WRITE_SECONDS = 60.0  # for who listens to read on
_TICK_SECONDS = 0.25
_WAIT_SECONDS = 5.0  # between words that only tell that somebody is at it


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False
    desk: Desk
    token: str


class _Tcp(_Threads, socketserver.TCPServer):
    allow_reuse_address = True


class _Unix(_Threads, socketserver.UnixStreamServer):
    pass


class Front:
    """The open door; ``address`` is where it is, as :func:`listens` spells it."""

    def __init__(self, listen: str, token: str, desk: Desk) -> None:
        self._server: _Tcp | _Unix
        self._path: Path | None = None
        if listen.startswith("unix:"):
            self._path = Path(listen.removeprefix("unix:"))
            self._path.unlink(missing_ok=True)  # of a predecessor that was killed
            self._server = _Unix(str(self._path), _Handler)
            self._path.chmod(0o600)
            self.address = listen
        else:
            host, _, port = listen.rpartition(":")
            self._server = _Tcp((host, int(port)), _Handler)
            self.address = f"{_reachable(host)}:{self._server.server_address[1]}"
        self._server.token, self._server.desk = token, desk

    def open(self) -> None:
        """Hear requests, in threads."""
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="front", daemon=True).start()

    def close(self) -> None:
        """Hear no more."""
        self._server.shutdown()
        self._server.server_close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _reachable(host: str) -> str:
    """Give the name by which others reach a server that listens everywhere."""
    return socket.gethostname() if host in {"0.0.0.0", "[::]", "::"} else host  # noqa: S104 - compared, not bound


class _Handler(BaseHTTPRequestHandler):
    server: _Tcp | _Unix
    timeout = _HEAD_SECONDS

    def do_GET(self) -> None:
        """Tell that the process lives."""
        self._answer(HTTPStatus.OK if self.path == "/healthz" else HTTPStatus.NOT_FOUND, {})

    def do_POST(self) -> None:
        """Take an order and give what is said to it."""
        given = self.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            self._answer(HTTPStatus.UNAUTHORIZED, {})
            return
        asked = self._order() if self.path == "/orders" else None
        if asked is None:
            self._answer(HTTPStatus.BAD_REQUEST, {})
            return
        try:
            ticket = self.server.desk.hand_in(asked)
        except DeskFull:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"code": "generation_busy"})
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "application/x-ndjson")
        self.end_headers()
        self.connection.settimeout(_WRITE_SECONDS)
        try:
            self._pass_on(ticket)
        except OSError:
            pass
        finally:
            ticket.gone.set()

    def _order(self) -> Order | None:
        try:
            length = int(self.headers.get("content-length", ""))
            return order(self.rfile.read(length)) if 0 < length <= MAX_LINE_BYTES else None
        except (ValueError, msgspec.MsgspecError, OSError):
            return None

    def _pass_on(self, ticket: Ticket) -> None:
        """Write what is said, until all is said or nobody listens."""
        written_at = time.monotonic()
        while not self._hung_up():
            try:
                said = ticket.said.get(timeout=_TICK_SECONDS)
            except Empty:
                if time.monotonic() - written_at < _WAIT_SECONDS:
                    continue
                said = Said(0, Wait())
            if said is None:
                return
            self.wfile.write(encode(said))
            written_at = time.monotonic()

    def _hung_up(self) -> bool:
        """Tell whether the other side has closed; it has nothing to send."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN | select.POLLHUP)
        return bool(poller.poll(0))

    def _answer(self, status: HTTPStatus, body: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def version_string(self) -> str:
        """Name no version."""
        return "neftune"

    def log_message(self, *_: Any) -> None:
        """Keep requests to itself; what was answered is told elsewhere."""

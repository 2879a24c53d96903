"""Five hundred clients that send a byte now and then: they are let go, and nobody else waits for them."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.live_api import Service, make_settings, running
from tests.api.test_middleware import head, status

EACH = 250
_PATIENCE_S = 4.0


@pytest.fixture
def patient(api_database: str, tmp_path: Path) -> Iterator[Service]:
    """An api with little patience, but enough for all of them to come."""
    changes = {"header_timeout_s": _PATIENCE_S, "upload_patience_s": _PATIENCE_S}
    with running(make_settings(api_database, tmp_path, **changes)) as found:
        yield found


def dribbled(lines: list[socket.socket], over: threading.Event) -> None:
    """Send each a byte a second."""
    while not over.wait(1):
        for line in lines:
            with contextlib.suppress(OSError):
                line.send(b"x")


def test_five_hundred_slow_clients_keep_nobody_waiting(patient: Service, record_property) -> None:
    body = (
        f"POST /jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {patient.key()}\r\n"
        "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"
    ).encode()
    over = threading.Event()
    with contextlib.ExitStack() as open_lines:
        # Given 250 heads and 250 bodies that do not end
        lines = [
            open_lines.enter_context(socket.create_connection(("127.0.0.1", patient.port), timeout=30))
            for _ in range(2 * EACH)
        ]
        for line in lines[:EACH]:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ")
        for line in lines[EACH:]:
            line.sendall(body)
        slow = threading.Thread(target=dribbled, args=(lines, over), daemon=True)
        slow.start()

        # When somebody else asks, each time on a line of its own
        took = []
        for _ in range(100):
            began = time.perf_counter()
            assert status(patient.raw(head("Host: a"))) == 200
            took.append(time.perf_counter() - began)
        record_property("p99_ms", round(sorted(took)[98] * 1000, 1))

        # Then each was answered, and the slow ones are told, or cut
        told = []
        for line in lines:
            with contextlib.suppress(ConnectionError):
                told.append(status(line.recv(65536)))
        over.set()
        slow.join(5)
        assert set(told) == {0, 408}
        assert told.count(408) >= EACH // 2  # of some the last byte was under way when the line was cut

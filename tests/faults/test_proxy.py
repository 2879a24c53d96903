"""The proxy of the faults does what it says."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy, before


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before a server that answers each line with itself, and remembers it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            while data := line.recv(1024):
                made.heard.append(data)
                line.sendall(data)

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with before(listener.getsockname()) as made:
        made.heard = []
        yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def talk(proxy: Proxy, *lines: bytes, patience: float = 2.0) -> list[bytes]:
    """Say lines, and give the answers."""
    with socket.create_connection(("127.0.0.1", proxy.port), patience) as line:
        answers = []
        for said in lines:
            line.sendall(said)
            answers.append(line.recv(1024))
        return answers


def test_it_passes(proxy: Proxy) -> None:
    assert talk(proxy, b"one", b"two") == [b"one", b"two"]


@pytest.mark.parametrize("mode", ["refuse", "cut"])
def test_it_refuses(proxy: Proxy, mode) -> None:
    proxy.turn(mode)
    with pytest.raises(ConnectionError):
        talk(proxy, b"one")
    proxy.turn("pass")
    assert talk(proxy, b"one") == [b"one"]


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns as on a busy machine."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
def test_it_cuts_what_lives_from_the_first_byte_on(proxy: Proxy) -> None:
    for _ in range(100):
        proxy.turn("pass")
        with socket.create_connection(("127.0.0.1", proxy.port), 2) as line:
            line.sendall(b"one")
            assert line.recv(10) == b"one"
            proxy.turn("cut")
            with pytest.raises(ConnectionError):
                line.recv(10)


def test_it_answers_nothing(proxy: Proxy) -> None:
    proxy.turn("black_hole")
    with pytest.raises(TimeoutError):
        talk(proxy, b"one", patience=0.3)
    assert proxy.heard == []


def test_it_cuts_after_the_target_has_done_what_was_said(proxy: Proxy) -> None:
    proxy.cut_after(b"BEGIN", b"COMMIT")
    assert talk(proxy, b"COMMIT") == [b"COMMIT"], "the first pattern has to come first"
    with pytest.raises(ConnectionError):
        talk(proxy, b"BEGIN", b"x", b"COMMIT")
    assert proxy.heard[-1] == b"COMMIT"
    assert proxy.cuts == 1
    assert talk(proxy, b"BEGIN", b"COMMIT") == [b"BEGIN", b"COMMIT"], "only once"
    proxy.cut_after(b"COMMIT")
    proxy.forgive()
    assert talk(proxy, b"COMMIT") == [b"COMMIT"], "forgiven"


def test_it_truncates(proxy: Proxy) -> None:
    proxy.truncate_after(5)
    with pytest.raises(ConnectionError):
        talk(proxy, b"four", b"more")
    assert talk(proxy, b"four", b"more") == [b"four", b"more"]


def test_it_delays_and_trickles(proxy: Proxy) -> None:
    proxy.turn("delay")
    began = time.monotonic()
    talk(proxy, b"one")
    assert time.monotonic() - began >= proxy.delay
    proxy.turn("trickle")
    proxy.rate = 20
    with socket.create_connection(("127.0.0.1", proxy.port), 2) as line:
        line.sendall(b"one")
        assert line.recv(10) == b"o"

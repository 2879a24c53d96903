"""A network that misbehaves on demand: a TCP proxy whose mode may change while connections live.

    pass        bytes go through
    refuse      new connections are reset
    cut         all connections are reset, new ones too
    black_hole  what comes is read and nothing is answered, on old and new connections
    delay       each answer waits for ``delay`` seconds
    trickle     answers come at ``rate`` bytes a second

Besides, ``cut_after(pattern, …)`` resets one connection once the client has said the patterns in their order
and the target has begun to answer the last one: the target has done it, and the client will never know.
``truncate_after(n)`` resets the next connection after n bytes of answers.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Literal

Mode = Literal["pass", "refuse", "cut", "black_hole", "delay", "trickle"]
Address = tuple[str, int] | str  # a port, or a Unix socket's path
BLOCK = 64 * 1024
_CLOSED = ("refuse", "cut")  # modes that let nobody in


class Proxy:
    """Listens on a port of loopback, and speaks to ``target``."""

    def __init__(self, target: Address) -> None:
        self.mode: Mode = "pass"
        self.delay, self.rate = 0.5, 1000
        self.cuts = 0  # how often a pattern or a length has cut
        self.connections = 0
        self._target = target
        self._patterns: list[tuple[bytes, ...]] = []
        self._lengths: list[int] = []
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, *patterns: bytes) -> None:
        """Cut the first connection on which the client says these, one after the other."""
        with self._lock:
            self._patterns.append(patterns)

    def forgive(self) -> None:
        """Forget the patterns that nobody has said yet."""
        with self._lock:
            self._patterns.clear()

    def truncate_after(self, length: int) -> None:
        """Cut the next connection after so many bytes of answers."""
        with self._lock:
            self._lengths.append(length)

    def turn(self, mode: Mode) -> None:
        """Change the mode; ``cut`` ends what lives."""
        with self._lock:  # a connection in the making is either among those that live, or meets the new mode
            self.mode = mode
            living = list(self._pairs) if mode == "cut" else []
        for pair in living:
            pair.reset()

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.turn("cut")

    def wanted(self) -> tuple[bytes, ...]:
        """Give the patterns that are to cut next."""
        with self._lock:
            return self._patterns[0] if self._patterns else ()

    def take(self, patterns: tuple[bytes, ...]) -> bool:
        """Claim a cut for one connection; only the first gets it."""
        with self._lock:
            if not self._patterns or self._patterns[0] is not patterns:
                return False
            self._patterns.pop(0)
            self.cuts += 1
            return True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.mode in _CLOSED:
                _reset(client)
                continue
            try:
                server = _connected(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                length = self._lengths.pop(0) if self._lengths else None
                pair = _Pair(self, client, server, length)
                self._pairs.add(pair)  # before a byte goes through it: who heard one may cut
                closed = self.mode in _CLOSED
            if closed:
                pair.reset()
            else:
                pair.start()

    def forget(self, pair: "_Pair") -> None:
        """Let go of a connection that has ended."""
        with self._lock:
            self._pairs.discard(pair)


class _Pair:
    """One connection through the proxy."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, target: socket.socket, length: int | None
    ) -> None:
        self._proxy, self._client, self._server, self._left = proxy, client, target, length
        self._said = 0  # of the patterns
        self._cut = threading.Event()  # the answer to the last pattern must not pass

    def start(self) -> None:
        """Let bytes go through."""
        for pump in (self._up, self._down):
            threading.Thread(target=pump, daemon=True).start()

    def reset(self) -> None:
        """End both sides at once."""
        for side in (self._client, self._server):
            _reset(side)
        self._proxy.forget(self)

    def _up(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(BLOCK):
                if self._proxy.mode == "black_hole":
                    continue
                self._listen(data)
                self._server.sendall(data)
        self.reset()

    def _listen(self, data: bytes) -> None:
        wanted = self._proxy.wanted()
        while wanted and self._said < len(wanted) and wanted[self._said] in data:
            self._said += 1
            if self._said == len(wanted):
                if self._proxy.take(wanted):
                    self._cut.set()
                self._said = 0
                return
            data = data[data.index(wanted[self._said - 1]) + 1 :]

    def _down(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(BLOCK):
                if self._cut.is_set() or self._spent(len(data)):
                    break
                while self._proxy.mode == "black_hole":
                    time.sleep(0.05)
                if self._proxy.mode == "delay":
                    time.sleep(self._proxy.delay)
                if self._proxy.mode == "trickle":
                    self._trickle(data)
                else:
                    self._client.sendall(data)
        self.reset()

    def _spent(self, length: int) -> bool:
        if self._left is None:
            return False
        self._left -= length
        if self._left < 0:
            self._proxy.cuts += 1
        return self._left < 0

    def _trickle(self, data: bytes) -> None:
        piece = max(1, self._proxy.rate // 20)
        for start in range(0, len(data), piece):
            self._client.sendall(data[start : start + piece])
            time.sleep(0.05)


@contextlib.contextmanager
def before(target: Address) -> Iterator[Proxy]:
    """A proxy for the length of the block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _connected(target: Address) -> socket.socket:
    if isinstance(target, str):
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(target)
        except OSError:
            line.close()
            raise
        return line
    line = socket.create_connection(target, 5)
    line.settimeout(None)  # a target may be silent for as long as it likes
    return line


def _reset(line: socket.socket) -> None:
    """Close so that the other side hears a reset, not an end."""
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RD)  # wakes who reads, and tells the other side nothing
    line.close()

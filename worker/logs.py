"""What the runner prints: kept up to a bound, with the last lines always at hand.

Reads bytes it does not trust: any encoding, any length, no newline at all, as fast as they come. The
file keeps the beginning; the tail is kept apart, so a flood costs neither disk nor the last words.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from neftune_core.spec_secrets import masked
from worker.pipe import read_block

TAIL_LINES = 200
LINE_CHARS = 2_000


class LogCapture:
    """A thread that drains the runner's output into a file and remembers its last lines."""

    def __init__(
        self, source: IO[bytes], path: Path, max_bytes: int, say: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self._source = source
        self._path = path
        self._room = max_bytes
        self._say = say
        self._lines: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._open = b""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def tail(self) -> str:
        """Give the last lines as text that any database takes."""
        with self._lock:
            lines = [*self._lines, self._open] if self._open else list(self._lines)
        return "\n".join(_text(line) for line in lines[-TAIL_LINES:])

    def finish(self, patience: float = 5.0) -> None:
        """Wait until all that was printed is kept; a grandchild that holds the pipe is not waited for."""
        self._thread.join(patience)
        self._closed.set()
        self._thread.join()

    def note(self, line: str) -> None:
        """Add a line of the supervisor's own."""
        with self._lock:
            self._lines.append(line.encode())

    def _drain(self) -> None:
        with self._path.open("ab") as kept:
            while block := read_block(self._source, self._closed.is_set):
                self._keep(kept, block)
                self._remember(block)
                self._say(block)

    def _keep(self, kept: IO[bytes], block: bytes) -> None:
        if self._room <= 0:
            return
        try:
            kept.write(block[: self._room])
            if len(block) >= self._room:
                kept.write(b"\n[log cut here: it grew beyond what is kept]\n")
            kept.flush()
        except OSError:  # a full disk must not stop the drain: the runner would block on its own output
            self._room = 0
        self._room -= len(block)

    def _remember(self, block: bytes) -> None:
        with self._lock:
            *whole, rest = (self._open + block).split(b"\n")
            self._lines.extend(line[: 4 * LINE_CHARS] for line in whole[-TAIL_LINES:])
            self._open = rest[-4 * LINE_CHARS :]


def _text(line: bytes) -> str:
    text = line.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}").rstrip("\r")
    return masked(text if len(text) <= LINE_CHARS else text[:LINE_CHARS] + " […]")

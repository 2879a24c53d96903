"""What the runner prints on its way to whoever follows it: rows, at most two a second, never in its way.

A thread of its own between the drain of the runner's output and the database. What comes faster than it
can be written is left out and counted; the whole log is stored when the run ends. A database that is away
delays it, and nothing it does can fail or slow a run.
"""

import codecs
import threading
from collections.abc import Callable

import structlog

from neftune_core.spec_secrets import masked
from neftune_store.db import is_unavailable
from neftune_store.errors import LeaseLost
from neftune_store.live_logs import PART_CHARACTERS

WAITING_BYTES = 64 * 1024
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 2.0  # for the rest of a line

log = structlog.get_logger()

Write = Callable[[int, str], None]


class LiveLog:
    """Takes bytes at once, and writes them as numbered parts when it can."""

    def __init__(self, write: Write, after: int = 0) -> None:
        self.number = after  # of the last part
        self._write = write
        self._waiting = bytearray()
        self._left_out = 0
        self._lock = threading.Lock()
        self._last = threading.Event()  # nothing more will come
        self._given_up = threading.Event()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""  # its end has not come yet
        self._thread = threading.Thread(target=self._run, name="live-log", daemon=True)
        self._thread.start()

    def say(self, block: bytes) -> None:
        """Take what was printed; of too much the newest."""
        with self._lock:
            self._waiting += block
            if (over := len(self._waiting) - WAITING_BYTES) > 0:
                del self._waiting[:over]
                self._left_out += over

    def last_call(self) -> None:
        """Say that no more will come."""
        self._last.set()

    def done(self, patience: float) -> bool:
        """Wait until all is written; False while it is still trying."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Try no longer."""
        self._given_up.set()
        self._last.set()

    def _run(self) -> None:
        try:
            self._ship()
        except LeaseLost:
            return  # others tell the supervisor
        except Exception:
            log.exception("run.live_log_failed")

    def _ship(self) -> None:
        rests = 0.0
        while not self._given_up.is_set():
            ended = self._last.is_set()  # read before the bytes: what came before it is still taken
            told = self._taken(whole=ended or rests >= PATIENCE_SECONDS)
            for start in range(0, len(told), PART_CHARACTERS):
                self.number += 1
                self._put(self.number, told[start : start + PART_CHARACTERS])
            rests = 0.0 if told or not self._line else rests + PAUSE_SECONDS
            if ended:
                return
            self._last.wait(PAUSE_SECONDS)

    def _taken(self, *, whole: bool) -> str:
        """Give the whole lines that wait, or all of it; what was left out is told in its place."""
        with self._lock:
            block, left_out = bytes(self._waiting), self._left_out
            self._waiting.clear()
            self._left_out = 0
        if left_out:
            self._line += f"\n[{left_out} bytes came too fast to be shown live]\n"
        self._line += self._decode(block)
        cut = len(self._line) if whole or len(self._line) > PART_CHARACTERS else self._line.rfind("\n") + 1
        told, self._line = self._line[:cut], self._line[cut:]
        return masked(told)

    def _put(self, number: int, said: str) -> None:
        """Write one part; as long as the database is away, try again. The run's end stops us."""
        while not self._given_up.is_set():
            try:
                self._write(number, said)
            except Exception as fault:
                if not is_unavailable(fault):
                    raise
                self._given_up.wait(PAUSE_SECONDS)
            else:
                return

"""The child that holds the model, seen from its parent: told lines, heard lines, ended.

It has no secret in its environment, dies with its parent, and may be killed at any time. Knows the pipes;
knows nothing of clients.
"""

import fcntl
import os
import select
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from neftune_core.generation_lines import MAX_LINE_BYTES, Answer, Reply, Stop, encode, reply
from worker.logs import LogCapture
from worker.pipe import BLOCK
from worker.runner import Limits, environment, spawn

TICK_MS = 200
_PIPE_BYTES = 1024 * 1024  # more than any question: telling one never waits for the child
_MAX_LOG_BYTES = 1024 * 1024


class SpeakerGone(Exception):
    """The child has ended, or speaks what it should not."""


class Speaker:
    """A running child. Made by the main thread: it dies with the thread that makes it."""

    def __init__(self, command: Sequence[str], home: Path, device: str) -> None:
        self.device = device
        read_fd, self._tell_fd = os.pipe()
        with suppress(AttributeError, OSError):  # only Linux knows it, and not beyond a user's share
            fcntl.fcntl(self._tell_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            full = [*command, "--device", device]
            self._runner = spawn(full, home, Limits(), environment(home), stdin=read_fd)
        finally:
            os.close(read_fd)
        self._log = LogCapture(self._runner.log, home / "generate.log", _MAX_LOG_BYTES)
        self._poller = select.poll()
        self._poller.register(self._runner.reports, select.POLLIN)
        self._lines: deque[bytes] = deque()
        self._rest = b""

    def ask(self, line: Answer | Stop) -> None:
        """Tell it something."""
        data = encode(line)
        try:
            while data:
                data = data[os.write(self._tell_fd, data) :]
        except BrokenPipeError:
            raise SpeakerGone from None

    def hear(self) -> Reply | None:
        """Give the next thing it says; nothing when it says nothing for a moment."""
        if not self._lines and self._poller.poll(TICK_MS):
            block = os.read(self._runner.reports.fileno(), BLOCK)
            *whole, self._rest = (self._rest + block).split(b"\n")
            if not block or len(self._rest) > MAX_LINE_BYTES:
                raise SpeakerGone
            self._lines.extend(whole)
        return _read(self._lines.popleft()) if self._lines else None

    def alive(self) -> bool:
        """Tell whether it runs."""
        return not self._runner.ended()

    def end(self) -> str:
        """Leave nothing of it; give the last lines that it has printed."""
        with suppress(OSError):
            os.close(self._tell_fd)
        self._runner.end()
        self._log.finish()
        tail = self._log.tail()
        self._runner.close()
        return tail


def _read(line: bytes) -> Reply:
    try:
        return reply(line)
    except msgspec.MsgspecError as fault:
        raise SpeakerGone from fault

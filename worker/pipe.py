"""Reading a pipe that somebody may hold open for ever, without being stuck in it."""

import os
import select
from collections.abc import Callable
from typing import IO

BLOCK = 64 * 1024
PATIENCE_MS = 200


def read_block(source: IO[bytes], closed: Callable[[], bool]) -> bytes:
    """Give the next bytes; empty at the end of the pipe, or once ``closed`` says so."""
    poller = select.poll()
    poller.register(source, select.POLLIN)
    while not closed():
        if poller.poll(PATIENCE_MS):
            return os.read(source.fileno(), BLOCK)
    return b""

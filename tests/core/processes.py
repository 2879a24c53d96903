"""Real processes for tests of one job over several of them, forked from a server that imported once.

What runs in them is a function of a test module, called with its :class:`Ranks`.
"""

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

from neftune_core.errors import CoreError
from neftune_core.launched import place_in
from neftune_core.ranks import joined

_PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Ended:
    """How a process ended: with a result, an error's code (or type) and text, or by a signal."""

    result: Any = None
    code: str = ""
    detail: str = ""
    by_signal: signal.Signals | None = None


def in_processes(
    work: Callable[..., Any],
    *arguments: Any,
    world: int = 2,
    starts: int = 2,
    answers_within: float = 60.0,
    late: bool = False,
) -> list[Ended]:
    """Run ``work(ranks, *arguments)`` in each process of a job and give how each ended, rank 0's first.

    ``starts``: how many of them really come. ``answers_within``: the job's own timeout. ``late``: what
    still runs when rank 0 has ended is killed.
    """
    port = _free_port()
    pipes, children = [], []
    for rank in range(starts):
        reads, writes = _server().Pipe(duplex=False)
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        child = _server().Process(
            target=_work, args=(writes, environment, answers_within, work, arguments), daemon=True
        )
        child.start()
        writes.close()
        pipes.append(reads)
        children.append(child)
    told = []
    for reads, child in zip(pipes, children, strict=True):
        if late and told:
            child.kill()
        told.append(_heard(reads, child))
    return told


def _heard(reads: Connection, child: Any) -> Ended:
    try:
        if not reads.poll(_PATIENCE):
            child.kill()
            return Ended(code="hangs")
        ended: Ended = reads.recv()
    except EOFError:
        child.join(60)
        return Ended(by_signal=signal.Signals(-child.exitcode))
    child.join(60)
    return ended


def _work(
    writes: Connection,
    environment: dict[str, str],
    answers_within: float,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(environment)
    try:
        with joined(place_in(os.environ), timedelta(seconds=answers_within)) as ranks:
            result = work(ranks, *arguments)
        writes.send(Ended(result=result))
    except CoreError as error:
        writes.send(Ended(code=error.code, detail=str(error)))
    except Exception as error:
        writes.send(Ended(code=type(error).__name__, detail=traceback.format_exc()))
    finally:
        writes.close()


@cache
def _server() -> ForkServerContext:
    context = get_context("forkserver")
    # What a run imports when it needs it is imported once, before the forks.
    context.set_forkserver_preload(["tests.core.processes", "tests.core.tiny", "peft", "neftune_core.train"])
    return context


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def sleep_for_ever() -> None:
    """Hang as a process does whose device does not come back."""
    while True:
        time.sleep(60)

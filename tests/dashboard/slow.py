"""A machine that is slow at one thing: the process that does it rests most of the time."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.standalone.instance import Instance

_RESTS_S, _WORKS_S = 0.15, 0.01


def speech(service: Instance) -> contextlib.AbstractContextManager[None]:
    """Have answers come word by word, slowly; one must have been asked for before, or nobody speaks."""
    return _slowed(service, "neftune_core serve")


def runner(service: Instance) -> contextlib.AbstractContextManager[None]:
    """Have the run that is under way take its time."""
    return _slowed(service, "neftune_core run")


@contextmanager
def _slowed(service: Instance, command: str) -> Iterator[None]:
    (child,) = (
        one
        for one in psutil.Process(service.process.pid).children(recursive=True)
        if command in " ".join(one.cmdline())
    )
    over = threading.Event()

    def rest_and_work() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            while not over.wait(_WORKS_S):
                child.suspend()
                over.wait(_RESTS_S)
                child.resume()

    resting = threading.Thread(target=rest_and_work)
    resting.start()
    try:
        yield
    finally:
        over.set()
        resting.join()

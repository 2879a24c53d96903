"""A machine that is slow at one thing: the process that does it rests most of the time."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.standalone.instance import Instance

_RESTS_S, _LOOKS_S = 0.15, 0.01


def speech(service: Instance) -> contextlib.AbstractContextManager[None]:
    """Have answers come word by word, slowly; one must have been asked for before, or nobody speaks."""
    return _slowed(service, "neftune_core serve")


def runner(service: Instance) -> contextlib.AbstractContextManager[None]:
    """Have the run that is under way take its time."""
    return _slowed(service, "neftune_core run")


@contextmanager
def _slowed(service: Instance, command: str) -> Iterator[None]:
    (child,) = (
        one for one in psutil.Process(service.process.pid).children(recursive=True) if command in _told(one)
    )
    over = threading.Event()

    def rest_and_work() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            done = _worked(child)
            while not over.wait(_LOOKS_S):
                if _worked(child) == done:  # on a busy machine its turn takes time to come
                    continue
                child.suspend()
                over.wait(_RESTS_S)
                child.resume()
                done = _worked(child)

    resting = threading.Thread(target=rest_and_work)
    resting.start()
    try:
        yield
    finally:
        over.set()
        resting.join()


def _worked(process: psutil.Process) -> float:
    """Seconds of CPU, to a hundredth."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _told(process: psutil.Process) -> str:
    """Give its command; nothing of one that has ended since it was listed, as others of the service do."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""

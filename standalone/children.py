"""The processes of the service: started in order, started again when they die, stopped in reverse.

Knows processes and patience. Knows nothing of what they do.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from standalone import leash
from standalone.errors import StandaloneError
from standalone.leash import Program

Say = Callable[[str, str], None]  # who, what

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_HEALTHY_AFTER_S = 60.0  # who lived so long starts again with the first delay
_PR_SET_CHILD_SUBREAPER = 36


class Child(Protocol):
    """A process that can be started again after its end."""

    process: "subprocess.Popen[bytes] | None"

    @property
    def name(self) -> str:
        """What it is called in the terminal and in its log's name."""

    def start(self) -> object:
        """Start it."""

    def stop(self, hurry: Callable[[], bool]) -> None:
        """Let it leave in order, or at once when ``hurry`` says so."""


class ModuleChild:
    """A Python module of ours, run by our own interpreter in a session of its own."""

    def __init__(self, name: str, module: str, env: Mapping[str, str], log: Path, grace_s: float) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._module = module
        self._env = env
        self._log = log
        self._grace_s = grace_s

    def start(self) -> None:
        """Start it; what a dead predecessor left of its session goes first."""
        self._end_session()
        command = (sys.executable, "-m", self._module)
        root = Path(__file__).parent.parent  # where our packages lie, installed or not
        with self._log.open("ab") as sink:
            self.process = leash.start(Program(command, self._env, root), sink)

    def stop(self, hurry: Callable[[], bool]) -> None:
        """Ask with SIGTERM; end the whole session when the grace is over."""
        if self.process is not None:
            self.process.terminate()
            leash.wait(self.process, self._grace_s, hurry)
        self._end_session()

    def _end_session(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its group outlives it as long as a member lives


class Children:
    """All of them, in the order in which they were started."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._all: list[_Tended] = []
        _adopt_orphans()

    def start(self, child: Child) -> object:
        """Start it and look after it from now on."""
        self._all.append(_Tended(child))
        return child.start()

    def tend(self) -> None:
        """Start again who died, each after a delay that grows with every death. Call often."""
        for tended in self._all:
            process = tended.child.process
            if tended.due is None and process is not None and process.poll() is not None:
                delay = tended.died()
                self._say(tended.child.name, f"ended ({_told(process.returncode)}); again in {delay:g} s")
            if tended.due is not None and time.monotonic() >= tended.due:
                self._start_again(tended)

    def dead(self) -> str | None:
        """The name of one that is not running."""
        for tended in self._all:
            process = tended.child.process
            if process is None or process.poll() is not None:
                return tended.child.name
        return None

    def stop(self, hurry: Callable[[], bool]) -> None:
        """Stop all, the last started first; afterwards no process below us is left."""
        while self._all:
            child = self._all.pop().child
            if child.process is not None:
                self._say(child.name, "stopping")
            child.stop(hurry)
        _end_descendants()

    def _start_again(self, tended: "_Tended") -> None:
        try:
            tended.child.start()
        except StandaloneError as error:
            self._say(tended.child.name, f"did not start; again in {tended.died():g} s. {error}")
        else:
            tended.started()
            self._say(tended.child.name, "started again")


class _Tended:
    """A child and how often it died lately."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.due: float | None = None  # when it starts again
        self._since = time.monotonic()
        self._delay = _FIRST_DELAY_S

    def started(self) -> None:
        self.due = None
        self._since = time.monotonic()

    def died(self) -> float:
        now = time.monotonic()
        if self.due is None and now - self._since > _HEALTHY_AFTER_S:
            self._delay = _FIRST_DELAY_S
        delay, self._delay = self._delay, min(2 * self._delay, _LONGEST_DELAY_S)
        self.due = now + delay
        return delay


def _told(returncode: int) -> str:
    if returncode >= 0:
        return f"exit {returncode}"
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"


def _adopt_orphans() -> None:
    """Grandchildren whose parent dies come to us, not to init, so that we can end them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_descendants() -> None:
    left = psutil.Process().children(recursive=True)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)

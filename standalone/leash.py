"""Start a process that can't outlive us.

Each one gets a session of its own, so that Ctrl-C in the terminal reaches only us and we decide the
order of leaving, and a signal from the kernel when we die (Linux), so that even ``kill -9`` of the
parent leaves nothing. That signal fires when the *thread* that started the process ends: call from the
main thread.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a child must not load libraries


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Program:
    """What to start, and how it hears that its parent is gone."""

    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    on_parent_death: signal.Signals = signal.SIGKILL
    account: Account | None = None


def start(program: Program, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start it with its output in ``log``."""
    account = program.account
    return subprocess.Popen(  # noqa: S603 - a program of ours, no shell
        program.command,
        env=dict(program.env),
        cwd=program.cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        # after the change of user, which would clear it
        preexec_fn=_die_with_parent(program.on_parent_death),  # noqa: PLW1509 - one prctl, no lock is taken
    )


def never() -> bool:
    """Nobody is in a hurry."""
    return False


def wait(process: "subprocess.Popen[bytes]", timeout_s: float, hurry: Callable[[], bool] = never) -> bool:
    """Wait for its end; False when time is up or somebody is in a hurry."""
    end = time.monotonic() + timeout_s
    while process.poll() is None:
        if hurry() or time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _die_with_parent(sent: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def ask_the_kernel() -> None:
        if sys.platform != "linux":
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_the_kernel

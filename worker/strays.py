"""What a run started and lost sight of: found wherever it went, and ended.

One signal ends a process group, but a process may leave its group (``setsid``) and its parent (a double
fork). While the supervisor lives, the kernel makes it the parent of all such orphans; when it is killed
too, whoever sweeps the run's folder finds them by their home.
"""

import ctypes
import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
PAUSE = 0.01


def adopt_orphans() -> None:
    """Become the parent of every process below us that loses its own."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> frozenset[int]:
    """Give the processes that have us as their parent."""
    return frozenset(child.pid for child in psutil.Process().children())


def end_new_children(known: Collection[int], patience: float = 5.0) -> int:
    """End every child that is not among ``known``, and all below it; tell how many were left after all."""
    deadline = time.monotonic() + patience
    while left := children() - set(known):
        for pid in left:
            _end_tree(pid)
            _reap(pid)
        if time.monotonic() > deadline:
            return len(left)
        time.sleep(PAUSE)  # whoever lost its parent just now is ours in a moment
    return 0


def end_residents(folder: Path) -> None:
    """End every process that was started with ``folder`` as its home, and all below it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("HOME") == str(folder):
                _end_tree(process.pid)


def _end_tree(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        head = psutil.Process(pid)
        for process in (head, *head.children(recursive=True)):  # from the top: nobody starts another one
            with suppress(psutil.Error):
                process.kill()


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

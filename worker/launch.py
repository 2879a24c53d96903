"""The few instructions between fork and runner: tie its life to ours, limit it, become it.

A program of its own, not a ``preexec_fn``: the supervisor has threads, and Python code between fork and
exec in a threaded process can deadlock. Runs isolated (``-I -S``), imports only the standard library.

    launch.py PARENT_PID NOFILE FSIZE COMMAND...
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
EX_PARENT_GONE = 76  # the supervisor died before we were tied to it


def tie_to(parent: int) -> None:
    """Die with ``parent``. The signal comes when the thread that spawned us ends."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died in between: the signal will never come
        os._exit(EX_PARENT_GONE)


def _limit(kind: int, most: int) -> None:
    """Lower a limit, soft and hard; never try to raise one."""
    hard = resource.getrlimit(kind)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))


def main(argv: list[str]) -> None:
    """Tie, limit, exec."""
    parent, nofile, fsize = (int(given) for given in argv[:3])
    tie_to(parent)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, nofile)
    _limit(resource.RLIMIT_FSIZE, fsize)
    command = argv[3:]
    os.execvp(command[0], command)  # noqa: S606 - the operator's command, no shell


if __name__ == "__main__":
    main(sys.argv[1:])

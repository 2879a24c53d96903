"""One shared bit: the worker is asked to leave. Knows shared memory, nothing else.

The page is mapped before the pool forks, so main process and pool children see the same byte. There is
no lock in it: a child that dies by SIGKILL cannot leave it locked, and a signal handler may set it.
"""

import mmap


class Drain:
    """Set once by the worker's main process; polled by the supervisor in the pool child."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 1)  # anonymous and shared: survives fork, never touches a disk

    def ask(self) -> None:
        """Ask every run to stop between two steps and go back to the queue."""
        self._page[0] = 1

    def asked(self) -> bool:
        """Tell whether the worker is leaving."""
        return self._page[0] == 1

"""Tell whether this container's worker lives: its first process and the child that supervises runs.

Looks at processes and asks nobody: the worker takes no orders through Redis, and while Redis or Postgres
is away it is well. ``worker_health.py [PID]`` looks below that process; in a container that is 1.
"""

import sys

import psutil


def workers(root: psutil.Process) -> list[psutil.Process]:
    """List what runs as ``python -m worker`` below ``root``."""
    return [
        each
        for each in root.children(recursive=True)
        if each.status() != psutil.STATUS_ZOMBIE and each.cmdline()[1:] == ["-m", "worker"]
    ]


def is_well(root: psutil.Process) -> bool:
    """A worker is one that has a pool child; the runner below it may or may not be there."""
    found = {each.pid for each in workers(root)}
    return any(psutil.Process(pid).ppid() in found for pid in found)


if __name__ == "__main__":
    try:
        sys.exit(not is_well(psutil.Process(int(sys.argv[1]) if sys.argv[1:] else 1)))
    except psutil.NoSuchProcess:
        sys.exit(1)  # gone between two looks: the next check tells

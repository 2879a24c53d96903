"""The host's memory as a reason to die: what a run held at most, and whether the kernel ended it for that.

The kernel counts how often it has ended somebody for want of memory: for our control group, or else for
the whole machine. A count that rose while a run was killed says why.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a run's memory after its end."""

    peak_bytes: int | None = None
    ran_out: bool = False  # the kernel ended somebody for memory while the run lasted
    limit_bytes: int | None = None

    def told(self) -> str:
        """Say how much it was."""
        if self.peak_bytes is None:
            return ""
        of = "" if self.limit_bytes is None else f" of {self.limit_bytes / _GIB:.1f} GiB"
        return f" It held {self.peak_bytes / _GIB:.1f} GiB{of} of memory at its peak."


def oom_kills(root: Path = Path("/")) -> int:
    """Give the kernel's count; 0 where it tells nothing."""
    for path in (*_files(root, "memory.events", "memory.oom_control"), root / "proc/vmstat"):
        for line in _lines(path):
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.strip().isdigit():
                return int(count)
    return 0


def limit_bytes(root: Path = Path("/")) -> int | None:
    """Give what our control group may hold; ``None`` where that is as much as there is."""
    for path in _files(root, "memory.max", "memory.limit_in_bytes"):
        for line in _lines(path):
            if line.strip().isdigit() and int(line) < 1 << 60:  # the older kind writes a huge number for none
                return int(line)
    return None


def _files(root: Path, unified: str, older: str) -> Iterator[Path]:
    """Name where a group's file may lie: by its path, or at the top where a container sees only its own."""
    base = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield base / "memory" / path.strip("/") / older
            yield base / "memory" / older
        elif not controllers:
            yield base / path.strip("/") / unified
            yield base / unified


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

"""What the kernel tells of memory, in both kinds of control groups and without any."""

from pathlib import Path

import pytest

from worker.memory import Memory, limit_bytes, oom_kills


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


UNIFIED = {
    "proc/self/cgroup": "0::/pod/worker\n",
    "sys/fs/cgroup/pod/worker/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
    "sys/fs/cgroup/pod/worker/memory.max": "2147483648\n",
}
INSIDE = {  # a container that sees its own group as the top
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.events": "oom_kill 5\n",
    "sys/fs/cgroup/memory.max": "max\n",
}
OLDER = {
    "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n",
    "sys/fs/cgroup/memory/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
}
BARE = {"proc/vmstat": "nr_free_pages 12\noom_kill 7\n"}


@pytest.mark.parametrize(
    ("files", "kills", "limit"),
    [(UNIFIED, 2, 2 << 30), (INSIDE, 5, None), (OLDER, 1, None), (BARE, 7, None), ({}, 0, None)],
    ids=["unified", "inside", "older", "bare", "nothing"],
)
def test_the_count_and_the_limit_are_found(
    tmp_path: Path, files: dict[str, str], kills: int, limit: int | None
) -> None:
    root = lay(tmp_path, files)
    assert (oom_kills(root), limit_bytes(root)) == (kills, limit)


def test_a_peak_is_told_in_words() -> None:
    assert Memory(3 << 30, True, 4 << 30).told() == " It held 3.0 GiB of 4.0 GiB of memory at its peak."
    assert Memory(3 << 30).told() == " It held 3.0 GiB of memory at its peak."
    assert Memory().told() == ""

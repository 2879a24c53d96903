"""Children that may die are held to what they are given."""

import subprocess
import sys

from neftune_core.limited import bare_environment


def limited(memory_bytes: int, work: str) -> "subprocess.CompletedProcess[bytes]":
    code = f"from neftune_core.limited import limit_myself\nlimit_myself({memory_bytes}, 20)\n{work}"
    return subprocess.run(
        [sys.executable, "-c", code], env=bare_environment(), capture_output=True, check=False, timeout=60
    )


def test_who_limits_itself_gets_no_more_memory_than_that() -> None:
    work = "bytes(600_000_000)"
    assert limited(2**30, work).returncode == 0
    over = limited(300_000_000, work)
    assert over.returncode == 1
    assert b"MemoryError" in over.stderr

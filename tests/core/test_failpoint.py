"""Failpoints: nothing without the test setting, and exactly what was asked with it."""

import os
import signal
import subprocess
import sys

import pytest

from neftune_core.failpoint import failpoint, plans

REACH = (
    "from neftune_core.failpoint import failpoint\nfor _ in range(3):\n    failpoint('here')\nprint('alive')"
)


def reached(program: str = REACH, **environ: str) -> subprocess.CompletedProcess[str]:
    """Reach ``here`` three times in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_the_test_setting_a_failpoint_does_nothing() -> None:
    done = reached(FAILPOINTS="here:kill")
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_a_process_is_killed_where_it_was_asked_for() -> None:
    assert reached(NEFT_TEST="1", FAILPOINTS="there:exit:4,here:kill").returncode == -signal.SIGKILL
    assert reached(NEFT_TEST="1", FAILPOINTS="there:kill").returncode == 0


def test_the_nth_time_alone_can_be_meant() -> None:
    assert reached(NEFT_TEST="1", FAILPOINTS="here:exit:4@3").returncode == 4
    assert reached(NEFT_TEST="1", FAILPOINTS="here:exit:4@4").returncode == 0


def test_once_means_once_in_all_processes(tmp_path) -> None:
    asked = {"NEFT_TEST": "1", "FAILPOINTS": "here:exit:4", "FAILPOINTS_ONCE": str(tmp_path)}
    assert [reached(**asked).returncode for _ in range(2)] == [4, 0]


def test_an_error_of_the_system_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEFT_TEST", "1")
    monkeypatch.setenv("FAILPOINTS", "disk:raise:28")
    with pytest.raises(OSError, match="No space left"):
        failpoint("disk")


def test_what_hurts_nothing_is_refused() -> None:
    for senseless in ("here", "here:explode", ":kill", "here:kill@soon"):
        with pytest.raises(ValueError, match=r"failpoint|int"):
            plans(senseless)


def test_want_of_memory_is_the_devices_where_torch_is_there_and_the_hosts_elsewhere() -> None:
    asked = {"NEFT_TEST": "1", "FAILPOINTS": "here:oom"}
    assert "MemoryError: out of memory" in reached(**asked).stderr
    torch = (
        "import sys, types\nsys.modules['torch'] = types.SimpleNamespace(OutOfMemoryError=BlockingIOError)\n"
    )
    assert "BlockingIOError: out of memory" in reached(torch + REACH, **asked).stderr

"""Children: started again when they die, stopped in order, and none is ever left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.standalone.processes import eventually, of_home, start

Family = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def family(home: Path) -> Iterator[Family]:
    started: list[subprocess.Popen[str]] = []

    def begin(*names: str, grace_s: float = 2) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.standalone.family", str(home), *names]
        parent = start(command, {"GRACE_S": str(grace_s)})
        started.append(parent)
        assert eventually(lambda: all((home / f"{name}.pid").exists() for name in names))
        return parent

    yield begin
    for parent in started:
        parent.kill()
        parent.communicate()


def pid(home: Path, name: str) -> int:
    return int((home / f"{name}.pid").read_text())


def told(home: Path) -> list[str]:
    return (home / "told").read_text().splitlines()


def test_a_killed_child_is_started_again(family: Family, home: Path) -> None:
    parent = family("worker")
    before = pid(home, "worker")
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: pid(home, "worker") != before)
    parent.terminate()
    said, _ = parent.communicate(timeout=20)
    assert said.splitlines()[:2] == ["worker ended (SIGKILL); again in 0.5 s", "worker started again"]


def test_one_that_dies_at_once_is_started_more_and_more_seldom(family: Family, home: Path) -> None:
    parent = family("short")
    assert eventually(lambda: told(home).count("short starts") >= 4)
    parent.terminate()
    said, _ = parent.communicate(timeout=20)
    delays = [line.split("again in ")[1] for line in said.splitlines() if "again in" in line]
    assert delays[:3] == ["0.5 s", "1 s", "2 s"]
    assert "short ended (exit 3)" in said


def test_the_last_started_leaves_first(family: Family, home: Path) -> None:
    parent = family("one", "two", "three")
    parent.terminate()
    parent.communicate(timeout=20)
    assert [line for line in told(home) if line.endswith("leaves")] == [
        "three leaves",
        "two leaves",
        "one leaves",
    ]
    assert of_home(home) == []


def test_one_that_does_not_listen_is_ended_after_its_grace(family: Family, home: Path) -> None:
    parent = family("stubborn")
    began = time.monotonic()
    parent.terminate()
    parent.communicate(timeout=20)
    assert 1.9 < time.monotonic() - began < 15
    assert of_home(home) == []


def test_a_second_wish_to_stop_does_not_wait_for_the_grace(family: Family, home: Path) -> None:
    parent = family("stubborn", grace_s=60)
    parent.terminate()
    began = time.monotonic()
    assert parent.stdout is not None
    assert parent.stdout.readline() == "stubborn stopping\n"
    parent.terminate()
    parent.communicate(timeout=20)
    assert time.monotonic() - began < 15
    assert of_home(home) == []


def test_what_a_child_started_goes_with_it_even_from_another_session(family: Family, home: Path) -> None:
    parent = family("grandparent")
    assert eventually(lambda: len(of_home(home)) == 4)  # family, child, and two below it
    parent.terminate()
    parent.communicate(timeout=20)
    assert of_home(home) == []


def test_what_a_killed_child_left_is_gone_before_it_starts_again(family: Family, home: Path) -> None:
    family("parent")
    first = pid(home, "parent")
    left = psutil.Process(first).children()
    assert len(left) == 1
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: pid(home, "parent") != first)
    assert not left[0].is_running() or left[0].status() == psutil.STATUS_ZOMBIE


def test_children_die_with_a_killed_parent(family: Family, home: Path) -> None:
    parent = family("one", "stubborn")
    parent.kill()
    parent.communicate(timeout=20)
    assert eventually(lambda: not of_home(home), 5)


def test_ctrl_c_in_the_terminal_reaches_only_the_parent(family: Family, home: Path) -> None:
    parent = family("one")
    assert os.getpgid(pid(home, "one")) != os.getpgid(parent.pid)
    assert os.getsid(pid(home, "one")) == pid(home, "one")

"""The runner as a process: its limits, its environment, and its end."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.worker_house import until
from worker.runner import PASSED_ON, Limits, Runner, environment, spawn


def start(folder: Path, code: str, **limits: int) -> Runner:
    return spawn([sys.executable, "-c", code], folder, Limits(**limits), environment(folder))


def said(runner: Runner) -> str:
    return runner.log.read().decode()


def finish(runner: Runner) -> int:
    until(lambda: runner.ended() or None, 10)
    try:
        return runner.end()
    finally:
        runner.close()


def test_only_named_variables_pass(tmp_path: Path) -> None:
    ours = dict.fromkeys(PASSED_ON, "x")
    secrets = {
        "DATABASE_URL": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "HF_TOKEN": "s",
        "REDIS_URL": "s",
        "PGPASSWORD": "s",
    }
    made = environment(tmp_path, {**ours, **secrets})
    assert set(ours) <= set(made)
    assert not set(secrets) & set(made)
    assert "s" not in made.values()


def test_limits_hold(tmp_path: Path) -> None:
    code = (
        "import resource as r;print([r.getrlimit(k) for k in (r.RLIMIT_CORE,r.RLIMIT_NOFILE,r.RLIMIT_FSIZE)])"
    )
    runner = start(tmp_path, code, open_files=100, file_bytes=5000)
    assert said(runner).strip() == "[(0, 0), (100, 100), (5000, 5000)]"
    assert finish(runner) == 0


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    runner = start(tmp_path, "open('large','wb').write(b'x'*10000)", file_bytes=5000)
    assert "File too large" in said(runner)
    assert finish(runner) == 1
    assert (tmp_path / "large").stat().st_size <= 5000


def test_stdin_is_empty_and_the_report_pipe_is_its_own(tmp_path: Path) -> None:
    code = "import sys,os;print(repr(sys.stdin.read()));os.write(int(sys.argv[-1]),b'told')"
    runner = start(tmp_path, code)
    assert runner.reports.read(100) == b"told"
    assert said(runner).strip() == "''"
    assert finish(runner) == 0


def test_an_exit_status_is_told_as_it_is(tmp_path: Path) -> None:
    assert finish(start(tmp_path, "import sys; sys.exit(75)")) == 75
    assert finish(start(tmp_path, "import os; os.kill(os.getpid(), 11)")) == -signal.SIGSEGV


def test_its_group_is_ended_with_it(tmp_path: Path) -> None:
    runner = start(tmp_path, "import subprocess as s;print(s.Popen(['sleep','600']).pid,flush=True)")
    grandchild = int(runner.log.readline())
    assert psutil.pid_exists(grandchild)
    finish(runner)
    assert until(lambda: gone(grandchild) or None, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_it_dies_with_its_supervisor(tmp_path: Path) -> None:
    # Given a supervisor whose runner ignores SIGTERM and keeps its pipe open
    code = f"""
import sys, time
from pathlib import Path
from worker.runner import Limits, environment, spawn
home = Path({str(tmp_path)!r})
deaf = "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
runner = spawn([sys.executable, "-c", deaf], home, Limits(), environment(home))
print(runner.pid, flush=True)
time.sleep(600)
"""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert supervisor.stdout is not None
    runner = int(supervisor.stdout.readline())
    until(lambda: psutil.pid_exists(runner) or None, 5)
    time.sleep(0.3)
    # When it is killed, then so is the runner
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    assert until(lambda: gone(runner) or None, 5)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_our_own_limits_stay_as_they_are(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    finish(start(tmp_path, "pass", open_files=50))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    assert os.getpgid(0) != 0

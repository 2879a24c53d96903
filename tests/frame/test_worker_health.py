"""docker/worker_health.py, asked about a real worker."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def is_well(below: int) -> bool:
    script = [sys.executable, ROOT / "docker" / "worker_health.py", str(below)]
    return subprocess.run(script, check=False, timeout=30).returncode == 0


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker under a first process, as in its container. It is never rung, so it needs no database."""
    env = os.environ | {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": redis_url,
        "STORAGE_URL": f"file://{tmp_path}",
        "WORK_DIR": str(tmp_path / "work"),
    }
    started = f"'{sys.executable}' -m worker & wait"
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(["/bin/sh", "-c", started], env=env, cwd=ROOT, stdout=log, stderr=log)
    yield first
    if first.poll() is None:
        for each in psutil.Process(first.pid).children(recursive=True):
            each.kill()
        first.kill()
        first.wait()


def test_a_worker_is_well_while_it_has_its_pool_child(worker: subprocess.Popen[bytes], tmp_path: Path):
    # Given a worker that has come up
    end = time.monotonic() + 60
    while not is_well(worker.pid):
        assert worker.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.3)
    # When the child dies and the first process cannot make another
    (main,) = psutil.Process(worker.pid).children()
    main.suspend()
    for child in main.children():
        child.kill()
    # Then it is not well, though a process is still there
    assert not is_well(worker.pid)
    assert main.is_running()

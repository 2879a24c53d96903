"""A job that runs while the whole service is stopped, and while it is killed. The runner is a toy."""

import json
import socket
import sys
from pathlib import Path

import psutil
import pytest

from tests.standalone.instance import Instance, running
from tests.standalone.processes import ROOT, commands, eventually, of_home

ROWS = b'{"instruction": "Say hello.", "input": "", "output": "Hello!"}\n' * 3
QUICK = {
    "RUNNER": json.dumps([sys.executable, str(ROOT / "tests" / "toy_runner.py")]),
    "LEASE_SECONDS": "4",
    "LEASE_STOP_SECONDS": "3",
    "HEARTBEAT_SECONDS": "1",
    "RECONCILE_SECONDS": "0.5",
}


def submit(service: Instance, toy: str) -> str:
    with service.client() as client:
        dataset = client.post("/datasets", content=ROWS).json()["id"]
        spec = {"model": "neftune/demo-base", "dataset": dataset, "metadata": {"toy": toy}}
        answer = client.post("/jobs", json=spec)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def look(service: Instance, job: str) -> dict[str, object]:
    with service.client() as client:
        found: dict[str, object] = client.get(f"/jobs/{job}").json()
        return found


def is_training(service: Instance, job: str) -> bool:
    return look(service, job)["status"] == "running" and any(
        "toy_runner.py" in command for _, command in commands(service.home)
    )


def stopped(instance: Instance) -> list[str]:
    return [line.split()[0] for line in instance.said().splitlines() if line.endswith(" stopping")]


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.long  # tests/faults kills each of them
def test_a_running_job_outlives_ctrl_c_and_kill_9_of_everything(home: Path) -> None:
    with running(home, **QUICK) as first:
        key, job = first.key, submit(first, "steps=50 sleep=0.1")
        assert eventually(lambda: is_training(first, job), 30)
        below = psutil.Process(first.process.pid).children(recursive=True)
        assert len(below) >= 7
        # When Ctrl-C is pressed once in the middle of the job
        assert first.ctrl_c() < 30
        # Then all have left in order, no process is there, not even the runner, and the address is free
        assert first.process.returncode == 0
        assert stopped(first) == ["worker", "generate", "reconciler", "api", "redis", "postgres"]
        assert not any(process.is_running() for process in below)
        assert of_home(home) == []
        assert is_free(first.port)
    with running(home, **QUICK) as second:
        # and the next start finds everything and takes the job up again
        assert second.key == key
        assert eventually(lambda: is_training(second, job), 30)
        below = psutil.Process(second.process.pid).children(recursive=True)
        # When the parent is killed in the middle of the job, without a chance to say anything
        second.process.kill()
        second.process.wait()
        # Then again no process is left
        assert eventually(lambda: not any(process.is_running() for process in below), 15)
        assert of_home(home) == []
    with running(home, **QUICK) as third:
        # and the job still comes to its end, once
        assert eventually(lambda: look(third, job)["status"] == "succeeded", 60)
        assert look(third, job)["attempt"] == 3

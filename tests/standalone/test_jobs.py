"""A job that runs while the whole service is stopped, and while it is killed. The runner is a toy."""

import json
import sys
from pathlib import Path

from tests.standalone.instance import Instance, running
from tests.standalone.processes import ROOT, eventually, of_home

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
        "toy_runner.py" in " ".join(process.cmdline()) for process in of_home(service.home)
    )


def test_a_running_job_outlives_ctrl_c_and_kill_9_of_everything(home: Path) -> None:
    with running(home, **QUICK) as first:
        job = submit(first, "steps=50 sleep=0.1")
        assert eventually(lambda: is_training(first, job), 30)
        # When everything is stopped in the middle of the job
        assert first.ctrl_c() < 30
        # Then no process is left, not even the runner
        assert of_home(home) == []
    with running(home, **QUICK) as second:
        # and the next start takes it up again: it was given back, not left to run out of its lease
        assert eventually(lambda: is_training(second, job), 30)
        # When everything is killed in the middle of the job
        second.process.kill()
        second.process.wait()
        assert eventually(lambda: not of_home(home), 15)
    with running(home, **QUICK) as third:
        # Then the job still comes to its end, once
        assert eventually(lambda: look(third, job)["status"] == "succeeded", 60)
        assert look(third, job)["attempt"] == 3

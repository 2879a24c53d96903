"""Each process of the service says what is wrong with its settings, and what it is when asked."""

import os
import subprocess
import sys

import pytest

PROCESSES = ["api", "worker", "worker.reconcile", "worker.generate"]
GIVEN = {
    "PATH": os.environ["PATH"],
    "DATABASE_URL": "postgresql://somebody:canary@127.0.0.1:1/nowhere",
    "STORAGE_URL": "file:///nonexistent",
    "WORK_DIR": "/nonexistent",
}


def said(module: str, *arguments: str, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


WRONG = [
    ({"LEASE_SECONDS": "soon"}, "LEASE_SECONDS: Input should be a valid number"),
    ({"DATABASE_URL": "mysql://somebody:canary@h/d"}, "DATABASE_URL: it must start with postgresql://"),
    ({"STORAGE_URL": ""}, "STORAGE_URL: Field required"),
    ({"HEARTBEAT_SECONDS": "50"}, "HEARTBEAT_SECONDS < LEASE_STOP_SECONDS < LEASE_SECONDS must hold"),
]


@pytest.mark.parametrize(
    ("module", "wrong", "sentence"),
    [
        # Each process and each fault once; a process takes a second of CPU to start.
        pytest.param(
            module, *fault, marks=[] if at == of else pytest.mark.long, id=f"{module}-{next(iter(fault[0]))}"
        )
        for at, module in enumerate(PROCESSES)
        for of, fault in enumerate(WRONG)
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_sentence(module, wrong, sentence):
    status, told = said(module, **GIVEN | wrong)
    assert status == 1
    assert told.startswith(sentence)
    assert len(told.splitlines()) == 1
    assert "canary" not in told


def test_a_list_that_is_no_list_is_named():
    status, told = said("worker", **GIVEN, RUNNER="python")
    assert (status, "runner" in told, "Traceback" in told) == (1, True, False)


@pytest.mark.parametrize("module", PROCESSES)
def test_help_needs_no_settings(module):
    status, told = said(module, "--help", PATH=os.environ["PATH"])
    assert status == 0
    assert told.startswith(f"usage: python -m {module}")
    assert "docs/settings.md" in told

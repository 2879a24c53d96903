"""A backup of a running service, brought into an empty home: jobs, results and keys are there again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.standalone.instance import running
from tests.standalone.processes import ROOT, eventually
from tests.standalone.test_jobs import QUICK, look, submit


def standalone(verb: str, home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "standalone", verb, str(folder)],
        env={"PATH": "/usr/bin:/bin", "NEFTUNE_HOME": str(home), "COLUMNS": "200"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.long  # faults/test_restore.py restores older ones
@pytest.mark.fault("F49")
def test_a_home_comes_back_from_a_backup_of_a_running_service(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "backup"
    with running(home, **QUICK) as first:
        done = submit(first, "steps=3")
        assert eventually(lambda: look(first, done)["status"] == "succeeded", 30)
        asleep = submit(first, "steps=100 sleep=0.1")
        assert eventually(lambda: look(first, asleep)["status"] == "running", 30)
        # A backup of a home in use, and the same again with nothing new to copy
        made = standalone("backup", home, kept)
        assert made.returncode == 0, made.stderr
        assert " 0 new objects" not in f" {made.stdout}"
        assert "0 new objects" in standalone("backup", home, kept).stdout
        key = first.key
        # A home that has rows already is left alone
        refused = standalone("restore", home, kept)
        assert refused.returncode == 1
        assert "runs on" in refused.stderr
    assert (kept.stat().st_mode & 0o077, (kept / "database.dump").stat().st_mode & 0o077) == (0, 0)
    refused = standalone("restore", home, kept)
    assert (refused.returncode, "is not empty" in refused.stderr) == (1, True)
    # When everything is lost and restored elsewhere
    again = home / "again"
    came = standalone("restore", again, kept)
    assert came.returncode == 0, came.stdout + came.stderr
    with running(again, **QUICK, NEFTUNE_API_KEY=key) as second:
        assert look(second, done)["status"] == "succeeded"
        with second.client() as client:
            assert client.get(f"/jobs/{done}/artifacts/adapter").status_code == 200
        assert eventually(lambda: look(second, asleep)["status"] in {"running", "succeeded"}, 30)


def test_a_backup_that_broke_off_is_not_restored(home: Path, tmp_path: Path) -> None:
    (tmp_path / "database.dump").write_bytes(b"half")
    refused = standalone("restore", home, tmp_path)
    assert refused.returncode == 1
    assert "backup.json is missing" in refused.stderr
    refused = standalone("backup", home / "none", tmp_path)
    assert "nothing to back up" in refused.stderr

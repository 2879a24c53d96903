"""PostgreSQL's disk is full: nothing is accepted that could be lost, and with room again all goes on."""

import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from neftune_store.db import migrate
from standalone.dumps import dump
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.faults.test_upgrade import KEY, serve, unfinished
from tests.worker_house import MODEL, House, opened, quiet_redis, until

__all__ = ["quiet_redis"]

DISK = "700m"  # server, cluster and its log, with room to begin with


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk of its own; only root may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="neftune-disk-"))
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0711", "tmpfs", str(folder)]
    mounted = subprocess.run(mounting, capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("this needs a small disk, which only root may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
def cramped(tmp_path: Path, disk: Path, quiet_redis: str) -> Iterator[tuple[House, EmbeddedPostgres, Path]]:
    server = EmbeddedPostgres(disk / "home")
    url = server.start()
    template = f"migrated_{secrets.token_hex(4)}"
    create_database(url, template)
    migrate(database_named(url, template))
    with opened(tmp_path, url, template, quiet_redis) as house:
        house.environ.update(LEASE_SECONDS="12", LEASE_STOP_SECONDS="9")
        yield house, server, disk
    server.stop()


def fill(disk: Path) -> Path:
    """Take what is left of it, to the last byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


@pytest.mark.long  # a server of its own on a small disk
@pytest.mark.fault("F30")
def test_a_full_disk_of_the_database_costs_time_and_nothing_else(
    cramped: tuple[House, EmbeddedPostgres, Path], tmp_path: Path, record_property
) -> None:
    house, server, disk = cramped
    house.start()
    house.start("worker.reconcile")
    url = serve(house)
    dataset = house.dataset().id
    running = house.submit("steps=150 sleep=0.05 ckpt=20", dataset=dataset)
    house.wait_for_step(running, 5)
    headers = {"Authorization": f"Bearer {KEY}"}
    accepted: list[str] = []
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        bulk = {f"bulk{number}": "x" * 500 for number in range(10)}
        spec = {"model": MODEL, "dataset": dataset, "metadata": {"toy": "steps=2", **bulk}}

        def post() -> int:
            answer = client.post("/jobs", json=spec)
            if answer.status_code == 201:
                accepted.append(answer.json()["id"])
            else:
                assert "retry-after" in answer.headers, answer.text
            return answer.status_code

        assert post() == 201
        # When the disk is full, requests are accepted as long as they fit, and then refused in our words
        ballast, full_at = fill(disk), time.monotonic()
        seen = {post()}
        until(lambda: seen.add(post()) or 503 in seen, 90)
        record_property("refused_after_seconds", round(time.monotonic() - full_at, 1))
        assert seen <= {201, 503}
        assert client.get("/healthz").status_code == 200
        # and when there is room again
        ballast.unlink()
        if server.process is None or server.process.poll() is not None:
            server.start()
        freed_at = time.monotonic()
        until(lambda: post() == 201, 60)
        record_property("accepted_after_seconds", round(time.monotonic() - freed_at, 1))
        # Then every accepted job is there and ends, and so does the one that ran
        until(lambda: unfinished(house) == 0, 180)
        for job in accepted:
            assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
    assert house.wait(running, "succeeded", "failed", seconds=90).status == "succeeded"
    assert house.steps(running) == list(range(151))
    dump(house.environ["DATABASE_URL"], tmp_path / "all.dump")  # reads every page, under its checksum

"""Postgres dies under a running job: within the lease nothing is noticed, beyond it the runner is stopped."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neftune_store.db import migrate
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.worker_house import House, opened, quiet_redis, until

__all__ = ["quiet_redis"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, as safe as in production, in a folder that an unprivileged server may enter."""
    home = Path(tempfile.mkdtemp(prefix="neftune-own-"))
    made = EmbeddedPostgres(home)
    yield made
    made.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def fragile(tmp_path: Path, server: EmbeddedPostgres, quiet_redis: str) -> Iterator[House]:
    """A house on a database that may die. Its lease leaves time for a restart on a busy machine."""
    url = server.start()
    template = f"migrated_{secrets.token_hex(4)}"
    create_database(url, template)
    migrate(database_named(url, template))
    with opened(tmp_path, url, template, quiet_redis) as made:
        lease = {"LEASE_SECONDS": "12", "HEARTBEAT_SECONDS": "0.5", "LEASE_STOP_SECONDS": "9"}
        made.environ.update(lease)
        yield made


def crash(server: EmbeddedPostgres) -> None:
    """Let the server vanish as in a power cut."""
    process = server.process
    assert process is not None
    process.kill()
    process.wait()


@pytest.mark.fault("F19")
def test_a_database_that_is_back_within_the_lease_is_not_missed(
    fragile: House, server: EmbeddedPostgres
) -> None:
    fragile.start()
    fragile.start("worker.reconcile")
    job = fragile.submit("steps=60 sleep=0.05")
    fragile.wait_for_step(job, 5)
    crash(server)
    server.start()
    done = fragile.wait(job, "succeeded", "failed", seconds=40)
    assert (done.status, done.attempt) == ("succeeded", 1), fragile.logs()[-4000:]
    assert fragile.steps(job) == list(range(61))


@pytest.mark.fault("F20")
def test_a_database_away_for_longer_stops_the_runner_and_the_job_runs_again(
    fragile: House, server: EmbeddedPostgres, record_property
) -> None:
    fragile.environ.update(LEASE_SECONDS="4", LEASE_STOP_SECONDS="2.5")
    worker = fragile.start()
    fragile.start("worker.reconcile")
    job = fragile.submit("steps=100 sleep=0.05")
    fragile.wait_for_step(job, 5)
    runner = fragile.runner(worker)
    began = time.monotonic()
    crash(server)
    # The runner is dead before the lease is
    until(lambda: not runner.is_running() or None, 4)
    record_property("runner_dead_after_s", round(time.monotonic() - began, 2))
    server.start()
    done = fragile.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt) == ("succeeded", 2), fragile.logs()[-4000:]
    assert fragile.steps(job) == list(range(101))
    assert worker.poll() is None

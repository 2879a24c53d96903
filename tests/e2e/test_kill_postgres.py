"""Postgres dies, in each phase of a job: within the lease nothing is lost, beyond it runners are stopped."""

import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from neftune_store.db import migrate
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import MODEL, House, opened, quiet_redis, until

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


PHASES = (
    "claim.updated",
    "run.spawned",
    "report.inside",
    "checkpoint.uploaded",
    "publish.stored",
    "settle.inside",
)


@pytest.mark.fault("F19")
@pytest.mark.parametrize(
    "phases", [PHASES[::2], pytest.param(PHASES, marks=pytest.mark.long)], ids=["three", "all"]
)
def test_a_database_that_goes_down_in_each_phase_of_a_job_costs_it_no_run(
    fragile: House, server: EmbeddedPostgres, tmp_path: Path, phases: tuple[str, ...], record_property
) -> None:
    # Given a worker that waits a moment in each phase of its first job, and an api
    reached = tmp_path / "reached"
    reached.mkdir()
    api = Api(fragile)
    dataset = fragile.dataset().id
    hurt = ",".join(f"{phase}:sleep:0.5" for phase in phases)
    worker = fragile.start(NEFT_TEST="1", FAILPOINTS=hurt, FAILPOINTS_ONCE=str(reached))
    fragile.start("worker.reconcile")
    job = fragile.submit("steps=20 sleep=0.02 ckpt=5", dataset=dataset)
    away, back = [], []
    # When the database goes down in each of them (as ``pg_ctl stop -m immediate``) and comes back
    for number, phase in enumerate(phases):
        until(lambda phase=phase: (reached / phase).exists() or None, 60)
        server.process.send_signal(signal.SIGQUIT)
        server.process.wait()
        asked = {"model": MODEL, "dataset": dataset, "metadata": {"toy": "steps=1"}}
        away.append(refused(api, asked, f"key-{number}"))
        server.start()
        back.append(accepted(api, asked, f"key-{number}"))
    record_property("refused_after_s", round(max(away), 2))
    record_property("accepted_again_after_s", round(max(back), 2))
    # Then the api said so at once and soon took jobs again, and the job ended in its first run, and whole
    assert max(away) < 2.0
    assert max(back) < 2.0
    done = fragile.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt) == ("succeeded", 1), fragile.logs()[-4000:]
    assert fragile.steps(job) == list(range(21))
    assert worker.poll() is None
    with fragile.engine.connect() as connection:
        asked = text("SELECT count(*) FROM jobs WHERE status = 'succeeded' AND attempt = 1")
        until(lambda: connection.scalar(asked) == 1 + len(phases) or None, 60)


def refused(api: Api, body: dict[str, object], key: str) -> float:
    """Hold that a job is put off for want of the database; give the longest time an answer took."""
    began = time.monotonic()
    answer = api.post(body, key)
    took = time.monotonic() - began
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"]
    began = time.monotonic()
    ready = httpx.get(f"http://127.0.0.1:{api.port}/readyz", trust_env=False, timeout=20)
    assert (ready.status_code, ready.json()["dependencies"]["postgres"]) == (503, "down")
    assert ready.json()["dependencies"]["storage"] == "up"
    return max(took, time.monotonic() - began)


def accepted(api: Api, body: dict[str, object], key: str) -> float:
    """Ask until the job is taken; give the seconds since the database takes connections."""
    began = time.monotonic()
    until(lambda: api.post(body, key).status_code in (200, 201) or None, 20)
    return time.monotonic() - began


@pytest.mark.long
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


@pytest.mark.long  # half a minute
@pytest.mark.fault("F20")
def test_a_database_away_for_longer_stops_the_runner_and_the_job_runs_again(
    fragile: House, server: EmbeddedPostgres, record_property
) -> None:
    fragile.environ.update(LEASE_SECONDS="4", LEASE_STOP_SECONDS="2.5")
    worker = fragile.start()
    fragile.start("worker.reconcile")
    job = fragile.submit("steps=100 sleep=0.05 ckpt=5")
    saved = until(lambda: fragile.job(job).committed_step or None, 30)
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
    (resumed,) = [fact.data["step"] for fact in fragile.facts(job) if fact.name == "run.resumed"]
    assert resumed >= saved
    assert worker.poll() is None

"""When connections or disk space run out: told at once, and nothing half done."""

import contextlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import make_url, text

from neftune_store.blobs import Blobs
from neftune_store.collection import collect
from neftune_store.db import migrate
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import MODEL, ROWS, House, house, kill, opened, quiet_redis, short_home, until

__all__ = ["house", "quiet_redis", "short_home"]

CONNECTIONS = 45


@pytest.fixture
def crowded(tmp_path: Path, short_home: Path, quiet_redis: str) -> Iterator[House]:
    """A house on a server that has few connections to give."""
    server = EmbeddedPostgres(short_home, {"max_connections": str(CONNECTIONS)})
    try:
        url = server.start()
        template = f"migrated_{secrets.token_hex(4)}"
        create_database(url, template)
        migrate(database_named(url, template))
        with opened(tmp_path, url, template, quiet_redis) as made:
            yield made
    finally:
        server.stop()


@contextlib.contextmanager
def crowd(house: House) -> Iterator[list[psycopg.Connection]]:
    """Take every connection that is left."""
    url = make_url(house.environ["DATABASE_URL"]).set(drivername="postgresql")
    conninfo = url.render_as_string(hide_password=False)
    taken = []
    with contextlib.ExitStack() as held:
        while (line := _connected(conninfo)) is not None:
            taken.append(held.enter_context(contextlib.closing(line)))
        yield taken


def _connected(conninfo: str) -> psycopg.Connection | None:
    try:
        return psycopg.connect(conninfo)
    except psycopg.OperationalError:
        return None


@pytest.mark.long  # fills a server of its own
@pytest.mark.fault("F21")
def test_without_connections_posts_are_put_off_and_running_jobs_live_on(
    crowded: House, record_property
) -> None:
    # Given a job that runs, an api that has asked nothing yet, and a database that is full
    dataset = crowded.dataset().id
    crowded.start()
    job = crowded.submit("steps=160 sleep=0.05", dataset=dataset)
    crowded.wait_for_step(job, 3)
    api = Api(crowded)
    with crowd(crowded) as taken:
        assert len(taken) > 5
        before = lease_end(taken[0], job.id)
        # Then the api says so, and the run keeps its lease by the connection it has
        began = time.monotonic()
        refused = api.post({"model": MODEL, "dataset": dataset}, "full")
        record_property("answered_after_s", round(time.monotonic() - began, 2))
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        crowded.engine.dispose()
        until(lambda: lease_end(taken[0], job.id) > before, 10)
    now = until(lambda: crowded.job(job), 5)
    assert (now.status, now.attempt) == ("running", 1)
    # And with room again, all goes on
    again = api.post({"model": MODEL, "dataset": dataset}, "full")
    assert again.status_code == 201
    done = crowded.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt) == ("succeeded", 1), crowded.logs()[-3000:]
    assert crowded.steps(job) == list(range(161))


def lease_end(line: psycopg.Connection, job_id: str) -> datetime:
    """Ask by a connection that is held until when a job's lease lasts."""
    with line.transaction():
        [until_then] = line.execute("SELECT lease_expires_at FROM jobs WHERE id = %s", [job_id]).fetchone()
    return until_then


def upload(api: Api, data: bytes, **more: str) -> httpx.Response:
    """Send rows."""
    return httpx.post(
        f"http://127.0.0.1:{api.port}/datasets",
        content=data,
        headers={"authorization": f"Bearer {api.key}", **more},
        timeout=60,
        trust_env=False,
    )


def datasets(house: House) -> int:
    with house.engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM datasets")).scalar_one()


def kept(house: House) -> list[str]:
    return [str(path) for path in (house.root / "blobs").rglob("*") if path.is_file()]


@pytest.mark.fault("F31")
def test_an_api_killed_in_mid_upload_leaves_nothing_to_see(house: House) -> None:
    # Given an api that dies with half of an upload in its hands
    doomed = Api(house)
    rows = ROWS * (24 * 1024 * 1024 // len(ROWS))

    def half() -> Iterator[bytes]:
        yield rows[: len(rows) // 2]
        assert "/staging/" in until(lambda: kept(house) or None, 30)[0]  # its first part
        kill(doomed.process)
        yield rows[len(rows) // 2 :]

    with pytest.raises(httpx.HTTPError):
        upload(doomed, half())
    assert datasets(house) == 0
    # Then another one takes the same rows, and the collector what was left
    answer = upload(Api(house), rows)
    assert answer.status_code == 201, answer.text
    blobs = Blobs.open(house.settings())
    collect(house.engine, blobs, grace=timedelta(0))
    collect(house.engine, blobs, grace=timedelta(0))
    assert len(kept(house)) == datasets(house) == 1


@pytest.mark.fault("F29")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_an_api_whose_disk_is_full_keeps_half_of_nothing(house: House, tmp_path: Path) -> None:
    # Given a spool, where tables lie while they are read, with room for very little
    spool = tmp_path / "small"
    spool.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(spool)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this root may not mount")
    try:
        api = Api(house, SPOOL_DIR=str(spool))
        table = b"instruction,output\n" + b"say it,it is said\n" * 20_000
        refused = upload(api, table, **{"content-type": "text/csv"})
        assert refused.status_code in (503, 507), refused.text
        assert refused.headers["content-type"].startswith("application/problem+json")
        assert datasets(house) == 0
        assert kept(house) == []
        assert list(spool.iterdir()) == []
        # And rows, which need no spool, are still taken
        rows = json.dumps({"instruction": "a", "input": "", "output": "b"}).encode() + b"\n"
        assert upload(api, rows * 20).status_code == 201
        kill(api.process)
        api.process.wait()
    finally:
        subprocess.run(["umount", "-l", str(spool)], check=True)

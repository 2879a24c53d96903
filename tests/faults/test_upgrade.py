"""The schema changes while everything runs, and code of the version before works on the newest schema."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url, text

from neftune_store.db import MIGRATIONS, unit_of_work
from neftune_store.projects import ProjectLedger
from neftune_store.settings import with_driver
from standalone.address import free_port
from tests.faults.previous import unpack_previous
from tests.worker_house import MODEL, ROWS, House, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]

KEY = "nft_key_of_the_tests_upgrading"
ADDITIVE = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9001", "{head}", None, None


def upgrade():
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in ("jobs", "events", "metrics", "datasets", "runs"):
        op.add_column(table, sa.Column("later", sa.Text(), server_default="none", nullable=False))
    op.create_index("ix_jobs_later", "jobs", ["later"])
    op.create_table("later", sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), primary_key=True))


def downgrade():
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table("later")
    op.drop_index("ix_jobs_later")
    for table in ("jobs", "events", "metrics", "datasets", "runs"):
        op.drop_column(table, "later")
"""


class Client:
    """Somebody who submits and looks, again and again, and writes down what was answered."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[int] = Counter()
        self.jobs: list[str] = []
        self.slowest = 0.0
        self._url = url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=30, trust_env=False) as line:
            dataset = line.post("/datasets", content=ROWS).json()["id"]
            spec = {"model": MODEL, "dataset": dataset, "metadata": {"toy": "steps=2"}}
            while not self._done.is_set():
                made = self._note(lambda: line.post("/jobs", json=spec))
                if made.status_code == 201:
                    self.jobs.append(made.json()["id"])
                self._note(lambda: line.get("/jobs"))
                self._note(lambda: line.get(f"/jobs/{self.jobs[-1]}/metrics"))
                time.sleep(0.1)

    def _note(self, ask) -> httpx.Response:
        began = time.monotonic()
        answer = ask()
        self.answers[answer.status_code] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        return answer


def serve(house: House, cwd: Path | None = None) -> str:
    """Start the api; give its address."""
    with unit_of_work(house.engine) as session:
        ledger = ProjectLedger(session)
        ledger.ensure_key(KEY, ledger.ensure_default().id, "test")
    port = free_port("127.0.0.1")
    own = {"PORT": str(port), "SPOOL_DIR": str(house.root), "QUEUE_LIMIT": "1000"}
    if cwd is None:
        house.start("api", **own)
    else:
        start_in(house, cwd, "api", **own)
    url = f"http://127.0.0.1:{port}"
    until(lambda: ready(url), 30)
    return url


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def start_in(house: House, cwd: Path, module: str, **environ: str) -> None:
    """Start a module of another tree: the current folder comes before what is installed."""
    with (house.root / f"{len(house.processes)}-{module}.log").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**house.environ, **environ},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    house.processes.append(process)


@pytest.fixture
def later(house: House, tmp_path: Path) -> Config:
    """The migrations, and a made one after them."""
    with house.engine.connect() as connection:
        head = connection.scalar(text("SELECT version_num FROM alembic_version"))
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "later.py").write_text(ADDITIVE.format(head=head))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", f"{MIGRATIONS / 'versions'}:{tmp_path / 'later'}")
    config.attributes["url"] = with_driver(house.environ["DATABASE_URL"])
    return config


@pytest.mark.long  # half a minute of load
@pytest.mark.fault("F42")
def test_an_upgrade_under_load_refuses_no_request_and_loses_no_job(house: House, later: Config) -> None:
    # Given everything running, a long job, and a client that never rests; a heartbeat may wait for a lock
    house.environ.update(LEASE_SECONDS="12", LEASE_STOP_SECONDS="9")
    house.start()
    house.start("worker.reconcile")
    url = serve(house)
    running = house.submit("steps=200 sleep=0.05 ckpt=20")
    house.start()
    house.wait_for_step(running, 1)
    with Client(url) as client:
        # When the schema goes up and down again and again
        for _ in range(6):
            command.upgrade(later, "head")
            time.sleep(0.4)
            command.downgrade(later, "-1")
            time.sleep(0.4)
    # Then nobody was refused, and every job ends in its first run
    assert set(client.answers) <= {200, 201}, client.answers
    assert len(client.jobs) > 10
    until(lambda: unfinished(house) == 0, 120)
    with house.engine.connect() as connection:
        outcomes = connection.execute(text("SELECT DISTINCT status, attempt FROM jobs")).all()
    assert [tuple(row) for row in outcomes] == [("succeeded", 1)], house.logs()[-4000:]
    assert house.steps(running) == list(range(201))


@pytest.mark.fault("F42")
def test_a_migration_gives_way_to_a_lock_and_comes_back(house: House, later: Config) -> None:
    url = serve(house)
    # Given somebody who reads jobs in a transaction for longer than a migration may wait
    reader = psycopg.connect(make_url(house.environ["DATABASE_URL"]).set(drivername="postgresql")
                             .render_as_string(hide_password=False))  # fmt: skip
    reader.execute("SELECT count(*) FROM jobs")
    migration = threading.Thread(target=command.upgrade, args=(later, "head"))
    with Client(url) as client:
        until(lambda: len(client.jobs) > 1, 30)
        migration.start()
        time.sleep(5)
        assert migration.is_alive()
        reader.close()
        migration.join(30)
        assert not migration.is_alive()
        time.sleep(0.5)
    # Then whoever queued up behind it had to wait, but for less than an api's patience, and it came through
    assert set(client.answers) <= {200, 201}, client.answers
    assert client.slowest > 2
    with house.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9001"


def unfinished(house: House) -> int:
    with house.engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM jobs WHERE finished_at IS NULL")) or 0


@pytest.mark.fault("F42")
def test_code_of_the_version_before_works_on_this_schema(house: House, tmp_path: Path) -> None:
    tree = tmp_path / "previous"
    if unpack_previous(tree) is None:
        pytest.skip("this checkout has no history to take the code before the newest migration from")
    where = [sys.executable, "-c", "import neftune_store; print(neftune_store.__file__)"]
    found = subprocess.run(where, cwd=tree, env=house.environ, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(tree))
    # Given that the schema is the newest and everything that runs is older
    today = house.environ["RUNNER"]
    house.environ["RUNNER"] = json.dumps([sys.executable, str(tree / "tests" / "toy_runner.py"), "run"])
    start_in(house, tree, "worker")
    start_in(house, tree, "worker.reconcile")
    url = serve(house, tree)
    with Client(url) as client:
        until(lambda: len(client.jobs) > 3, 60)
    assert set(client.answers) <= {200, 201}, client.answers
    until(lambda: unfinished(house) == 0, 60)
    # When the worker is replaced by today's in the middle of a job, it goes on
    running = house.submit("steps=100 sleep=0.05")
    house.wait_for_step(running, 3)
    house.start(RUNNER=today)
    house.processes[0].terminate()
    assert house.processes[0].wait(30) == 0
    done = house.wait(running, "succeeded", "failed", seconds=60)
    assert (done.status, done.drains) == ("succeeded", 1), house.logs()[-4000:]
    assert house.steps(running) == list(range(101))

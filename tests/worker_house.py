"""A small service for tests: real worker and reconciler processes over real Postgres, Redis and storage.

The runner is ``toy_runner.py`` unless a test says otherwise; leases are short, so that a death is found
within seconds.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
import redis
from sqlalchemy import Engine, text

from neftune_core.sweep_spec import SweepSpec
from neftune_store.artifacts import Artifact, ArtifactLedger
from neftune_store.bells import ring
from neftune_store.blobs import Blobs, blob_key
from neftune_store.datasets import Dataset, DatasetLedger
from neftune_store.db import make_engine, unit_of_work
from neftune_store.events import events_after, feed_after
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.projects import ProjectLedger
from neftune_store.sweep import Child, Sweep
from neftune_store.sweeps import SweepLedger
from standalone.redis import client_url
from tests import invariants
from tests.conftest import create_database, database_named, drop_database
from worker.settings import WorkerSettings

T = TypeVar("T")
TOY = str(Path(__file__).with_name("toy_runner.py"))
MODEL = "toy/base"
LEASE, HEARTBEAT, LEASE_STOP, RECONCILE = 2.0, 0.5, 1.4, 0.25
QUICK = {"STALL_SECONDS": "3", "FIRST_STEP_SECONDS": "5", "MAX_LOG_BYTES": "200000"}
ROWS = b"".join(
    json.dumps({"instruction": f"Say {n}", "input": "", "output": f"{n} it is"}).encode() + b"\n"
    for n in range(40)
)


class House:
    """Starts processes, submits jobs, waits, and sees to it that nothing is left."""

    def __init__(self, root: Path, engine: Engine, database_url: str, redis_url: str) -> None:
        self.root = root
        self.engine = engine
        self.redis_url = redis_url
        self.processes: list[subprocess.Popen[bytes]] = []
        self.work_dir = root / "work"
        self.environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STORAGE_URL": f"file://{root}/blobs",
            "WORK_DIR": str(self.work_dir),
            "MODELS_DIRS": str(root / "models"),
            "ALLOWED_MODELS": "toy/*,neftune/*",
            "RUNNER": json.dumps([sys.executable, TOY, "run"]),
            "LEASE_SECONDS": str(LEASE),
            "HEARTBEAT_SECONDS": str(HEARTBEAT),
            "LEASE_STOP_SECONDS": str(LEASE_STOP),
            "RECONCILE_SECONDS": str(RECONCILE),
            "STOP_SECONDS": "2",
            "HF_TOKEN": "hf_canary_of_the_tests",
        }
        self._lay_model()

    def settings(self) -> WorkerSettings:
        """What the processes will read."""
        return WorkerSettings(
            **{
                name.lower(): value
                for name, value in self._parsed().items()
                if name.lower() in WorkerSettings.model_fields
            }
        )

    def _parsed(self) -> dict[str, object]:
        return {**self.environ, "RUNNER": json.loads(self.environ["RUNNER"])}

    def _lay_model(self) -> None:
        import numpy  # noqa: PLC0415 - only here
        from safetensors.numpy import save_file  # noqa: PLC0415 - only here

        folder = self.root / "models" / MODEL
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        save_file({"weight": numpy.zeros(1, dtype="float32")}, folder / "model.safetensors")

    # Processes

    def start(self, module: str = "worker", **environ: str) -> subprocess.Popen[bytes]:
        """Start ``python -m module`` with its output in a file."""
        number = len(self.processes)
        with (self.root / f"{number}-{module}.log").open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**self.environ, **environ},
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def logs(self) -> str:
        """Give everything the processes have printed."""
        return "".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.root.glob("*.log")))

    def close(self) -> None:
        """End every process that is left."""
        for process in self.processes:
            tree = family(process.pid)
            for member in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait(10)

    # Jobs

    def project(self) -> str:
        """Give the default project's id."""
        with unit_of_work(self.engine) as session:
            return ProjectLedger(session).ensure_default().id

    def dataset(self, data: bytes = ROWS) -> Dataset:
        """Seal some rows."""
        project, sha256 = self.project(), hashlib.sha256(data).hexdigest()
        path = self.root / f"{sha256}.jsonl"
        path.write_bytes(data)
        key = blob_key(project, sha256)
        Blobs.open(self.settings()).put_file(key, path)
        with unit_of_work(self.engine) as session:
            return DatasetLedger(session).add(
                project,
                name="rows",
                format="alpaca",
                rows=data.count(b"\n"),
                bytes=len(data),
                sha256=sha256,
                blob_key=key,
                stats={},
                warnings=[],
            )

    def submit(
        self,
        toy: str = "",
        *,
        dataset: str | None = None,
        rung: bool = True,
        paused: bool = False,
        **spec: object,
    ) -> Job:
        """Submit a job for the toy runner, and ring as the api would."""
        body = {"model": MODEL, "dataset": dataset or self.dataset().id, "metadata": {"toy": toy}, **spec}
        project = self.project()
        with unit_of_work(self.engine) as session:
            job, _ = JobLedger(session).submit(project, _spec(body))
            if paused:
                job = JobLedger(session).pause(project, job.id)
        if rung:
            ring(self.redis_url)
        return job

    def submit_sweep(self, job: Mapping[str, object], **given: object) -> Sweep:
        """Submit a series, and ring."""
        project = self.project()
        spec = SweepSpec.model_validate({"job": job, **given})
        with unit_of_work(self.engine) as session:
            sweep, _ = SweepLedger(session).submit(project, spec)
        ring(self.redis_url)
        return sweep

    def children(self, sweep: Sweep) -> Sequence[Child]:
        """Give the jobs of a series as they are now."""
        with unit_of_work(self.engine) as session:
            return SweepLedger(session).children([sweep])[sweep.id]

    def ended(self, sweep: Sweep, seconds: float = 60.0) -> Sequence[Child]:
        """Wait until all of a series has ended."""

        def over() -> Sequence[Child] | None:
            now = self.children(sweep)
            return now if all(child.job.finished for child in now) else None

        try:
            return until(over, seconds)
        except TimeoutError:
            raise AssertionError(f"{self.children(sweep)}\n{self.logs()[-8000:]}") from None

    def export(self, job: Job) -> Job:
        """Ask for what it has trained to be merged."""
        with unit_of_work(self.engine) as session:
            asked, _ = JobLedger(session).export(job.project_id, job.id, {"kind": "merged"})
        ring(self.redis_url)
        return asked

    def evaluate(self, job: Job, **asked: object) -> Job:
        """Ask for what it has trained to be measured."""
        from neftune_core.evaluate.spec import EvaluationSpec  # noqa: PLC0415 - as below

        spec = EvaluationSpec.model_validate({"kinds": ["loss"], **asked})
        with unit_of_work(self.engine) as session:
            made, _ = JobLedger(session).evaluate(job.project_id, job.id, spec)
        ring(self.redis_url)
        return made

    def cancel(self, job: Job) -> Job:
        """Ask for a job's end."""
        with unit_of_work(self.engine) as session:
            return JobLedger(session).cancel(job.project_id, job.id)

    def pause(self, job: Job) -> Job:
        """Ask it to rest."""
        with unit_of_work(self.engine) as session:
            return JobLedger(session).pause(job.project_id, job.id)

    def resume(self, job: Job) -> Job:
        """Wake it up."""
        with unit_of_work(self.engine) as session:
            resumed = JobLedger(session).resume(job.project_id, job.id)
        ring(self.redis_url)
        return resumed

    def job(self, job: Job) -> Job:
        """Give the job as it is now."""
        with unit_of_work(self.engine) as session:
            return JobLedger(session).get(job.project_id, job.id)

    def wait(self, job: Job, *statuses: str, seconds: float = 30.0) -> Job:
        """Wait until the job has one of these statuses."""
        try:
            return until(lambda: now if (now := self.job(job)).status in statuses else None, seconds)
        except TimeoutError:
            raise AssertionError(f"{self.job(job)}\n{self.logs()[-8000:]}") from None

    def wait_for_step(self, job: Job, step: int = 1, seconds: float = 30.0) -> Job:
        """Wait until a run has come so far."""

        def reached() -> Job | None:
            now = self.job(job)
            return now if now.status == "running" and now.live_step >= step else None

        try:
            return until(reached, seconds)
        except TimeoutError:
            raise AssertionError(f"{self.job(job)}\n{self.logs()[-8000:]}") from None

    def events(self, job: Job) -> list[str]:
        """Name what has happened."""
        return [event.name for event in self.facts(job)]

    def facts(self, job: Job):
        """List what has happened."""
        with unit_of_work(self.engine) as session:
            return events_after(session, job.project_id, job.id, 0, 1000)

    def feed(self, job: Job) -> list[str]:
        """Name what a follower hears, in its order: facts, and metrics as their steps."""
        with unit_of_work(self.engine) as session:
            heard = feed_after(session, job.id, 0)
        named = {"event": lambda data: data["name"], "metric": lambda data: f"step {data['step']}"}
        return [named[item.kind](item.data) for item in heard if item.kind in named]

    def steps(self, job: Job) -> list[int]:
        """List the steps that have a metric row."""
        with self.engine.connect() as connection:
            found = connection.execute(
                text("SELECT step FROM metrics WHERE job_id = :job ORDER BY step"), {"job": job.id}
            )
            return [row.step for row in found]

    def log_tail(self, job: Job) -> str:
        """Give the last lines kept of the job's last run."""
        with self.engine.connect() as connection:
            found = connection.execute(
                text("SELECT log_tail FROM runs WHERE job_id = :job ORDER BY fence DESC LIMIT 1"),
                {"job": job.id},
            )
            return found.scalar_one() or ""

    def hurry(self, job: Job) -> None:
        """Let a resting job start at once."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET run_after = NULL WHERE id = :job"), {"job": job.id})

    def artifacts(self, job: Job) -> dict[str, Artifact]:
        """List the job's results by name."""
        with unit_of_work(self.engine) as session:
            return {found.name: found for found in ArtifactLedger(session).list(job.project_id, job.id)}

    def content(self, artifact: Artifact) -> bytes:
        """Give a result's bytes from storage."""
        return b"".join(Blobs.open(self.settings()).stream(artifact.blob_key))

    # Processes of a run

    def pool_child(self, worker: subprocess.Popen[bytes]) -> psutil.Process:
        """Find the process that supervises."""
        return until(lambda: next(iter(psutil.Process(worker.pid).children()), None), 20)

    def runner(self, worker: subprocess.Popen[bytes]) -> psutil.Process:
        """Find the runner."""

        def found() -> psutil.Process | None:
            for child in psutil.Process(worker.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    line = child.cmdline()
                    if "--report-fd" in line and "launch.py" not in " ".join(line):
                        return child
            return None

        return until(found, 20)

    def left_behind(self) -> list[str]:
        """List live processes that work in our folders: none may be left when all is over."""
        return [" ".join(line) for line in self._lines() if any(str(self.root) in part for part in line)]

    def _lines(self) -> Iterator[list[str]]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process.cmdline()


def told_secrets(house: House) -> list[str]:
    """I11: name the secrets, and the texts of rows, that stand in what was printed, told or kept as a log."""
    asked = (
        "SELECT data::text FROM events UNION ALL SELECT error_message FROM jobs"
        " UNION ALL SELECT log_tail FROM runs"
    )
    with house.engine.connect() as connection:
        told = [house.logs(), *(row[0] or "" for row in connection.execute(text(asked)))]
    names = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
    secrets_ = [house.environ[name] for name in names if name in house.environ]
    password = house.engine.url.password or ""
    secrets_ += [password] if len(password) > 8 else []  # a given server's may be a plain word
    return [secret for secret in (*secrets_, "Say 17") if any(secret in part for part in told)]


def _spec(body: dict[str, object]):
    from neftune_core.spec import JobSpec  # noqa: PLC0415 - the store takes the validated class

    return JobSpec.model_validate(body)


def family(pid: int) -> list[psutil.Process]:
    """List a process and all under it."""
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def until(look: Callable[[], T | None], seconds: float = 10.0) -> T:
    """Wait until ``look`` gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None and found is not False:
            return found
        time.sleep(0.05)
    raise TimeoutError


def kill(process: psutil.Process | subprocess.Popen[bytes]) -> None:
    """``kill -9``."""
    os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def quiet_redis(redis_url: str) -> str:
    """A Redis without bells of an earlier module."""
    redis.from_url(client_url(redis_url)).flushdb()
    return redis_url


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A folder that an unprivileged server may pass through, with room for a socket's name."""
    home = Path(tempfile.mkdtemp(prefix="neftune-own-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def opened(root: Path, postgres_url: str, template: str, redis_url: str) -> Iterator[House]:
    """A house on a database of its own; what it leaves running fails the test."""
    name = f"neftune_house_{secrets.token_hex(4)}"
    create_database(postgres_url, name, template=template)
    url = database_named(postgres_url, name)
    engine = make_engine(url, application_name="tests")
    house = House(root, engine, url, redis_url)
    try:
        yield house
        house.close()
        blobs = Blobs.open(house.settings()) if house.environ["STORAGE_URL"].startswith("file:") else None
        invariants.check(engine, blobs)
        assert not (told := told_secrets(house)), told
    finally:
        house.close()
        engine.dispose()
        drop_database(postgres_url, name)
    assert until(lambda: not house.left_behind(), 5), house.left_behind()


@pytest.fixture
def house(tmp_path: Path, postgres_url: str, migrated_template: str, quiet_redis: str) -> Iterator[House]:
    """A house for one test, which starts what it needs."""
    redis.from_url(client_url(quiet_redis)).flushdb()
    with opened(tmp_path, postgres_url, migrated_template, quiet_redis) as made:
        yield made


@pytest.fixture(scope="module")
def busy_house(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, migrated_template: str, quiet_redis: str
) -> Iterator[House]:
    """A house with a worker and a reconciler that all tests of a module share."""
    root = tmp_path_factory.mktemp("house")
    with opened(root, postgres_url, migrated_template, quiet_redis) as made:
        made.start("worker", **QUICK)
        made.start("worker.reconcile")
        yield made

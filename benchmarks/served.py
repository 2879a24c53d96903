"""For the other benchmarks: the real api in a process of its own, on a Postgres and a Redis of its own.

Whoever uses it measures the api's CPU seconds from outside: neither the client's nor the database's are among
them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine

from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.projects import ProjectLedger
from standalone.address import free_port
from standalone.postgres import EmbeddedPostgres
from standalone.redis import EmbeddedRedis

MODEL = "org/base"


@dataclass(frozen=True)
class Served:
    """A running api, and what lies behind it."""

    port: int
    key: str
    project_id: str
    engine: Engine
    database: str
    child: psutil.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=600, trust_env=False)


def cpu_seconds(process: psutil.Process) -> float:
    """Give what a process has used so far."""
    used = process.cpu_times()
    return float(used.user + used.system)


def resident_mb(process: psutil.Process) -> float:
    """Give how much memory a process has."""
    return float(process.memory_info().rss) / 2**20


@contextmanager
def process(command: Sequence[str], port: int, **environ: str) -> Iterator[psutil.Process]:
    """Run a server until the block ends; begins when it answers."""
    child = subprocess.Popen(command, env={**os.environ, **environ})
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def served(**settings: str) -> Iterator[Served]:
    """Start all of it, with some settings; afterwards nothing is left."""
    with ExitStack() as held:
        home = Path(tempfile.mkdtemp(prefix="neftune-bench-"))
        held.callback(shutil.rmtree, home, ignore_errors=True)
        model = home / "models" / MODEL
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (model / "model.safetensors").write_bytes(b"")
        postgres = EmbeddedPostgres(home)
        held.callback(postgres.stop)
        database = postgres.start()
        migrate(database)
        engine = make_engine(database)
        held.callback(engine.dispose)
        with unit_of_work(engine) as session:
            ledger = ProjectLedger(session)
            project = ledger.ensure_default()
            _, key = ledger.create_key(project.id, "benchmark")
        redis = EmbeddedRedis(home)
        held.callback(redis.stop)
        port = free_port()
        environ = {
            "DATABASE_URL": database,
            "STORAGE_URL": f"file://{home / 'blobs'}",
            "REDIS_URL": redis.start(),
            "MODELS_DIRS": str(home / "models"),
            "ALLOWED_MODELS": "org/*",
            "PORT": str(port),
            "RATE_PER_MINUTE": "1000000000",  # what is measured is not the limit
            **settings,
        }
        child = held.enter_context(process([sys.executable, "-m", "api"], port, **environ))
        yield Served(port, key, project.id, engine, database, child)

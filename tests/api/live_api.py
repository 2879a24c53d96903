"""A real api on loopback, and what tests say to it. Redis is not there, on purpose."""

import base64
import hashlib
import json
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from api.main import create_app
from api.server import Server, serving
from api.settings import ApiSettings
from neftune_store.artifacts import ArtifactRow
from neftune_store.blobs import Blobs, blob_key
from neftune_store.claims import Claim, claim_next
from neftune_store.db import make_engine, unit_of_work
from neftune_store.projects import ProjectLedger
from neftune_store.settling import settle_succeeded

NO_REDIS = "redis://127.0.0.1:1/0"
# For who sends thousands of requests of any kind: streams end at once, and uploads are small.
BRIEF: dict[str, Any] = {
    "sse_seconds": 0.05,
    "sse_poll_seconds": 0.02,
    "max_dataset_bytes": 2_000_000,
    "queue_limit": 10_000,
    "neftune_secret_key": base64.b64encode(bytes(32)).decode(),
}
MODEL = "org/base"


@dataclass(frozen=True)
class Service:
    """A running api, and what lies behind it."""

    url: str
    port: int
    engine: Engine
    storage: Path
    settings: ApiSettings
    server: Server

    def key(self, *scopes: str, project: str | None = None) -> str:
        """A new key, of a new project unless one is named."""
        with unit_of_work(self.engine) as session:
            ledger = ProjectLedger(session)
            owner = ledger.ensure(project or f"project-{secrets.token_hex(8)}")
            return ledger.create_key(owner.id, "test", scopes or ("read", "write", "admin"))[1]

    def client(self, key: str | None = None) -> httpx.Client:
        """A client that holds a key."""
        headers = {"Authorization": f"Bearer {key or self.key()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def raw(self, data: bytes, timeout: float = 5) -> bytes:
        """Speak bytes, and read what comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as line:
            line.sendall(data)
            answer = b""
            try:
                while piece := line.recv(65536):
                    answer += piece
            except TimeoutError:
                pass
            return answer

    def kept(self) -> list[str]:
        """Every file in storage."""
        return sorted(str(one.relative_to(self.storage)) for one in self.storage.rglob("*") if one.is_file())


def make_settings(database_url: str, folder: Path, **changes: Any) -> ApiSettings:
    """Settings for a test; nothing is read from the environment that could differ."""
    models = folder / "models"
    (models / MODEL).mkdir(parents=True, exist_ok=True)
    (models / MODEL / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (models / MODEL / "model.safetensors").write_bytes(b"")
    (folder / "spool").mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": NO_REDIS,
        "storage_url": f"file://{folder / 'blobs'}",
        "models_dirs": (models,),
        "allowed_models": ("org/*",),
        "spool_dir": folder / "spool",
        "port": 0,
        "wrong_keys_per_minute": 100_000,
        "rate_per_minute": 0,
        "sse_poll_seconds": 0.2,
    }
    return ApiSettings(**{**given, **changes})


@contextmanager
def running(settings: ApiSettings) -> Iterator[Service]:
    """Serve until the block ends."""
    server = serving(create_app(settings), settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the api did not start"
        assert time.monotonic() < until, "the api took too long to start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    engine = make_engine(settings.database_url, application_name="tests")
    storage = Path(settings.storage_url.removeprefix("file://"))
    try:
        yield Service(f"http://127.0.0.1:{port}", port, engine, storage, settings, server)
    finally:
        server.should_exit = True
        thread.join(15)
        engine.dispose()
        assert not thread.is_alive(), "the api did not stop"


def rows(count: int = 12) -> bytes:
    """A sound dataset of Alpaca rows."""
    return b"".join(
        json.dumps({"instruction": f"Say {number}.", "input": "", "output": f"It is {number}."}).encode()
        + b"\n"
        for number in range(count)
    )


def upload(client: httpx.Client, data: bytes | None = None, **query: str) -> dict[str, Any]:
    """Put a dataset in."""
    answer = client.post("/datasets", content=data if data is not None else rows(), params=query)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    """A sound job spec."""
    return {"model": MODEL, "dataset": dataset, "alpha": 5, **changes}


def submit(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    """Put a job in, with a dataset of its own."""
    dataset = changes.pop("dataset", None) or upload(client)["id"]
    answer = client.post("/jobs", json=spec(dataset, **changes))
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def claim(service: Service, job: dict[str, Any]) -> Claim:
    """Claim this job as a worker would. Jobs that other tests left in the queue are not due meanwhile."""
    waiting = "SELECT id, run_after FROM jobs WHERE status = 'queued' AND id <> :id FOR UPDATE"
    due = text("UPDATE jobs SET run_after = :run_after WHERE id = :id")
    with unit_of_work(service.engine) as session:
        others = session.execute(text(waiting), {"id": job["id"]}).all()
        for other in others:
            session.execute(due, {"id": other.id, "run_after": "infinity"})
        claimed = claim_next(session, "test-worker", 60)
        for other in others:
            session.execute(due, {"id": other.id, "run_after": other.run_after})
    assert claimed is not None
    assert claimed.job_id == job["id"]
    return claimed


def store_artifact(service: Service, name: str, data: bytes, media_type: str) -> ArtifactRow:
    """Put bytes into storage as a supervisor would."""
    digest = hashlib.sha256(data).hexdigest()
    blobs = Blobs.open(service.settings)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        blobs.put_file(blob_key("prj_test", digest), Path(file.name))
    return ArtifactRow(name, "adapter", digest, len(data), blob_key("prj_test", digest), media_type)


def succeed(service: Service, client: httpx.Client, **artifacts: tuple[bytes, str]) -> dict[str, Any]:
    """A job that has succeeded, with these artifacts."""
    job = submit(client)
    claimed = claim(service, job)
    rows = [store_artifact(service, name, *what) for name, what in artifacts.items()]
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claimed, {"seed": 42, "probe": {"input_ids": [1]}}, rows)
    told: dict[str, Any] = client.get(f"/jobs/{job['id']}").json()
    return told

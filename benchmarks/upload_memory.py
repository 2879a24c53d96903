"""How much memory an upload costs the api, beside the naive way in the same run.

Ours: the real api in a process of its own, on a real Postgres, storing in a folder. Peer: ``UploadFile`` and
the standard library's json, as a tutorial has it. Both take the same sound rows from the same client on
loopback; resident memory is read every 20 ms. Prints one JSON line.

    python benchmarks/upload_memory.py [--mebibytes 1024]
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import psutil

from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.projects import ProjectLedger
from standalone.address import free_port
from standalone.postgres import EmbeddedPostgres

LIMIT_MB = 64
MIB = 1024 * 1024

Running = tuple[str, dict[str, str], psutil.Process]  # where to send, with which headers, and who is watched
Side = Callable[[Path], AbstractContextManager[Running]]

NAIVE = """
import json, uvicorn
from fastapi import FastAPI, UploadFile
app = FastAPI()

@app.post("/datasets", status_code=201)
async def upload(file: UploadFile):
    content = await file.read()
    rows = [json.loads(line) for line in content.decode().splitlines() if line]
    assert all({"instruction", "input", "output"} <= set(row) for row in rows)
    return {"rows": len(rows)}

@app.get("/healthz")
async def healthz():
    return {}

uvicorn.run(app, port=PORT, log_level="error")
"""


def block() -> bytes:
    """About a mebibyte of sound rows, of the length real ones have."""
    made = []
    while sum(map(len, made)) < MIB:
        words = " ".join(secrets.token_hex(4) for _ in range(60))
        made.append(json.dumps({"instruction": words[:90], "input": "", "output": words}).encode() + b"\n")
    return b"".join(made)


@contextmanager
def process(command: list[str], port: int, env: dict[str, str]) -> Iterator[psutil.Process]:
    child = subprocess.Popen(command, env=env)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


class Watch:
    """The resident memory of a process over a time: what it was, and the most it became."""

    def __init__(self, watched: psutil.Process) -> None:
        self._watched = watched
        self._done = threading.Event()
        self.before = self.most = watched.memory_info().rss
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._cpu = sum(self._watched.cpu_times()[:2])
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began
        self.cpu_s = sum(self._watched.cpu_times()[:2]) - self._cpu

    def _run(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, self._watched.memory_info().rss)

    def told(self) -> dict[str, float]:
        """Give what was seen."""
        return {
            "rss_before_mb": round(self.before / MIB, 1),
            "rss_growth_mb": round((self.most - self.before) / MIB, 1),
            "seconds": round(self.seconds, 1),
            "cpu_s": round(self.cpu_s, 1),
        }


@contextmanager
def ours(home: Path) -> Iterator[Running]:
    """The real api on an embedded Postgres, warmed by one small upload."""
    server = EmbeddedPostgres(home)
    database = server.start()
    try:
        migrate(database)
        engine = make_engine(database)
        with unit_of_work(engine) as session:
            ledger = ProjectLedger(session)
            _, key = ledger.create_key(ledger.ensure_default().id, "benchmark")
        engine.dispose()
        port = free_port()
        env = {
            **os.environ,
            "DATABASE_URL": database,
            "STORAGE_URL": f"file://{home / 'blobs'}",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PORT": str(port),
            "MAX_DATASET_ROWS": "100000000",
        }
        with process([sys.executable, "-m", "api"], port, env) as child:
            yield f"http://127.0.0.1:{port}/datasets", {"Authorization": f"Bearer {key}"}, child
    finally:
        server.stop()


@contextmanager
def naive(home: Path) -> Iterator[Running]:
    """The peer."""
    port = free_port()
    command = [sys.executable, "-c", NAIVE.replace("PORT", str(port))]
    with process(command, port, {**os.environ, "TMPDIR": str(home)}) as child:
        yield f"http://127.0.0.1:{port}/datasets", {}, child


def send(url: str, headers: dict[str, str], data: bytes, times: int, *, form: bool) -> None:
    """Send the block so often, as the raw body or as a form, without holding it whole."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'.encode()
    )
    tail = f"\r\n--{boundary}--\r\n".encode()
    if not form:
        head = tail = b""

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(times):
            yield data
        yield tail

    headers = {**headers, "Content-Length": str(len(head) + len(data) * times + len(tail))}
    if form:
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
    answer = httpx.post(url, content=body(), headers=headers, timeout=1800, trust_env=False)
    assert answer.status_code == 201, answer.text[:1000]


def measure(side: Side, data: bytes, times: int, *, form: bool) -> dict[str, float]:
    home = Path(tempfile.mkdtemp(prefix="neftune-bench-"))
    try:
        with side(home) as (url, headers, child):
            send(url, headers, data, 1, form=form)
            time.sleep(0.5)
            with Watch(child) as watch:
                send(url, headers, data, times, form=form)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return watch.told()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of our upload")
    parser.add_argument(
        "--naive-mebibytes", type=int, default=None, help="size of the peer's, if memory is short"
    )
    asked = parser.parse_args()
    data = block()
    mine = measure(ours, data, asked.mebibytes, form=False)
    size = asked.naive_mebibytes or asked.mebibytes
    theirs = measure(naive, data, size, form=True)
    told = {
        "benchmark": "upload_memory",
        "mebibytes": asked.mebibytes,
        "ours": mine,
        "naive": {"mebibytes": size, **theirs},
        "rss_ratio": round(theirs["rss_growth_mb"] / max(mine["rss_growth_mb"], 0.1), 1),
        "within_limit": mine["rss_growth_mb"] <= LIMIT_MB,
    }
    print(json.dumps(told))
    if not told["within_limit"]:
        sys.exit(f"the api grew by more than {LIMIT_MB} MB")


if __name__ == "__main__":
    main()

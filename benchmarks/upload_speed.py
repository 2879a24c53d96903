"""How fast an upload is taken in, as the raw body and as a form, beside a form in the framework's own way.

    python benchmarks/upload_speed.py --mebibytes 128 --rounds 5

Ours: the real api, ``POST /datasets`` with the raw file, and with the part ``file`` of a form. Peers: a
FastAPI app with ``UploadFile`` that makes the same promises (the same scanner and hash, and what was kept is
read back), and one that only hashes and keeps the file. All take the same bytes from the same client on
loopback, in turns. Prints one JSON line: seconds, and CPU seconds of the server, for each (medians), and the
ratios to ours.
"""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import cpu_seconds, process, served
from benchmarks.upload_memory import MIB, block
from standalone.address import free_port

PEER = """
import hashlib, os, sys, uuid, uvicorn
from fastapi import FastAPI, UploadFile
from neftune_core.rows import RowScanner
app = FastAPI()

def take(file, check):
    digest = hashlib.sha256()
    with open(os.path.join(sys.argv[2], uuid.uuid4().hex), "wb") as kept:
        while block := file.file.read(1 << 20):
            digest.update(block)
            if check:
                check.feed(block)
            kept.write(block)
        kept.flush()
        os.fsync(kept.fileno())
    if check:
        with open(kept.name, "rb") as again:
            assert hashlib.file_digest(again, "sha256").digest() == digest.digest()
    return {"sha256": digest.hexdigest(), "rows": check.finish().rows if check else None}

@app.post("/checked", status_code=201)
def checked(file: UploadFile):
    return take(file, RowScanner())

@app.post("/kept", status_code=201)
def kept(file: UploadFile):
    return take(file, None)

@app.get("/healthz")
def healthz():
    return {}

uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, loop="asyncio")
"""
GOAL = 2.0


def send(url: str, headers: dict[str, str], data: bytes, times: int, *, form: bool) -> None:
    """Send the block so often, as the raw body or as a form, without holding it whole."""
    boundary = secrets.token_hex(16)
    head = tail = b""
    if form:
        named = 'Content-Disposition: form-data; name="file"; filename="rows.jsonl"'
        head, tail = f"--{boundary}\r\n{named}\r\n\r\n".encode(), f"\r\n--{boundary}--\r\n".encode()
        headers = {**headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}

    def body() -> Iterator[bytes]:
        yield from (head, *(data for _ in range(times)), tail) if form else (data for _ in range(times))

    length = str(len(head) + len(data) * times + len(tail))
    answer = httpx.post(
        url, content=body(), headers={**headers, "Content-Length": length}, timeout=1800, trust_env=False
    )
    assert answer.status_code == 201, answer.text[:1000]


def main() -> None:
    """Send in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    data = block()
    with ExitStack() as held:
        api = held.enter_context(served(MAX_DATASET_ROWS="100000000"))
        kept = held.enter_context(tempfile.TemporaryDirectory(prefix="neftune-bench-"))
        port = free_port()
        command = [sys.executable, "-c", PEER, str(port), kept]
        peer = held.enter_context(process(command, port, TMPDIR=kept))
        ours = partial(send, f"{api.url}/datasets", api.headers)
        arms: dict[str, tuple[Callable[..., None], psutil.Process]] = {
            "raw": (partial(ours, form=False), api.child),
            "form": (partial(ours, form=True), api.child),
            "peer_form_same_promises": (
                partial(send, f"http://127.0.0.1:{port}/checked", {}, form=True),
                peer,
            ),
            "peer_form_only_kept": (partial(send, f"http://127.0.0.1:{port}/kept", {}, form=True), peer),
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
        for turn in range(given.rounds + 1):
            for name, (upload, server) in arms.items():
                for old in Path(kept).iterdir():
                    old.unlink()
                # Other bytes each time: what is there already is not stored again.
                own = data.replace(b'"input": ""', b'"input": "%s"' % secrets.token_hex(4).encode(), 1)
                used, began = cpu_seconds(server), time.perf_counter()
                upload(own, given.mebibytes if turn else 1)
                seconds = time.perf_counter() - began
                if turn:
                    took[name].append((seconds, cpu_seconds(server) - used))
    wall, cpu = ({name: statistics.median(one[which] for one in found) for name, found in took.items()}
                 for which in (0, 1))  # fmt: skip
    told = {
        "benchmark": "upload_speed",
        "mebibytes": round(given.mebibytes * len(data) / MIB),
        "seconds": {name: round(one, 2) for name, one in wall.items()},
        "cpu_seconds": {name: round(one, 2) for name, one in cpu.items()},
        "times_ours": {
            name: [round(wall[name] / wall["raw"], 2), round(cpu[name] / cpu["raw"], 2)] for name in arms
        },
        "goal": GOAL,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()

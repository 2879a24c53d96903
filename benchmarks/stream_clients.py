"""What a live stream costs with many clients: CPU of the api for each message to each client, and the wait.

    python benchmarks/stream_clients.py --clients 1000 --messages 40 --rounds 5

All clients follow one job at the real api; a run writes the numbers of one step at a time. Peer, in turns: a
FastAPI app that streams with the framework's own server-sent events, from memory, without rows or keys. The
last rounds at ours are beside clients that read nothing. Prints one JSON line: microseconds of CPU for each
message to each client (median, least and most of the rounds), and milliseconds until a client has it.
"""

import argparse
import asyncio
import json
import resource
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import Served, cpu_seconds, process, resident_mb, served
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.runs import write_metrics
from standalone.address import free_port
from tests.factories import make_claim, make_job

PEER = """
import asyncio, sys, time, uvicorn
from collections.abc import AsyncIterable
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
app = FastAPI()
waiting = set()

@app.get("/stream", response_class=EventSourceResponse)
async def stream() -> AsyncIterable[ServerSentEvent]:
    queue = asyncio.Queue()
    waiting.add(queue)
    yield ServerSentEvent(event="status", data={"status": "running"})
    while True:
        step, values = await queue.get()
        yield ServerSentEvent(event="metric", id=str(step), data={"step": step, "values": values})

@app.post("/publish")
async def publish(item: dict):
    for queue in waiting:
        queue.put_nowait((item["step"], item["values"]))

@app.get("/healthz")
async def healthz():
    return {}

uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, loop="asyncio",
            timeout_graceful_shutdown=1)
"""
VALUES = {"train_loss": 1.25, "lr": 0.0002, "grad_norm": 0.75, "tokens_per_s": 1234.5, "noise_ratio": 0.125}
Publish = Callable[[int], Awaitable[None]]


class Reader(asyncio.Protocol):
    """Counts what comes, and notes when."""

    def __init__(self, ask: bytes, crowd: "Crowd") -> None:
        self._ask = ask
        self._crowd = crowd
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._ask)  # type: ignore[attr-defined]  # it is a socket's

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._rest + data
        self._rest = data[-16:]
        for _ in range(data.count(b"event: metric\n")):
            self._crowd.heard.append(now - self._crowd.sent)
        self._crowd.begun += data.count(b'"running"')
        if b"event: metric\n" in self._rest:  # it was counted
            self._rest = b""


class Crowd:
    """All the clients of one server."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._port = port
        self._ask = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        self.heard: list[float] = []
        self.begun = 0
        self.sent = 0.0
        self._stuck: list[socket.socket] = []

    async def gather(self, clients: int) -> None:
        """Connect them, and wait until each has heard something."""
        loop = asyncio.get_running_loop()
        for _ in range(clients):
            await loop.create_connection(lambda: Reader(self._ask, self), "127.0.0.1", self._port)
        while self.begun < clients:
            await asyncio.sleep(0.05)

    def add_stuck(self, clients: int) -> None:
        """Connect some that never read, with as little room as the system gives."""
        for _ in range(clients):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            line.connect(("127.0.0.1", self._port))
            line.sendall(self._ask)
            self._stuck.append(line)

    async def round(
        self, server: psutil.Process, publish: Publish, first: int, messages: int, clients: int
    ) -> dict[str, float]:
        """Publish one message after the other, each when the one before was heard by all."""
        used, self.heard = cpu_seconds(server), []
        for turn in range(messages):
            self.sent = time.monotonic()
            await publish(first + turn)
            while len(self.heard) < clients * (turn + 1):
                await asyncio.sleep(0.002)
        used = cpu_seconds(server) - used
        waits = sorted(self.heard)
        return {
            "us": 1e6 * used / (clients * messages),
            "p50_ms": 1000 * statistics.median(waits),
            "p99_ms": 1000 * waits[int(0.99 * len(waits))],
        }


async def measured(
    given: argparse.Namespace, api: Served, claim: Claim, peer: psutil.Process, port: int
) -> dict:
    async def write(step: int) -> None:
        def written() -> None:
            with unit_of_work(api.engine) as session:
                write_metrics(session, claim, [(step, VALUES)])

        await asyncio.to_thread(written)

    async def post(step: int) -> None:
        body = json.dumps({"step": step, "values": VALUES}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await reader.read()
        writer.close()

    before = resident_mb(api.child)
    ours = Crowd(api.port, f"/jobs/{claim.job_id}/stream", api.key)
    theirs = Crowd(port, "/stream", "none")
    await ours.gather(given.clients)
    grown = resident_mb(api.child) - before
    await theirs.gather(given.clients)
    took: dict[str, list[dict[str, float]]] = {"ours": [], "peer": [], "ours_beside_stuck": []}
    for turn in range(given.rounds + 1):
        first = 1 + turn * given.messages
        for name, crowd, server, publish in (
            ("ours", ours, api.child, write),
            ("peer", theirs, peer, post),
        ):
            found = await crowd.round(server, publish, first, given.messages, given.clients)
            if turn:  # the first round warms up
                took[name].append(found)
    ours.add_stuck(given.stuck)
    await asyncio.sleep(2)
    for turn in range(given.rounds + 1, 2 * given.rounds + 1):
        first = 1 + turn * given.messages
        found = await ours.round(api.child, write, first, given.messages, given.clients)
        took["ours_beside_stuck"].append(found)
    told = {
        name: {what: spread([one[what] for one in found]) for what in found[0]}
        for name, found in took.items()
    }
    return {
        "clients": given.clients,
        "stuck": given.stuck,
        "kb_per_client": round(1024 * grown / given.clients, 1),
        **told,
        "ratio": round(told["peer"]["us"][0] / told["ours"]["us"][0], 2),
    }


def spread(found: list[float]) -> list[float]:
    """Give median, least and most."""
    return [round(one, 1) for one in (statistics.median(found), min(found), max(found))]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--stuck", type=int, default=100)
    parser.add_argument("--messages", type=int, default=40, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with ExitStack() as held:
        api = held.enter_context(served(SSE_PER_KEY=str(2 * (given.clients + given.stuck))))
        port = free_port()
        peer = held.enter_context(process([sys.executable, "-c", PEER, str(port)], port))
        make_job(api.engine, project_id=api.project_id)
        claim = make_claim(api.engine, lease_seconds=36_000)
        told = asyncio.run(measured(given, api, claim, peer, port))
    sys.stdout.write(json.dumps({"benchmark": "stream_clients", **told}) + "\n")


if __name__ == "__main__":
    main()

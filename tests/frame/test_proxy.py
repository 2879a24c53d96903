"""docker/Caddyfile with the service behind it, where a `caddy` is on the PATH (Debian has one)."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import api_database
from tests.api.live_api import Service, make_settings, rows, running, succeed, upload

__all__ = ["api_database"]

CADDYFILE = Path(__file__).parents[2] / "docker" / "Caddyfile"
CADDY = shutil.which("caddy")
pytestmark = [pytest.mark.long, pytest.mark.skipif(CADDY is None, reason="needs caddy on the PATH")]


@dataclass(frozen=True)
class Door:
    """The proxy, and the service behind it."""

    port: int
    service: Service

    def client(self, key: str) -> httpx.Client:
        """A client that comes by TLS."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(
            base_url=f"https://localhost:{self.port}", headers=headers, verify=_trusting(), timeout=20
        )

    def line(self) -> ssl.SSLSocket:
        """A bare line by TLS."""
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=40)
        return _trusting().wrap_socket(bare, server_hostname="localhost")


def _trusting() -> ssl.SSLContext:
    """Its certificate was made a moment ago, by itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def door(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Both, on free ports."""
    folder = tmp_path_factory.mktemp("door")
    changes = {"trusted_proxies": "127.0.0.1", "wrong_keys_per_minute": 3, "max_dataset_bytes": 3_000_000}
    with running(make_settings(api_database, folder, **changes)) as service, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        told = {
            "NEFTUNE_SITE": f"localhost:{port}",
            "NEFTUNE_API": f"127.0.0.1:{service.port}",
            "MAX_BODY_BYTES": "4000000",
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        with (folder / "caddy.log").open("wb") as log:
            command = [str(CADDY), "run", "--config", CADDYFILE, "--adapter", "caddyfile"]
            caddy = subprocess.Popen(command, env={**os.environ, **told}, stderr=log)
        try:
            _wait(port, folder / "caddy.log")
            yield Door(port, service)
        finally:
            caddy.terminate()
            caddy.wait(20)


def _wait(port: int, log: Path) -> None:
    for _ in range(200):
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_an_upload_and_a_download_pass(door: Door) -> None:
    with door.client(door.service.key()) as client:
        data = rows(20_000)
        assert client.post("/datasets", content=iter([data[:500_000], data[500_000:]])).status_code == 201
        job = succeed(door.service, client, adapter=(b"bytes" * 100_000, "application/x-tar"))
        assert len(client.get(f"/jobs/{job['id']}/artifacts/adapter").content) == 500_000


def test_answers_are_sealed_and_say_nothing_of_the_server(door: Door) -> None:
    with door.client(door.service.key()) as client:
        headers = client.get("/healthz").headers
    assert "server" not in headers
    assert headers["strict-transport-security"]
    assert headers["content-security-policy"]


def test_too_much_is_refused(door: Door) -> None:
    kept = door.service.kept()
    with door.client(door.service.key()) as client:
        by_us = client.post("/datasets", content=b"x" * 3_500_000)
        assert (by_us.status_code, by_us.json()["code"]) == (413, "dataset_too_large")
        # What is more than the proxy lets through it tells in its own way: older ones of it as 502.
        assert client.post("/datasets", content=b"x" * 5_000_000).status_code in {413, 502}
    assert door.service.kept() == kept


def test_a_live_stream_is_not_held_back(door: Door) -> None:
    with door.client(door.service.key()) as client:
        job = client.post(
            "/jobs", json={"model": "org/base", "dataset": upload(client)["id"], "alpha": 5}
        ).json()
        with client.stream("GET", f"/jobs/{job['id']}/stream") as stream:
            assert next(stream.iter_lines()).startswith(("event:", "id:", "data:", ":"))


def test_a_client_can_not_name_its_address(door: Door) -> None:
    statuses = []
    with door.client("wrong-key-wrong-key") as client:
        for number in range(8):
            forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"}
            statuses.append(client.get("/jobs", headers=forged).status_code)
    assert 429 in statuses


def test_heads_that_dribble_are_cut_and_others_served(door: Door) -> None:
    lines = [door.line() for _ in range(100)]
    try:
        for line in lines:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with door.client(door.service.key()) as client:
            assert client.get("/healthz").status_code == 200
        began = time.monotonic()
        for line in lines:
            assert line.recv(4096)[:12] in {b"", b"HTTP/1.1 408", b"HTTP/1.1 400"}
        assert time.monotonic() - began < 30
    finally:
        for line in lines:
            line.close()

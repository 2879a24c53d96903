"""What is refused before a route is looked for, and what every answer carries."""

import asyncio
import http.client
import json
import random
import socket
import time
from pathlib import Path

import httpx
import pytest

from api.middleware import Gate
from api.refusals import BadRequest
from tests.api.live_api import Service, make_settings, rows, running, spec, upload


def head(*lines: str, path: str = "/healthz", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close", "", ""]).encode("latin-1")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    "host", ["a/b?c", "a b", "", "evil@localhost", "localhost:x", "a,b", "[::1", "localhost#"]
)
def test_a_malformed_host_is_refused(service: Service, host: str) -> None:
    assert status(service.raw(head(f"Host: {host}"))) == 400


def test_two_hosts_or_none_are_refused(service: Service) -> None:
    assert status(service.raw(head("Host: a", "Host: b"))) == 400
    assert status(service.raw(head())) == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:80", "api.example.org", "my_api"])
def test_a_plain_host_is_served(service: Service, host: str) -> None:
    assert status(service.raw(head(f"Host: {host}"))) == 200


def test_only_trusted_hosts_are_served(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, trusted_hosts="*.example.org,localhost")) as strict:
        assert status(strict.raw(head("Host: evil.test"))) == 400
        assert status(strict.raw(head("Host: api.example.org:80"))) == 200
        assert status(strict.raw(head("Host: LOCALHOST"))) == 200


def test_a_length_beside_chunks_is_refused(service: Service) -> None:
    smuggled = head("Host: a", "Content-Length: 4", "Transfer-Encoding: chunked", path="/jobs", method="POST")
    assert status(service.raw(smuggled + b"0\r\n\r\n")) == 400


def test_a_coding_beside_chunks_is_refused(service: Service) -> None:
    coded = head("Host: a", "Transfer-Encoding: gzip, chunked", path="/jobs", method="POST")
    assert status(service.raw(coded + b"0\r\n\r\n")) == 400


def test_trailers_without_end_are_cut(service: Service) -> None:
    """The server keeps trailers in memory, and a body that has ended is no longer counted."""
    lines = ("Host: a", f"Authorization: Bearer {service.key()}", "Transfer-Encoding: chunked")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as line:
        line.sendall(head(*lines, path="/datasets", method="POST") + b"2\r\n{}\r\n0\r\n")
        trailers = b"".join(b"X-%d: " % number + b"a" * 60_000 + b"\r\n" for number in range(200))
        with pytest.raises(ConnectionError):
            line.sendall(trailers)


@pytest.mark.parametrize("order", [1, -1])
def test_the_gate_refuses_smuggling_whatever_the_server_lets_through(order: int) -> None:
    async def never(*_given: object) -> None:
        raise AssertionError("the request passed the gate")

    pair = [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")][::order]
    scope = {"type": "http", "method": "POST", "path": "/jobs", "headers": [(b"host", b"a"), *pair]}
    gate = Gate(never, trusted_hosts=["*"], body_limit=100)
    with pytest.raises(BadRequest):
        asyncio.run(gate(scope, never, never))  # type: ignore[arg-type]  # it must not get as far as using them


@pytest.mark.parametrize(
    "lines",
    [("Content-Length: -1",), ("Content-Length: 1", "Content-Length: 2"), ("Content-Length: 1x",),
     ("X-Long: " + "x" * 200_000,), ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")],
)  # fmt: skip
def test_odd_heads_are_refused(service: Service, lines: tuple[str, ...]) -> None:
    answer = service.raw(head("Host: a", *lines, path="/jobs", method="POST"))
    assert status(answer) in {400, 401, 431}
    assert status(answer) != 401 or lines[0].startswith("Transfer")


@pytest.mark.parametrize(
    "path", ["//", "/%2e%2e/%2e%2e/etc/passwd", "/jobs/%00", "/%252e%252e", "/jobs//", "/x" * 2000]
)
def test_odd_paths_are_unknown(client: httpx.Client, service: Service, path: str) -> None:
    key = client.headers["authorization"]
    answer = service.raw(head("Host: a", f"Authorization: {key}", path=path))
    assert status(answer) in {400, 404}


def test_wrong_verbs_are_told_the_right_ones(client: httpx.Client) -> None:
    for method in ("PUT", "PATCH", "TRACE"):
        answer = client.request(method, "/jobs")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, POST"  # of both routes, not only of the first
    overridden = client.post("/healthz", headers={"X-HTTP-Method-Override": "GET"})
    assert overridden.status_code == 405


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/xml", "application/json; charset=utf-16",
     "application/x-www-form-urlencoded", "application/json, text/plain", "application/jsonp"],
)  # fmt: skip
def test_json_must_be_called_json(client: httpx.Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = client.post("/jobs", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


def test_json_with_a_charset_is_read(client: httpx.Client) -> None:
    body = json.dumps(spec(upload(client)["id"])).encode()
    answer = client.post("/jobs", content=body, headers={"Content-Type": 'application/json; charset="UTF-8"'})
    assert answer.status_code == 201


def test_a_large_body_on_a_json_route_is_refused(client: httpx.Client) -> None:
    big = json.dumps({"name": "x" * 10_000_000}).encode()
    by_header = client.post("/jobs", content=big, headers={"Content-Type": "application/json"})
    by_byte = client.post("/jobs", content=iter([big]), headers={"Content-Type": "application/json"})

    for answer in (by_header, by_byte):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert len(answer.content) < 1000


def test_an_upload_over_the_limit_is_refused_by_its_header_and_at_the_byte(
    api_database: str, tmp_path: Path
) -> None:
    with (
        running(make_settings(api_database, tmp_path, max_dataset_bytes=3_000_000)) as small,
        small.client() as client,
    ):
        data = rows(100_000)
        by_header = client.post("/datasets", content=data)
        by_byte = client.post(
            "/datasets", content=iter([data[i : i + 65536] for i in range(0, len(data), 65536)])
        )
        for answer in (by_header, by_byte):
            assert (answer.status_code, answer.json()["code"]) == (413, "dataset_too_large")
        assert small.kept() == []


def test_a_table_over_the_limit_is_refused_at_the_byte(api_database: str, tmp_path: Path) -> None:
    """A table is set aside before it is read: only its bytes can be counted."""
    settings = make_settings(api_database, tmp_path, max_dataset_bytes=100_000)
    with running(settings) as small, small.client() as client:
        answer = client.post("/datasets", content=iter([b"text\n", *[b"a" * 999 + b"\n"] * 3000]))
        assert (answer.status_code, answer.json()["code"]) == (413, "dataset_too_large")
        assert "may hold at most" in answer.json()["detail"]
        assert small.kept() == []


@pytest.mark.parametrize(("path", "length"), [("/datasets", 9_000_000_000), ("/jobs", 10_000_000)])
def test_a_length_over_the_limit_is_refused_before_the_body(service: Service, path: str, length: int) -> None:
    lines = ("Host: a", f"Authorization: Bearer {service.key()}", f"Content-Length: {length}")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as line:
        line.sendall(head(*lines, "Content-Type: application/json", path=path, method="POST"))
        assert status(line.recv(65536)) == 413


def test_a_sender_that_is_refused_midway_can_read_why(service: Service) -> None:
    """Closing on bytes that were not read resets the connection, and the reset overtakes the answer."""
    key = service.key()
    lines = ("Host: a", f"Authorization: Bearer {key}", "Content-Type: application/json")
    body = b"".join(b"10000\r\n" + b"a" * 65536 + b"\r\n" for _ in range(160)) + b"0\r\n\r\n"
    for _ in range(3):
        answer = service.raw(head(*lines, "Transfer-Encoding: chunked", path="/jobs", method="POST") + body)
        assert status(answer) == 413


def test_uploads_at_once_are_bounded(api_database: str, tmp_path: Path) -> None:
    settings = make_settings(api_database, tmp_path, uploads_at_once=1)
    with running(settings) as small, small.client() as client:
        lines = ("Host: a", f"Authorization: Bearer {small.key()}", "Content-Length: 1000")
        with socket.create_connection(("127.0.0.1", small.port), timeout=5) as line:
            line.sendall(head(*lines, path="/datasets", method="POST") + b"{")
            slots = small.server.config.app.state.uploads  # type: ignore[union-attr]  # ours is a FastAPI app
            until = time.monotonic() + 10
            while not slots._taken and time.monotonic() < until:
                time.sleep(0.02)
            answer = client.post("/datasets", content=b'{"text": "a"}')
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads")
            assert answer.headers["retry-after"]
        for _ in range(50):
            if client.post("/datasets", content=b'{"text": "a"}').status_code == 201:
                return
            time.sleep(0.1)
        raise AssertionError("the slot was not given back")


def test_one_project_holds_no_more_than_half_of_the_uploads(api_database: str, tmp_path: Path) -> None:
    settings = make_settings(api_database, tmp_path, uploads_at_once=2)
    with running(settings) as small, small.client() as greedy, small.client() as other:
        slots = small.server.config.app.state.uploads  # type: ignore[union-attr]  # ours is a FastAPI app
        lines = ("Host: a", f"Authorization: {greedy.headers['authorization']}", "Content-Length: 1000")
        with socket.create_connection(("127.0.0.1", small.port), timeout=5) as line:
            line.sendall(head(*lines, path="/datasets", method="POST") + b"{")
            until = time.monotonic() + 10
            while not slots._taken and time.monotonic() < until:
                time.sleep(0.02)
            for path, sent in (
                ("/datasets", {"content": b'{"text": "a"}'}),
                ("/v1/files", {"files": {"file": b'{"text": "a"}'}, "data": {"purpose": "fine-tune"}}),
            ):
                assert greedy.post(path, **sent).status_code == 429
                assert other.post(path, **sent).status_code in {200, 201}


def test_too_many_rows_are_refused(api_database: str, tmp_path: Path) -> None:
    with (
        running(make_settings(api_database, tmp_path, max_dataset_rows=50)) as small,
        small.client() as client,
    ):
        answer = client.post("/datasets", content=rows(51))
        assert (answer.status_code, answer.json()["code"]) == (413, "dataset_too_large")


def test_every_answer_carries_a_request_id_and_security_headers(
    client: httpx.Client, service: Service
) -> None:
    for answer in (client.get("/healthz"), client.get("/nowhere"), client.get("/jobs?limit=0")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-request-id"]
        assert "server" not in answer.headers
    named = client.get("/healthz", headers={"X-Request-Id": "trace-0123456789"})
    assert named.headers["x-request-id"] == "trace-0123456789"
    odd = client.get("/healthz", headers={"X-Request-Id": "<script>"})
    assert odd.headers["x-request-id"].startswith("req_")


def test_a_trickling_body_is_refused(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, upload_patience_s=0.5)) as hasty:
        for path in ("/datasets", "/jobs"):
            key = hasty.key()
            with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as line:
                line.sendall(
                    f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
                    "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
                )
                assert status(line.recv(65536)) == 408
        assert hasty.kept() == []


def test_a_trickling_head_is_cut(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, header_timeout_s=0.5)) as hasty:
        with socket.create_connection(("127.0.0.1", hasty.port), timeout=5) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
            began = time.monotonic()
            assert line.recv(10) == b""
            assert time.monotonic() - began < 3
        # Requests on a connection that is kept open are not cut.
        line = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=10)
        for _ in range(3):
            line.request("GET", "/healthz")
            first = line.sock
            assert line.getresponse().read()
            assert line.sock is first is not None  # httpx would open another one without a word
            time.sleep(0.7)  # longer than a head may take
        line.close()


def test_raw_bytes_never_break_the_service(service: Service, client: httpx.Client) -> None:
    key = client.headers["authorization"]
    dice = random.Random(7)
    paths = [
        "/jobs",
        "/datasets",
        "/jobs?cursor=",
        "/jobs/job_x/cancel",
        "/jobs?tag=",
        "/models",
        "/jobs/x/stream",
    ]
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"alpha": NaN}',
        b"\xff\xfe",
        b'{"\\ud800": 1}',
        b"[" * 5000,
        b'"' * 100,
    ]
    for _ in range(400):
        junk = bytes(dice.randrange(1, 256) for _ in range(dice.randrange(12)))
        quoted = "".join(f"%{byte:02x}" for byte in junk)
        body = dice.choice(bodies) + junk
        answer = service.raw(
            f"{dice.choice(['GET', 'POST', 'DELETE'])} {dice.choice(paths)}{quoted} HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: {key}\r\nContent-Type: application/json\r\nIdempotency-Key: k{quoted}\r\n"
            f"Last-Event-ID: {quoted}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        assert 200 <= status(answer) < 500, answer[:300]

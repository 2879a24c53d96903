"""Rows of docs/inputs.md that stand in no other test: odd requests as bytes, and bodies cheap to send."""

import json
import re
from typing import Any

import httpx
import pytest

from neftune_core.strict_json import MAX_DEPTH
from neftune_store.ids import new_id
from tests.api.live_api import Service, rows, spec, submit, upload
from tests.api.test_middleware import head, status


def line(service: Service, *lines: str, path: str = "/jobs", method: str = "GET") -> tuple[int, str]:
    """Say a head as bytes, with a good key; give status and body."""
    answer = service.raw(
        head("Host: a", f"Authorization: Bearer {service.key()}", *lines, path=path, method=method)
    )
    return status(answer), answer.partition(b"\r\n\r\n")[2].decode()


def test_an_upgrade_is_refused(service: Service) -> None:
    asked = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    found, body = line(service, *asked)
    assert (found, json.loads(body)["code"]) == (400, "bad_request")
    assert line(service, "Upgrade: h2c")[0] == 200  # passed over: curl offers it


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "HEAD"])
def test_other_verbs_are_refused(service: Service, method: str) -> None:
    assert line(service, method=method)[0] in {400, 405}


def test_a_method_in_a_header_is_passed_over(client: httpx.Client) -> None:
    job = submit(client)["id"]
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        assert client.get(f"/jobs/{job}", headers={name: "DELETE"}).status_code == 200
        assert client.post(f"/jobs/{job}", headers={name: "DELETE"}).status_code == 405
    assert client.get(f"/jobs/{job}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/jobs/%2e%2e/models", "//jobs", "/jobs//", "/./jobs", "/jobs/%00", "/jobs%2f"]
)
def test_a_path_is_what_it_says(service: Service, path: str) -> None:
    assert line(service, path=path)[0] in {400, 404}


def test_bytes_that_are_no_ascii_have_no_place_in_a_path(service: Service) -> None:
    key = service.key().encode()
    answer = service.raw(
        b"GET /jobs/\xff\xfe HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key + b"\r\n\r\n"
    )
    assert status(answer) in {400, 404}


@pytest.mark.parametrize("odd", ["X-A: b\r\n folded", "X-A: b\rX-B: c", "X A: b", "X-A\x00: b", ": b"])
def test_heads_that_two_readers_read_differently_are_refused(service: Service, odd: str) -> None:
    found, body = line(service, odd)
    assert found == 400
    assert "folded" not in body


def test_a_cookie_that_holds_a_key_opens_nothing(service: Service) -> None:
    """A browser sends cookies for whoever asks it to; a key counts only where a page must put it itself."""
    cookie = {"Cookie": f"key={service.key()}; session={service.key()}", "Origin": "https://evil.example"}
    for method, path in (("POST", "/jobs"), ("GET", "/jobs"), ("DELETE", "/jobs/x")):
        answer = httpx.request(method, service.url + path, headers=cookie, trust_env=False)
        assert answer.status_code in {401, 403}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{" + ",".join(f'"k{n}":1' for n in range(100_000)) + "}", "body_too_large"),
        ("[" + "1," * 100_000 + "1]", "body_too_large"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "invalid_json"),
        ("{" + ",".join(f'"k{n}":1' for n in range(5_000)) + "}", "invalid_spec"),
    ],
)
def test_a_large_value_is_refused_in_few_words(client: httpx.Client, body: str, code: str) -> None:
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {413, 422}
    assert answer.json()["code"] == code
    assert len(answer.json()["errors"]) <= 100
    assert len(answer.content) < 30_000


@pytest.mark.parametrize("name", ["model", "tag", "cursor", "status", "alpha_min"])
@pytest.mark.parametrize(
    "value", ["' OR 1=1--", "%", "_", "\\", "x'; DROP TABLE jobs;--", "$$", "1) UNION SELECT 1"]
)
def test_the_language_of_the_database_is_only_text(client: httpx.Client, name: str, value: str) -> None:
    submit(client, tags=["plain"])
    answer = client.get("/jobs", params={name: value})
    assert answer.status_code in {200, 422}
    assert answer.status_code == 422 or answer.json()["items"] == []  # and % fits nothing but itself


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "=cmd", "-rf", "🙂" * 100])
def test_a_name_is_display_text(client: httpx.Client, name: str) -> None:
    assert client.post("/jobs", json=spec(upload(client)["id"], name=name)).json()["name"] == name


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x" * 121, "\u202egnp.exe"])
def test_a_name_of_more_than_a_line_is_refused(client: httpx.Client, name: str) -> None:
    answer = client.post("/jobs", json=spec(upload(client)["id"], name=name))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert answer.json()["errors"][0]["loc"] == ["name"]


@pytest.mark.parametrize(
    "change",
    [
        {"chat_template": "{{ x }}"},
        {"training": {"template": "{% for x in y %}"}},
        {"training": {"template": "/etc"}},
    ],
)
def test_a_template_is_named_and_never_sent(client: httpx.Client, change: dict[str, Any]) -> None:
    answer = client.post("/jobs", json=spec(upload(client)["id"], **change))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")


def test_the_training_rows_as_validation_are_warned_of(client: httpx.Client) -> None:
    dataset = upload(client)["id"]
    body = spec(dataset, validation={"dataset": dataset})
    told = client.post("/jobs?dry_run=true", json=body).json()
    assert any("validation dataset is the training dataset" in one for one in told["warnings"])


def test_an_id_can_not_be_guessed() -> None:
    """The time and a hundred ids made at once give nothing away: most of an id is drawn."""
    made = [new_id("job").removeprefix("job_") for _ in range(100)]
    tails = [one[-15:] for one in made]  # 75 bits
    assert len(set(tails)) == 100
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}", one) for one in made)
    for place in range(15):
        assert len({tail[place] for tail in tails}) > 10


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate, gzip"])
def test_a_coded_body_is_refused_everywhere(client: httpx.Client, encoding: str) -> None:
    for path in ("/datasets", "/jobs", "/webhooks"):
        answer = client.post(path, content=rows(), headers={"Content-Encoding": encoding})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")

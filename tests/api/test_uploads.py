"""Datasets go in whole, sealed and told; what is refused leaves nothing behind."""

import base64
import gzip
import hashlib
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from neftune_core.rows_tabular import convert
from tests.api.live_api import Service, rows, submit, upload

PART = b'--xx\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + rows()


def code_of(answer: httpx.Response) -> str:
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == answer.status_code
    assert body["type"] == f"/problems/{body['code']}"
    assert body["instance"] == answer.headers["x-request-id"]
    return str(body["code"])


def test_an_upload_is_answered_with_what_it_holds(client: httpx.Client) -> None:
    data = rows(12)
    answer = client.post("/datasets", content=data, params={"name": "mine"})

    assert answer.status_code == 201
    told = answer.json()
    assert answer.headers["location"] == f"/datasets/{told['id']}"
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (told["name"], told["format"], told["rows"], told["bytes"], told["status"]) == (
        "mine",
        "alpaca",
        12,
        len(data),
        "ready",
    )
    assert client.get(answer.headers["location"]).json() == told


def test_the_stored_bytes_are_the_uploaded_bytes(service: Service, client: httpx.Client) -> None:
    data = rows(4000)
    told = upload(client, data)

    kept = [one for one in service.kept() if one.endswith(told["sha256"][2:])]
    assert len(kept) == 1
    assert (service.storage / kept[0]).read_bytes() == data
    assert not [one for one in service.kept() if one.startswith("staging")]


def test_a_form_is_read_like_the_raw_file(client: httpx.Client) -> None:
    data = rows(3000)
    answer = client.post(
        "/datasets", files={"file": ("../../etc/pass\u202ewd.jsonl", data)}, data={"note": "x"}
    )

    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert answer.json()["name"] == "../../etc/passwd.jsonl"  # display text, without the direction sign


def test_a_json_array_and_a_table_are_datasets(client: httpx.Client) -> None:
    array = json.dumps([json.loads(line) for line in rows(11).splitlines()]).encode()
    table = b"instruction,input,output\n" + b"".join(b"say %d,,it is %d\n" % (n, n) for n in range(11))

    for data in (array, table):
        told = upload(client, data)
        assert (told["rows"], told["format"]) == (11, "alpaca")
        assert told["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_table_leaves_nothing_in_the_spool(service: Service, client: httpx.Client) -> None:
    upload(client, b"instruction,output\n" + b"a,b\n" * 20)
    assert client.post("/datasets", content=b"PAR1" + b"x" * 100).status_code == 422
    assert list(service.settings.spool_dir.iterdir()) == []


def test_equal_bytes_are_two_datasets_and_one_object(service: Service, client: httpx.Client) -> None:
    first, second = upload(client, rows(21)), upload(client, rows(21))

    assert first["id"] != second["id"]
    assert len([one for one in service.kept() if one.endswith(first["sha256"][2:])]) == 1


def test_a_right_digest_is_accepted_and_a_wrong_one_keeps_nothing(
    service: Service, client: httpx.Client
) -> None:
    data = rows(31)
    right = base64.b64encode(hashlib.sha256(data).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()

    before = service.kept()
    refused = client.post("/datasets", content=data, headers={"Content-Digest": f"sha-256=:{wrong}:"})
    assert (refused.status_code, code_of(refused)) == (400, "digest_mismatch")
    assert service.kept() == before
    unread = client.post("/datasets", content=data, headers={"Content-Digest": "md5=:AAAA:"})
    assert (unread.status_code, code_of(unread)) == (400, "invalid_digest")
    taken = client.post("/datasets", content=data, headers={"Content-Digest": f"sha-256=:{right}:"})
    assert taken.status_code == 201


def zipped() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.jsonl", rows())
        return file.getvalue()


GOOD = b'{"instruction": "a", "input": "", "output": "b"}\n'
REFUSED = {
    "empty": (b"", 422, "dataset_empty"),
    "whitespace": (b" \n\n", 422, "dataset_empty"),
    "only a mark": (b"\xef\xbb\xbf", 422, "dataset_empty"),
    "utf-16": (GOOD.decode().encode("utf-16"), 422, "dataset_encoding"),
    "broken utf-8": (GOOD + b'{"instruction": "\xff", "output": "b"}\n', 422, "dataset_invalid"),
    "nul": (GOOD + b'{"instruction": "\\u0000", "output": "b"}\n', 422, "dataset_invalid"),
    "lone surrogate": (GOOD + b'{"instruction": "\\ud800", "output": "b"}\n', 422, "dataset_invalid"),
    "long row": (
        GOOD + b'{"instruction": "' + b"a" * 2_000_000 + b'", "output": "b"}\n',
        422,
        "dataset_invalid",
    ),
    "deep": (GOOD + b'{"instruction": ' + b"[" * 1000 + b"]" * 1000 + b"}\n", 422, "dataset_invalid"),
    "nan": (GOOD + b'{"instruction": NaN, "output": "b"}\n', 422, "dataset_invalid"),
    "twice": (GOOD + b'{"output": "a", "instruction": "a", "output": "b"}\n', 422, "dataset_invalid"),
    "single object": (b'{"rows": []}', 422, "dataset_invalid"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, 415, "unsupported_media"),
    "gzip": (gzip.compress(rows()), 415, "unsupported_media"),
    "zip": (zipped(), 415, "unsupported_media"),
    "pickle": (b"\x80\x04\x95\x10\x00", 415, "unsupported_media"),
    "html": (b"<!doctype html><html></html>", 415, "unsupported_media"),
    "words": (b"hello there", 422, "dataset_format"),
    "wrong role": (b'{"messages": [{"role": "king", "content": "a"}]}\n', 422, "dataset_invalid"),
    "no answer": (b'{"messages": [{"role": "user", "content": "a"}]}\n', 422, "dataset_invalid"),
    "mixed": (GOOD + b'{"text": "a"}\n', 422, "dataset_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_bytes_are_named_and_nothing_is_kept(service: Service, client: httpx.Client, name: str) -> None:
    data, status, code = REFUSED[name]
    before = service.kept()

    answer = client.post("/datasets", content=data)

    told = code_of(answer)
    assert answer.status_code == status, answer.text
    assert told == code or (name == "single object" and told == "dataset_format"), answer.text
    assert service.kept() == before
    assert client.get("/datasets").json()["items"] == []


def test_faults_are_told_by_line_and_counted_and_never_repeat_the_input(client: httpx.Client) -> None:
    bad = b'{"instruction": "sesame-open", "output": 7}\n'
    answer = client.post("/datasets", content=GOOD + bad * 150)

    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "dataset_invalid")
    assert len(told["errors"]) == 100
    assert told["errors"][0]["line"] == 2
    assert set(told["errors"][0]) == {"line", "code", "msg", "path"}
    assert sum(told["counts"].values()) == 150
    assert "sesame" not in answer.text


@pytest.mark.parametrize("body", [gzip.compress(rows()), rows()])
@pytest.mark.parametrize("path", ["/datasets", "/jobs"])
def test_a_compressed_body_is_refused(client: httpx.Client, path: str, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = client.post(path, content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media")
    assert "ncompressed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/form-data\r\n",
        b"Content-Type: multipart/form-data; boundary=" + b"x" * 300 + b"\r\n",
        b"Content-Type: multipart/form-data; boundary=xx\r\n",
    ],
)
def test_a_form_that_is_no_form_is_refused(service: Service, head: bytes) -> None:
    key = service.key().encode()
    body = b"no form at all"
    answer = service.raw(
        b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key + b"\r\n" + head
        + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )  # fmt: skip
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"malformed_multipart" in answer


def test_a_form_with_many_parts_or_large_fields_is_refused(client: httpx.Client) -> None:
    many = client.post(
        "/datasets", files=[("file", ("a", rows())), *(("x", ("b", b"c")) for _ in range(100))]
    )
    large = client.post("/datasets", files={"file": ("a", rows())}, data={"note": "x" * 200_000})
    none = client.post("/datasets", files={"other": ("a", rows())})

    for answer in (many, large, none):
        assert (answer.status_code, code_of(answer)) == (400, "malformed_multipart")


@pytest.mark.parametrize("form", [PART + b"\r\n", PART + b"\r\n" + PART + b"\r\n--xx--\r\n"])
def test_a_form_that_is_cut_or_holds_two_files_is_refused(client: httpx.Client, form: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=xx"}
    answer = client.post("/datasets", content=form, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "malformed_multipart")


@pytest.mark.parametrize(("before", "after"), [(b"\r\n" * 1_500_000, b""), (b"", b"x" * 3_000_000)])
def test_a_form_of_little_but_frame_is_refused(service: Service, before: bytes, after: bytes) -> None:
    part = PART + b"\r\n--xx--\r\n"
    with service.client() as client:
        answer = client.post(
            "/datasets",
            content=before + part + after,
            headers={"Content-Type": "multipart/form-data; boundary=xx"},
        )
    assert (answer.status_code, code_of(answer)) == (400, "malformed_multipart")


def test_rows_do_not_wait_for_tables(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables may take minutes to unpack; as many as there are slots must leave room for rows."""
    released, arrived = threading.Event(), threading.Semaphore(0)

    def slow(*given: Any) -> None:
        arrived.release()
        released.wait(20)
        convert(*given)

    monkeypatch.setattr("api.upload_check.convert", slow)
    with ThreadPoolExecutor(6) as pool:
        tables = [pool.submit(client.post, "/datasets", content=b"text\nhello\n") for _ in range(6)]
        try:
            assert arrived.acquire(timeout=10)
            time.sleep(0.3)  # the others have arrived as well, or wait their turn
            began = time.monotonic()
            assert client.post("/datasets", content=rows()).status_code == 201
            assert time.monotonic() - began < 10  # the tables wait twice as long
        finally:
            released.set()
        assert [table.result().status_code for table in tables] == [201] * 6


@pytest.mark.fault("F41")
def test_a_dataset_in_use_stays_until_its_job_has_ended(client: httpx.Client) -> None:
    job = submit(client)
    path = f"/datasets/{job['spec']['dataset']}"

    refused = client.delete(path)
    assert (refused.status_code, code_of(refused)) == (409, "dataset_in_use")
    assert refused.headers["x-should-retry"] == "false"
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_lists_are_paged_newest_first(client: httpx.Client) -> None:
    made = [upload(client, rows(10 + extra))["id"] for extra in range(5)]

    first = client.get("/datasets", params={"limit": 3}).json()
    second = client.get("/datasets", params={"limit": 3, "cursor": first["next"]}).json()

    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


@pytest.mark.fault("F31")
def test_a_client_that_goes_away_leaves_nothing(service: Service) -> None:
    before = service.kept()
    key = service.key()
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(
            f"POST /datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Length: 100000000\r\n\r\n".encode()
        )
        line.sendall(rows(200_000))
        # Not before its bytes have come as far as storage: there would be nothing to clear away.
        staged = kept_when(service, lambda kept: kept != before)
        assert [name.partition("/")[0] for name in set(staged) - set(before)] == ["staging"]
    assert kept_when(service, lambda kept: kept == before) == before
    with service.client(key) as client:
        assert client.get("/datasets").json()["items"] == []


@pytest.mark.fault("F31")
def test_a_client_that_goes_away_while_its_rows_are_checked_leaves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cancels at the end of an upload is told that nothing was kept, though every byte has come."""
    key = service.key()
    released, arrived = threading.Event(), threading.Event()

    def slow(*given: Any) -> None:
        arrived.set()
        released.wait(20)
        convert(*given)

    monkeypatch.setattr("api.upload_check.convert", slow)
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(
            f"POST /datasets?name=given-up HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Length: 11\r\n\r\ntext\nhello\n".encode()
        )
        assert arrived.wait(20)
    with service.client(key) as client:
        client.get("/datasets")  # what was answered after the line's end comes after it
        released.set()
        kept_when(service, lambda _: recorded(service, "given-up"))
        kept_when(service, lambda _: client.get("/datasets").json()["items"] == [])
        assert client.get("/datasets").json()["items"] == []


def recorded(service: Service, name: str) -> bool:
    """Whether a dataset of this name was ever written down, deleted or not."""
    with service.engine.connect() as line:
        return bool(line.scalar(text("SELECT count(*) FROM datasets WHERE name = :name"), {"name": name}))


def kept_when(service: Service, holds: Callable[[list[str]], bool]) -> list[str]:
    """Look at storage until it is so; patience for a busy machine."""
    until = time.monotonic() + 60
    while not holds(kept := service.kept()) and time.monotonic() < until:
        time.sleep(0.05)
    return kept

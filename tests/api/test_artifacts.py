"""Downloads: whole, in parts, and never fooled by a name."""

import hashlib

import httpx
import pytest

from tests.api.live_api import Service, succeed

DATA = bytes(range(256)) * 10_000
TAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.fixture
def path(service: Service, client: httpx.Client) -> str:
    job = succeed(
        service,
        client,
        **{
            "adapter": (DATA, "application/x-tar"),
            "adapter/adapter_config.json": (b"{}", "application/json"),
            "metrics.csv": (b"step\n", "text/html"),
            "empty": (b"", "text/plain"),
        },
    )
    return f"/jobs/{job['id']}/artifacts"


def test_a_download_is_an_attachment_with_its_hash_as_tag(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{path}/adapter")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["etag"] == TAG
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''adapter.tar"
    assert answer.headers["content-length"] == str(len(DATA))


@pytest.mark.parametrize("name", ["adapter", "metrics.csv", "empty"])
def test_a_head_tells_what_a_download_would_without_the_bytes(
    client: httpx.Client, path: str, name: str
) -> None:
    whole, head = client.get(f"{path}/{name}"), client.head(f"{path}/{name}")
    told = [
        {key: value for key, value in one.headers.items() if key not in {"date", "x-request-id"}}
        for one in (whole, head)
    ]
    assert (head.status_code, head.content) == (200, b"")
    assert told[0] == told[1]
    again = client.head(f"{path}/{name}", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.headers["etag"]) == (304, whole.headers["etag"])
    assert client.head(f"{path}/nothing").status_code == 404


def test_what_is_no_tar_goes_out_as_bytes(client: httpx.Client, path: str) -> None:
    for name in ("metrics.csv", "adapter/adapter_config.json"):
        answer = client.get(f"{path}/{name}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].endswith(name.rsplit("/", 1)[-1])
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"{path}/empty").content == b""


@pytest.mark.parametrize("given", [TAG, f"W/{TAG}", f'"x", {TAG}', "*"])
def test_what_the_client_has_is_not_sent_again(client: httpx.Client, path: str, given: str) -> None:
    answer = client.get(f"{path}/adapter", headers={"If-None-Match": given})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=0-0", DATA[:1]), ("bytes=100-199", DATA[100:200]), ("bytes=2559990-", DATA[-10:]),
     ("bytes=-5", DATA[-5:]), ("bytes=0-99999999999", DATA), ("bytes=-99999999999", DATA)],
)  # fmt: skip
def test_one_range_is_sent(client: httpx.Client, path: str, wanted: str, part: bytes) -> None:
    answer = client.get(f"{path}/adapter", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, part)
    start = (
        DATA.rindex(part)
        if len(part) < 20 and wanted != "bytes=0-0"
        else int(wanted[6:].split("-", maxsplit=1)[0] or 0)
    )
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{len(DATA)}"


@pytest.mark.parametrize("wanted", ["bytes=2560000-", "bytes=9999999-10000000", "bytes=-0"])
def test_a_range_outside_is_refused(client: httpx.Client, path: str, wanted: str) -> None:
    answer = client.get(f"{path}/adapter", headers={"Range": wanted})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=5-4",
        "bytes=a-b",
        "items=0-1",
        "bytes=-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(4_000)),
    ],
)
def test_what_is_not_one_range_is_not_a_range(client: httpx.Client, path: str, wanted: str) -> None:
    assert client.get(f"{path}/empty", headers={"Range": wanted}).status_code == 200


def test_an_old_part_is_not_gone_on_with(client: httpx.Client, path: str) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert client.get(f"{path}/adapter", headers=headers).status_code == 200
    assert client.get(f"{path}/adapter", headers={**headers, "If-Range": TAG}).status_code == 206


@pytest.mark.parametrize(
    "name", ["nothing", "%2e%2e%2frecord", "%2e%2e/x", "adapter/%2e%2e/adapter", "adapter%00", "a" * 300, "/"]
)
def test_a_name_is_looked_up_and_nothing_else(client: httpx.Client, path: str, name: str) -> None:
    answer = client.get(f"{path}/{name}")
    assert answer.status_code == 404

"""Downloads that lead to storage itself: one object, one minute, and nobody else is told the URL."""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import ValidationError

from neftune_store.s3 import SignedUrls
from tests.api.live_api import Service, make_settings, running, succeed
from tests.faults.s3_stub import Store, serving

DATA = bytes(range(256)) * 4_000
TAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
SIGNED = "X-Amz-Signature="


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that checks signatures, at two addresses: its own and that of a proxy before it."""
    with serving(tmp_path_factory.mktemp("signed")) as made:
        yield made


@pytest.fixture(scope="module")
def signing(api_database: str, tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Service]:
    """An api that reaches the store through the proxy, and whose clients reach it without."""
    environ = {name.lower(): value for name, value in store.environ("some/prefix").items()}
    settings = make_settings(
        api_database,
        tmp_path_factory.mktemp("api"),
        **environ,
        s3_public_endpoint_url=f"http://127.0.0.1:{store.behind}",
    )
    with running(settings) as found:
        yield found


@pytest.fixture(scope="module")
def key(signing: Service) -> str:
    return signing.key()


@pytest.fixture(scope="module")
def path(signing: Service, key: str) -> str:
    with signing.client(key) as client:
        job = succeed(
            signing,
            client,
            **{"adapter": (DATA, "application/x-tar"), "metrics.csv": (b"step\n", "text/csv")},
        )
    return f"/jobs/{job['id']}/artifacts"


@pytest.fixture
def client(signing: Service, key: str) -> Iterator[httpx.Client]:
    with signing.client(key) as found:
        yield found


@pytest.fixture
def anybody() -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(timeout=20, trust_env=False) as found:
        yield found


def location(client: httpx.Client, path: str) -> str:
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (307, b"")
    return answer.headers["location"]


def test_a_download_leads_to_the_bytes_at_the_public_address(
    client: httpx.Client, anybody: httpx.Client, path: str, store: Store
) -> None:
    answer = client.get(f"{path}/adapter")
    assert answer.status_code == 307
    assert answer.headers["etag"] == TAG
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    there = answer.headers["location"]
    assert there.startswith(f"http://127.0.0.1:{store.behind}/bucket/some/prefix/projects/")
    assert "X-Amz-Expires=60&" in there
    # Anybody who has the URL has the bytes, and the secret key is no part of it
    got = anybody.get(there)
    assert (got.status_code, got.content) == (200, DATA)
    assert f'"{hashlib.sha256(got.content).hexdigest()}"' == TAG
    assert got.headers["content-type"] == "application/octet-stream"
    assert "secret-key" not in there


def test_a_client_that_follows_needs_no_more_than_one_call(client: httpx.Client, path: str) -> None:
    assert client.get(f"{path}/metrics.csv", follow_redirects=True).content == b"step\n"


def test_a_signed_url_is_for_one_object_one_method_and_its_time(
    client: httpx.Client, anybody: httpx.Client, path: str, signing: Service
) -> None:
    there, other = location(client, f"{path}/adapter"), location(client, f"{path}/metrics.csv")
    assert anybody.get(there.split("?")[0] + "?" + other.split("?")[1]).status_code == 403
    assert anybody.get(re.sub("Signature=.", "Signature=x", there)).status_code == 403
    assert anybody.get(there.replace("Expires=60", "Expires=600")).status_code == 403
    assert anybody.put(there, content=b"evil").status_code == 403
    assert anybody.delete(there).status_code == 403
    assert anybody.get(there.split("?")[0]).status_code in {400, 403}
    # And when its time is over it opens nothing
    urls = SignedUrls.open(signing.settings, signing.settings.s3_public_endpoint_url)
    assert urls is not None
    short = urls.to_read(urlsplit(there).path.removeprefix("/bucket/some/prefix/"), seconds=2)
    assert anybody.get(short).content == DATA
    time.sleep(3.1)
    assert anybody.get(short).status_code in {400, 403}
    assert anybody.get(there).content == DATA


def test_the_api_sends_the_bytes_itself_when_asked_to(client: httpx.Client, path: str) -> None:
    whole = f"{path}/adapter?via=api"
    answer = client.get(whole)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, DATA, TAG)
    part = client.get(whole, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DATA[100:200])
    assert client.get(whole, headers={"If-None-Match": TAG}).status_code == 304
    assert client.get(f"{path}/adapter?via=moon").status_code == 422


def test_what_is_asked_of_our_tag_is_answered_here(client: httpx.Client, path: str) -> None:
    # Storage has other tags, so neither of these would mean anything there
    assert client.get(f"{path}/adapter", headers={"If-None-Match": TAG}).status_code == 304
    assert client.get(f"{path}/adapter", headers={"If-None-Match": '"x"'}).status_code == 307
    going_on = {"Range": "bytes=1000-", "If-Range": TAG}
    assert client.get(f"{path}/adapter", headers=going_on).content == DATA[1000:]
    anew = client.get(f"{path}/adapter", headers={**going_on, "If-Range": '"another"'})
    assert (anew.status_code, anew.content) == (200, DATA)


def test_a_stranger_is_led_nowhere(signing: Service, anybody: httpx.Client, path: str) -> None:
    assert anybody.get(f"{signing.url}{path}/adapter").status_code == 401
    with signing.client() as stranger:
        for asked in (f"{path}/adapter", f"{path}/nothing"):
            answer = stranger.get(asked)
            assert (answer.status_code, "location" in answer.headers) == (404, False)


def test_storage_is_not_asked_for_a_url(client: httpx.Client, path: str, store: Store) -> None:
    asked = store.requests
    location(client, f"{path}/adapter")
    assert store.requests == asked


def test_nothing_is_signed_in_a_log(
    client: httpx.Client, path: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    assert SIGNED in location(client, f"{path}/adapter")
    client.get(f"{path}/adapter?via=moon")
    client.get(f"{path}/nothing")
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    told = "".join([*capfd.readouterr(), *ours])
    assert "Signature" not in told


def test_the_log_is_read_here(client: httpx.Client, path: str) -> None:
    assert client.get(path.replace("artifacts", "log")).status_code == 200


def test_a_folder_signs_nothing(api_database: str, tmp_path: Path) -> None:
    settings = make_settings(api_database, tmp_path, s3_public_endpoint_url="https://storage.example.org")
    assert SignedUrls.open(settings, settings.s3_public_endpoint_url) is None


@pytest.mark.parametrize(
    "url", ["storage.example.org", "ftp://x", "https://", "https://x?y=z", "https://x y"]
)
def test_an_address_that_is_none_is_refused_at_the_start(api_database: str, tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError, match="s3_public_endpoint_url"):
        make_settings(api_database, tmp_path, s3_public_endpoint_url=url)

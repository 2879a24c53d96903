"""Two writers, one key: one creates it where the store knows conditions, and both end well in every store."""

import hashlib
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from neftune_store.blobs import Blobs, blob_key
from neftune_store.settings import StoreSettings
from tests.faults.s3_stub import serving

SIZES = [0, 9_000_001]  # the second takes more than one part


class Conditions:
    """moto's S3: it knows ``If-None-Match``. A lock makes of its check and its write one step."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()  # to requests that set a condition
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        def counted(status: str, *more: Any) -> Any:
            if environ.get("HTTP_IF_NONE_MATCH") == "*":
                self.answers[int(status[:3])] += 1
            return start(status, *more)

        with self._lock:
            return list(self._moto(environ, counted))


@pytest.fixture(scope="module")
def conditions() -> Iterator[tuple[Conditions, int]]:
    app = Conditions()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    signed = "AWS4-HMAC-SHA256 Credential=access-key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host"
    made = httpx.put(
        f"http://127.0.0.1:{server.port}/bucket",
        headers={"Authorization": f"{signed}, Signature=none"},
        trust_env=False,
    )
    assert made.status_code == 200
    yield app, server.port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with serving(tmp_path_factory.mktemp("rclone")) as store:
        yield store.environ("races")


def bucket(port: int) -> StoreSettings:
    return StoreSettings(
        database_url="postgresql://unused",
        storage_url=f"s3://bucket/{secrets.token_hex(4)}",
        s3_endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="access-key",
        aws_secret_access_key="secret-key",
    )


@pytest.fixture(params=["folder", "moto", "rclone"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    if request.param == "folder":
        return StoreSettings(database_url="postgresql://unused", storage_url=f"file://{tmp_path}/blobs")
    if request.param == "moto":
        return bucket(request.getfixturevalue("conditions")[1])
    given = {name.lower(): value for name, value in request.getfixturevalue("rclone").items()}
    return StoreSettings(database_url="postgresql://unused", **given)


class Racing(Blobs):
    """Finds nothing under a key, and waits until another has found nothing either."""

    def __init__(self, blobs: Blobs, line: threading.Barrier) -> None:
        super().__init__(blobs._store, root=blobs._root)
        self._line = line
        self.created: list[bool] = []
        self.renamed = 0

    def _created(self, staged: str, key: str, size: int) -> bool:
        self._line.wait(30)
        self.created.append(super()._created(staged, key, size))
        return self.created[-1]

    def rename(self, key: str, to: str) -> None:
        self.renamed += 1
        super().rename(key, to)


@pytest.mark.parametrize("size", SIZES)
def test_of_two_writers_of_a_key_one_creates_it_and_both_succeed(
    request: pytest.FixtureRequest, settings: StoreSettings, tmp_path: Path, size: int
) -> None:
    # Given two writers of the same bytes, neither of whom finds them stored
    data = os.urandom(size)
    key = blob_key("prj_race", hashlib.sha256(data).hexdigest())
    (tmp_path / "file").write_bytes(data)
    line = threading.Barrier(2)
    writers = [Racing(Blobs.open(settings), line) for _ in range(2)]
    # When both store them
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(each.put_file, key, tmp_path / "file") for each in writers]:
            done.result(60)
    # Then the bytes are there, and nothing else
    assert b"".join(writers[0].stream(key)) == data
    assert list(writers[0].list("staging")) == []
    # And one has created the key and the other left it alone; a store without conditions took both
    created = sorted(one for writer in writers for one in writer.created)
    renamed = sum(writer.renamed for writer in writers)
    if "rclone" in request.node.callspec.id:
        assert (created, renamed > 0) == ([False, False], True)
    else:
        assert (created, renamed) == ([False, True], 0)


def test_the_condition_is_the_stores_to_check(conditions: tuple[Conditions, int], tmp_path: Path) -> None:
    app, port = conditions
    app.answers.clear()
    blobs = Blobs.open(bucket(port))
    line = threading.Barrier(1)
    for brought in (b"first", b"second"):  # never so in earnest: a key is made of its bytes
        obstore.put(blobs._store, "staging/up", brought)
        Racing(blobs, line)._created("staging/up", "projects/key", len(brought))
    assert app.answers == {200: 1, 412: 1}
    assert b"".join(blobs.stream("projects/key")) == b"first"


def test_damaged_bytes_are_replaced_although_their_key_is_taken(
    settings: StoreSettings, tmp_path: Path
) -> None:
    blobs = Blobs.open(settings)
    key = blob_key("prj_damaged", hashlib.sha256(b"good").hexdigest())
    obstore.put(blobs._store, key, b"evil")
    (tmp_path / "file").write_bytes(b"good")
    blobs.put_file(key, tmp_path / "file")
    assert b"".join(blobs.stream(key)) == b"good"
    assert list(blobs.list("staging")) == []

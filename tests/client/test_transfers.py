"""Files on their way in and out over lines that break: nothing twice, nothing half, nothing unchecked."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from neftune_client import Client, Refused
from neftune_client.errors import BadInput, DownloadFailed
from tests.api.live_api import Service, rows, succeed
from tests.client.conftest import Neftune
from tests.client.scripted import Answer, as_json, scripted
from tests.faults.proxy import Proxy, before

ROWS = rows(20_000)  # some blocks
DATA = bytes(range(256)) * 8_000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    return path


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    with before(("127.0.0.1", service.port)) as made:
        yield made


@pytest.fixture
def mine(service: Service, key: str) -> Iterator[httpx.Client]:
    with service.client(key) as opened:
        yield opened


@pytest.fixture
def behind(proxy: Proxy, key: str) -> Iterator[Client]:
    """A client whose way to the service leads through the proxy."""
    with Client(f"http://127.0.0.1:{proxy.port}", key, pause=lambda _: None) as opened:
        yield opened


def datasets(plain: httpx.Client) -> list[dict]:
    return plain.get("/datasets").json()["items"]


def test_an_upload_tells_how_far_it_is(behind: Client, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    dataset = behind.upload(file, progress=lambda done, whole: seen.append((done, whole)))
    assert (dataset["rows"], dataset["sha256"]) == (20_000, hashlib.sha256(ROWS).hexdigest())
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(ROWS), len(ROWS))


def test_an_upload_that_broke_in_the_middle_is_sent_again(
    behind: Client, proxy: Proxy, mine: httpx.Client, file: Path
) -> None:
    broke = threading.Event()

    def cut(done: int, _whole: int) -> None:
        if done > len(ROWS) // 2 and not broke.is_set():
            broke.set()
            proxy.turn("cut")
            proxy.turn("pass")

    dataset = behind.upload(file, progress=cut)
    assert broke.is_set()
    assert [one["id"] for one in datasets(mine)] == [dataset["id"]]
    assert dataset["sha256"] == hashlib.sha256(ROWS).hexdigest()


def test_an_upload_whose_answer_was_lost_is_not_sent_twice(
    behind: Client, proxy: Proxy, mine: httpx.Client, file: Path
) -> None:
    proxy.cut_after(b"POST /datasets", ROWS[-40:])
    dataset = behind.upload(file)
    assert proxy.cuts == 1
    assert [one["id"] for one in datasets(mine)] == [dataset["id"]]


def test_an_upload_that_is_interrupted_leaves_nothing(
    neftune: Neftune, mine: httpx.Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    original = Client.upload
    monkeypatch.setattr(
        Client, "upload", lambda self, path, name, _show: original(self, path, name, interrupt)
    )
    said = neftune("submit", file)
    assert said.status == 130
    assert "nothing was kept" in said.err
    assert datasets(mine) == []


def test_a_file_that_can_not_be_read_is_named(behind: Client, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be read"):
        behind.upload(tmp_path / "missing.jsonl")


def test_a_refused_upload_is_not_sent_again(behind: Client, proxy: Proxy, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(rows(2) + b"{}\n")
    with pytest.raises(Refused, match="dataset_invalid"):
        behind.upload(bad)
    assert proxy.connections == 1


# Out


@pytest.fixture
def job(service: Service, mine: httpx.Client) -> str:
    return succeed(service, mine, adapter=(DATA, "application/x-tar"))["id"]


def test_a_download_that_broke_goes_on_where_it_was(
    behind: Client, proxy: Proxy, job: str, tmp_path: Path
) -> None:
    proxy.truncate_after(len(DATA) // 3)
    proxy.truncate_after(len(DATA) // 3)
    seen: list[int] = []
    got = behind.download(job, "adapter", tmp_path / "adapter.tar", lambda done, _: seen.append(done))
    assert (proxy.cuts, proxy.connections) == (2, 3)
    assert seen == sorted(seen), "nothing came twice"
    assert (got.bytes, got.sha256) == (len(DATA), SHA)
    assert (tmp_path / "adapter.tar").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.tar"]


def test_what_an_earlier_try_has_left_is_used(job: str, service: Service, key: str, tmp_path: Path) -> None:
    (tmp_path / f"adapter.tar.{SHA[:16]}.part").write_bytes(DATA[:1_000_000])
    firsts: list[int] = []
    with Client(service.url, key) as client:
        client.download(job, "adapter", tmp_path / "adapter.tar", lambda done, _: firsts.append(done))
    assert firsts[0] > 1_000_000
    assert (tmp_path / "adapter.tar").read_bytes() == DATA


def test_bytes_that_are_not_those_of_the_tag_are_refused_and_thrown_away(
    job: str, service: Service, key: str, tmp_path: Path
) -> None:
    (tmp_path / f"adapter.tar.{SHA[:16]}.part").write_bytes(b"x" * 1_000_000)
    with Client(service.url, key) as client, pytest.raises(DownloadFailed, match=f"its ETag says {SHA}"):
        client.download(job, "adapter", tmp_path / "adapter.tar")
    assert list(tmp_path.iterdir()) == []


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    def answer(request):
        return Answer(DATA, 200, {"etag": f'"{SHA}"'}, length=10 if request.method == "HEAD" else None)

    with scripted(answer) as url, Client(url, "key") as client, pytest.raises(DownloadFailed, match="more"):
        client.download("job_1", "adapter", tmp_path / "adapter.tar")
    assert not (tmp_path / "adapter.tar").exists()


def test_storage_that_the_service_points_to_gets_no_key(tmp_path: Path) -> None:
    storage_heard = []

    def storage(request):
        storage_heard.append(request.headers)
        return Answer(DATA)

    with scripted(storage) as elsewhere:

        def answer(request):
            if request.method == "HEAD":
                return Answer(b"", 200, {"etag": f'"{SHA}"'}, length=len(DATA))
            return Answer(b"", 307, {"location": f"{elsewhere}/signed"})

        with scripted(answer) as url, Client(url, "nft_canary") as client:
            assert client.download("job_1", "adapter", tmp_path / "a").sha256 == SHA
    assert "authorization" not in storage_heard[0]


def test_a_line_that_stays_broken_ends_it_and_keeps_what_came(tmp_path: Path) -> None:
    def answer(request):
        if request.method == "HEAD":
            return Answer(b"", 200, {"etag": f'"{SHA}"'}, length=len(DATA))
        if "range" in request.headers:
            return Answer(b"", 503)
        return Answer(DATA[:1000], 200, length=len(DATA))

    with scripted(answer) as url, Client(url, "key", pause=lambda _: None) as client, pytest.raises(Refused):
        client.download("job_1", "adapter", tmp_path / "a")
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == DATA[:1000]


def tar(*names: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    return made.getvalue()


def test_the_adapter_is_checked_and_unpacked(
    neftune: Neftune, service: Service, mine: httpx.Client, tmp_path: Path
) -> None:
    archive = tar("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    job = succeed(
        service, mine, adapter=(archive, "application/x-tar"), **{"metrics.csv": (b"step\n", "text/csv")}
    )
    said = neftune("download", job["id"], "-o", "out")
    assert said.status == 0, said.err
    assert said.out == "out/adapter\n"
    assert hashlib.sha256(archive).hexdigest() in said.err
    assert sorted(path.name for path in (tmp_path / "out" / "adapter").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert not (tmp_path / "out" / "adapter.tar").exists()
    # A second time nothing is overwritten; other names come as they are
    assert neftune("download", job["id"], "-o", "out").status == 2
    assert neftune("download", "last", "metrics.csv", "-o", "out", "--json").told[0]["bytes"] == 5
    assert neftune("download", "last", "-o", "tar", "--archive").status == 0
    assert (tmp_path / "tar" / "adapter.tar").read_bytes() == archive
    said = neftune("download", job["id"], "nothing")
    assert said.status == 2
    assert "it has adapter, metrics.csv" in said.err


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    neftune: Neftune, service: Service, mine: httpx.Client, tmp_path: Path
) -> None:
    job = succeed(service, mine, adapter=(tar("adapter/a", "adapter/../../escaped"), "application/x-tar"))
    said = neftune("download", job["id"], "-o", "out")
    assert said.status == 1
    assert "no plain file of its own folder" in said.err
    assert not list(tmp_path.rglob("escaped"))
    assert not (tmp_path / "out" / "adapter").exists()


def test_a_listing_that_says_otherwise_than_the_tag_is_refused(
    neftune: Neftune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(request):
        if request.path.endswith("/artifacts"):
            item = {
                "name": "metrics.csv",
                "kind": "metrics",
                "bytes": 9,
                "sha256": "0" * 64,
                "partial": False,
            }
            return as_json({"items": [item], "next": None})
        return Answer(DATA, 200, {"etag": f'"{SHA}"'})

    with scripted(answer) as url:
        monkeypatch.setenv("NEFTUNE_URL", url)
        said = neftune("download", "job_1", "metrics.csv", "-o", "out")
    assert said.status == 1
    assert "the listing says 000" in said.err
    assert list((tmp_path / "out").iterdir()) == []

"""Storage that is down, slow, short, absent or lying while runs save and publish."""

import hashlib
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text

from neftune_store.blobs import Blobs
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.runs import runs_of
from tests.faults.s3_stub import Mode, Store, serving
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import ROWS, House, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests of this module."""
    with serving(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def remote(house: House, store: Store) -> Iterator[House]:
    """A house whose storage may be spoilt; its rows are in already."""
    store.mode = "pass"
    house.environ |= store.environ(f"some/{secrets.token_hex(4)}") | {"PAUSE_SECONDS": "3"}
    house.rows = house.dataset().id
    yield house
    store.mode = "pass"


def tried(house: House, job: Job, times: int) -> Job:
    """Wait until so many runs have ended for want of storage, resting none."""

    def enough() -> Job | None:
        now = house.job(job)
        if now.status == "queued" and now.run_after is not None:
            house.hurry(job)
        return now if now.infra_errors >= times or now.finished else None

    return until(enough, 120)


def published(house: House, job: Job) -> None:
    """Hold what can be downloaded against what its rows say."""
    artifacts = house.artifacts(job)
    assert "adapter" in artifacts
    for artifact in artifacts.values():
        data = house.content(artifact)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.sha256, artifact.bytes)


@pytest.mark.fault("F26")
@pytest.mark.parametrize(
    "mode", ["wrong", *(pytest.param(more, marks=pytest.mark.long) for more in ("short", "error_body"))]
)
def test_a_store_that_lies_never_gets_a_job_to_succeeded(remote: House, store: Store, mode: Mode) -> None:
    # Given a store that answers 200 and keeps other bytes, fewer, or none
    remote.start()
    remote.start("worker.reconcile")
    store.mode = mode
    job = remote.submit("steps=2", dataset=remote.rows)
    # Then the job is tried a bounded number of times, and nothing of it can be seen
    done = tried(remote, job, 5)
    done = remote.wait(done, "failed", "succeeded")
    assert (done.status, done.error_code, done.attempt) == ("failed", "storage_unavailable", 5)
    assert remote.artifacts(job) == {}


@pytest.mark.long  # one that is away for a moment comes back, too
@pytest.mark.fault("F26")
@pytest.mark.parametrize("mode", ["wrong", "vanish"])
def test_a_store_that_comes_to_its_senses_gets_the_result(remote: House, store: Store, mode: Mode) -> None:
    remote.start()
    remote.start("worker.reconcile")
    store.mode = mode
    job = remote.submit("steps=2 ckpt=1", dataset=remote.rows)
    tried(remote, job, 1)
    store.mode = "pass"
    remote.hurry(job)
    assert remote.wait(job, "succeeded", "failed").status == "succeeded", remote.logs()[-3000:]
    published(remote, job)


@pytest.mark.fault("F27")
@pytest.mark.parametrize(
    ("steps", "pause", "away"),
    [(120, 0.05, 1.5), pytest.param(3200, 0.2, 600.0, marks=pytest.mark.long)],
    ids=["a moment", "ten minutes"],
)
def test_training_goes_on_while_storage_is_down(
    remote: House, store: Store, steps: int, pause: float, away: float
) -> None:
    # Given a run that saves all the time
    remote.start()
    job = remote.submit(f"steps={steps} sleep={pause} ckpt=5", dataset=remote.rows)
    until(lambda: remote.job(job).committed_step >= 5 or None, 30)
    # When storage goes away
    store.mode = "down"
    before = remote.job(job)
    gone = time.monotonic()
    # Then steps are taken and told, no checkpoint is committed, and at most two wait on disk
    while (now := remote.job(job)).live_step < before.live_step + 30 or time.monotonic() - gone < away:
        assert (now.status, now.attempt) == ("running", 1)
        assert now.committed_step <= before.live_step + 5
        assert len(list(remote.work_dir.glob("run-*/saved/*"))) <= 3  # one may be taking another's place
        time.sleep(0.1)
    # And when it is back, the newest is committed before the end
    store.mode = "pass"
    done = remote.wait(job, "succeeded", "failed", seconds=240)
    assert (done.status, done.attempt, done.committed_step) == ("succeeded", 1, steps), remote.logs()[-3000:]
    published(remote, job)


@pytest.mark.fault("F25")
def test_a_store_that_hangs_costs_no_lease(remote: House, store: Store) -> None:
    # Given a run that is done and cannot publish
    remote.start()
    job = remote.submit("steps=30 sleep=0.05", dataset=remote.rows)
    remote.wait_for_step(job, 5)
    store.mode = "hang"
    until(lambda: "30" in {str(step) for step in remote.steps(job)} or None, 30)
    # Then it keeps its lease for many times as long, and ends well when the store answers again
    time.sleep(6)
    waiting = remote.job(job)
    assert (waiting.status, waiting.attempt, waiting.crashes) == ("running", 1, 0)
    store.mode = "pass"
    store.over.set()
    done = remote.wait(job, "succeeded", "failed", seconds=60)
    store.over.clear()
    assert (done.status, done.attempt) == ("succeeded", 1), remote.logs()[-3000:]
    published(remote, job)


@pytest.mark.long  # one that hangs is waited for, too
@pytest.mark.fault("F25")
def test_a_slow_store_is_waited_for(remote: House, store: Store) -> None:
    remote.start(PAUSE_SECONDS="30")  # the last checkpoint is waited for as long as for a pause
    store.mode = "slow"
    job = remote.submit("steps=3 ckpt=2 ckpt_bytes=100000", dataset=remote.rows)
    done = remote.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt, done.committed_step) == ("succeeded", 1, 3)
    assert store.trickled > 30  # 100 kB of checkpoint, read back twice in pieces of 6.4 kB
    published(remote, job)


@pytest.mark.long  # a quarter of a minute of uploads
@pytest.mark.parametrize("size", [60, 200])
def test_a_large_adapter_arrives_whole_through_a_store_that_fails_every_third_request(
    remote: House, store: Store, size: int
) -> None:
    remote.start()
    remote.start("worker.reconcile")
    store.mode = "third"
    job = remote.submit(f"steps=2 weights_mb={size}", dataset=remote.rows)
    # A request whose repetitions all fail costs the attempt, and the next one stores what is missing
    done = remote.wait(job, "succeeded", "failed", seconds=300)
    assert done.status == "succeeded", remote.logs()[-3000:]
    assert store.refused >= 10
    store.mode = "pass"
    weights = remote.artifacts(job)["adapter/adapter_model.safetensors"]
    assert weights.bytes > size * 1024**2
    digest = hashlib.sha256()
    for block in Blobs.open(remote.settings()).stream(weights.blob_key):
        digest.update(block)
    assert digest.hexdigest() == weights.sha256


def test_what_could_not_be_stored_is_told_with_the_run(remote: House, store: Store) -> None:
    remote.start()
    remote.start("worker.reconcile")
    store.mode = "wrong"
    job = remote.submit("steps=1", dataset=remote.rows)
    tried(remote, job, 1)
    with unit_of_work(remote.engine) as session:
        assert runs_of(session, job.project_id, job.id)[0].error_code == "storage_unavailable"
    remote.cancel(job)


@pytest.mark.fault("F24")
def test_an_upload_while_the_store_is_down_is_put_off_and_leaves_nothing(
    remote: House, store: Store, record_property
) -> None:
    # Given an api whose store refuses everything
    api = Api(remote)
    known, before = sealed(remote), kept(remote, store)
    store.mode = "down"
    began = time.monotonic()
    refused = upload(api, ROWS * 100)
    record_property("refused_after_s", round(time.monotonic() - began, 2))
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert refused.headers["retry-after"]
    # Then no dataset is sealed and nothing is staged, and the same rows are taken when it is back
    assert sealed(remote) == known
    store.mode = "pass"
    assert kept(remote, store) == before
    assert upload(api, ROWS * 100).status_code == 201
    assert sealed(remote) == known + 1
    assert len(kept(remote, store)) == len(before) + 1


def sealed(house: House) -> int:
    with house.engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM datasets")) or 0


def kept(house: House, store: Store) -> list[str]:
    """List the files behind the store that are this house's."""
    folder = store.folder / house.environ["STORAGE_URL"].removeprefix("s3://")
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def upload(api: Api, rows: bytes) -> httpx.Response:
    headers = {"authorization": f"Bearer {api.key}"}
    url = f"http://127.0.0.1:{api.port}/datasets"
    return httpx.post(url, content=rows, headers=headers, timeout=120, trust_env=False)

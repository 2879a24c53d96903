"""A commit whose answer never came: whoever asks again finds what was done, and nothing is done twice."""

import json
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import make_url, text

from neftune_store.db import unit_of_work
from neftune_store.projects import ProjectLedger
from standalone.address import free_port
from tests.faults.elapsed import lost_after
from tests.faults.proxy import Proxy, before
from tests.worker_house import LEASE, MODEL, House, house, quiet_redis, until

__all__ = ["house", "quiet_redis"]


@pytest.fixture
def line(house: House) -> Iterator[Proxy]:
    """A proxy before the house's database."""
    url = make_url(house.environ["DATABASE_URL"])
    socket_ = f"{url.query['host']}/.s.PGSQL.{url.query.get('port', 5432)}"
    with before(socket_) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port, query={"sslmode": "disable"})
        proxy.url = through.render_as_string(hide_password=False)
        yield proxy


class Api:
    """The api as a process, with a key."""

    def __init__(self, house: House, **environ: str) -> None:
        self.port, self.key = free_port(), f"nft_{secrets.token_urlsafe(32)}"
        with unit_of_work(house.engine) as session:
            ledger = ProjectLedger(session)
            ledger.ensure_key(self.key, ledger.ensure_default().id, "tests")
        spool = house.root / "spool"
        spool.mkdir(exist_ok=True)
        told = {"HOST": "127.0.0.1", "PORT": str(self.port), "SPOOL_DIR": str(spool), **environ}
        self.process = house.start("api", **told)
        until(lambda: self._ready() or self.process.poll() is not None, 30)

    def post(self, body: dict[str, object], key: str) -> httpx.Response:
        """Ask for a job."""
        return httpx.post(
            f"http://127.0.0.1:{self.port}/jobs",
            content=json.dumps(body),
            headers={
                "authorization": f"Bearer {self.key}",
                "content-type": "application/json",
                "idempotency-key": key,
            },
            timeout=30,
            trust_env=False,
        )

    def _ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def jobs(house: House) -> list[str]:
    with house.engine.connect() as connection:
        return list(connection.execute(text("SELECT id FROM jobs")).scalars())


def statuses(house: House) -> list[str]:
    with house.engine.connect() as connection:
        return list(connection.execute(text("SELECT status FROM jobs")).scalars())


@pytest.mark.fault("F22")
def test_a_submit_whose_commit_got_no_answer_is_found_by_its_key(house: House, line: Proxy) -> None:
    api = Api(house, DATABASE_URL=line.url)
    body = {"model": MODEL, "dataset": house.dataset().id}
    line.cut_after(b"INSERT INTO jobs", b"COMMIT")
    first = api.post(body, "the-key")
    assert first.status_code == 503
    assert first.headers["retry-after"]
    assert line.cuts == 1
    (made,) = jobs(house)
    again = api.post(body, "the-key")
    assert (again.status_code, again.json()["id"]) == (200, made)
    assert jobs(house) == [made]


@pytest.mark.fault("F32")
def test_a_submit_whose_api_died_before_the_answer_is_found_by_its_key(house: House) -> None:
    doomed = Api(house, NEFT_TEST="1", FAILPOINTS="submit.committed:kill")
    body = {"model": MODEL, "dataset": house.dataset().id}
    with pytest.raises(httpx.HTTPError):
        doomed.post(body, "the-key")
    assert doomed.process.wait(10) == -9
    (made,) = jobs(house)
    again = Api(house).post(body, "the-key")
    assert (again.status_code, again.json()["id"]) == (200, made)
    # And it runs, though nobody has rung for it
    house.start()
    house.start("worker.reconcile")
    with house.engine.connect() as connection:
        until(
            lambda: connection.execute(text("SELECT status FROM jobs")).scalar_one() == "succeeded" or None,
            30,
        )


@pytest.mark.fault("F22")
@pytest.mark.parametrize("said", [b"INSERT INTO metrics", b"INSERT INTO results", b"INSERT INTO checkpoints"])
def test_a_workers_commit_without_an_answer_does_nothing_twice(
    house: House, line: Proxy, said: bytes
) -> None:
    house.start(DATABASE_URL=line.url)
    house.start("worker.reconcile")
    line.cut_after(said, b"COMMIT")
    job = house.submit("steps=30 sleep=0.03 ckpt=10")
    done = house.wait(job, "succeeded", "failed", seconds=60)
    assert line.cuts == 1
    assert (done.status, done.attempt) == ("succeeded", 1), house.logs()[-4000:]
    assert house.steps(job) == list(range(31))
    assert house.events(job).count("job.succeeded") == 1
    # Each once; one that waited for the line may have made room for a newer one
    committed = [fact.data["step"] for fact in house.facts(job) if fact.name == "checkpoint.committed"]
    assert committed == sorted(set(committed))
    assert committed[-1] == 30


@pytest.mark.fault("F23")
def test_a_worker_that_is_cut_off_stops_itself_and_another_takes_over(
    house: House, line: Proxy, record_property
) -> None:
    # Given a worker that alone can no longer reach the database
    lonely = house.start(DATABASE_URL=line.url)
    house.start("worker.reconcile")
    job = house.submit("steps=120 sleep=0.05 ckpt=5")
    until(lambda: house.job(job).committed_step >= 5 or None, 30)
    runner = house.runner(lonely)
    fault = time.time()
    line.turn("black_hole")
    house.start()
    # Then its runner is dead before the lease is out, and the other one goes on from the checkpoint
    until(lambda: not runner.is_running() or runner.status() == "zombie" or None, LEASE + 1)
    record_property("runner_dead_after_s", round(time.time() - fault, 2))
    again = until(lambda: now if (now := house.job(job)).attempt == 2 else None, 20)
    assert again.committed_step >= 5
    line.turn("pass")
    done = house.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt) == ("succeeded", 2), house.logs()[-4000:]
    assert lonely.poll() is None
    record_property("found_after_s", lost_after(house, job, fault))

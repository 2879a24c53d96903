"""The collector takes what nobody names, when it is time, and never what somebody does."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from neftune_core.evaluate.spec import EvaluationSpec
from neftune_store import collection
from neftune_store.blobs import Blobs, blob_key
from neftune_store.checkpoints import CheckpointFile
from neftune_store.collection import _NAMED, collect, revive
from neftune_store.datasets import DatasetLedger
from neftune_store.db import make_engine, unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status
from neftune_store.restored import make_fit
from neftune_store.runs import commit_checkpoint
from neftune_store.settings import StoreSettings
from tests.factories import make_claim, make_dataset, make_job, settle

NOW = timedelta(0)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Storage in a folder."""
    settings = StoreSettings(database_url="postgresql://x", storage_url=f"file://{tmp_path}/blobs")
    return Blobs.open(settings)


@pytest.fixture
def put(blobs: Blobs, tmp_path: Path) -> Callable[[bytes], str]:
    """Store some bytes; give their key."""

    def put(data: bytes) -> str:
        path = tmp_path / "given"
        path.write_bytes(data)
        key = blob_key("prj_x", hashlib.sha256(data).hexdigest())
        blobs.put_file(key, path)
        return key

    return put


def test_an_object_without_a_name_goes_after_the_grace_period(engine: Engine, blobs: Blobs, put) -> None:
    key = put(b"nameless")
    assert collect(engine, blobs).condemned == 1
    assert collect(engine, blobs).removed == 0
    assert blobs.exists(key)
    assert collect(engine, blobs, grace=NOW).removed == 1
    assert not blobs.exists(key)


def test_an_object_is_never_removed_at_first_sight(engine: Engine, blobs: Blobs, put) -> None:
    """Its bytes may be there for a second, and its row about to be committed."""
    key = put(b"just stored")
    done = collect(engine, blobs, grace=timedelta(seconds=0.2))
    assert (done.condemned, done.removed) == (1, 0)
    assert blobs.exists(key)


def named_by_dataset(engine: Engine, key: str) -> None:
    make_dataset(engine, blob_key=key)


def named_by_artifact(engine: Engine, key: str) -> None:
    make_job(engine, status=Status.SUCCEEDED)
    with engine.begin() as connection:
        connection.execute(text("UPDATE artifacts SET blob_key = :key"), {"key": key})


def named_by_checkpoint(engine: Engine, key: str) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        files = [CheckpointFile("state.json", "0" * 64, 1, "other"), CheckpointFile("w", "0" * 64, 1, key)]
        commit_checkpoint(session, claim, 5, files)


def named_by_input(engine: Engine, key: str) -> Job:
    """A checkpoint of a job that goes on and lets go of it, while somebody measures it."""
    of = make_job(engine)
    files = [CheckpointFile("weights.safetensors", "0" * 64, 1, key)]
    with unit_of_work(engine) as session:
        commit_checkpoint(session, make_claim(engine), 5, files)
        asked = EvaluationSpec(kinds=("benchmarks",), checkpoint=5)
        job, _ = JobLedger(session).evaluate(of.project_id, of.id, asked)
        session.execute(text("UPDATE checkpoints SET dropped_at = now(), dropped_why = 'old'"))
    return job


def test_what_an_evaluation_reads_goes_when_it_has_ended(engine: Engine, blobs: Blobs, put) -> None:
    key = put(b"weights")
    job = named_by_input(engine, key)
    collect(engine, blobs)
    assert collect(engine, blobs, grace=NOW).removed == 0
    with unit_of_work(engine) as session:
        JobLedger(session).cancel(job.project_id, job.id)
    collect(engine, blobs)
    assert collect(engine, blobs, grace=NOW).removed == 1


@pytest.mark.parametrize("name", [named_by_dataset, named_by_artifact, named_by_checkpoint, named_by_input])
def test_what_a_row_names_stays(engine: Engine, blobs: Blobs, put, name) -> None:
    # Given an object that was condemned before a row named it
    key = put(b"wanted")
    collect(engine, blobs)
    name(engine, key)
    # Then it stays, and is on the list no more
    assert collect(engine, blobs, grace=NOW).removed == 0
    assert blobs.exists(key)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM condemned_blobs")).scalar_one() == 0


def test_what_got_a_name_and_lost_it_has_its_whole_grace_period_again(
    engine: Engine, blobs: Blobs, put
) -> None:
    # Given an object that was condemned, then named for a while
    key = put(b"wanted")
    assert collect(engine, blobs).condemned == 1
    dataset = make_dataset(engine, blob_key=key)
    collect(engine, blobs)
    with unit_of_work(engine) as session:
        DatasetLedger(session).delete(dataset.project_id, dataset.id)
    # Then the time before it had a name counts no more
    done = collect(engine, blobs, grace=timedelta(seconds=0.2))
    assert (done.condemned, done.removed) == (1, 0)
    assert blobs.exists(key)


def test_what_gets_its_name_at_the_last_moment_stays(
    engine: Engine, blobs: Blobs, put, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an object that is due, and a row that names it after the collector has looked
    key = put(b"wanted")
    collect(engine, blobs)
    remove = collection._remove

    def named_first(*given: object) -> int:
        make_dataset(engine, blob_key=key)
        return remove(*given)

    monkeypatch.setattr(collection, "_remove", named_first)
    assert collect(engine, blobs, grace=NOW).removed == 0
    assert blobs.exists(key)


def test_what_was_condemned_anew_while_others_were_removed_stays(engine: Engine, blobs: Blobs, put) -> None:
    key = put(b"again")
    collect(engine, blobs)
    assert not collection._removed(engine, blobs, key, timedelta(hours=1))
    assert blobs.exists(key)
    assert collection._removed(engine, blobs, key, NOW)


def test_a_removal_that_takes_its_time_keeps_its_place(engine: Engine, blobs: Blobs, put) -> None:
    """Longer than a session may be silent: were it ended, the object could be stored and then be removed."""
    key = put(b"slow")
    collect(engine, blobs)
    slow = Hesitant(blobs._store, root=blobs._root)
    slow.reached, slow.told = threading.Event(), threading.Event()
    hasty = make_engine(engine.url.render_as_string(hide_password=False), idle_seconds=0.3)
    threading.Timer(1.2, slow.told.set).start()
    assert collect(hasty, slow, grace=NOW).removed == 1
    hasty.dispose()
    assert not blobs.exists(key)


def test_deleted_datasets_jobs_and_dropped_checkpoints_name_nothing(
    engine: Engine, blobs: Blobs, put
) -> None:
    rows, result, old = put(b"rows"), put(b"result"), put(b"old")
    dataset = make_dataset(engine, blob_key=rows)
    job = make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 5, [CheckpointFile("w", "0" * 64, 1, old)])
        commit_checkpoint(session, claim, 6, [], keep=1)
    settle(engine, claim, Status.SUCCEEDED)
    with engine.begin() as connection:
        connection.execute(text("UPDATE artifacts SET blob_key = :key"), {"key": result})
        connection.execute(text("UPDATE jobs SET deleted_at = now() WHERE id = :id"), {"id": job.id})
    with unit_of_work(engine) as session:
        DatasetLedger(session).delete(dataset.project_id, dataset.id)
    collect(engine, blobs)
    assert collect(engine, blobs, grace=NOW).removed == 3
    assert not any(blobs.exists(key) for key in (rows, result, old))


def test_checkpoints_of_jobs_that_ended_long_ago_are_given_up(engine: Engine, blobs: Blobs, put) -> None:
    key = put(b"checkpoint")
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 5, [CheckpointFile("w", "0" * 64, 1, key)])
    # Of a job that runs it stays, however old; of one that has ended as long as it was promised
    assert collect(engine, blobs, checkpoint_age=NOW).expired == 0
    settle(engine, claim, Status.FAILED)
    assert collect(engine, blobs, checkpoint_age=timedelta(days=7)).expired == 0
    assert collect(engine, blobs, checkpoint_age=NOW).expired == 1
    assert collect(engine, blobs, grace=NOW).removed == 1


def test_checkpoints_that_a_retry_takes_over_stay_though_the_old_ones_are_given_up(
    engine: Engine, blobs: Blobs, put
) -> None:
    # Given a retry that has copied what an old job left, and has not committed yet
    key = put(b"checkpoint")
    job = make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 5, [CheckpointFile("w", "0" * 64, 1, key)])
    settle(engine, claim, Status.FAILED)
    given = {"grace": NOW, "checkpoint_age": NOW}
    collector = threading.Thread(target=collect, args=(engine, blobs), kwargs=given)
    with unit_of_work(engine) as session:
        JobLedger(session).retry(job.project_id, job.id)
        # When the collector gives up the old job's
        collector.start()
        collector.join(0.5)
        assert collector.is_alive(), "it waits until the copies name their objects"
    collector.join(10)
    # Then the object has a name all the time
    assert blobs.exists(key)
    assert [place.step for place in make_claim(engine).checkpoints] == [5]


def test_staged_leftovers_go_with_the_grace_period(engine: Engine, blobs: Blobs, tmp_path: Path) -> None:
    left = tmp_path / "blobs" / "staging" / "up_left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert collect(engine, blobs).staged == 0
    assert collect(engine, blobs, grace=NOW).staged == 1
    assert not left.exists()


class Hesitant(Blobs):
    """Storage whose removals wait for a word."""

    def delete(self, key: str) -> None:
        """Remove it, once told to."""
        self.reached.set()
        assert self.told.wait(10)
        super().delete(key)

    def sweep(self, _older_than: timedelta) -> int:
        """Leave alone what is being written: without a grace period that would go as well."""
        return 0


def test_who_stores_what_is_being_removed_waits_and_stores_it_anew(
    engine: Engine, blobs: Blobs, put, tmp_path: Path
) -> None:
    # Given a collector in the middle of removing an object
    key = put(b"again")
    collect(engine, blobs)
    slow = Hesitant(blobs._store, root=blobs._root)
    slow.reached, slow.told = threading.Event(), threading.Event()
    collector = threading.Thread(target=collect, args=(engine, slow), kwargs={"grace": NOW})
    collector.start()
    assert slow.reached.wait(10)

    # When somebody stores the same bytes
    def store() -> None:
        with unit_of_work(engine) as session:
            revive(session, key)
        put(b"again")

    writer = threading.Thread(target=store)
    writer.start()
    writer.join(0.5)
    assert writer.is_alive(), "it does not look at bytes that are about to go"
    slow.told.set()
    writer.join(10)
    collector.join(10)
    # Then they are there, and have their grace period before them
    assert blobs.exists(key)
    assert collect(engine, blobs, grace=timedelta(hours=1)).removed == 0


def test_what_was_revived_has_its_grace_period_again(engine: Engine, blobs: Blobs, put) -> None:
    key = put(b"again")
    collect(engine, blobs)
    with unit_of_work(engine) as session:
        revive(session, key)
    done = collect(engine, blobs, grace=timedelta(seconds=0.2))
    assert (done.condemned, done.removed) == (1, 0)


def test_after_a_restore_every_object_has_its_grace_period_again(engine: Engine, blobs: Blobs, put) -> None:
    """Rows that came after the backup may have named it; who restores an older one still may."""
    put(b"named by what was lost")
    collect(engine, blobs)
    with unit_of_work(engine) as session:
        assert make_fit(session).spared == 1
    done = collect(engine, blobs, grace=timedelta(seconds=0.2))
    assert (done.condemned, done.removed) == (1, 0)


def test_a_second_collector_finds_it_busy(engine: Engine, blobs: Blobs, put) -> None:
    put(b"busy")
    collect(engine, blobs)
    slow = Hesitant(blobs._store, root=blobs._root)
    slow.reached, slow.told = threading.Event(), threading.Event()
    collector = threading.Thread(target=collect, args=(engine, slow), kwargs={"grace": NOW})
    collector.start()
    assert slow.reached.wait(10)
    assert not collect(engine, blobs).looked
    slow.told.set()
    collector.join(10)
    assert collect(engine, blobs).looked


def test_checkpoints_are_read_once_for_many_objects(engine: Engine) -> None:
    """Looking through all checkpoints for each object, a collection of many never came to its end."""
    make_job(engine)
    claim = make_claim(engine)
    many = text(
        "INSERT INTO checkpoints (id, job_id, fence, step, manifest) SELECT 'ckpt_' || n, :job, 1, n,"
        " jsonb_build_object('files', jsonb_build_array(jsonb_build_object('blob_key', 'key-' || n)))"
        " FROM generate_series(1, 2000) AS n"
    )
    with engine.begin() as connection:
        connection.execute(many, {"job": claim.job_id})
        connection.execute(text("ANALYZE checkpoints, jobs"))
        keys = {"keys": [f"key-{n}" for n in range(0, 4000, 20)]}
        asked = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {_NAMED.text}")
        [told] = connection.execute(asked, keys).scalar_one()
        named = set(connection.execute(_NAMED, keys).scalars())
    reads = [node for node in nodes(told["Plan"]) if node.get("Relation Name") == "checkpoints"]
    assert sum(node["Actual Loops"] * node["Actual Rows"] for node in reads) == 2000
    assert named == {f"key-{n}" for n in range(20, 2001, 20)}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a plan's parts, however deep."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)

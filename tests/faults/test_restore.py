"""A backup is restored after work went on: nothing dangles, and whatever is unfinished ends well."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from neftune_store.blobs import Blobs
from neftune_store.collection import collect
from neftune_store.db import unit_of_work
from neftune_store.errors import Conflict, JobNotFound
from neftune_store.evaluations import WEIGHTS
from neftune_store.inputs import inputs_of
from neftune_store.restored import FENCE_JUMP
from standalone.dumps import dump, load
from tests.conftest import create_database, drop_database
from tests.worker_house import House, house, kill, quiet_redis, until
from worker.restored import restored

__all__ = ["house", "quiet_redis"]


def stop(house: House) -> None:
    """End all processes at once, as a lost machine does."""
    for process in house.processes:
        if process.poll() is None:
            kill(process)
            process.wait()
    house.processes.clear()
    until(lambda: not connected(house), 10)


def lose_the_database(house: House) -> None:
    """Put an empty one in its place."""
    house.engine.dispose()
    url = house.environ["DATABASE_URL"]
    name = url.rsplit("/", 1)[1].split("?")[0]
    drop_database(url.replace(name, "postgres"), name)
    create_database(url.replace(name, "postgres"), name)


def fences(house: House) -> dict[str, int]:
    with house.engine.connect() as connection:
        return {row.id: row.fence for row in connection.execute(text("SELECT id, fence FROM jobs"))}


@pytest.mark.long  # a backup and two services
@pytest.mark.fault("F49")
def test_a_restored_backup_with_a_newer_bucket_loses_and_doubles_nothing(
    house: House, tmp_path: Path, record_property
) -> None:
    # Given a job that is done, one in its middle with a checkpoint, one that waits and one that rests
    house.start()
    house.start("worker.reconcile")
    done = house.wait(house.submit("steps=3"), "succeeded")
    running = house.submit("steps=60 sleep=0.05 ckpt=10")
    house.wait_for_step(running, 15)
    waiting, paused = house.submit("steps=3"), house.submit("steps=3", paused=True)
    # When a backup is made, everything goes on, and then machine and database are lost
    dump(house.environ["DATABASE_URL"], tmp_path / "backup.dump")
    house.wait(running, "succeeded")
    house.wait(waiting, "succeeded")
    late = house.wait(house.submit("steps=3"), "succeeded")
    stop(house)
    before = fences(house)
    lose_the_database(house)
    began = time.monotonic()
    load(house.environ["DATABASE_URL"], tmp_path / "backup.dump")
    assert restored(house.engine, Blobs.open(house.settings())) == []
    record_property("restore_seconds", round(time.monotonic() - began, 2))
    # Then what came after the backup is unknown, and no fence can be met again
    with pytest.raises(JobNotFound):
        house.job(late)
    after = fences(house)
    assert after[done.id] == before[done.id]
    for job in (running, waiting, paused):
        assert after[job.id] >= FENCE_JUMP > before[job.id]
    assert house.job(running).status == "queued"
    assert house.job(running).crashes == 0
    # and everything that is known ends once, with a whole curve
    house.start()
    house.start("worker.reconcile")
    house.resume(paused)
    for job in (running, waiting, paused):
        house.wait(job, "succeeded", "failed")
        assert house.job(job).status == "succeeded", house.logs()[-4000:]
        assert house.events(job).count("job.succeeded") == 1
    assert house.steps(running) == list(range(61))
    for job in (done, running, waiting, paused):
        for artifact in house.artifacts(job).values():
            assert len(house.content(artifact)) == artifact.bytes


def test_an_object_that_storage_has_lost_is_told_by_name(house: House) -> None:
    house.start()
    done = house.wait(house.submit("steps=3"), "succeeded")
    stop(house)
    blobs, dataset = house.root / "blobs", house.dataset()
    lost, damaged = blobs / house.artifacts(done)["adapter"].blob_key, blobs / dataset.blob_key
    kept = {path: path.read_bytes() for path in (lost, damaged)}
    lost.unlink()
    damaged.write_bytes(b"other rows")
    found = restored(house.engine, Blobs.open(house.settings()))
    told = {(fault.named.what, fault.why) for fault in found}
    assert (f"adapter of {done.id}", "missing") in told
    assert (f"dataset {dataset.id}", "damaged") in told
    assert not any("metrics.csv" in what for what, _ in told)
    for path, content in kept.items():
        path.write_bytes(content)


def test_weights_that_an_evaluation_waits_to_read_are_looked_for_too(house: House) -> None:
    # Given an evaluation of a checkpoint that was given up since, so that nothing else names its weights
    house.start()
    done = house.wait(house.submit("steps=4 ckpt=2"), "succeeded")
    stop(house)
    waiting, blobs = house.evaluate(done, checkpoint=2), Blobs.open(house.settings())
    assert collect(house.engine, blobs, checkpoint_age=timedelta(0)).expired
    with unit_of_work(house.engine) as session:
        (weights,) = (one.weights for one in inputs_of(session, waiting.id) if one.weights is not None)
    lost = house.root / "blobs" / weights.files[0].blob_key
    kept = lost.read_bytes()
    lost.unlink()
    # When the restored rows are held against storage
    told = {(fault.named.what, fault.why) for fault in restored(house.engine, blobs)}
    # Then it is told by name, and no more once the evaluation is over
    assert told == {(f"input {WEIGHTS} of {waiting.id}", "missing")}
    house.cancel(waiting)
    assert restored(house.engine, blobs) == []
    lost.write_bytes(kept)


def test_rows_in_use_are_not_touched(house: House) -> None:
    reconciler = house.start("worker.reconcile")
    job = house.submit("steps=3")
    until(lambda: connected(house), 20)
    with pytest.raises(Conflict, match="neftune-reconciler"):
        restored(house.engine, Blobs.open(house.settings()))
    assert fences(house) == {job.id: 0}
    assert reconciler.poll() is None


def connected(house: House) -> bool:
    ours = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'neftune-%'"
    )
    with house.engine.connect() as connection:
        return bool(connection.scalar(ours))

"""Deaths around a checkpoint: the next run goes on from the last good one, each step stands once."""

import time
from pathlib import Path

import pytest
from sqlalchemy import text

from neftune_store.job import Job
from tests.faults.elapsed import hurt_at, lost_after
from tests.worker_house import LEASE, House, house, kill, quiet_redis, until

__all__ = ["house", "quiet_redis"]

STEPS = 60
TOY = f"steps={STEPS} sleep=0.05 ckpt=5"


def committed(house: House, job: Job, step: int) -> Job:
    """Wait until a checkpoint at or after this step is committed."""
    return until(lambda: now if (now := house.job(job)).committed_step >= step else None, 30)


def named(house: House, job: Job, name: str) -> list[dict[str, object]]:
    """Give what was told of one kind of fact."""
    return [fact.data for fact in house.facts(job) if fact.name == name]


def whole(house: House, job: Job, attempts: int) -> None:
    """Hold the end against an undisturbed run's."""
    done = house.wait(job, "succeeded", "failed", seconds=60)
    assert (done.status, done.attempt) == ("succeeded", attempts), house.logs()[-6000:]
    assert house.steps(job) == list(range(STEPS + 1))


def begins(house: House, job: Job) -> list[int]:
    """List the steps after which runs went on."""
    return [fact["step"] for fact in named(house, job, "run.resumed")]


@pytest.fixture
def once(tmp_path: Path) -> str:
    """A folder in which failpoints note that they have acted."""
    folder = tmp_path / "once"
    folder.mkdir()
    return str(folder)


@pytest.mark.fault("F4")
def test_a_killed_run_goes_on_from_its_last_checkpoint(house: House) -> None:
    worker = house.start()
    house.start("worker.reconcile")
    job = house.submit(TOY)
    begin = committed(house, job, 10).committed_step
    kill(house.runner(worker))
    whole(house, job, 2)
    (resumed,) = begins(house, job)
    assert resumed >= begin
    assert [told["step"] for told in named(house, job, "rewound")] in ([], [resumed])


@pytest.mark.fault("F5")
def test_a_death_while_a_checkpoint_is_written_uses_the_one_before(
    house: House, once: str, record_property
) -> None:
    job = house.submit(TOY)
    house.start(NEFT_TEST="1", FAILPOINTS="checkpoint.written:kill@3", FAILPOINTS_ONCE=once)
    house.start("worker.reconcile")
    whole(house, job, 2)
    assert begins(house, job) == [10]
    record_property("found_after_s", lost_after(house, job, hurt_at(once)))


@pytest.mark.fault("F6")
def test_a_death_between_upload_and_commit_costs_one_checkpoint(
    house: House, once: str, record_property
) -> None:
    job = house.submit(TOY)
    house.start(NEFT_TEST="1", FAILPOINTS="checkpoint.uploaded:kill@2", FAILPOINTS_ONCE=once)
    house.start("worker.reconcile")
    whole(house, job, 2)
    assert begins(house, job) == [5]
    assert named(house, job, "rewound")[0]["step"] == 5
    record_property("found_after_s", lost_after(house, job, hurt_at(once)))


@pytest.mark.fault("F7")
def test_a_death_before_success_is_published_again_and_not_trained_again(
    house: House, once: str, record_property
) -> None:
    calm = house.submit("steps=3 ckpt=5")
    job = house.submit(TOY)
    house.start(NEFT_TEST="1", FAILPOINTS="publish.stored:kill@2", FAILPOINTS_ONCE=once)
    house.start("worker.reconcile")
    whole(house, job, 2)
    assert begins(house, job) == [STEPS]
    record_property("found_after_s", lost_after(house, job, hurt_at(once)))
    house.wait(calm, "succeeded")
    first, second = house.artifacts(calm), house.artifacts(job)
    assert first["adapter"].sha256 == second["adapter"].sha256


@pytest.mark.fault("F40")
@pytest.mark.parametrize("harm", ["flip", pytest.param("remove", marks=pytest.mark.long)])
def test_a_damaged_checkpoint_is_passed_over(house: House, harm: str) -> None:
    # Given a paused job with two checkpoints, the newer of which is damaged in storage
    house.start()
    job = house.submit(TOY)
    committed(house, job, 10)
    house.pause(job)
    paused = house.wait(job, "paused")
    harmed = hurt(house, job, harm)
    # When it goes on
    house.resume(job)
    whole(house, job, 2)
    # Then it went on from the one before, and said so
    assert harmed == paused.committed_step
    assert [told["step"] for told in named(house, job, "checkpoint.corrupt")] == [harmed]
    (resumed,) = begins(house, job)
    assert 0 < resumed < harmed
    assert named(house, job, "rewound")[-1]["step"] == resumed


@pytest.mark.long  # core/test_resume.py damages all
@pytest.mark.fault("F40")
def test_with_all_checkpoints_damaged_the_job_begins_again(house: House) -> None:
    house.start()
    job = house.submit(TOY)
    committed(house, job, 10)
    house.pause(job)
    house.wait(job, "paused")
    hurt(house, job, "flip", all_rows=True)
    house.resume(job)
    whole(house, job, 2)
    assert begins(house, job) == []
    assert len(named(house, job, "checkpoint.corrupt")) == 2
    assert named(house, job, "rewound")[-1]["step"] == 0


def hurt(house: House, job: Job, harm: str, *, all_rows: bool = False) -> int:
    """Damage the stored state of the newest checkpoint, or of all; tell the newest one's step."""
    with house.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT step, file->>'blob_key' AS key"
                " FROM checkpoints, jsonb_array_elements(manifest->'files') AS file"
                " WHERE job_id = :job AND dropped_at IS NULL AND file->>'name' = 'state.json'"
                " ORDER BY step DESC"
            ),
            {"job": job.id},
        ).all()
    for row in rows if all_rows else rows[:1]:
        path = house.root / "blobs" / row.key
        if harm == "remove":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[-2] ^= 1
            path.write_bytes(data)
    return rows[0].step


def test_a_pause_keeps_every_step_that_was_taken(house: House) -> None:
    house.start()
    job = house.submit("steps=60 sleep=0.05 ckpt=50")
    house.wait_for_step(job, 4)
    house.pause(job)
    paused = house.wait(job, "paused")
    assert paused.committed_step == paused.live_step >= 4
    house.resume(job)
    whole(house, job, 2)
    assert begins(house, job) == [paused.committed_step]
    assert "rewound" not in house.events(job)


def test_a_cancelled_job_keeps_its_last_checkpoint(house: House) -> None:
    house.start()
    job = house.submit(TOY)
    committed(house, job, 10)
    house.cancel(job)
    done = house.wait(job, "cancelled")
    with house.engine.connect() as connection:
        kept = connection.execute(
            text("SELECT step FROM checkpoints WHERE job_id = :job AND dropped_at IS NULL ORDER BY step"),
            {"job": job.id},
        ).scalars()
    assert list(kept)[-1] == done.committed_step >= 10


@pytest.mark.long  # test_frozen.py freezes one
@pytest.mark.fault("F11")
def test_a_job_taken_over_goes_on_from_the_checkpoint_of_a_frozen_worker(
    house: House, record_property
) -> None:
    worker = house.start()
    house.start("worker.reconcile")
    job = house.submit(TOY)
    begin = committed(house, job, 10).committed_step
    frozen = house.pool_child(worker)
    fault = time.time()
    frozen.suspend()
    house.start()
    until(lambda: house.job(job).attempt == 2, LEASE + 6)
    frozen.resume()
    whole(house, job, 2)
    assert begins(house, job)[0] >= begin
    record_property("found_after_s", lost_after(house, job, fault))

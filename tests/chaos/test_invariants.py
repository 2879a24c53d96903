"""The checker itself: a history as it should be passes, and each broken promise is seen."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from neftune_store.blobs import Blobs, blob_key
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.lifecycle import Status
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settings import StoreSettings
from neftune_store.settling import give_back
from tests import invariants
from tests.factories import make_claim, make_dataset, make_job, settle


@pytest.fixture
def job(engine: Engine) -> Job:
    """A job that was lost once, went on from a checkpoint and succeeded."""
    made = make_job(engine)
    first = make_claim(engine)
    with unit_of_work(engine) as session:
        write_metrics(session, first, [(step, {"train_loss": 1.0}) for step in range(4)])
        commit_checkpoint(session, first, 2)
        give_back(session, first, "crashed", "worker_crashed")
    second = make_claim(engine)
    with unit_of_work(engine) as session:
        write_metrics(session, second, [(step, {"train_loss": 1.0}) for step in range(3, 140)])
        commit_checkpoint(session, second, 5)
    settle(engine, second, Status.SUCCEEDED)
    return made


def test_a_good_history_breaks_no_promise(engine: Engine, job: Job) -> None:
    make_job(engine, status=Status.FAILED)
    make_job(engine, status=Status.CANCELLED)
    make_job(engine, status=Status.PAUSED)
    invariants.check(engine, at_rest=True)


NEW_JOB = """
    INSERT INTO idempotency_keys (project_id, key, body_sha256, job_id)
    SELECT project_id, 'k' || n, 'x', id FROM jobs, generate_series(1, 2) AS n
"""
PLANTED = {
    "one_job_per_key": NEW_JOB,
    "fences_never_fall": "UPDATE metrics SET fence = 1 WHERE step = 5",
    "a_job_ends_once": "DELETE FROM events WHERE name = 'job.succeeded'",
    "histories_follow_the_table": """
        UPDATE events SET data = jsonb_set(data, '{status}', '"paused"')
        WHERE kind = 'status' AND seq = (SELECT min(seq) FROM events WHERE data->>'status' = 'running')
    """,
    "numbers_are_taken_once": "UPDATE jobs SET last_seq = last_seq - 2",
    "curves_have_each_step_once": "DELETE FROM metrics WHERE step = 3",
    "spans_tell_what_their_rows_do": "UPDATE metric_spans SET high_step = 3 WHERE width = 128",
    "leases_belong_to_running_jobs": "UPDATE runs SET ended_at = NULL, outcome = NULL WHERE fence = 1",
    "results_stand_with_success": "UPDATE artifacts SET fence = 1",
    "checkpoints_lie_on_the_curve": "UPDATE checkpoints SET step = 9 WHERE step = 5",
    "attempts_are_bounded": """
        UPDATE jobs SET status = 'queued', crashes = 3, finished_at = NULL, result_id = NULL
    """,
    "cancelled_means_cancelled": """
        INSERT INTO events (job_id, seq, name, data, fence) SELECT id, 900, 'job.cancel_requested', '{}', 9
        FROM jobs
    """,
    "what_is_needed_is_there": """
        UPDATE datasets SET deleted_at = now();
        UPDATE jobs SET status = 'queued', finished_at = NULL, result_id = NULL
    """,
    "one_export_is_alive": """
        INSERT INTO jobs SELECT (jsonb_populate_record(job, jsonb_build_object(
            'id', 'job_x', 'kind', 'export', 'of_job', id, 'options', jsonb_build_object('kind', 'merged'),
            'status', 'queued', 'finished_at', NULL, 'result_id', NULL
        ))).* FROM jobs AS job;
        UPDATE jobs SET deleted_at = now() WHERE kind = 'train'
    """,
}


@pytest.mark.parametrize("promise", PLANTED)
def test_a_broken_promise_is_seen(engine: Engine, job: Job, promise: str) -> None:
    with engine.begin() as connection:
        for table in ("jobs", "events"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in PLANTED[promise].split(";"):
            connection.execute(text(statement))
    with pytest.raises(AssertionError, match=f"{promise}: "):
        invariants.check(engine)


def test_every_promise_about_rows_has_a_planted_fault() -> None:
    assert {ask.__name__ for ask in invariants._ROWS} == PLANTED.keys()


def test_a_forgotten_job_is_seen(engine: Engine) -> None:
    make_job(engine)
    invariants.check(engine)
    with pytest.raises(AssertionError, match="every_job_comes_to_rest: "):
        invariants.check(engine, at_rest=True)


def test_missing_damaged_and_orphaned_objects_are_seen(engine: Engine, tmp_path: Path) -> None:
    # Given a dataset whose bytes are where its row says
    blobs = Blobs.open(StoreSettings(database_url="postgresql://x", storage_url=f"file://{tmp_path}/blobs"))
    path = tmp_path / "rows"
    path.write_bytes(b"rows\n")
    sha256 = hashlib.sha256(b"rows\n").hexdigest()
    dataset = make_dataset(engine, sha256=sha256, bytes=5)
    blobs.put_file(dataset.blob_key, path)
    invariants.check(engine, blobs, orphans=True)
    # Then an object more, other bytes, and none at all are told
    path.write_bytes(b"more\n")
    other = blob_key(dataset.project_id, hashlib.sha256(b"more\n").hexdigest())
    blobs.put_file(other, path)
    with pytest.raises(AssertionError, match="no_object_is_orphaned: "):
        invariants.check(engine, blobs, orphans=True)
    blobs.delete(other)
    (tmp_path / "blobs" / dataset.blob_key).write_bytes(b"raws\n")
    with pytest.raises(AssertionError, match="other bytes"):
        invariants.check(engine, blobs)
    blobs.delete(dataset.blob_key)
    with pytest.raises(AssertionError, match="not in storage"):
        invariants.check(engine, blobs)

"""Submitting: one job per key, whatever happens at once; nothing half written."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from neftune_store.datasets import DatasetLedger
from neftune_store.db import unit_of_work
from neftune_store.errors import (
    DatasetInUse,
    DatasetNotFound,
    IdempotencyConflict,
    JobDeleted,
    QueueFull,
    StoreError,
)
from neftune_store.events import events_after, feed_after
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Intent, Status
from tests.factories import make_claim, make_dataset, make_job, make_project, make_spec, settle


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def submit(engine: Engine, project_id: str, spec: object, key: str | None = None, **more: str) -> object:
    with unit_of_work(engine) as session:
        return JobLedger(session).submit(project_id, spec, idempotency_key=key, **more)  # type: ignore[arg-type]  # by name


def test_a_submitted_job_is_queued_and_says_so(engine: Engine) -> None:
    rows = make_dataset(engine)
    spec = make_spec(rows.id, alpha=5, name="bot", tags=["a", "b"], resources={"priority": 3})
    with unit_of_work(engine) as session:
        job, created = JobLedger(session).submit(rows.project_id, spec)
    assert created
    assert (job.status, job.intent, job.attempt, job.last_seq) == (Status.QUEUED, Intent.RUN, 0, 2)
    assert (job.name, job.alpha, job.tags, job.priority) == ("bot", 5.0, ("a", "b"), 3)
    assert job.spec == spec.model_dump(mode="json")
    with unit_of_work(engine) as session:
        assert JobLedger(session).get(rows.project_id, job.id) == job
        assert [e.name for e in events_after(session, rows.project_id, job.id)] == ["job.queued"]
        assert [i.kind for i in feed_after(session, job.id, 0)] == ["event", "status"]


def test_the_same_key_and_body_give_the_same_job(engine: Engine) -> None:
    rows = make_dataset(engine)
    with unit_of_work(engine) as session:
        job, created = JobLedger(session).submit(rows.project_id, make_spec(rows.id), idempotency_key="k")
    with unit_of_work(engine) as session:
        again, anew = JobLedger(session).submit(rows.project_id, make_spec(rows.id), idempotency_key="k")
    assert (created, anew, again) == (True, False, job)


def test_the_same_key_gives_the_job_as_it_is_now_even_without_its_dataset(engine: Engine) -> None:
    rows = make_dataset(engine)
    submit(engine, rows.project_id, make_spec(rows.id), "k")
    settle(engine, make_claim(engine), Status.SUCCEEDED)
    with unit_of_work(engine) as session:
        DatasetLedger(session).delete(rows.project_id, rows.id)
    with unit_of_work(engine) as session:
        job, _ = JobLedger(session).submit(rows.project_id, make_spec(rows.id), idempotency_key="k")
    assert job.status == Status.SUCCEEDED


def test_the_same_key_with_another_body_is_a_conflict(engine: Engine) -> None:
    rows = make_dataset(engine)
    submit(engine, rows.project_id, make_spec(rows.id, alpha=5), "k")
    for spec, more in (
        (make_spec(rows.id, alpha=6), {}),
        (make_spec(rows.id, alpha=5), {"retry_of": "job_x"}),
    ):
        with pytest.raises(IdempotencyConflict):
            submit(engine, rows.project_id, spec, "k", **more)
    assert count(engine, "jobs") == 1


def test_projects_do_not_share_keys(engine: Engine) -> None:
    one, two = make_dataset(engine), make_dataset(engine)
    submit(engine, one.project_id, make_spec(one.id), "k")
    submit(engine, two.project_id, make_spec(two.id), "k")
    assert count(engine, "jobs") == 2


def test_a_key_whose_job_was_deleted_says_so(engine: Engine) -> None:
    rows = make_dataset(engine)
    submit(engine, rows.project_id, make_spec(rows.id), "k")
    claim = make_claim(engine)
    settle(engine, claim, Status.SUCCEEDED)
    with unit_of_work(engine) as session:
        JobLedger(session).delete(rows.project_id, claim.job_id)
    with pytest.raises(JobDeleted):
        submit(engine, rows.project_id, make_spec(rows.id), "k")


@pytest.mark.fault("F33")
def test_fifty_first_uses_of_a_key_at_once_make_one_job(engine: Engine) -> None:
    rows = make_dataset(engine)
    barrier = threading.Barrier(20)  # as many as the pool has connections

    def one(n: int) -> tuple[str, bool]:
        if n < 20:
            barrier.wait()
        with unit_of_work(engine) as session:
            job, created = JobLedger(session).submit(rows.project_id, make_spec(rows.id), idempotency_key="k")
        return job.id, created

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(one, range(50)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert (count(engine, "jobs"), count(engine, "idempotency_keys")) == (1, 1)


def test_a_key_taken_by_a_submit_that_failed_is_free_again(engine: Engine) -> None:
    rows = make_dataset(engine)
    with pytest.raises(DatasetNotFound):
        submit(engine, rows.project_id, make_spec("ds_0000000000000000000000000a"), "k")
    assert count(engine, "idempotency_keys") == 0
    submit(engine, rows.project_id, make_spec(rows.id), "k")


@pytest.mark.parametrize(
    "dataset", ["ds_0000000000000000000000000a", "nonsense", "ds_\x00", "ds_" + "z" * 99]
)
def test_an_unknown_dataset_is_not_found(engine: Engine, dataset: str) -> None:
    rows = make_dataset(engine)
    for spec in (make_spec(dataset), make_spec(rows.id, validation={"dataset": dataset})):
        with pytest.raises(DatasetNotFound):
            submit(engine, rows.project_id, spec)
    assert count(engine, "jobs") == 0


def test_a_foreign_dataset_is_not_found(engine: Engine) -> None:
    mine, theirs = make_dataset(engine), make_dataset(engine)
    for spec in (make_spec(theirs.id), make_spec(mine.id, validation={"dataset": theirs.id})):
        with pytest.raises(DatasetNotFound):
            submit(engine, mine.project_id, spec)


def test_a_full_queue_takes_no_more(engine: Engine) -> None:
    rows, other = make_dataset(engine), make_dataset(engine)

    def submit_one(n: int) -> bool:
        try:
            with unit_of_work(engine) as session:
                JobLedger(session, queue_limit=5).submit(rows.project_id, make_spec(rows.id))
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(submit_one, range(12))) == 5
    # A running job leaves room, and other projects have queues of their own.
    make_claim(engine)
    assert submit_one(0)
    with unit_of_work(engine) as session:
        JobLedger(session, queue_limit=5).submit(other.project_id, make_spec(other.id))


@pytest.mark.fault("F41")
def test_a_dataset_is_not_deleted_under_a_job_that_begins(engine: Engine) -> None:
    project = make_project(engine)
    for _ in range(15):
        rows = make_dataset(engine, project.id)
        barrier = threading.Barrier(2)

        def delete(rows_id: str = rows.id, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                with unit_of_work(engine) as session:
                    DatasetLedger(session).delete(project.id, rows_id)
            except DatasetInUse:
                return False
            return True

        def begin(rows_id: str = rows.id, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                submit(engine, project.id, make_spec(rows_id))
            except StoreError:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            deleted, begun = threads.submit(delete), threads.submit(begin)
            assert deleted.result() != begun.result()


def test_a_copy_says_whose_it_is(engine: Engine) -> None:
    job = make_job(engine, status=Status.FAILED)
    with unit_of_work(engine) as session:
        spec = make_spec(job.dataset_id)
        again, _ = JobLedger(session).submit(job.project_id, spec, retry_of=job.id)
        clone, _ = JobLedger(session).submit(job.project_id, spec, clone_of=job.id)
    assert (again.retry_of, clone.clone_of) == (job.id, job.id)

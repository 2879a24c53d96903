"""What becomes of a job whose run is gone: back-off, patience, and the user's intent before both."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.events import events_after
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status, backoff
from neftune_store.reconcile import ReconcileReport, reconcile_once
from neftune_store.runs import commit_checkpoint, runs_of
from neftune_store.settling import Reason, give_back
from tests.factories import end_rest, expire_lease, make_claim, make_job


def reconcile(engine: Engine) -> ReconcileReport:
    with unit_of_work(engine) as session:
        return reconcile_once(session)


def lose(engine: Engine, claim: Claim) -> ReconcileReport:
    expire_lease(engine, claim.job_id)
    return reconcile(engine)


def back(engine: Engine, claim: Claim, reason: Reason, code: str = "x") -> Status:
    with unit_of_work(engine) as session:
        return give_back(session, claim, reason, code, "why", "last words", exit=-9)


def now(engine: Engine, job: Job) -> Job:
    with unit_of_work(engine) as session:
        return JobLedger(session).get(job.project_id, job.id)


def names(engine: Engine, job: Job) -> list[str]:
    with unit_of_work(engine) as session:
        return [event.name for event in events_after(session, job.project_id, job.id)]


def rest_of(engine: Engine, job: Job) -> float:
    """Seconds the job rests, from now on."""
    with engine.connect() as connection:
        left = connection.scalar(
            text("SELECT extract(epoch FROM run_after - clock_timestamp()) FROM jobs WHERE id = :id"),
            {"id": job.id},
        )
    return float(left or 0)


def test_a_lost_worker_gives_the_job_back(engine: Engine) -> None:
    # Given a running job whose lease has passed
    job = make_job(engine)
    claim = make_claim(engine)
    # When the reconciler comes by
    report = lose(engine, claim)
    # Then another worker may take it at once, and history shows the loss
    assert (report.requeued, report.lost, report.runnable) == (1, 1, 1)
    seen = now(engine, job)
    assert (seen.status, seen.crashes, seen.lease_owner) == (Status.QUEUED, 1, None)
    assert names(engine, job) == ["job.queued", "run.started", "run.lost", "job.requeued"]
    with unit_of_work(engine) as session:
        run = runs_of(session, job.project_id, job.id)[0]
    assert (run.outcome, run.error_code) == ("lost", "worker_lost")
    assert make_claim(engine).fence == 2


def test_a_living_lease_is_left_alone(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    assert reconcile(engine) == ReconcileReport(looked=True)
    assert now(engine, job) == job


def test_three_crashes_in_a_row_fail_the_job(engine: Engine) -> None:
    job = make_job(engine)
    for crashes in (1, 2):
        lose(engine, make_claim(engine))
        assert (now(engine, job).status, now(engine, job).crashes) == (Status.QUEUED, crashes)
        end_rest(engine, job.id)
    assert lose(engine, make_claim(engine)).failed == 1
    seen = now(engine, job)
    assert (seen.status, seen.error_code, seen.attempt) == (Status.FAILED, "worker_crashed", 3)
    assert names(engine, job)[-2:] == ["run.lost", "job.failed"]


def test_crashes_seen_by_the_supervisor_count_with_those_the_reconciler_finds(engine: Engine) -> None:
    job = make_job(engine)
    assert back(engine, make_claim(engine), "crashed") == Status.QUEUED
    lose(engine, make_claim(engine))
    end_rest(engine, job.id)
    assert back(engine, make_claim(engine), "crashed") == Status.FAILED
    seen = now(engine, job)
    assert (seen.error_code, seen.crashes) == ("worker_crashed", 3)
    with unit_of_work(engine) as session:
        last = runs_of(session, job.project_id, job.id)[-1]
    assert (last.log_tail, last.exit) == ("last words", -9)


def test_back_off_begins_with_the_second_loss_in_a_row(engine: Engine) -> None:
    job = make_job(engine)
    rests = []
    for _ in range(4):
        back(engine, make_claim(engine), "infra", "storage_unavailable")
        rests.append(rest_of(engine, job))
        end_rest(engine, job.id)
    assert rests == pytest.approx([0, 10, 30, 90], abs=2)


def test_back_off_ends_at_fifteen_minutes() -> None:
    assert [backoff(n) for n in (0, 1, 2, 3)] == [timedelta(0)] * 2 + [
        timedelta(seconds=10 * 3**n) for n in (0, 1)
    ]
    assert backoff(40) == timedelta(minutes=15)


def test_five_infra_errors_in_a_row_fail_with_their_code(engine: Engine) -> None:
    job = make_job(engine)
    ends = []
    for _ in range(5):
        ends.append(back(engine, make_claim(engine), "infra", "storage_unavailable"))
        end_rest(engine, job.id) if ends[-1] == Status.QUEUED else None
    assert ends == [Status.QUEUED] * 4 + [Status.FAILED]
    assert now(engine, job).error_code == "storage_unavailable"


def test_a_new_checkpoint_ends_a_row_of_crashes(engine: Engine) -> None:
    job = make_job(engine)
    for _ in range(2):
        back(engine, make_claim(engine), "crashed")
        end_rest(engine, job.id)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 10)
    assert back(engine, claim, "crashed") == Status.QUEUED
    assert now(engine, job).crashes == 1


def test_a_drain_costs_nothing(engine: Engine) -> None:
    job = make_job(engine)
    for _ in range(4):
        assert back(engine, make_claim(engine), "drained") == Status.QUEUED
    seen = now(engine, job)
    assert (seen.drains, seen.crashes, seen.attempt, seen.run_after) == (4, 0, 4, None)
    assert names(engine, job)[-2:] == ["run.drained", "job.requeued"]


def test_some_faults_are_tried_again_a_single_time(engine: Engine) -> None:
    job = make_job(engine)
    assert back(engine, make_claim(engine), "once", "stalled") == Status.QUEUED
    assert back(engine, make_claim(engine), "once", "cuda_oom") == Status.QUEUED
    assert back(engine, make_claim(engine), "once", "stalled") == Status.FAILED
    assert now(engine, job).error_code == "stalled"


@pytest.mark.parametrize(("ask", "end"), [("cancel", Status.CANCELLED), ("pause", Status.PAUSED)])
def test_a_lost_run_ends_as_the_user_asked(engine: Engine, ask: str, end: Status) -> None:
    job = make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        getattr(JobLedger(session), ask)(job.project_id, job.id)
    report = lose(engine, claim)
    assert (report.cancelled, report.paused) == ((1, 0) if ask == "cancel" else (0, 1))
    seen = now(engine, job)
    assert (seen.status, seen.crashes) == (end, 0)
    assert names(engine, job)[-1] == f"job.{end}"


@pytest.mark.parametrize(("ask", "end"), [("cancel", Status.CANCELLED), ("pause", Status.PAUSED)])
def test_a_job_given_back_ends_as_the_user_asked(engine: Engine, ask: str, end: Status) -> None:
    job = make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        getattr(JobLedger(session), ask)(job.project_id, job.id)
    assert back(engine, claim, "drained") == end


def test_a_pause_taken_back_in_time_lets_the_job_go_on(engine: Engine) -> None:
    job = make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        JobLedger(session).pause(job.project_id, job.id)
        JobLedger(session).resume(job.project_id, job.id)
    assert back(engine, claim, "drained") == Status.QUEUED


def test_two_reconcilers_do_the_work_of_one(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    expire_lease(engine, claim.job_id)
    with unit_of_work(engine) as first:
        assert reconcile_once(first).requeued == 1
        with unit_of_work(engine) as second:
            assert reconcile_once(second).looked is False
    assert reconcile(engine) == ReconcileReport(looked=True, runnable=1)


def test_a_queued_job_that_crashed_too_often_is_ended(engine: Engine) -> None:
    # Given a row that no ledger leaves behind
    job = make_job(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET crashes = 3 WHERE id = :id"), {"id": job.id})
    assert reconcile(engine).failed == 1
    assert now(engine, job).error_code == "worker_crashed"

"""What a run may write: everything under its fence, nothing after it."""

import math
import threading
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from neftune_store.artifacts import ArtifactLedger
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.errors import IntentChanged, LeaseLost, RecordNotFound, StoreError
from neftune_store.events import INTENT_CHANNEL, JOBS_CHANNEL, events_after, feed_after
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.leases import fenced, heartbeat
from neftune_store.lifecycle import Intent, Status
from neftune_store.metrics import metrics_after
from neftune_store.reconcile import reconcile_once
from neftune_store.runs import (
    add_event,
    commit_checkpoint,
    runs_of,
    set_resolved,
    write_metrics,
)
from neftune_store.settling import (
    give_back,
    settle_cancelled,
    settle_failed,
    settle_paused,
    settle_succeeded,
)
from tests.factories import expire_lease, make_artifact, make_claim, make_dataset, make_job

WRITES = {
    "metrics": lambda s, c: write_metrics(s, c, [(1, {"train_loss": 1.0})]),
    "no metrics": lambda s, c: write_metrics(s, c, []),
    "event": lambda s, c: add_event(s, c, "run.planned", {}),
    "resolved": lambda s, c: set_resolved(s, c, {"precision": "fp32"}),
    "checkpoint": lambda s, c: commit_checkpoint(s, c, 5),
    "heartbeat": lambda s, c: heartbeat(s, c, 60),
    "fence": fenced,
    "succeeded": lambda s, c: settle_succeeded(s, c, {}, [make_artifact()]),
    "failed": lambda s, c: settle_failed(s, c, "nan_loss", "no"),
    "cancelled": settle_cancelled,
    "paused": settle_paused,
    "given back": lambda s, c: give_back(s, c, "drained"),
}
TABLES = ("metrics", "events", "artifacts", "results", "checkpoints")


def job_now(engine: Engine, claim: Claim) -> Job:
    with unit_of_work(engine) as session:
        return JobLedger(session).get(claim.project_id, claim.job_id)


def names(engine: Engine, claim: Claim) -> list[str]:
    with unit_of_work(engine) as session:
        return [event.name for event in events_after(session, claim.project_id, claim.job_id)]


def everything(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return {
            table: connection.execute(text(f"SELECT * FROM {table}")).all()
            for table in (*TABLES, "jobs", "runs")
        }


@pytest.mark.parametrize("write", WRITES)
def test_a_write_behind_a_newer_fence_writes_nothing(engine: Engine, write: str) -> None:
    job = make_job(engine)
    zombie = make_claim(engine, "frozen")
    expire_lease(engine, job.id)
    with unit_of_work(engine) as session:
        reconcile_once(session)
    make_claim(engine, "second")
    before = everything(engine)
    with pytest.raises(LeaseLost), unit_of_work(engine) as session:
        WRITES[write](session, zombie)
    assert everything(engine) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_write_after_the_lease_ran_out_writes_nothing(engine: Engine, write: str) -> None:
    job = make_job(engine)
    late = make_claim(engine)
    expire_lease(engine, job.id)
    before = everything(engine)
    with pytest.raises(LeaseLost), unit_of_work(engine) as session:
        WRITES[write](session, late)
    assert everything(engine) == before


def test_a_reconciler_waits_for_a_write_in_flight(engine: Engine) -> None:
    # Given a run inside its writing transaction
    job = make_job(engine)
    claim = make_claim(engine, lease_seconds=3)
    reports = []

    def look() -> None:
        with unit_of_work(engine) as session:
            reports.append(reconcile_once(session))

    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(1, {"train_loss": 1.0})])
        # When its lease runs out before it commits
        session.execute(text("SELECT pg_sleep_until(lease_expires_at + interval '0.1 s') FROM jobs"))
        looking = threading.Thread(target=look)
        looking.start()
        looking.join()
    # Then the reconciler has passed the locked row by, and takes it at its next look
    look()
    assert [report.requeued for report in reports] == [0, 1]
    with unit_of_work(engine) as session:
        assert [m.step for m in metrics_after(session, job.project_id, job.id)] == [1]


def test_a_heartbeat_renews_the_lease_and_hears_the_intent(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine, lease_seconds=5)
    before = job_now(engine, claim).lease_expires_at
    with unit_of_work(engine) as session:
        assert heartbeat(session, claim, 60) == Intent.RUN
        JobLedger(session).cancel(claim.project_id, claim.job_id)
    after = job_now(engine, claim).lease_expires_at
    assert before is not None
    assert after is not None
    assert 54 < (after - before).total_seconds() < 57
    with unit_of_work(engine) as session:
        assert heartbeat(session, claim, 60) == Intent.CANCEL


def test_whoever_listens_is_woken_by_every_change_and_never_before_the_commit(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    changes = {
        "metrics": lambda s: write_metrics(s, claim, [(1, {"train_loss": 1.0})]),
        "fact": lambda s: add_event(s, claim, "run.planned", {}),
        "intent": lambda s: JobLedger(s).cancel(claim.project_id, claim.job_id),
        "end": lambda s: settle_cancelled(s, claim),
    }
    heard = {}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
        line.execute(text(f"LISTEN {JOBS_CHANNEL}"))
        line.execute(text(f"LISTEN {INTENT_CHANNEL}"))
        ear = line.connection.driver_connection
        assert isinstance(ear, psycopg.Connection)
        for name, write in changes.items():
            with unit_of_work(engine) as session:
                write(session)
                assert list(ear.notifies(timeout=0)) == []
            heard[name] = {(one.channel, one.payload) for one in ear.notifies(timeout=1, stop_after=1)}
            heard[name] |= {(one.channel, one.payload) for one in ear.notifies(timeout=0)}
        line.execute(text("UNLISTEN *"))
    job = (JOBS_CHANNEL, claim.job_id)
    assert heard == {"metrics": {job}, "fact": {job}, "intent": {job, (INTENT_CHANNEL, job[1])}, "end": {job}}


def test_metrics_merge_so_that_a_batch_may_be_sent_twice(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    batch = [
        (0, {"eval_loss": 3.0}),
        (1, {"train_loss": 2.0, "grad_norm": math.inf}),
        (2, {"train_loss": 1.5}),
    ]
    for _ in range(2):
        with unit_of_work(engine) as session:
            write_metrics(session, claim, batch, progress={"step": 2, "total_steps": 10})
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(2, {"eval_loss": 1.0})])
        curve = {m.step: m.values for m in metrics_after(session, claim.project_id, claim.job_id)}
    assert curve == {
        0: {"eval_loss": 3.0},
        1: {"train_loss": 2.0, "grad_norm": None},
        2: {"train_loss": 1.5, "eval_loss": 1.0},
    }
    job = job_now(engine, claim)
    assert job.progress == {"step": 2, "total_steps": 10}
    assert job.live_step == 2
    assert job.metrics_summary == {
        "base_eval_loss": 3.0, "eval_loss": 1.0, "train_loss": 1.5, "grad_norm": None
    }  # fmt: skip


def test_the_numbers_of_a_job_have_no_gap_and_no_double(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    writers = 6

    def write(n: int) -> None:
        for turn in range(5):
            with unit_of_work(engine) as session:
                write_metrics(session, claim, [(n * 100 + turn * 2 + k, {"x": 1.0}) for k in (0, 1)])
            with unit_of_work(engine) as session:
                add_event(session, claim, "run.noted", {"n": n})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    # A follower that always asks "after the last I have" misses nothing while writers race.
    seen: list[int] = []
    writing, more = True, True
    while writing or more:
        writing = any(thread.is_alive() for thread in threads)
        with unit_of_work(engine) as session:
            items = feed_after(session, claim.job_id, seen[-1] if seen else 0, 7)
        seen += [item.seq for item in items]
        more = bool(items)
    assert seen == list(range(1, 4 + writers * 5 * 3 + 1))


def test_facts_and_texts_that_postgres_cannot_hold_are_cleaned(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        add_event(session, claim, "run.noted", {"a\x00": ["\ud800", float("nan"), 1.5]})
        settle_failed(session, claim, "internal", "\x00 bad \udfff", log_tail="one\ud800\nend\x00")
    with unit_of_work(engine) as session:
        noted = events_after(session, claim.project_id, claim.job_id)[2]
        assert noted.data == {"a\ufffd": ["?", None, 1.5]}
        assert runs_of(session, claim.project_id, claim.job_id)[0].log_tail == "one?\nend\ufffd"


def test_a_run_cannot_tell_facts_about_the_job(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    for name in ("job.succeeded", "job.cancelled", "run.lost", "run.drained", "rewound"):
        with pytest.raises(StoreError), unit_of_work(engine) as session:
            add_event(session, claim, name, {})


def test_what_auto_came_to_is_kept_over_attempts(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        set_resolved(session, claim, {"commit": "abc"})
        set_resolved(session, claim, {"precision": "fp32"})
        give_back(session, claim, "drained")
    assert make_claim(engine).resolved == {"commit": "abc", "precision": "fp32"}


def test_a_log_tail_keeps_the_last_lines(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        lines = "\n".join(str(n) for n in range(1000))
        settle_failed(session, claim, "internal", "no", log_tail=lines)
        tail = runs_of(session, claim.project_id, claim.job_id)[0].log_tail
    assert tail is not None
    assert tail.splitlines() == [str(n) for n in range(800, 1000)]


def test_success_publishes_everything_at_once(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        with pytest.raises(RecordNotFound):
            ArtifactLedger(session).record(claim.project_id, claim.job_id)
        artifacts = [make_artifact("adapter"), make_artifact("adapter/adapter_config.json", b"{}")]
        settle_succeeded(session, claim, {"seed": 42, "loss": math.nan}, artifacts, exit=0, log_tail="done")
    job = job_now(engine, claim)
    assert (job.status, job.finished, job.lease_owner) == (Status.SUCCEEDED, True, None)
    assert names(engine, claim)[-1] == "job.succeeded"
    with unit_of_work(engine) as session:
        ledger = ArtifactLedger(session)
        listed = ledger.list(claim.project_id, claim.job_id)
        assert [a.name for a in listed] == ["adapter", "adapter/adapter_config.json"]
        assert ledger.get(claim.project_id, claim.job_id, "adapter") == listed[0]
        assert ledger.record(claim.project_id, claim.job_id) == {"seed": 42, "loss": None}
        run = runs_of(session, claim.project_id, claim.job_id)[0]
        assert (run.outcome, run.exit, run.log_tail) == ("succeeded", 0, "done")


@pytest.mark.parametrize("ask", ["cancel", "pause"])
def test_success_is_refused_once_the_user_wants_something_else(engine: Engine, ask: str) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        getattr(JobLedger(session), ask)(claim.project_id, claim.job_id)
    before = everything(engine)
    with pytest.raises(IntentChanged) as changed, unit_of_work(engine) as session:
        settle_succeeded(session, claim, {}, [make_artifact()])
    assert changed.value.intent == ask
    assert everything(engine) == before
    with unit_of_work(engine) as session:
        (settle_cancelled if ask == "cancel" else settle_paused)(session, claim, "log")
    assert job_now(engine, claim).status == ("cancelled" if ask == "cancel" else "paused")


@pytest.mark.parametrize("settle", [settle_cancelled, settle_paused])
def test_a_job_that_is_wanted_is_not_laid_down(engine: Engine, settle: Any) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with pytest.raises(IntentChanged, match="run"), unit_of_work(engine) as session:
        settle(session, claim)


def test_a_failure_says_why(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        settle_failed(session, claim, "cuda_oom", "Lower max_length.", False, "the end", exit=1)
    job = job_now(engine, claim)
    assert (job.status, job.error_code, job.error_message, job.error_retryable) == (
        Status.FAILED, "cuda_oom", "Lower max_length.", False
    )  # fmt: skip
    with unit_of_work(engine) as session:
        last = feed_after(session, claim.job_id, job.last_seq - 1)[0]
    assert (last.kind, last.data["status"]) == ("status", "failed")
    assert last.data["error"] == {"code": "cuda_oom", "detail": "Lower max_length.", "retryable": False}


@pytest.mark.fault("F34")
def test_cancel_and_success_race_to_one_end(engine: Engine) -> None:
    dataset = make_dataset(engine)
    for turn in range(12):
        make_job(engine, dataset=dataset)
        claim = make_claim(engine)
        barrier = threading.Barrier(2)
        answered: list[bool] = []

        def cancel(claim: Claim = claim, barrier: threading.Barrier = barrier, out: Any = answered) -> None:
            barrier.wait()
            try:
                with unit_of_work(engine) as session:
                    JobLedger(session).cancel(claim.project_id, claim.job_id)
                out.append(True)
            except StoreError:
                out.append(False)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        barrier.wait()
        try:
            with unit_of_work(engine) as session:
                settle_succeeded(session, claim, {})
        except IntentChanged:
            with unit_of_work(engine) as session:
                settle_cancelled(session, claim)
        canceller.join()
        assert job_now(engine, claim).status == (Status.CANCELLED if answered[0] else Status.SUCCEEDED), turn


def test_a_checkpoint_is_a_place_to_go_on_from(engine: Engine) -> None:
    make_job(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(step, {"train_loss": 1.0}) for step in range(8)])
        commit_checkpoint(session, claim, 5)
    with unit_of_work(engine) as session:
        give_back(session, claim, "crashed", "worker_crashed")
    again = make_claim(engine)
    assert again.committed_step == 5
    assert [place.step for place in again.checkpoints] == [5]
    with unit_of_work(engine) as session:
        kept = [m.step for m in metrics_after(session, claim.project_id, claim.job_id)]
    assert kept == [0, 1, 2, 3, 4, 5]

"""Series in the store: all of their jobs or none, told as a whole, and halved where they wait."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from neftune_core.sweep_spec import SweepSpec
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.errors import (
    AlreadyFinished,
    DatasetNotFound,
    IdempotencyConflict,
    QueueFull,
    SweepNotFound,
)
from neftune_store.events import events_after
from neftune_store.ids import new_id
from neftune_store.jobs import JobFilter, JobLedger
from neftune_store.lifecycle import Intent, Status
from neftune_store.reconcile import reconcile_once
from neftune_store.runs import set_resolved, write_metrics
from neftune_store.sweep import Child, Sweep, status_of
from neftune_store.sweeps import SweepLedger
from tests.factories import MODEL, make_claim, make_dataset, make_job, make_project, settle

STEPS = 20


@contextmanager
def ledger(engine: Engine, **given: int) -> Iterator[SweepLedger]:
    with unit_of_work(engine) as session:
        yield SweepLedger(session, **given)


def spec(dataset: str = "ds_none", **given: object) -> SweepSpec:
    job = {"model": MODEL, "dataset": dataset, "training": {"epochs": 1}}
    return SweepSpec.model_validate({"job": job, "alpha": [5.0], "seed": [1, 2], **given})


def make_sweep(engine: Engine, **given: object) -> Sweep:
    rows = make_dataset(engine)
    with ledger(engine) as sweeps:
        return sweeps.submit(rows.project_id, spec(rows.id, **given))[0]


def children(engine: Engine, sweep: Sweep) -> list[Child]:
    with ledger(engine) as sweeps:
        return list(sweeps.children([sweep])[sweep.id])


def delete_all(engine: Engine, sweep: Sweep) -> None:
    for child in children(engine, sweep):
        with unit_of_work(engine) as session:
            JobLedger(session).delete(sweep.project_id, child.job.id)


def look(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        reconcile_once(session)


def tell(engine: Engine, claim: Claim, step: int, eval_loss: float | None = None) -> None:
    """A step that the runner told, with the held-out loss if there is one."""
    numbers = {"train_loss": 1.0} if eval_loss is None else {"train_loss": 1.0, "eval_loss": eval_loss}
    with unit_of_work(engine) as session:
        set_resolved(session, claim, {"total_steps": STEPS})
        write_metrics(session, claim, [(step, numbers)], progress={"step": step, "total_steps": STEPS})


def run_to(engine: Engine, losses: dict[float, float], step: int) -> None:
    """Run every queued job to a step; those that are wanted to rest do, the others succeed."""
    while True:
        with unit_of_work(engine) as session:
            if not session.scalar(text("SELECT count(*) FROM jobs WHERE status = 'queued'")):
                return
        claim = make_claim(engine)
        tell(engine, claim, step, losses[claim.spec["alpha"]] + claim.spec["training"]["seed"] / 1000)
        with unit_of_work(engine) as session:
            intent = JobLedger(session).get(claim.project_id, claim.job_id).intent
        settle(engine, claim, Status.PAUSED if intent == Intent.PAUSE else Status.SUCCEEDED)


def test_a_series_is_a_job_for_each_alpha_and_seed_and_a_control(engine: Engine) -> None:
    sweep = make_sweep(engine, alpha=[10.0, 5.0], seed=[2, 1])
    found = children(engine, sweep)
    points = [(child.alpha, child.seed) for child in found]
    assert points == [(0, 2), (5, 2), (10, 2), (0, 1), (5, 1), (10, 1)]
    # Pairs differ in nothing but alpha
    told = [child.job.spec for child in found if child.seed == 1]
    assert len({str({**one, "alpha": 0}) for one in told}) == 1
    assert {child.job.sweep_id for child in found} == {sweep.id}
    assert (sweep.intent, sweep.strategy, status_of(found)) == (Intent.RUN, "grid", Status.QUEUED)


def test_all_jobs_are_written_down_or_none(engine: Engine) -> None:
    rows = make_dataset(engine)
    with pytest.raises(QueueFull), ledger(engine, queue_limit=3) as sweeps:
        sweeps.submit(rows.project_id, spec(rows.id))
    with pytest.raises(DatasetNotFound), ledger(engine) as sweeps:
        sweeps.submit(rows.project_id, spec(new_id("ds")))
    with engine.connect() as connection:
        left = "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM sweeps)"
        assert connection.scalar(text(left)) == 0


def test_a_key_makes_one_series_however_many_ask_at_once(engine: Engine) -> None:
    rows = make_dataset(engine)
    made: list[str] = []

    def ask() -> None:
        with ledger(engine) as sweeps:
            made.append(sweeps.submit(rows.project_id, spec(rows.id), idempotency_key="k")[0].id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == 4
    with pytest.raises(IdempotencyConflict), ledger(engine) as sweeps:
        sweeps.submit(rows.project_id, spec(rows.id, seed=[7]), idempotency_key="k")


def test_a_foreign_series_is_as_unknown_as_any(engine: Engine) -> None:
    sweep = make_sweep(engine)
    stranger = make_project(engine).id
    for ask in (SweepLedger.get, SweepLedger.cancel, SweepLedger.pause, SweepLedger.resume):
        for project, id_ in ((stranger, sweep.id), (sweep.project_id, new_id("swp")), (stranger, "x\0")):
            with pytest.raises(SweepNotFound), ledger(engine) as sweeps:
                ask(sweeps, project, id_)
    with ledger(engine) as sweeps:
        assert sweeps.list(stranger).items == ()


def test_lists_are_paged_newest_first(engine: Engine) -> None:
    rows = make_dataset(engine)
    for _ in range(3):
        with ledger(engine) as sweeps:
            sweeps.submit(rows.project_id, spec(rows.id, seed=[1]))
    with ledger(engine) as sweeps:
        first = sweeps.list(rows.project_id, None, 2)
        second = sweeps.list(rows.project_id, first.next, 2)
    ids = [one.id for one in (*first.items, *second.items)]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second.next) == (3, None)


def test_jobs_can_be_listed_by_their_series(engine: Engine) -> None:
    sweep = make_sweep(engine)
    rows = make_dataset(engine, sweep.project_id)
    make_job(engine, dataset=rows)
    with unit_of_work(engine) as session:
        found = JobLedger(session).list(sweep.project_id, JobFilter(sweep=sweep.id))
        none = JobLedger(session).list(sweep.project_id, JobFilter(sweep=new_id("swp")))
    assert sorted(job.id for job in found.items) == sorted(child.job.id for child in children(engine, sweep))
    assert none.items == ()


def test_a_series_rests_goes_on_and_ends_as_a_whole(engine: Engine) -> None:
    sweep = make_sweep(engine)
    running, done = make_claim(engine), make_claim(engine)
    settle(engine, done, Status.SUCCEEDED)

    def told(ask: object) -> tuple[list[str], list[str], Status]:
        with ledger(engine) as sweeps:
            ask(sweeps, sweep.project_id, sweep.id)  # type: ignore[operator]  # by name
            ask(sweeps, sweep.project_id, sweep.id)  # type: ignore[operator]  # again changes nothing
        found = children(engine, sweep)
        return [c.job.status for c in found], [c.job.intent for c in found], status_of(found)

    assert told(SweepLedger.pause) == (
        ["running", "succeeded", "paused", "paused"],
        ["pause", "run", "pause", "pause"],
        Status.RUNNING,
    )
    with unit_of_work(engine) as session:
        from neftune_store.settling import settle_paused  # noqa: PLC0415 - what the worker does now

        settle_paused(session, running)
    assert status_of(children(engine, sweep)) == Status.PAUSED
    assert told(SweepLedger.resume)[0] == ["queued", "succeeded", "queued", "queued"]
    assert told(SweepLedger.cancel)[0] == ["cancelled", "succeeded", "cancelled", "cancelled"]
    assert status_of(children(engine, sweep)) == Status.CANCELLED
    with pytest.raises(AlreadyFinished), ledger(engine) as sweeps:
        sweeps.resume(sweep.project_id, sweep.id)


def test_a_series_rests_although_one_of_its_jobs_is_being_cancelled(engine: Engine) -> None:
    sweep = make_sweep(engine)
    claim = make_claim(engine)
    with unit_of_work(engine) as session:
        JobLedger(session).cancel(sweep.project_id, claim.job_id)
    with ledger(engine) as sweeps:
        sweeps.pause(sweep.project_id, sweep.id)
    intents = Counter(child.job.intent for child in children(engine, sweep))
    assert intents == {Intent.CANCEL: 1, Intent.PAUSE: 3}


def test_a_retried_job_takes_its_place(engine: Engine) -> None:
    sweep = make_sweep(engine, seed=[1])
    claim = make_claim(engine)
    settle(engine, claim, Status.FAILED)
    with unit_of_work(engine) as session:
        again, _ = JobLedger(session).retry(sweep.project_id, claim.job_id)
        copy, _ = JobLedger(session).submit(
            sweep.project_id, spec(claim.dataset.id).job_at(0.0, 1), clone_of=claim.job_id
        )
    found = [child.job.id for child in children(engine, sweep)]
    assert again.id in found
    assert len(found) == 2
    assert claim.job_id not in found
    assert copy.sweep_id is None


def test_a_cancelled_series_whose_job_was_retried_can_be_cancelled_again(engine: Engine) -> None:
    sweep = make_sweep(engine, seed=[1])

    def cancelled() -> Counter[str]:
        with ledger(engine) as sweeps:
            sweeps.cancel(sweep.project_id, sweep.id)
        return Counter(child.job.status for child in children(engine, sweep))

    assert cancelled() == {Status.CANCELLED: 2}
    with unit_of_work(engine) as session:
        JobLedger(session).retry(sweep.project_id, children(engine, sweep)[0].job.id)
    assert status_of(children(engine, sweep)) == Status.RUNNING
    assert cancelled() == {Status.CANCELLED: 2}


def test_a_series_whose_jobs_are_all_deleted_is_still_what_it_was(engine: Engine) -> None:
    def shown(sweep: Sweep) -> Status:
        with ledger(engine) as sweeps:
            told = sweeps.get(sweep.project_id, sweep.id)
            (listed,) = (one for one in sweeps.list(sweep.project_id).items if one.id == sweep.id)
            assert listed == told
            return status_of(sweeps.children([told])[sweep.id], told.deleted)

    # Given one that was cancelled
    sweep = make_sweep(engine, seed=[1])
    with ledger(engine) as sweeps:
        sweeps.cancel(sweep.project_id, sweep.id)
    delete_all(engine, sweep)
    assert shown(sweep) == Status.CANCELLED
    with pytest.raises(AlreadyFinished, match="cancelled"), ledger(engine) as sweeps:
        sweeps.resume(sweep.project_id, sweep.id)
    # One whose job has failed, was retried and then succeeded, and one that has failed and was left at that
    for retried, status in ((True, Status.SUCCEEDED), (False, Status.FAILED)):
        sweep = make_sweep(engine, seed=[1])
        settle(engine, make_claim(engine), Status.FAILED)
        settle(engine, other := make_claim(engine), Status.SUCCEEDED)
        if retried:
            failed = next(one for one in children(engine, sweep) if one.job.id != other.job_id)
            with unit_of_work(engine) as session:
                JobLedger(session).retry(sweep.project_id, failed.job.id)
            settle(engine, make_claim(engine), Status.SUCCEEDED)
            with unit_of_work(engine) as session:
                JobLedger(session).delete(sweep.project_id, failed.job.id)
        delete_all(engine, sweep)
        assert children(engine, sweep) == []
        assert shown(sweep) == status


def test_which_series_a_job_is_of_never_changes(engine: Engine) -> None:
    sweep, other = make_sweep(engine), make_sweep(engine)
    moved = text("UPDATE jobs SET sweep_id = :other WHERE sweep_id = :sweep")
    with pytest.raises(Exception, match="what was asked never changes"), engine.begin() as connection:
        connection.execute(moved, {"sweep": sweep.id, "other": other.id})


# Halving

LOSSES = {0.0: 4.5, 5.0: 4.4, 10.0: 4.2, 15.0: 4.3, 20.0: 4.6}


def halved(engine: Engine) -> Sweep:
    return make_sweep(engine, alpha=[5.0, 10.0, 15.0, 20.0], seed=[1, 2], strategy="halving")


def by_alpha(found: list[Child]) -> dict[float, set[tuple[str, str | None]]]:
    return {
        alpha: {(c.job.status, c.job.cancel_reason) for c in found if c.alpha == alpha}
        for alpha in sorted({child.alpha for child in found})
    }


def test_halving_stops_the_worse_half_at_each_rung_and_never_the_control(engine: Engine) -> None:
    sweep = halved(engine)
    # Given all jobs at a quarter: the control went on to its end, the others wait
    run_to(engine, LOSSES, 5)
    waiting = children(engine, sweep)
    assert by_alpha(waiting)[0.0] == {("succeeded", None)}
    assert all(child.is_held for child in waiting if child.alpha)
    assert status_of(waiting) == Status.RUNNING
    # When the reconciler comes by
    look(engine)
    # Then two of four go on
    assert by_alpha(children(engine, sweep)) == {
        0.0: {("succeeded", None)},
        5.0: {("cancelled", "halving")},
        10.0: {("queued", None)},
        15.0: {("queued", None)},
        20.0: {("cancelled", "halving")},
    }
    # And at a half one of two, to its end
    run_to(engine, LOSSES, 10)
    look(engine)
    run_to(engine, LOSSES, 20)
    look(engine)
    found = children(engine, sweep)
    assert by_alpha(found)[10.0] == {("succeeded", None)}
    assert by_alpha(found)[15.0] == {("cancelled", "halving")}
    assert status_of(found) == Status.SUCCEEDED
    # What it took: 2 alphas a quarter, one a half, one a whole run (controls told one step here)
    noisy = [child.runs for child in found if child.alpha]
    assert sum(noisy) == pytest.approx(2 * (2 * 0.25 + 0.5 + 1))
    with ledger(engine) as sweeps:
        rungs = sweeps.get(sweep.project_id, sweep.id).rungs
    assert [(rung["at"], rung["kept"], rung["stopped"]) for rung in rungs] == [
        (0.25, [10.0, 15.0], [5.0, 20.0]),
        (0.5, [10.0], [15.0]),
    ]
    assert rungs[0]["losses"][0] == {"alpha": 5.0, "seed": 1, "eval_loss": pytest.approx(4.401)}
    # And without its jobs it has still succeeded
    delete_all(engine, sweep)
    with ledger(engine) as sweeps:
        assert status_of((), sweeps.get(sweep.project_id, sweep.id).deleted) == Status.SUCCEEDED


def test_nothing_is_decided_before_all_have_come(engine: Engine) -> None:
    sweep = halved(engine)
    claims = [make_claim(engine) for _ in range(10)]
    for claim in claims[:-1]:
        tell(engine, claim, 5, LOSSES[claim.spec["alpha"]])
        if claim.spec["alpha"]:
            settle(engine, claim, Status.PAUSED)
    look(engine)
    assert all(child.job.cancel_reason is None for child in children(engine, sweep))
    # But a job that failed keeps nobody waiting, and its alpha is judged by its other seeds
    settle(engine, claims[-1], Status.FAILED)
    look(engine)
    assert {c.alpha for c in children(engine, sweep) if c.job.cancel_reason} == {5.0, 20.0}


def test_a_job_is_held_where_its_held_out_rows_are_measured_and_not_before(engine: Engine) -> None:
    sweep = make_sweep(engine, alpha=[5.0, 10.0], seed=[1], strategy="halving")
    make_claim(engine)  # the control
    claim = make_claim(engine)

    def intent() -> Intent:
        return next(child.job.intent for child in children(engine, sweep) if child.alpha == 5)

    tell(engine, claim, 4, 4.0)
    assert intent() == Intent.RUN
    tell(engine, claim, 5)
    assert intent() == Intent.RUN
    tell(engine, claim, 6, 4.1)
    assert intent() == Intent.PAUSE
    with unit_of_work(engine) as session:
        events = events_after(session, sweep.project_id, claim.job_id)
    assert (events[-1].name, events[-1].data["reason"]) == ("job.pause_requested", "halving")


def test_a_job_at_its_end_has_nothing_left_to_hold(engine: Engine) -> None:
    sweep = make_sweep(engine, alpha=[5.0, 10.0], seed=[1], strategy="halving")
    make_claim(engine)  # the control
    claim = make_claim(engine)
    tell(engine, claim, STEPS, 4.1)
    held = next(child.job for child in children(engine, sweep) if child.job.id == claim.job_id)
    assert (held.intent, held.held_step) == (Intent.RUN, STEPS)


def test_a_job_that_was_cancelled_while_it_waited_is_not_weighed(engine: Engine) -> None:
    sweep = halved(engine)
    run_to(engine, LOSSES, 5)
    gone = next(child.job for child in children(engine, sweep) if (child.alpha, child.seed) == (10.0, 1))
    with unit_of_work(engine) as session:
        JobLedger(session).cancel(sweep.project_id, gone.id)
    look(engine)
    with ledger(engine) as sweeps:
        (rung,) = sweeps.get(sweep.project_id, sweep.id).rungs
    weighed = {(line["alpha"], line["seed"]) for line in rung["losses"]}
    assert weighed == {(alpha, seed) for alpha in (5.0, 10.0, 15.0, 20.0) for seed in (1, 2)} - {(10.0, 1)}


def test_one_alpha_alone_waits_for_nobody(engine: Engine) -> None:
    sweep = make_sweep(engine, seed=[1], strategy="halving")
    assert [child.job.hold_at for child in children(engine, sweep)] == [None, None]
    # And of several the last that is left goes to its end
    sweep = make_sweep(engine, alpha=[5.0, 10.0], seed=[1], strategy="halving")
    run_to(engine, LOSSES, 5)
    look(engine)
    assert {c.alpha: (c.job.status, c.job.hold_at) for c in children(engine, sweep)}[10.0] == ("queued", None)


def test_what_waits_for_others_does_not_go_on_with_the_series(engine: Engine) -> None:
    sweep = halved(engine)
    claims = [make_claim(engine) for _ in range(2)]
    tell(engine, claims[1], 5, 4.4)
    settle(engine, claims[1], Status.PAUSED)
    for ask in (SweepLedger.pause, SweepLedger.resume):
        with ledger(engine) as sweeps:
            ask(sweeps, sweep.project_id, sweep.id)
    held = next(child for child in children(engine, sweep) if child.job.id == claims[1].job_id)
    assert held.is_held


def test_a_series_that_rests_is_not_decided_upon(engine: Engine) -> None:
    sweep = halved(engine)
    run_to(engine, LOSSES, 5)
    with ledger(engine) as sweeps:
        sweeps.pause(sweep.project_id, sweep.id)
    look(engine)
    assert all(child.job.cancel_reason is None for child in children(engine, sweep))
    with ledger(engine) as sweeps:
        sweeps.resume(sweep.project_id, sweep.id)
    look(engine)
    assert any(child.job.cancel_reason for child in children(engine, sweep))


def test_the_same_rung_is_decided_once(engine: Engine) -> None:
    sweep = halved(engine)
    run_to(engine, LOSSES, 5)
    threads = [threading.Thread(target=look, args=(engine,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    look(engine)
    with ledger(engine) as sweeps:
        assert len(sweeps.get(sweep.project_id, sweep.id).rungs) == 1

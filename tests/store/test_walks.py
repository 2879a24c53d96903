"""Random walks through everything a user and the processes may do at once: no step leaves the table of moves.

Seeded; a failure names its seed and its step, and the same seed walks the same way again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine, text

from neftune_store.claims import Claim, claim_next
from neftune_store.db import unit_of_work
from neftune_store.errors import StoreError
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import INTENT_MOVES, MOVES, TERMINAL, Intent, Status
from neftune_store.reconcile import reconcile_once
from neftune_store.runs import write_metrics
from neftune_store.settling import (
    give_back,
    settle_cancelled,
    settle_failed,
    settle_paused,
    settle_succeeded,
)
from tests import invariants
from tests.factories import end_rest, expire_lease, make_artifact, make_dataset, make_job, make_project

STEPS = 300
SEEDS = range(2)
LONG_SEEDS = range(100, 200)

_RUNNING = Status.RUNNING
_WANTED = {
    Status.SUCCEEDED: Intent.RUN,
    Status.QUEUED: Intent.RUN,
    Status.PAUSED: Intent.PAUSE,
    Status.CANCELLED: Intent.CANCEL,
}

Row = tuple[Status, Intent, int]


@dataclass
class Walk:
    """Some jobs, the claims anybody ever had on them, and what stood in the table after the last step."""

    engine: Engine
    rng: random.Random
    claims: list[Claim] = field(default_factory=list)  # stale ones too: a zombie speaks at any time
    seen: dict[str, Row] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)  # answered cancels

    def __post_init__(self) -> None:
        project = make_project(self.engine).id
        self.dataset = make_dataset(self.engine, project)
        self.jobs = [make_job(self.engine, dataset=self.dataset) for _ in range(5)]
        self.seen = self.table()

    def table(self) -> dict[str, Row]:
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, status, intent, fence FROM jobs"))
            return {row.id: (Status(row.status), Intent(row.intent), row.fence) for row in rows}

    # What a user asks

    def ask(self, verb: str) -> None:
        live = [job for job in self.jobs if self.seen[job.id][0] not in TERMINAL]
        job = self.rng.choice(live if live and self.rng.random() < 0.8 else self.jobs)
        with unit_of_work(self.engine) as session:
            getattr(JobLedger(session), verb)(job.project_id, job.id)
        if verb == "cancel":
            self.cancelled.add(job.id)

    def submit(self) -> None:
        if sum(status not in TERMINAL for status, _, _ in self.seen.values()) < 5:
            self.jobs.append(make_job(self.engine, dataset=self.dataset))

    # What processes do

    def claim(self) -> None:
        with unit_of_work(self.engine) as session:
            claim = claim_next(session, f"worker-{self.rng.randrange(3)}", 60)
        if claim is not None:
            assert claim.job_id not in self.cancelled
            self.claims.append(claim)

    def holder(self) -> Claim:
        """Choose who speaks: mostly one that has its job still, now and then one that has lost it."""
        living = [claim for claim in self.claims if self.seen[claim.job_id][::2] == (_RUNNING, claim.fence)]
        return self.rng.choice(living if living and self.rng.random() < 0.8 else self.claims[-6:])

    def settle(self) -> None:
        if not self.claims:
            return
        claim = self.holder()
        ways: list[Callable[..., object]] = [
            lambda session: settle_succeeded(session, claim, {"seed": 1}, [make_artifact()]),
            lambda session: settle_failed(session, claim, "nan_loss", "x"),
            lambda session: settle_cancelled(session, claim),
            lambda session: settle_paused(session, claim),
            *(
                lambda session, reason=reason: give_back(session, claim, reason, "x", "x")
                for reason in ("drained", "crashed", "infra", "once")
            ),
        ]
        with unit_of_work(self.engine) as session:
            self.rng.choices(ways, weights=(6, 1, 2, 2, 1, 1, 1, 1))[0](session)

    def report(self) -> None:
        if self.claims:
            claim = self.holder()
            with unit_of_work(self.engine) as session:
                asked = text("SELECT coalesce(max(step) + 1, 0) FROM metrics WHERE job_id = :job")
                step = session.scalar(asked, {"job": claim.job_id})
                write_metrics(session, claim, [(step, {"train_loss": 1.0})])

    def lose(self) -> None:
        running = [job_id for job_id, (status, _, _) in self.seen.items() if status is Status.RUNNING]
        if running:
            expire_lease(self.engine, self.rng.choice(running))

    def reconcile(self) -> None:
        with unit_of_work(self.engine) as session:
            reconcile_once(session)

    def rest(self) -> None:
        for job_id, (status, _, _) in self.seen.items():
            if status is Status.QUEUED:
                end_rest(self.engine, job_id)

    # One step, held against the table of moves

    def step(self) -> None:
        verbs = ("pause", "resume", "cancel")
        moves = [
            *(lambda verb=verb: self.ask(verb) for verb in self.rng.choices(verbs, weights=(3, 3, 1), k=3)),
            *(self.claim, self.claim, self.settle, self.settle, self.report, self.submit, self.submit),
            *(self.lose, self.reconcile, self.rest),
        ]
        before = self.seen
        try:
            self.rng.choice(moves)()
        except StoreError:  # refused: then nothing may have changed
            assert self.table() == before
        self.seen = self.table()
        for job_id, (status, intent, fence) in self.seen.items():
            if job_id in before:
                self.hold(before[job_id], (status, intent, fence))
            if job_id in self.cancelled:
                assert intent is Intent.CANCEL
                assert status is not Status.SUCCEEDED

    def hold(self, old: Row, new: Row) -> None:
        assert new[0] == old[0] or new[0] in MOVES[old[0]], (old, new)
        assert new[1] == old[1] or new[1] in INTENT_MOVES[old[1]], (old, new)
        claimed = old[0] is Status.QUEUED and new[0] is Status.RUNNING
        assert new[2] == old[2] + claimed, (old, new)
        if old[0] in TERMINAL:
            assert new == old
        elif new[0] in _WANTED:
            assert new[1] is _WANTED[new[0]], (old, new)


def walk(engine: Engine, seed: int) -> set[Status]:
    """Walk, then hold the whole history against the promises."""
    walker = Walk(engine, random.Random(seed))
    for number in range(STEPS):
        try:
            walker.step()
        except AssertionError as wrong:
            raise AssertionError(f"seed {seed}, step {number}") from wrong
    invariants.check(engine)
    return {status for status, _, _ in walker.seen.values()}


@pytest.mark.fault("F35")
def test_a_storm_of_wishes_never_leaves_the_table_of_moves(engine: Engine) -> None:
    ends = set().union(*(walk(engine, seed) for seed in SEEDS))
    assert ends >= TERMINAL  # it has come everywhere


@pytest.mark.long
@pytest.mark.fault("F35")
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_many_storms(engine: Engine, seed: int) -> None:
    walk(engine, seed)

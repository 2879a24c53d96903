"""The ledger of checkpoints: which are kept, where the next run goes on, and what is drawn again for it."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, text

from neftune_store.checkpoints import CheckpointFile
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.runs import commit_checkpoint, pass_over_checkpoint, write_metrics
from neftune_store.settling import Reason, give_back
from tests.factories import end_rest, make_claim, make_job


@pytest.fixture
def claim(engine: Engine) -> Claim:
    """A run of a job that was never saved."""
    make_job(engine)
    return make_claim(engine)


def save(engine: Engine, claim: Claim, step: int, keep: int = 2) -> str:
    """Tell all steps up to this one and save; the file's name says by which run."""
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(n, {"train_loss": 1.0}) for n in range(1, step + 1)])
        files = [CheckpointFile(f"of-run-{claim.fence}", "0" * 64, 1, f"key-{claim.fence}-{step}")]
        return commit_checkpoint(session, claim, step, files, keep)


def next_run(engine: Engine, claim: Claim, reason: Reason = "drained") -> Claim:
    """Lose this run and claim the job again, rested or not."""
    with unit_of_work(engine) as session:
        give_back(session, claim, reason, "worker_crashed")
    end_rest(engine, claim.job_id)
    return make_claim(engine)


def job_of(engine: Engine, claim: Claim) -> Job:
    with unit_of_work(engine) as session:
        return JobLedger(session).get(claim.project_id, claim.job_id)


def steps(engine: Engine) -> Sequence[int]:
    """List the steps of the curve."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT step FROM metrics ORDER BY step")).scalars().all()


def dropped(engine: Engine) -> list[tuple[int, int, str]]:
    """List what is no longer kept: step, run and why."""
    told = text("SELECT step, fence, dropped_why FROM checkpoints WHERE dropped_at IS NOT NULL ORDER BY 1, 2")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(told)]


def told(engine: Engine, name: str) -> list[dict[str, int]]:
    with engine.connect() as connection:
        found = text("SELECT data FROM events WHERE name = :name ORDER BY seq")
        return list(connection.execute(found, {"name": name}).scalars())


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_furthest_are_kept(engine: Engine, claim: Claim, keep: int) -> None:
    for step in (2, 4, 6, 8):
        save(engine, claim, step, keep)
    assert [place.step for place in next_run(engine, claim).checkpoints] == [8, 6, 4][:keep]
    assert dropped(engine) == [(step, 1, "old") for step in (2, 4, 6, 8)[:-keep]]


def test_a_step_saved_again_by_a_later_run_stands_once(engine: Engine, claim: Claim) -> None:
    # Given two places, and a next run that was stopped before its first step and saved where it began
    save(engine, claim, 2)
    save(engine, claim, 4)
    later = next_run(engine, claim)
    save(engine, later, 4)
    # Then of that step the later run's is kept, and the other step is no less safe for it
    again = next_run(engine, later)
    assert [(place.step, place.files[0].name) for place in again.checkpoints] == [
        (4, "of-run-2"),
        (2, "of-run-1"),
    ]
    assert dropped(engine) == [(4, 1, "old")]


def test_a_commit_that_is_sent_twice_counts_once(engine: Engine, claim: Claim) -> None:
    assert save(engine, claim, 4) == save(engine, claim, 4)
    assert len(told(engine, "checkpoint.committed")) == 1


@pytest.mark.parametrize(("step", "crashes"), [(4, 2), (5, 1)])
def test_only_new_ground_ends_a_row_of_crashes(engine: Engine, claim: Claim, step: int, crashes: int) -> None:
    save(engine, claim, 4)
    second = next_run(engine, claim, "crashed")
    save(engine, second, step)
    third = next_run(engine, second, "crashed")
    assert third.crashes == crashes


def test_new_ground_ends_a_row_of_outages(engine: Engine, claim: Claim) -> None:
    second = next_run(engine, next_run(engine, claim, "infra"), "infra")
    assert second.infra_errors == 2
    save(engine, second, 4)
    assert job_of(engine, second).infra_errors == 0


def test_the_next_run_draws_what_came_after_the_furthest_place_again(engine: Engine, claim: Claim) -> None:
    save(engine, claim, 4)
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(5, {"train_loss": 1.0}), (6, {"train_loss": 1.0})])
    again = next_run(engine, claim)
    assert steps(engine) == [1, 2, 3, 4]
    assert job_of(engine, again).live_step == 4
    assert told(engine, "rewound") == [{"step": 4, "attempt": 2}]


def test_a_job_tells_no_number_that_is_drawn_again(engine: Engine, claim: Claim) -> None:
    # Given a loss at a step that a later run will take again, and one measured before training
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(0, {"eval_loss": 3.0})])
    save(engine, claim, 4)
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(5, {"train_loss": 0.5, "eval_loss": 0.5})])
    again = next_run(engine, claim)
    # Then the job's last numbers are those of its curve, at this place and the one before
    told = {"train_loss": 1.0, "eval_loss": 3.0, "base_eval_loss": 3.0}
    assert job_of(engine, again).metrics_summary == told
    with unit_of_work(engine) as session:
        pass_over_checkpoint(session, again, again.checkpoints[0])
    assert steps(engine) == [0]
    told.pop("train_loss")
    assert job_of(engine, again).metrics_summary == told


def test_what_turns_out_damaged_is_passed_over_for_the_one_before(engine: Engine, claim: Claim) -> None:
    # Given two places and a later run, which finds the furthest damaged
    first = save(engine, claim, 2)
    save(engine, claim, 4)
    again = next_run(engine, claim)
    with unit_of_work(engine) as session:
        pass_over_checkpoint(session, again, again.checkpoints[0])
    # Then the curve ends where it goes on, and so would one more run
    assert steps(engine) == [1, 2]
    job = job_of(engine, again)
    assert (job.live_step, job.committed_step) == (2, 4)
    assert told(engine, "rewound") == [{"step": 2, "attempt": 2}]
    assert dropped(engine) == [(4, 1, "corrupt")]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT ckpt_id FROM jobs")).scalar_one() == first
    # and a run that is lost before it saves begins there too, though the job was further once
    third = next_run(engine, again)
    assert [place.step for place in third.checkpoints] == [2]
    assert job_of(engine, third).live_step == 2


def test_a_place_behind_one_that_was_damaged_is_kept_like_any_other(engine: Engine, claim: Claim) -> None:
    save(engine, claim, 2)
    save(engine, claim, 9)
    again = next_run(engine, claim)
    with unit_of_work(engine) as session:
        pass_over_checkpoint(session, again, again.checkpoints[0])
    save(engine, again, 5)
    assert [place.step for place in next_run(engine, again).checkpoints] == [5, 2]
    assert job_of(engine, again).committed_step == 9

"""Halving a series: its jobs wait for each other where the worse half of the alphas is stopped.

A job that has measured its held-out rows at a rung, or soon after, is held: paused, with its loss kept. When
all have come there, or have ended, the reconciler decides; losers are cancelled with the reason ``halving``,
the others go on from their checkpoints. The control is neither held nor stopped. What was decided stands in
the series' row; so a reconciler that dies in the middle decides the same again, or finds it done.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from neftune_core.halving import RUNGS, kept
from neftune_store.journal import FRESH, Fact, change
from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.models import JobRow, SweepRow
from neftune_store.sweep import HALVING

_BATCH = 20


def hold_if_due(
    session: Session, row: JobRow, steps: Mapping[int, Mapping[str, float | None]], total: object
) -> None:
    """Hold a running job of which these steps were told, if it has come to its rung with a held-out loss."""
    if row.hold_at is None or row.held_step is not None or not isinstance(total, int):
        return
    for step, values in sorted(steps.items()):
        loss = values.get("eval_loss")
        if step >= row.hold_at * total and loss is not None:
            held: dict[str, Any] = {"held_step": step, "held_loss": loss}
            facts: list[Fact] = []
            if row.intent == Intent.RUN and step < total:  # at its end there is nothing left to hold
                held["intent"] = Intent.PAUSE
                facts = [Fact("job.pause_requested", {"attempt": row.attempt, "reason": HALVING})]
            change(session, row.id, (), held, facts)
            return


def advance_all(session: Session) -> int:
    """Decide every rung that all jobs of its series have come to; tell how many were decided."""
    waiting = (
        select(JobRow.sweep_id)
        .where(JobRow.held_step.is_not(None), JobRow.status == Status.PAUSED, JobRow.sweep_id.is_not(None))
        .distinct()
    )
    due = (
        select(SweepRow)
        .where(SweepRow.id.in_(waiting), SweepRow.intent == Intent.RUN)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    sweeps = session.scalars(due, execution_options=FRESH).all()
    return sum(advance(session, sweep) for sweep in sweeps)


def advance(session: Session, sweep: SweepRow) -> bool:
    """Decide the next rung of a series whose row is locked, if all have come there."""
    if len(sweep.rungs) >= len(RUNGS):
        return False
    found = (
        select(JobRow)
        .where(JobRow.sweep_id == sweep.id, JobRow.deleted_at.is_(None), JobRow.alpha > 0)
        .order_by(JobRow.created_at, JobRow.id)
        .with_for_update(key_share=True)
    )
    rows = session.scalars(found, execution_options=FRESH).all()
    latest = list({(row.alpha, _seed(row)): row for row in rows}.values())
    running = [row for row in latest if row.cancel_reason != HALVING]
    if not all(row.status in TERMINAL or _rests_held(row) for row in running):
        return False
    losses: dict[float, dict[int, float]] = {row.alpha: {} for row in running}
    for row in running:
        if row.held_loss is not None and row.status not in {Status.FAILED, Status.CANCELLED}:
            losses[row.alpha][_seed(row)] = row.held_loss
    survivors = kept(losses)
    _write_down(session, sweep, losses, survivors)
    more = len(survivors) > 1 and len(sweep.rungs) + 1 < len(RUNGS)
    following = RUNGS[len(sweep.rungs) + 1] if more else None
    for row in running:
        if _rests_held(row):
            _go_on(session, row, following) if row.alpha in survivors else _stop(session, row)
    return True


def _rests_held(row: JobRow) -> bool:
    return row.status == Status.PAUSED and row.held_step is not None


def _go_on(session: Session, row: JobRow, hold_at: float | None) -> None:
    values = {"hold_at": hold_at, "held_step": None, "held_loss": None}
    moved = {"status": Status.QUEUED, "intent": Intent.RUN, **values}
    change(session, row.id, (), moved, [Fact("job.resumed", {"attempt": row.attempt, "reason": HALVING})])


def _stop(session: Session, row: JobRow) -> None:
    moved = {
        "status": Status.CANCELLED,
        "intent": Intent.CANCEL,
        "cancel_reason": HALVING,
        "run_after": None,
        "finished_at": func.clock_timestamp(),
    }
    change(session, row.id, (), moved, [Fact("job.cancelled", {"attempt": row.attempt, "reason": HALVING})])


def _write_down(
    session: Session, sweep: SweepRow, losses: Mapping[float, Mapping[int, float]], survivors: Sequence[float]
) -> None:
    rung = {
        "at": RUNGS[len(sweep.rungs)],
        "losses": [
            {"alpha": alpha, "seed": seed, "eval_loss": loss}
            for alpha, of in sorted(losses.items())
            for seed, loss in sorted(of.items())
        ],
        "kept": list(survivors),
        "stopped": sorted(set(losses) - set(survivors)),
    }
    written = update(SweepRow).where(SweepRow.id == sweep.id).values(rungs=[*sweep.rungs, rung])
    session.execute(written, execution_options={"synchronize_session": False})


def _seed(row: JobRow) -> int:
    return int(row.spec["training"]["seed"])

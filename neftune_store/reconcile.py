"""The reconciler's look at the table: jobs whose run is gone go back, or end.

One look at a time (an advisory lock for the transaction); a second reconciler finds nothing to do.
Rings nothing: it tells how many jobs wait, and its caller rings.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from neftune_store.halving import advance_all
from neftune_store.journal import FRESH, Fact, change
from neftune_store.lifecycle import CRASH_LIMIT, Status
from neftune_store.models import JobRow
from neftune_store.settling import Loss, RunEnd, settle_lost

_LOCK = 0x4E46_5401  # any fixed number: this look at the table
_BATCH = 100
_COUNTED = 1000  # more waiting jobs than this need no more bells


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What a look at the table has found and done."""

    looked: bool = False  # False: another reconciler was at it
    requeued: int = 0
    failed: int = 0
    cancelled: int = 0
    paused: int = 0
    runnable: int = 0  # queued jobs that a worker could claim now (counted up to a thousand)

    @property
    def lost(self) -> int:
        """Tell how many runs were found lost."""
        return self.requeued + self.failed + self.cancelled + self.paused


def reconcile_once(session: Session) -> ReconcileReport:
    """Settle every job whose lease ran out; count what waits."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return ReconcileReport(runnable=_runnable(session))
    lost = (
        select(JobRow)
        .where(JobRow.status == Status.RUNNING, JobRow.lease_expires_at <= func.clock_timestamp())
        .order_by(JobRow.lease_expires_at)
        .limit(_BATCH)
        .with_for_update(key_share=True, skip_locked=True)
    )
    became: Counter[Status] = Counter()
    for row in session.scalars(lost, execution_options=FRESH).all():
        loss = Loss("crashed", "worker_lost", "The worker stopped answering; its lease ran out.")
        became[settle_lost(session, row, loss, RunEnd())] += 1
    became[Status.FAILED] += _end_hopeless(session)
    advance_all(session)  # before those are counted who may go on now
    return ReconcileReport(
        looked=True,
        requeued=became[Status.QUEUED],
        failed=became[Status.FAILED],
        cancelled=became[Status.CANCELLED],
        paused=became[Status.PAUSED],
        runnable=_runnable(session),
    )


def _end_hopeless(session: Session) -> int:
    """End queued jobs that have crashed too often: none should exist, and none may start again."""
    found = (
        select(JobRow.id)
        .where(JobRow.status == Status.QUEUED, JobRow.crashes >= CRASH_LIMIT)
        .limit(_BATCH)
        .with_for_update(key_share=True, skip_locked=True)
    )
    ended = session.scalars(found).all()
    for job_id in ended:
        error = {
            "error_code": "worker_crashed",
            "error_message": "The process vanished too often.",
            "error_retryable": True,
        }
        values = {"status": Status.FAILED, "run_after": None, "finished_at": func.clock_timestamp(), **error}
        change(session, job_id, (), values, [Fact("job.failed", {"error": {"code": "worker_crashed"}})])
    return len(ended)


def _runnable(session: Session) -> int:
    waiting = (
        select(JobRow.id)
        .where(
            JobRow.status == Status.QUEUED,
            or_(JobRow.run_after.is_(None), JobRow.run_after <= func.clock_timestamp()),
        )
        .limit(_COUNTED)
    )
    return session.scalar(select(func.count()).select_from(waiting.subquery())) or 0

"""What a retry takes over: the places its forerunner was saved at, and the curve up to the furthest.

Rows are copied, objects are not: both jobs name the same bytes, which stay as long as either does. Every
copied row has the fence 0, so the first run of the new job comes after all of them.
"""

from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from neftune_store.checkpoints import summary_to
from neftune_store.ids import new_id
from neftune_store.models import CheckpointRow, JobRow, MetricRow
from neftune_store.spans import copy

_METRICS = text(
    """
    INSERT INTO metrics (job_id, step, seq, numbers, fence, created_at)
    SELECT :new, step, row_number() OVER (ORDER BY step), numbers, 0, created_at
    FROM metrics WHERE job_id = :old AND step <= :step
    """
)


class Inheritance:
    """What an ended job leaves to the one that repeats it; nothing, where it was never saved."""

    def __init__(self, session: Session, old: JobRow) -> None:
        self._session = session
        self._old = old
        self._places = _places(session, old.id)
        self.step = self._places[0].step if self._places else 0

    def columns(self) -> dict[str, Any]:
        """Give how far the new job is when it begins; its last number leaves room for the curve."""
        if not self._places:
            return {}
        count = select(func.count()).where(MetricRow.job_id == self._old.id, MetricRow.step <= self.step)
        return {
            "committed_step": self.step,
            "live_step": self.step,
            "spans_until": self._spans_until(),
            "metrics_summary": summary_to(self._session, self._old, self.step),
            "last_seq": 2 + (self._session.scalar(count) or 0),
        }

    def hand_over(self, job_id: str) -> None:
        """Give the new job, which stands in the table now, its rows."""
        if not self._places:
            return
        self._session.execute(_METRICS, {"new": job_id, "old": self._old.id, "step": self.step})
        copy(self._session, self._old.id, job_id, self._spans_until())
        copies = [
            {"id": new_id("ckpt"), "job_id": job_id, "fence": 0, "step": row.step, "manifest": row.manifest}
            for row in self._places
        ]
        self._session.execute(insert(CheckpointRow), copies)
        newest = update(JobRow).where(JobRow.id == job_id).values(ckpt_id=copies[0]["id"])
        self._session.execute(newest, execution_options={"synchronize_session": False})

    def _spans_until(self) -> int:
        return min(self._old.spans_until, self.step + 1)


def _places(session: Session, job_id: str) -> list[CheckpointRow]:
    """Give the rows that may be gone on from, the furthest first, one a step.

    They are held until commit: a collection that lets them go waits until the copies name their objects.
    """
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id, CheckpointRow.dropped_at.is_(None))
        .order_by(CheckpointRow.step, CheckpointRow.fence)
        .with_for_update(read=True)
    )
    newest = {row.step: row for row in rows}  # of one step, the last run's
    return [newest[step] for step in sorted(newest, reverse=True)]

"""The ledger of series: all jobs of one are written down at once, and told as a whole what to do.

Jobs of a series are ordinary jobs; each can be looked at, retried and downloaded by itself, and a retried one
takes its place. Lock order: the series' row, then its jobs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import exists, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from neftune_core.halving import RUNGS
from neftune_core.sweep_spec import SweepSpec
from neftune_store.artifacts import Artifact, artifact_of
from neftune_store.errors import AlreadyFinished, IdempotencyConflict, InvalidMove, SweepNotFound
from neftune_store.ids import is_id, new_id
from neftune_store.job import Job, job_of
from neftune_store.jobs import JobLedger
from neftune_store.journal import FRESH
from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.models import ArtifactRecord, JobRow, ResultRow, RunRow, SweepRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.submit import Origin, sha256_of, submit
from neftune_store.sweep import HALVING, Child, Sweep, status_of

Move = Callable[[JobLedger, str, str], Job]


class SweepLedger:
    """Every question and every change about series."""

    def __init__(self, session: Session, *, queue_limit: int = 100) -> None:
        self._session = session
        self._queue_limit = queue_limit

    def submit(
        self, project_id: str, spec: SweepSpec, *, idempotency_key: str | None = None
    ) -> tuple[Sweep, bool]:
        """Write a series down with all its jobs; with a key that was used before, give what it made."""
        body = spec.model_dump(mode="json")
        digest = sha256_of(body)
        values = {
            "id": new_id("swp"),
            "project_id": project_id,
            "spec": body,
            "idempotency_key": idempotency_key,
            "body_sha256": digest,
        }
        written = insert(SweepRow).values(**values).on_conflict_do_nothing().returning(SweepRow)
        row = self._session.scalars(written, execution_options=FRESH).one_or_none()
        if row is None:
            return self._made_by(project_id, idempotency_key, digest), False
        several = sum(alpha > 0 for alpha in spec.alpha) > 1  # of one there is no worse half
        for alpha, seed in spec.points():
            halves = spec.strategy == HALVING and several and alpha > 0
            submit(
                self._session,
                project_id,
                spec.job_at(alpha, seed),
                idempotency_key=None,
                origin=Origin(sweep_id=row.id, hold_at=RUNGS[0] if halves else None),
                queue_limit=self._queue_limit,
            )
        return _sweep_of(row), True

    def get(self, project_id: str, sweep_id: str) -> Sweep:
        """Give one series of the project."""
        return self._told([self._row(project_id, sweep_id)])[0]

    def list(
        self,
        project_id: str,
        cursor: str | None = None,
        limit: int = 50,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> Page[Sweep]:
        """Give a page, newest first; with ``metadata`` of those whose job has it, with an empty one none."""
        found = select(SweepRow).where(SweepRow.project_id == project_id)
        if metadata is not None:
            held = SweepRow.spec["job"]["metadata"]
            found = found.where(held.contains(dict(metadata)) if metadata else held == {})
        if cursor is not None:
            after = decode_cursor(cursor, "swp")
            found = found.where(tuple_(SweepRow.created_at, SweepRow.id) < tuple_(after.created_at, after.id))
        found = found.order_by(SweepRow.created_at.desc(), SweepRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        places = [Place(row.created_at, row.id) for row in rows]
        return page_of(self._told(rows), places, limit)

    def children(self, sweeps: Sequence[Sweep]) -> dict[str, Sequence[Child]]:
        """Give the latest job of each point of these series, in the order in which they were asked for."""
        length = func.extract(
            "epoch", func.coalesce(RunRow.ended_at, func.clock_timestamp()) - RunRow.started_at
        )
        seconds = (
            select(func.coalesce(func.sum(length), literal(0.0)))
            .where(RunRow.job_id == JobRow.id)
            .correlate(JobRow)
            .scalar_subquery()
        )
        found = (
            select(JobRow, seconds, ResultRow.record["final"])
            .outerjoin(ResultRow, ResultRow.job_id == JobRow.id)
            .where(JobRow.sweep_id.in_([sweep.id for sweep in sweeps]), JobRow.deleted_at.is_(None))
            .order_by(JobRow.created_at, JobRow.id)
        )
        latest: dict[str, dict[tuple[float, int], Child]] = {sweep.id: {} for sweep in sweeps}
        for row, took, final in self._session.execute(found, execution_options=FRESH):
            child = Child(job_of(row), float(took), final)
            latest[row.sweep_id or ""][child.alpha, child.seed] = child
        return {sweep_id: tuple(of.values()) for sweep_id, of in latest.items()}

    def cancel(self, project_id: str, sweep_id: str) -> Sweep:
        """Want all of it to end; what has ended stays as it is."""
        return self._tell(project_id, sweep_id, Intent.CANCEL, JobLedger.cancel)

    def pause(self, project_id: str, sweep_id: str) -> Sweep:
        """Want all of it to rest."""
        return self._tell(project_id, sweep_id, Intent.PAUSE, JobLedger.pause)

    def resume(self, project_id: str, sweep_id: str) -> Sweep:
        """Want all of it to go on; jobs that wait for others of a halving series wait on."""
        return self._tell(project_id, sweep_id, Intent.RUN, JobLedger.resume)

    def _tell(self, project_id: str, sweep_id: str, intent: Intent, move: Move) -> Sweep:
        row = self._row(project_id, sweep_id, lock=True)
        (sweep,) = self._told([row])
        children = self.children([sweep])[row.id]
        if all(child.job.status in TERMINAL for child in children):
            if row.intent == intent:
                return sweep
            raise AlreadyFinished(status_of(children, sweep.deleted))
        if row.intent == Intent.CANCEL != intent:  # a job that was retried since can be cancelled too
            raise InvalidMove("The series is being cancelled; that cannot be taken back.")
        ledger = JobLedger(self._session)
        for child in children:
            waits = intent == Intent.RUN and child.job.held_step is not None
            if child.job.status not in TERMINAL and child.job.intent != Intent.CANCEL and not waits:
                move(ledger, project_id, child.job.id)
        told = update(SweepRow).where(SweepRow.id == row.id).values(intent=intent).returning(SweepRow)
        return _sweep_of(self._session.scalars(told, execution_options=FRESH).one())

    def _made_by(self, project_id: str, key: str | None, body_sha256: str) -> Sweep:
        found = select(SweepRow).where(SweepRow.project_id == project_id, SweepRow.idempotency_key == key)
        row = self._session.scalars(found).one()
        if row.body_sha256 != body_sha256:
            raise IdempotencyConflict
        return self._told([row])[0]

    def _told(self, rows: Sequence[SweepRow]) -> Sequence[Sweep]:
        """Give series as values; of those whose jobs are all deleted, how the latest of each point ended."""
        left = aliased(JobRow)
        found = (
            select(JobRow)
            .where(
                JobRow.sweep_id.in_([row.id for row in rows]),
                ~exists().where(left.sweep_id == JobRow.sweep_id, left.deleted_at.is_(None)),
            )
            .order_by(JobRow.created_at, JobRow.id)
        )
        latest: dict[str, dict[tuple[float, int], JobRow]] = {row.id: {} for row in rows}
        for job in self._session.scalars(found, execution_options=FRESH):
            latest[job.sweep_id or ""][job.alpha, int(job.spec["training"]["seed"])] = job
        return [
            replace(
                _sweep_of(row),
                deleted=tuple(
                    Status(job.status) for job in latest[row.id].values() if job.cancel_reason != HALVING
                ),
            )
            for row in rows
        ]

    def _row(self, project_id: str, sweep_id: str, *, lock: bool = False) -> SweepRow:
        if not is_id("swp", sweep_id):
            raise SweepNotFound
        found = select(SweepRow).where(SweepRow.project_id == project_id, SweepRow.id == sweep_id)
        if lock:
            found = found.with_for_update(key_share=True)
        row = self._session.scalars(found, execution_options=FRESH).one_or_none()
        if row is None:
            raise SweepNotFound
        return row


def artifacts_named(session: Session, name: str, job_ids: Sequence[str]) -> dict[str, Artifact]:
    """Give the artifact of this name of each of these jobs that has one."""
    found = select(ArtifactRecord).where(ArtifactRecord.job_id.in_(job_ids), ArtifactRecord.name == name)
    return {row.job_id: artifact_of(row) for row in session.scalars(found)}


def _sweep_of(row: SweepRow) -> Sweep:
    spec: dict[str, Any] = row.spec
    return Sweep(row.id, row.project_id, spec, row.rungs, Intent(row.intent), row.created_at)

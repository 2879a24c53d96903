"""The job ledger: every question about jobs, and every change a user may ask for.

Knows SQL and the table of moves. Knows nothing of HTTP, queues or training. What a supervisor does to a
job stands in :mod:`neftune_store.claims` and :mod:`neftune_store.settling`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.spec import JobSpec
from neftune_store import evaluations, exports
from neftune_store.errors import AlreadyFinished, InvalidMove, JobInUse, JobNotFound
from neftune_store.ids import is_id
from neftune_store.inputs import Input, is_worked_on
from neftune_store.job import Job, job_of
from neftune_store.journal import FRESH, Fact, change
from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.models import JOB_METADATA, JOB_TAGS, JobRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.quotas import running_limit_reached
from neftune_store.submit import Origin, submit
from neftune_store.turns import place_of, sides_of

__all__ = ["Job", "JobFilter", "JobLedger"]

# Built once, for nearly every request asks them: putting a statement together costs as much as asking it.
_PROJECT: BindParameter[str] = bindparam("project_id")
_ID: BindParameter[str] = bindparam("id")
_ROW = select(JobRow).where(JobRow.project_id == _PROJECT, JobRow.id == _ID, JobRow.deleted_at.is_(None))
_PRIORITY: BindParameter[int] = bindparam("priority")
_CREATED_AT: BindParameter[datetime] = bindparam("created_at")
_BEFORE = select(func.count()).where(
    JobRow.project_id == _PROJECT,
    JobRow.status == Status.QUEUED,
    or_(
        JobRow.priority > _PRIORITY,
        (JobRow.priority == _PRIORITY) & (tuple_(JobRow.created_at, JobRow.id) < tuple_(_CREATED_AT, _ID)),
    ),
)
# Whether others wait is told by the two ends of an index; to count them, all that wait would have to be read.
_OTHERS = select(JobRow.id).where(JobRow.status == Status.QUEUED)
_ALONE = not_(
    or_(
        exists(_OTHERS.where(JobRow.project_id < _PROJECT)),
        exists(_OTHERS.where(JobRow.project_id > _PROJECT)),
    )
)
_WAITING = select(_BEFORE.scalar_subquery(), _ALONE, running_limit_reached(_PROJECT))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; what is ``None`` filters nothing."""

    kind: str | None = None
    of_job: str | None = None
    status: Status | None = None
    ended: bool | None = None
    model: str | None = None
    alpha_min: float | None = None
    alpha_max: float | None = None
    tag: str | None = None
    sweep: str | None = None
    metadata: Mapping[str, str] | None = None  # all of these; an empty one: jobs that have none
    parent: str | None = None  # the series that ``metadata`` names as parent: its jobs are told to have it


class JobLedger:
    """Every question and every change about jobs."""

    def __init__(self, session: Session, *, queue_limit: int = 100) -> None:
        self._session = session
        self._queue_limit = queue_limit

    def submit(
        self,
        project_id: str,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        retry_of: str | None = None,
        clone_of: str | None = None,
    ) -> tuple[Job, bool]:
        """Write a job down as queued; with a key that was used before, give the job it made."""
        return submit(
            self._session,
            project_id,
            spec,
            idempotency_key=idempotency_key,
            origin=Origin(retry_of, clone_of),
            queue_limit=self._queue_limit,
        )

    def retry(self, project_id: str, job_id: str, *, idempotency_key: str | None = None) -> tuple[Job, bool]:
        """Ask again for what a failed or cancelled job was asked, going on from where it was last saved."""
        row = self._row(project_id, job_id, lock=True)
        if row.status not in {Status.FAILED, Status.CANCELLED}:
            raise InvalidMove(f"Only a job that failed or was cancelled can be retried; this one {_is(row)}.")
        if row.kind == "export" and row.of_job is not None:
            of_job = self._row(project_id, row.of_job, lock=True)
            return exports.submit_export(
                self._session,
                of_job,
                row.options or {},
                idempotency_key=idempotency_key,
                queue_limit=self._queue_limit,
                retry_of=row.id,
            )
        if row.kind == evaluations.KIND:
            return evaluations.retry_evaluation(
                self._session,
                row,
                lambda of_job: self._row(project_id, of_job, lock=True),
                idempotency_key=idempotency_key,
                queue_limit=self._queue_limit,
            )
        return submit(
            self._session,
            project_id,
            JobSpec.model_validate(row.spec),
            idempotency_key=idempotency_key,
            origin=Origin(retry_of=row.id, sweep_id=row.sweep_id),  # it takes the other one's place
            queue_limit=self._queue_limit,
            repeats=row,
        )

    def export(
        self, project_id: str, job_id: str, options: dict[str, Any], *, idempotency_key: str | None = None
    ) -> tuple[Job, bool]:
        """Ask for something to be made of what a job has trained; what was asked before gives that job."""
        return exports.submit_export(
            self._session,
            self._row(project_id, job_id, lock=True),
            options,
            idempotency_key=idempotency_key,
            queue_limit=self._queue_limit,
        )

    def evaluate(
        self, project_id: str, job_id: str, asked: EvaluationSpec, *, idempotency_key: str | None = None
    ) -> tuple[Job, bool]:
        """Ask what a job has trained to be measured."""
        return evaluations.submit_evaluation(
            self._session,
            self._question(project_id, job_id, asked),
            idempotency_key=idempotency_key,
            queue_limit=self._queue_limit,
        )

    def rehearse(self, project_id: str, job_id: str, asked: EvaluationSpec) -> Sequence[Input]:
        """Tell what an evaluation would read; refuse what it could not be asked."""
        return evaluations.rehearse_evaluation(self._session, self._question(project_id, job_id, asked))

    def _question(self, project_id: str, job_id: str, asked: EvaluationSpec) -> evaluations.Question:
        other = None if asked.judge is None else asked.judge.run
        # In the order of their ids: who holds one and waits for the other waits for nobody that waits.
        rows = {id_: self._row(project_id, id_, lock=True) for id_ in sorted({job_id, other or job_id})}
        return evaluations.Question(asked, rows[job_id], None if other is None else rows[other])

    def get(self, project_id: str, job_id: str, kind: str | None = None) -> Job:
        """Give one job of the project; where ``kind`` is given, only one of that kind."""
        row = self._row(project_id, job_id)
        if kind not in {None, row.kind}:
            raise JobNotFound
        return job_of(row)

    def list(
        self, project_id: str, wanted: JobFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Job]:
        """Give a page, newest first."""
        found = _filtered(wanted or JobFilter()).where(
            JobRow.project_id == project_id, JobRow.deleted_at.is_(None)
        )
        if cursor is not None:
            after = decode_cursor(cursor, "job")
            found = found.where(tuple_(JobRow.created_at, JobRow.id) < tuple_(after.created_at, after.id))
        found = found.order_by(JobRow.created_at.desc(), JobRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        return page_of([job_of(row) for row in rows], [Place(row.created_at, row.id) for row in rows], limit)

    def ending_in(self, project_id: str, tail: str) -> Sequence[Job]:
        """Give the jobs whose id ends in these eight characters; hardly ever more than one."""
        found = select(JobRow).where(
            JobRow.project_id == project_id,
            JobRow.kind == "train",
            func.right(JobRow.id, literal_column("8")) == tail,
            JobRow.deleted_at.is_(None),
        )
        return [job_of(row) for row in self._session.scalars(found.order_by(JobRow.id.desc()))]

    def cancel(self, project_id: str, job_id: str) -> Job:
        """Want the job to end. Without a runner it ends at once; a second time changes nothing.

        Whoever asks again, having lost the answer, gets it again, also when the job has ended by then.
        """
        row = self._row(project_id, job_id, lock=True)
        if row.intent == Intent.CANCEL:
            return job_of(row)
        self._refuse_ended(row)
        if row.status == Status.RUNNING:
            return self._want(row, Intent.CANCEL, "job.cancel_requested")
        values = {
            "status": Status.CANCELLED,
            "intent": Intent.CANCEL,
            "run_after": None,
            "finished_at": func.clock_timestamp(),
        }
        return self._change(row, values, "job.cancelled")

    def pause(self, project_id: str, job_id: str) -> Job:
        """Want the job to rest. Without a runner it rests at once; a second time changes nothing."""
        row = self._locked(project_id, job_id)
        if row.intent == Intent.PAUSE:
            return job_of(row)
        self._refuse_cancelled(row)
        if row.status == Status.RUNNING:
            return self._want(row, Intent.PAUSE, "job.pause_requested")
        return self._change(
            row, {"status": Status.PAUSED, "intent": Intent.PAUSE, "run_after": None}, "job.paused"
        )

    def resume(self, project_id: str, job_id: str) -> Job:
        """Want the job to go on; a job that is not paused stays as it is."""
        row = self._locked(project_id, job_id)
        if row.intent == Intent.RUN:
            return job_of(row)
        self._refuse_cancelled(row)
        if row.status == Status.RUNNING:
            return self._want(row, Intent.RUN, "job.resume_requested")
        return self._change(row, {"status": Status.QUEUED, "intent": Intent.RUN}, "job.resumed")

    def delete(self, project_id: str, job_id: str) -> None:
        """Hide a finished job, and with it its artifacts; their bytes stay in storage."""
        row = self._row(project_id, job_id, lock=True)
        if row.status not in TERMINAL:
            raise InvalidMove("The job has not ended; cancel it first.")
        if is_worked_on(self._session, row.id):
            raise JobInUse
        hidden = update(JobRow).where(JobRow.id == row.id).values(deleted_at=func.clock_timestamp())
        self._session.execute(hidden)

    def queue_position(self, job: Job) -> int | None:
        """Tell how many queued jobs go before this one, plus one; ``None`` when it is not queued.

        As if workers got free now: jobs that end or come meanwhile, and limits of projects, change it.
        """
        return self.waiting(job)[0]

    def waiting(self, job: Job) -> tuple[int | None, int | None]:
        """Tell the position in the queue, and how many jobs the project may run if that holds this one up."""
        if job.status != Status.QUEUED:
            return None, None
        mine = {name: getattr(job, name) for name in ("project_id", "priority", "created_at", "id")}
        before, alone, limit = self._session.execute(_WAITING, mine).one()
        sides = () if alone else sides_of(self._session)
        return place_of(job.project_id, 1 + before, sides), limit

    def speeds(self, project_id: str, model: str, method: str, latest: int = 5) -> Sequence[float]:
        """Give the tokens a second of the project's latest jobs that have trained this model so."""
        speed = JobRow.metrics_summary["tokens_per_s"].as_float()
        found = (
            select(speed)
            .where(
                JobRow.project_id == project_id,
                JobRow.deleted_at.is_(None),
                JobRow.model == model,
                JobRow.spec["method"].as_string() == method,
                speed > 0,
            )
            .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        )
        return self._session.scalars(found.limit(latest)).all()

    def _want(self, row: JobRow, intent: Intent, fact: str) -> Job:
        return self._change(row, {"intent": intent}, fact)

    def _change(self, row: JobRow, values: dict[str, Any], fact: str) -> Job:
        changed = change(self._session, row.id, (), values, [Fact(fact, {"attempt": row.attempt})])
        if changed is None:  # the row is locked by this transaction, so it cannot have gone
            raise JobNotFound
        return job_of(changed)

    def _locked(self, project_id: str, job_id: str) -> JobRow:
        row = self._row(project_id, job_id, lock=True)
        self._refuse_ended(row)
        return row

    def _refuse_ended(self, row: JobRow) -> None:
        if row.status in TERMINAL:
            raise AlreadyFinished(row.status)

    def _refuse_cancelled(self, row: JobRow) -> None:
        if row.intent == Intent.CANCEL:
            raise InvalidMove("The job is being cancelled; that cannot be taken back.")

    def _row(self, project_id: str, job_id: str, *, lock: bool = False) -> JobRow:
        if not is_id("job", job_id):
            raise JobNotFound
        found = _ROW.with_for_update(key_share=True) if lock else _ROW
        mine = {"project_id": project_id, "id": job_id}
        row = self._session.scalars(found, mine, execution_options=FRESH).one_or_none()
        if row is None:
            raise JobNotFound
        return row


def _is(row: JobRow) -> str:
    return "succeeded" if row.status == Status.SUCCEEDED else "has not ended"


def _filtered(wanted: JobFilter) -> Select[JobRow]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.kind is not None:
        conditions.append(JobRow.kind == wanted.kind)
    if wanted.of_job is not None:
        conditions.append(JobRow.of_job == wanted.of_job)
    if wanted.status is not None:
        conditions.append(JobRow.status == wanted.status)
    if wanted.ended is not None:
        over = JobRow.status.in_(TERMINAL)
        conditions.append(over if wanted.ended else ~over)
    if wanted.model is not None:
        conditions.append(JobRow.model == wanted.model)
    if wanted.alpha_min is not None:
        conditions.append(JobRow.alpha >= wanted.alpha_min)
    if wanted.alpha_max is not None:
        conditions.append(JobRow.alpha <= wanted.alpha_max)
    if wanted.tag is not None:
        conditions.append(JOB_TAGS.contains([wanted.tag]))
    if wanted.sweep is not None:
        conditions.append(JobRow.sweep_id == wanted.sweep)
    if wanted.metadata is not None:
        conditions.append(_described(wanted.metadata, wanted.parent))
    return select(JobRow).where(*conditions)


def _described(metadata: Mapping[str, str], parent: str | None) -> ColumnElement[bool]:
    """Ask for metadata; a job of a series has its parent there, whatever it was given under that name."""
    if not metadata:
        return and_(JOB_METADATA == {}, JobRow.sweep_id.is_(None))
    if "parent" not in metadata:
        return JOB_METADATA.contains(dict(metadata))
    others = {name: value for name, value in metadata.items() if name != "parent"}
    own = and_(JobRow.sweep_id.is_(None), JOB_METADATA.contains(dict(metadata)))
    return own if parent is None else or_(own, and_(JobRow.sweep_id == parent, JOB_METADATA.contains(others)))

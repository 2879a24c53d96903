"""Evaluations: jobs that measure what another job has trained.

A job of the same table, claim, lease and settling. Its spec is that of the job it is about; what it measures
stands in its options, and all that it reads is named and held when it is asked for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.spec import JobSpec
from neftune_store.artifacts import Artifact, artifact_of
from neftune_store.claims import Claim
from neftune_store.datasets import DatasetLedger
from neftune_store.errors import OtherBase
from neftune_store.inputs import Input, add_inputs, inputs_of
from neftune_store.job import Job
from neftune_store.models import ArtifactRecord, JobRow, ResultRow
from neftune_store.saved import weights_of
from neftune_store.secrets import check_known
from neftune_store.submit import Origin, known_by_key, submit

KIND = "evaluate"
# The places of what it reads.
ROWS, HELD_OUT, WEIGHTS = "rows", "held_out", "weights"
JUDGED = "evaluation/judge_answers.jsonl"  # an artifact: what a judge has said
PROMPTS, REFERENCE, OTHER, LOSS = "prompts", "reference", "other", "loss."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, about which job, and beside which other one; their rows are locked."""

    spec: EvaluationSpec
    about: JobRow
    beside: JobRow | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Give it as the job keeps it."""
        return self.spec.model_dump(mode="json")

    @property
    def needs_rows(self) -> bool:
        """Tell whether the rows that were trained on are read, or those held out."""
        spec = self.spec
        losses = "loss" in spec.kinds and (spec.loss.train_sample > 0 or spec.loss.held_out)
        answers = spec.prompts.dataset is None and bool({"diversity", "judge"} & set(spec.kinds))
        return losses or answers or "overlap" in spec.kinds


def submit_evaluation(
    session: Session, question: Question, *, idempotency_key: str | None, queue_limit: int
) -> tuple[Job, bool]:
    """Write an evaluation down, with all that it reads; what is not there is refused."""
    row = question.about
    origin = Origin(kind=KIND, of_job=row.id, options=question.options)
    spec = JobSpec.model_validate(row.spec)
    if idempotency_key is not None:
        known = known_by_key(session, row.project_id, idempotency_key, spec, origin)
        if known is not None:
            return known, False
    inputs = rehearse_evaluation(session, question)
    job, new = submit(
        session,
        row.project_id,
        spec,
        idempotency_key=idempotency_key,
        origin=origin,
        queue_limit=queue_limit,
    )
    if new:
        add_inputs(session, job.id, inputs)
    return job, new


def rehearse_evaluation(session: Session, question: Question) -> list[Input]:
    """Name all that an evaluation would read, held until this transaction ends; refuse what is not there."""
    inputs = list(_inputs(session, question))
    judge = question.spec.judge
    if judge is not None and judge.key is not None:
        check_known(session, question.about.project_id, judge.key.secret, ("judge", "key", "secret"))
    return inputs


def retry_evaluation(
    session: Session,
    row: JobRow,
    hold: Callable[[str], object],
    *,
    idempotency_key: str | None,
    queue_limit: int,
) -> tuple[Job, bool]:
    """Ask again for what an ended evaluation was asked; it goes on where that one was saved.

    ``hold`` locks a job whose weights are read, so that it is not deleted meanwhile, or refuses.
    """
    origin = Origin(retry_of=row.id, kind=KIND, of_job=row.of_job, options=row.options)
    spec = JobSpec.model_validate(row.spec)
    if idempotency_key is not None:
        known = known_by_key(session, row.project_id, idempotency_key, spec, origin)
        if known is not None:
            return known, False
    inputs = inputs_of(session, row.id)
    for job_id in sorted({one.weights.job_id for one in inputs if one.weights is not None}):
        hold(job_id)
    datasets = DatasetLedger(session)
    for one in inputs:
        if one.dataset is not None:
            datasets.hold(row.project_id, one.dataset.id)
    job, new = submit(
        session,
        row.project_id,
        spec,
        idempotency_key=idempotency_key,
        origin=origin,
        queue_limit=queue_limit,
        repeats=row,
    )
    if new:
        add_inputs(session, job.id, inputs)
    return job, new


def results_of(session: Session, job_id: str) -> dict[str, Any] | None:
    """Give what an evaluation found; nothing before it has succeeded."""
    return session.scalar(select(ResultRow.record).where(ResultRow.job_id == job_id))


def headline_of(session: Session, job_id: str) -> dict[str, Any] | None:
    """Give the few figures of it that a table has room for; nothing before it has succeeded."""
    return session.scalar(select(ResultRow.headline).where(ResultRow.job_id == job_id))


def judged_before(session: Session, claim: Claim, latest: int = 3) -> list[Artifact]:
    """Give the answers of judges that the last evaluations have kept; each hands on those before it."""
    found = (
        select(ArtifactRecord)
        .join(JobRow, JobRow.id == ArtifactRecord.job_id)
        .where(
            JobRow.project_id == claim.project_id,
            JobRow.kind == KIND,
            JobRow.deleted_at.is_(None),
            ArtifactRecord.name == JUDGED,
        )
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
    )
    return [artifact_of(row) for row in session.scalars(found.limit(latest))][::-1]


def _inputs(session: Session, question: Question) -> Iterator[Input]:
    row, spec = question.about, question.spec
    yield Input(WEIGHTS, weights=weights_of(session, row, spec.checkpoint))
    if question.beside is not None:
        yield Input(OTHER, weights=_other(session, question.beside, row))
    datasets = DatasetLedger(session)
    for place, dataset_id in _named(question):
        yield Input(place, dataset=datasets.hold(row.project_id, dataset_id))


def _other(session: Session, other: JobRow, row: JobRow) -> Any:
    if (other.model, other.spec.get("revision")) != (row.model, row.spec.get("revision")):
        raise OtherBase
    return weights_of(session, other, "last")


def _named(question: Question) -> Iterator[tuple[str, str]]:
    """Name the datasets that are read."""
    row, spec = question.about, question.spec
    if question.needs_rows:
        yield ROWS, row.dataset_id
        if row.validation_dataset_id is not None:
            yield HELD_OUT, row.validation_dataset_id
    if "loss" in spec.kinds:
        for number, dataset_id in enumerate(spec.loss.datasets):
            yield f"{LOSS}{number}", dataset_id
    if spec.prompts.dataset is not None and {"diversity", "judge"} & set(spec.kinds):
        yield PROMPTS, spec.prompts.dataset
    if spec.judge is not None and spec.judge.reference is not None:
        yield REFERENCE, spec.judge.reference

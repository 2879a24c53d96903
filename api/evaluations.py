"""Evaluations: having measured what a job has trained. Each is a job of a kind of its own."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.bodies import body_as
from api.deps import Artifacts, Cursor, JobId, Jobs, Limit, Reader, RingingJobs, Tx, Writer, problems
from api.evaluation_plan import EvaluationPlan, Rehearsal
from api.jobs import KEYED, idempotency_key, waiting
from api.models import Models
from api.schemas import ArtifactRead, CheckpointRead, ErrorRead, Listing, QueueRead, Schema, error_of
from api.sweep_results import FigureRead
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_store.errors import JobNotFound
from neftune_store.evaluations import KIND, WEIGHTS, headline_of, results_of
from neftune_store.ids import is_id
from neftune_store.inputs import inputs_of
from neftune_store.jobs import Job, JobFilter
from neftune_store.lifecycle import Intent, Status

router = APIRouter(tags=["evaluations"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EvaluationSpec"}}},
    },
    **KEYED,
}


class EvaluationRead(Schema):
    """What is measured, of which job, and how far that is."""

    id: str
    of_job: str = Field(description="The job whose result is measured.")
    name: str | None
    status: Status
    intent: Intent = Field(description="What the user wants; the status follows.")
    spec: dict[str, Any] = Field(description="What was asked, its defaults filled in.")
    progress: dict[str, Any] | None
    queue: QueueRead | None
    attempt: int
    error: ErrorRead | None
    retry_of: str | None
    last_seq: int = Field(description="Number of its latest change; the id of its stream.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job, queue: QueueRead | None = None) -> Self:
        """Show a job that measures."""
        spec = dict(job.options or {})
        return cls(
            id=job.id,
            of_job=job.of_job or "",
            name=spec.get("name"),
            status=job.status,
            intent=job.intent,
            spec=spec,
            progress=job.progress,
            queue=queue,
            attempt=job.attempt,
            error=error_of(job),
            retry_of=job.retry_of,
            last_seq=job.last_seq,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class EvaluationDetail(EvaluationRead):
    """One evaluation, with what it has found."""

    checkpoint: CheckpointRead | None = Field(description="What the name of the checkpoint came to mean.")
    results: dict[str, Any] | None = Field(description="Kind by kind; null until it has succeeded.")
    figures: list[FigureRead] | None = Field(
        description="The headlines of it, each beside the base's; null until it has succeeded."
    )
    missing: list[Any] = Field(description="What was asked for and is not there, and why.")
    artifacts: list[ArtifactRead]


async def evaluation_id(evaluation_id: str) -> str:
    """Take an evaluation's id, which is that of a job."""
    if not is_id("job", evaluation_id):
        raise JobNotFound
    return evaluation_id


EvaluationId = Annotated[str, Depends(evaluation_id)]


@router.post(
    "/jobs/{job_id}/evaluations",
    status_code=201,
    summary="Have measured what a job has trained",
    response_model=EvaluationRead | EvaluationPlan,
    openapi_extra=_BODY,
    responses={
        200: {"description": "Made before under this key; or a dry run"},
        **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    },
)
def evaluate(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    asked: Annotated[EvaluationSpec, Depends(body_as(EvaluationSpec))],
    models: Models,
    rehearsed: Rehearsal,
    jobs: RingingJobs,
    job_id: JobId,
) -> EvaluationRead | EvaluationPlan:
    """Make a job of the kind ``evaluate``; what it reads is fixed and held from now on."""
    trained = jobs.get(who.project_id, job_id)
    models.check(trained.spec["model"], trained.spec["revision"])
    if rehearsed is not None:
        response.status_code = 200
        return rehearsed
    job, created = jobs.evaluate(who.project_id, job_id, asked, idempotency_key=key)
    response.status_code = 201 if created else 200
    response.headers["location"] = f"/evaluations/{job.id}"
    return EvaluationRead.of(job, waiting(jobs, job))


@router.get("/evaluations", summary="List evaluations, newest first", responses=problems(401, 404, 422))
def list_evaluations(  # noqa: PLR0913, PLR0917 - each filter, by name
    who: Reader,
    jobs: Jobs,
    job: Annotated[str | None, Query(max_length=64, description="Only those of this job.")] = None,
    status: Annotated[Status | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listing[EvaluationRead]:
    """List the project's evaluations that fit all the filters given."""
    if job is not None:
        jobs.get(who.project_id, job)
    page = jobs.list(who.project_id, JobFilter(kind=KIND, of_job=job, status=status), cursor, limit)
    return Listing(items=[EvaluationRead.of(one) for one in page.items], next=page.next)


@router.get("/evaluations/{evaluation_id}", summary="Look at an evaluation", responses=problems(401, 404))
def get_evaluation(
    who: Reader, tx: Tx, jobs: Jobs, artifacts: Artifacts, evaluation_id: EvaluationId
) -> EvaluationDetail:
    """Tell what was asked, how far it is and what it has found."""
    job = jobs.get(who.project_id, evaluation_id, KIND)
    shown = EvaluationRead.of(job, waiting(jobs, job))
    results = results_of(tx, job.id)
    measured = [one.weights for one in inputs_of(tx, job.id) if one.place == WEIGHTS]
    made = artifacts.list(who.project_id, job.id)
    return EvaluationDetail(
        **dict(shown),
        checkpoint=next((CheckpointRead(of=one.of, step=one.step) for one in measured if one), None),
        results=results,
        figures=(headline_of(tx, job.id) or {}).get("figures"),
        missing=list((results or {}).get("missing") or []),
        artifacts=[ArtifactRead.of(job.id, one) for one in made],
    )


@router.post(
    "/evaluations/{evaluation_id}/cancel",
    status_code=202,
    summary="Cancel an evaluation",
    responses=problems(401, 403, 404, 409),
)
def cancel(who: Writer, jobs: Jobs, evaluation_id: EvaluationId) -> EvaluationRead:
    """Stop it for good. What it had not found by then is not kept."""
    jobs.get(who.project_id, evaluation_id, KIND)
    return EvaluationRead.of(jobs.cancel(who.project_id, evaluation_id))

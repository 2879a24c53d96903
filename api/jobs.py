"""Jobs: asked for, looked at, and told to stop, pause or go on."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from api.asked import asked_job
from api.bodies import json_body
from api.deps import (
    PLAIN,
    Artifacts,
    Cursor,
    JobId,
    Jobs,
    Limit,
    Reader,
    RingingJobs,
    Writer,
    problems,
)
from api.dry_run import Rehearsal
from api.dry_run_schemas import DryRun
from api.models import Models
from api.refusals import BadIdempotencyKey, InvalidJson, InvalidSpec
from api.schemas import ArtifactRead, JobDetail, JobRead, Listing, QueueRead
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import faults_of
from neftune_store.errors import InvalidMove
from neftune_store.jobs import Job, JobFilter, JobLedger
from neftune_store.lifecycle import Intent, Status

router = APIRouter(prefix="/jobs", tags=["jobs"])

KEYED = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key and body give the same job, however often they are sent.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ],
}
_SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobSpec"}}},
    },
    **KEYED,
}
_CHANGES_BODY = {
    "requestBody": {
        "required": False,
        "description": "Fields of a JobSpec that differ from the old job's.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    **KEYED,
}


async def changes(request: Request) -> dict[str, Any]:
    """Read what a copy shall have otherwise; no body changes nothing."""
    if request.headers.get("content-length") in {None, "0"} and "transfer-encoding" not in request.headers:
        return {}
    body = await json_body(request)
    if not isinstance(body, dict):
        raise InvalidJson("The body must be an object: the fields of the job spec that shall differ.")
    return body


async def idempotency_key(request: Request) -> str | None:
    """Take the header as it came, if it came."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not 1 <= len(keys[0]) <= 255 or not all("!" <= sign <= "~" for sign in keys[0]):
        raise BadIdempotencyKey
    return keys[0]


async def job_filter(  # noqa: PLR0913, PLR0917 - each filter, by name
    kind: Annotated[Literal["train", "export", "evaluate"] | None, Query()] = None,
    status: Annotated[Status | None, Query()] = None,
    ended: Annotated[bool | None, Query(description="Only jobs that have ended; or that have not.")] = None,
    model: Annotated[str | None, Query(max_length=256, pattern=PLAIN)] = None,
    alpha_min: Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)] = None,
    alpha_max: Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)] = None,
    tag: Annotated[str | None, Query(max_length=64, pattern=PLAIN)] = None,
    sweep: Annotated[str | None, Query(max_length=64, pattern=PLAIN, description="Id of a series.")] = None,
) -> JobFilter:
    """Read the filters of a list; one that is passed over would show too much."""
    return JobFilter(
        kind=kind,
        status=status,
        ended=ended,
        model=model,
        alpha_min=alpha_min,
        alpha_max=alpha_max,
        tag=tag,
        sweep=sweep,
    )


@router.post(
    "",
    status_code=201,
    summary="Submit a job",
    response_model=JobRead | DryRun,
    openapi_extra=_SPEC_BODY,
    responses={
        200: {"description": "Made before under this key; or a dry run"},
        **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    },
)
def submit(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    spec: Annotated[JobSpec, Depends(asked_job)],
    models: Models,
    rehearsed: Rehearsal,  # before the transaction, which must not be open for so long
    jobs: RingingJobs,
) -> JobRead | DryRun:
    """Record the job; a worker will pick it up. Redis is not asked, so nothing here waits for it."""
    models.check(spec.model, spec.revision)
    if rehearsed is not None:
        response.status_code = 200
        return rehearsed
    return made(response, jobs, *jobs.submit(who.project_id, spec, idempotency_key=key))


@router.get("", summary="List jobs, newest first", responses=problems(401, 422))
def list_jobs(
    who: Reader,
    jobs: Jobs,
    wanted: Annotated[JobFilter, Depends(job_filter)],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Listing[JobRead]:
    """List the project's jobs that fit all the filters given."""
    page = jobs.list(who.project_id, wanted, cursor, limit)
    return Listing(items=[JobRead.of(job) for job in page.items], next=page.next)


@router.get("/{job_id}", summary="Look at a job", responses=problems(401, 404))
def get_job(who: Reader, jobs: Jobs, artifacts: Artifacts, job_id: JobId) -> JobDetail:
    """Tell where the job is, what it was asked and what it has made."""
    job = jobs.get(who.project_id, job_id)
    made = [ArtifactRead.of(job_id, one) for one in artifacts.downloads(who.project_id, job_id)]
    shown = JobRead.of(job, waiting(jobs, job))
    return JobDetail(**dict(shown), artifacts=made)


@router.post(
    "/{job_id}/cancel", status_code=202, summary="Cancel a job", responses=problems(401, 403, 404, 409)
)
def cancel(who: Writer, jobs: Jobs, job_id: JobId) -> JobRead:
    """Stop the job for good. One that waits ends at once; one that runs, within seconds."""
    return JobRead.of(jobs.cancel(who.project_id, job_id))


@router.post(
    "/{job_id}/pause", status_code=202, summary="Pause a job", responses=problems(401, 403, 404, 409)
)
def pause(who: Writer, jobs: Jobs, job_id: JobId) -> JobRead:
    """Let the job rest until it is resumed."""
    return JobRead.of(jobs.pause(who.project_id, job_id))


@router.post(
    "/{job_id}/resume", status_code=202, summary="Resume a job", responses=problems(401, 403, 404, 409)
)
def resume(who: Writer, jobs: RingingJobs, job_id: JobId) -> JobRead:
    """Queue a paused job again, or take back a pause that was not carried out yet."""
    return JobRead.of(jobs.resume(who.project_id, job_id))


@router.post(
    "/{job_id}/retry",
    status_code=201,
    summary="Retry a failed or cancelled job",
    openapi_extra=KEYED,
    responses={
        200: {"model": JobRead, "description": "Made before under this key"},
        **problems(400, 401, 403, 404, 409, 410, 422, 429, 503),
    },
)
def retry(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    models: Models,
    jobs: RingingJobs,
    job_id: JobId,
) -> JobRead:
    """Make a new job of the same spec, which goes on from the last good checkpoint."""
    old = JobSpec.model_validate(jobs.get(who.project_id, job_id).spec)
    models.check(old.model, old.revision)
    return made(response, jobs, *jobs.retry(who.project_id, job_id, idempotency_key=key))


@router.post(
    "/{job_id}/clone",
    status_code=201,
    summary="Submit a job's spec again, with changes",
    openapi_extra=_CHANGES_BODY,
    responses={
        200: {"model": JobRead, "description": "Made before under this key"},
        **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    },
)
def clone(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    changed: Annotated[dict[str, Any], Depends(changes)],
    models: Models,
    jobs: RingingJobs,
    job_id: JobId,
) -> JobRead:
    """Make a new job that begins at the beginning. Objects are merged, everything else is replaced."""
    old = jobs.get(who.project_id, job_id)
    if old.kind != "train":
        raise InvalidMove("Only a job that trains can be cloned; ask for the other kind anew.")
    try:
        spec = JobSpec.model_validate(_merged(old.spec, changed))
    except ValidationError as error:
        raise InvalidSpec(faults_of(error, JobSpec)) from error
    models.check(spec.model, spec.revision)
    cloned = jobs.submit(who.project_id, spec, idempotency_key=key, clone_of=job_id)
    return made(response, jobs, *cloned)


@router.delete(
    "/{job_id}", status_code=204, summary="Delete an ended job", responses=problems(401, 403, 404, 409)
)
def delete(who: Writer, jobs: Jobs, job_id: JobId) -> None:
    """Forget a job that has ended; its artifacts can no longer be downloaded."""
    jobs.delete(who.project_id, job_id)


def made(response: Response, jobs: JobLedger, job: Job, created: bool) -> JobRead:
    """Answer with a job that was asked for, saying whether it is new."""
    response.status_code = 201 if created else 200
    response.headers["location"] = f"/jobs/{job.id}"
    return JobRead.of(job, waiting(jobs, job))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for name, value in new.items():
        inner = both.get(name)
        both[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def waiting(jobs: JobLedger, job: Job) -> QueueRead | None:
    """Tell why a job does not run, where it waits."""
    match job.status, job.intent:
        case Status.QUEUED, _:
            position, limit = jobs.waiting(job)
            return QueueRead(position=position, reason=why_queued(job, limit))
        case Status.PAUSED, Intent.PAUSE if job.held_step is not None:
            return QueueRead(position=None, reason="waiting for the other jobs of its series")
        case Status.PAUSED, Intent.PAUSE:
            return QueueRead(position=None, reason="paused; resume it to go on")
    return None


def why_queued(job: Job, running_limit: int | None) -> str:
    """Tell why a queued job does not run; ``running_limit`` is the project's, when it is reached."""
    if job.run_after is not None and job.run_after > datetime.now(UTC):
        return "resting after a lost run"
    if running_limit is not None:
        return f"the project runs as many jobs as it may ({running_limit})"
    return "waiting for a free worker"

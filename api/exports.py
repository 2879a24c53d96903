"""Exports: having something else made of what a job has trained."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.bodies import json_body
from api.deps import JobId, RingingJobs, Writer, problems
from api.jobs import KEYED, idempotency_key, made
from api.models import Models
from api.refusals import InvalidRequest
from api.schemas import JobRead
from neftune_core.spec_faults import faults_of

router = APIRouter(prefix="/jobs", tags=["jobs"])


class ExportSpec(BaseModel):
    """What to make of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["merged"] = Field(description="merged: base and adapter as one model.")


async def asked(body: Annotated[object, Depends(json_body)]) -> ExportSpec:
    """Read the body as what it must be."""
    try:
        return ExportSpec.model_validate(body)
    except ValidationError as error:
        told = "The export has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, ExportSpec)) from error


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ExportSpec.model_json_schema()}},
    },
    **KEYED,
}


@router.post(
    "/{job_id}/export",
    status_code=201,
    summary="Have an adapter merged into its base",
    openapi_extra=_BODY,
    responses={
        200: {"model": JobRead, "description": "Asked for before: the export there is"},
        **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    },
)
def export(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    wanted: Annotated[ExportSpec, Depends(asked)],
    models: Models,
    jobs: RingingJobs,
    job_id: JobId,
) -> JobRead:
    """Make a job of the kind ``export``; what it makes appears under both jobs."""
    trained = jobs.get(who.project_id, job_id)
    models.check(trained.spec["model"], trained.spec["revision"])
    exported = jobs.export(who.project_id, job_id, wanted.model_dump(), idempotency_key=key)
    return made(response, jobs, *exported)

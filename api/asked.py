"""The job that a request asks for: its body, read as the spec it must be."""

from typing import Annotated

from fastapi import Depends
from pydantic import ValidationError

from api.bodies import json_body
from api.refusals import InvalidSpec
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import faults_of


async def asked_job(body: Annotated[object, Depends(json_body)]) -> JobSpec:
    """Read the body by the class that the trainer reads."""
    try:
        return JobSpec.model_validate(body)
    except ValidationError as error:
        raise InvalidSpec(faults_of(error, JobSpec)) from error

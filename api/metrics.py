"""The curves of a job."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, WithJsonSchema
from sqlalchemy.orm import Session

from api.deps import JobId, Reader, problems
from api.schemas import Schema
from neftune_store.events import SEQ_MAX
from neftune_store.metrics import MOST_POINTS, series, times

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

_KEYS = r"^[a-z0-9_.-]{1,64}(?:,[a-z0-9_.-]{1,64}){0,63}$"


_POINT = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
    "description": "Step and value.",
}
Point = Annotated[tuple[int, float], WithJsonSchema(_POINT)]
_TIME = {
    "type": "array",
    "prefixItems": [{"type": "integer"}, {"type": "string", "format": "date-time"}],
    "minItems": 2,
    "maxItems": 2,
    "description": "Step, and when it was written down.",
}
Time = Annotated[tuple[int, datetime], WithJsonSchema(_TIME)]


class SeriesRead(Schema):
    """Curves by name: points ``[step, value]`` in step order."""

    series: dict[str, list[Point]]
    times: list[Time] = Field(
        [], description="Of at most 256 of the steps, when they were written down; if asked for."
    )


@router.get(
    "/metrics",
    summary="Read the curves of a job",
    response_model=SeriesRead,
    responses=problems(401, 404, 422),
)
async def read_metrics(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    request: Request,
    who: Reader,
    job_id: JobId,
    keys: Annotated[
        str | None, Query(pattern=_KEYS, description="Names, comma-separated; all if left out.")
    ] = None,
    since_step: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    until_step: Annotated[int, Query(ge=0, le=SEQ_MAX)] = SEQ_MAX,
    max_points: Annotated[int, Query(ge=2, le=MOST_POINTS, description="For each curve.")] = 1000,
    with_times: Annotated[bool, Query(description="Tell also when the steps were.")] = False,
) -> Response:
    """Give each curve with at most ``max_points`` points, thinned so that spikes survive."""
    names = keys.split(",") if keys is not None else None

    def written(tx: Session) -> bytes:
        # Thousands of points: to look at each of them again on their way out takes longer than to read them.
        curves = series(tx, who.project_id, job_id, names, since_step, max_points, until_step)
        answer: dict[str, object] = {"series": curves}
        if with_times:
            answer["times"] = times(tx, who.project_id, job_id, since_step, until_step)
        return msgspec.json.encode(answer)

    return Response(await request.app.state.database.ask(written), media_type="application/json")

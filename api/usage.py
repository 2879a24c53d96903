"""What a project has used, or all of them have."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field

from api.deps import ReadingOverseer, Tx, overseen, problems
from api.refusals import InvalidRequest
from api.schemas import Schema
from neftune_store.usage import usage_of

router = APIRouter(tags=["projects"])

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAYS = 30
_MOST_DAYS = 366


class ProjectUsage(Schema):
    """One project."""

    project: str = Field(description="Its id.")
    name: str
    jobs: dict[str, int] = Field(description="Jobs made in that time, by their status now.")
    run_seconds: float = Field(description="Time that runs took, also those that were lost.")
    gpu_seconds: float = Field(description="The part of it that was on a GPU.")
    tokens: int = Field(description="Tokens that jobs trained on which ended in that time.")
    stored_bytes: int = Field(description="Datasets and artifacts, now.")


class UsageRead(Schema):
    """Some days of UTC, both ends included."""

    since: date
    until: date
    items: list[ProjectUsage]


def _written_out(given: object) -> object:
    """Refuse seconds since 1970, which a day would be made of as well."""
    if isinstance(given, str) and not _DAY.fullmatch(given):
        raise ValueError("a day is written as 2026-12-31")
    return given


Day = Annotated[date, BeforeValidator(_written_out)]


@router.get("/usage", summary="Tell what was used", responses=problems(401, 403, 422))
def read_usage(
    who: ReadingOverseer,
    tx: Tx,
    since: Annotated[Day | None, Query(description="First day; left out: 30 days with the last.")] = None,
    until: Annotated[Day | None, Query(description="Last day; left out: today.")] = None,
) -> UsageRead:
    """Tell what the project has used on these days; an operator that names none sees every project."""
    last = until or datetime.now(UTC).date()
    if since is None:
        since = date.fromordinal(max(last.toordinal() - _DAYS + 1, 1))
    if not timedelta(0) <= last - since < timedelta(days=_MOST_DAYS) or last.year == date.max.year:
        raise InvalidRequest(f"since and until must span 1 to {_MOST_DAYS} days.")
    found = usage_of(tx, overseen(who), _midnight(since), _midnight(last + timedelta(days=1)))
    items = [
        ProjectUsage(
            project=one.project_id,
            name=one.project_name,
            jobs=dict(one.jobs),
            run_seconds=one.run_seconds,
            gpu_seconds=one.gpu_seconds,
            tokens=one.tokens,
            stored_bytes=one.stored_bytes,
        )
        for one in found
    ]
    return UsageRead(since=since, until=last, items=items)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

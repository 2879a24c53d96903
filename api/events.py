"""What has happened to a job, oldest first."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.deps import JobId, Reader, Tx, problems
from api.schemas import Listing, Schema
from neftune_store.events import SEQ_MAX, events_after

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])


class EventRead(Schema):
    """A past-tense fact."""

    seq: int
    name: str
    data: dict[str, Any]
    created_at: datetime


@router.get("/events", summary="List what happened to a job", responses=problems(401, 404, 422))
def list_events(
    who: Reader,
    tx: Tx,
    job_id: JobId,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="Only facts with a larger seq.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Listing[EventRead]:
    """List the facts after a number; ``next`` is the ``after`` of the next page."""
    found = events_after(tx, who.project_id, job_id, after, limit)
    items = [EventRead(seq=one.seq, name=one.name, data=one.data, created_at=one.created_at) for one in found]
    return Listing(items=items, next=str(found[-1].seq) if len(found) == limit else None)

"""Who changed what: keys, projects, webhooks, logins, and operators' ways."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from api.deps import Cursor, Limit, Overseer, Tx, overseen, problems
from api.schemas import Listing, Schema
from neftune_store.audit import AuditLedger

router = APIRouter(tags=["projects"])


class AuditRead(Schema):
    """Something that somebody has done."""

    id: str
    project: str | None
    key: str = Field(description="Id of the key that did it.")
    action: str = Field(description="In the past tense: key.created, operator.entered.")
    target: str | None = Field(description="Id of what it was done to.")
    data: dict[str, Any]
    request_id: str
    address: str
    created_at: datetime


@router.get("/audit", summary="List who changed what, newest first", responses=problems(401, 403, 422))
def list_audit(who: Overseer, tx: Tx, cursor: Cursor = None, limit: Limit = 50) -> Listing[AuditRead]:
    """List what was done in the project; an operator that names none sees every project."""
    page = AuditLedger(tx).page(overseen(who), cursor, limit)
    items = [
        AuditRead(
            id=one.id,
            project=one.project_id,
            key=one.key_id,
            action=one.action,
            target=one.target,
            data=one.data,
            request_id=one.request_id,
            address=one.address,
            created_at=one.created_at,
        )
        for one in page.items
    ]
    return Listing(items=items, next=page.next)

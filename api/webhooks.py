"""Webhooks: who is told when a job ends, and how the telling went."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api.bodies import json_body
from api.deps import Audited, Cursor, Limit, Reader, Tx, Writer, problems
from api.refusals import InvalidRequest
from api.schemas import Listing, Schema
from neftune_core.spec_faults import faults_of
from neftune_store.webhooks import Delivery, Webhook, WebhookLedger

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

EventType = Literal[
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "fine_tuning.job.paused",
]


class WebhookSpec(BaseModel):
    """Where to send, and what."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        max_length=2048,
        description="http or https, on a public address.",
        json_schema_extra={"pattern": "^https?://[!-~]+$"},
    )
    events: list[EventType] = Field(
        ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"],
        min_length=1,
        max_length=16,
        description="Left out: the three ends.",
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        if not url.isascii() or any(not "!" <= sign <= "~" for sign in url):
            raise ValueError("must be plain ASCII; encode what is not")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # whose words repeat what they are about
            raise ValueError("must be an address that can be read, with a port from 1 to 65535") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be http:// or https:// and name a host")
        if "@" in parts.netloc or parts.fragment:
            raise ValueError("must have neither a user nor a fragment")
        if port == 0:
            raise ValueError("must name a port between 1 and 65535")
        return url


class WebhookRead(Schema):
    """Somebody who is told."""

    id: str
    url: str
    events: list[str]
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook, **more: Any) -> Self:
        """Show a webhook."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            created_at=webhook.created_at,
            **more,
        )


class WebhookMade(WebhookRead):
    """A new one, with its secret; it is not shown again."""

    secret: str


class DeliveryRead(Schema):
    """One thing to tell, and how that went."""

    id: str
    event_id: str
    type: str
    job_id: str | None
    status: Literal["due", "delivered", "given_up"]
    attempts: int
    due_at: datetime | None = Field(description="When it is tried next.")
    delivered_at: datetime | None
    last_status: int | None = Field(description="What the receiver answered last.")
    last_error: str | None
    created_at: datetime

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Show a delivery."""
        status: Literal["due", "delivered", "given_up"] = "due"
        if delivery.due_at is None:
            status = "delivered" if delivery.delivered_at is not None else "given_up"
        return cls(
            id=delivery.id,
            event_id=delivery.event_id,
            type=delivery.type,
            job_id=delivery.job_id,
            status=status,
            attempts=delivery.attempts,
            due_at=delivery.due_at,
            delivered_at=delivery.delivered_at,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            created_at=delivery.created_at,
        )


async def asked(body: Annotated[object, Depends(json_body)]) -> WebhookSpec:
    """Read the body as what it must be."""
    try:
        return WebhookSpec.model_validate(body)
    except ValidationError as error:
        told = "The webhook has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, WebhookSpec)) from error


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": WebhookSpec.model_json_schema()}},
    }
}


@router.post(
    "",
    status_code=201,
    summary="Ask to be told of ends",
    openapi_extra=_BODY,
    responses=problems(400, 401, 403, 409, 413, 415, 422),
)
def add_webhook(
    request: Request, who: Writer, tx: Tx, audit: Audited, wanted: Annotated[WebhookSpec, Depends(asked)]
) -> WebhookMade:
    """Note it; the answer is the only one that holds its secret."""
    webhook, secret = WebhookLedger(tx, request.app.state.sealer).add(
        who.project_id, wanted.url, wanted.events
    )
    # Its host alone: a path may hold a token.
    host = urlsplit(webhook.url).hostname
    audit.note(who.project_id, "webhook.created", webhook.id, host=host, events=list(webhook.events))
    return WebhookMade.of(webhook, secret=secret)


@router.get("", summary="List webhooks", responses=problems(401))
def list_webhooks(who: Reader, tx: Tx) -> Listing[WebhookRead]:
    """List the project's webhooks; all of them on one page."""
    found = WebhookLedger(tx).list(who.project_id)
    return Listing(items=[WebhookRead.of(one) for one in found], next=None)


@router.delete(
    "/{webhook_id}", status_code=204, summary="Be told nothing more", responses=problems(401, 403, 404)
)
def delete_webhook(who: Writer, tx: Tx, audit: Audited, webhook_id: str) -> None:
    """Forget it, and what it was not told yet."""
    WebhookLedger(tx).delete(who.project_id, webhook_id)
    audit.note(who.project_id, "webhook.deleted", webhook_id)


@router.get("/{webhook_id}/deliveries", summary="List what was told", responses=problems(401, 404, 422))
def list_deliveries(
    who: Reader, tx: Tx, webhook_id: str, cursor: Cursor = None, limit: Limit = 50
) -> Listing[DeliveryRead]:
    """List what it was or is to be told, newest first, and how that went."""
    page = WebhookLedger(tx).deliveries(who.project_id, webhook_id, cursor, limit)
    return Listing(items=[DeliveryRead.of(one) for one in page.items], next=page.next)


@router.post(
    "/{webhook_id}/test", status_code=202, summary="Have a test sent", responses=problems(401, 403, 404)
)
def test_webhook(who: Writer, tx: Tx, webhook_id: str) -> DeliveryRead:
    """Have an event ``webhook.test`` sent within seconds; its delivery tells how that went."""
    return DeliveryRead.of(WebhookLedger(tx).test(who.project_id, webhook_id))

"""The ledger of webhooks, and of every single thing that one of them is to be told.

A delivery is a row of the transaction in which the job ended, so a receiver that is down, or a sender that
dies, loses nothing and holds up no job. It is due until it was heard or given up, and it may be heard twice:
the id of the event tells that it is the same.
"""

import base64
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, text, tuple_, update
from sqlalchemy.orm import Session

from neftune_store.errors import SecretsOff, SecretUnreadable, TooManyWebhooks, WebhookNotFound
from neftune_store.ids import is_id, new_id
from neftune_store.models import DeliveryRow, ProjectRow, WebhookRow
from neftune_store.paging import Page, Place, check_limit, decode_cursor, page_of
from neftune_store.sealing import UNSEALED, Sealer

ENDS = ("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled")
TYPES = (*ENDS, "fine_tuning.job.paused")
TEST = "webhook.test"
MOST = 20  # webhooks of a project

HELD = timedelta(seconds=60)  # a sender has this long before another one tries; sending takes far less
FIRST_REST, LONGEST_REST = timedelta(seconds=5), timedelta(hours=1)
PATIENCE = timedelta(days=3)

# What is on its way, or was tried in vain, counts against a webhook: one that does not answer has only the
# senders that others leave it, however much it is to be told.
_CLAIM = text(
    """
    WITH unheard AS (
        SELECT webhook_id, count(*) AS tried FROM deliveries
        WHERE due_at IS NOT NULL AND attempts > 0 GROUP BY webhook_id
    )
    UPDATE deliveries SET attempts = attempts + 1, due_at = clock_timestamp() + :held
    WHERE id = (
        SELECT id FROM deliveries LEFT JOIN unheard USING (webhook_id) WHERE due_at <= clock_timestamp()
        ORDER BY coalesce(tried, 0), attempts, due_at LIMIT 1 FOR UPDATE OF deliveries SKIP LOCKED
    )
    RETURNING id, webhook_id, event_id, body, attempts
    """
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who wants to be told."""

    id: str
    url: str
    events: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell, and how that went."""

    id: str
    event_id: str
    type: str
    job_id: str | None
    attempts: int
    due_at: datetime | None
    delivered_at: datetime | None
    given_up_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Errand:
    """A delivery that somebody has taken, with all that is needed to carry it out."""

    delivery_id: str
    event_id: str
    attempt: int
    body: dict[str, Any]
    url: str = field(repr=False)  # it may hold a token
    secret: str = field(repr=False)


class WebhookLedger:
    """What a project asks about its webhooks; where there is a key, their secrets are kept sealed."""

    def __init__(self, session: Session, sealer: Sealer = UNSEALED) -> None:
        self._session = session
        self._sealer = sealer

    def add(self, project_id: str, url: str, events: Sequence[str]) -> tuple[Webhook, str]:
        """Write a webhook down; its secret is given now and never again."""
        # The lock on the project makes the count exact.
        owner = select(ProjectRow.id).where(ProjectRow.id == project_id)
        self._session.execute(owner.with_for_update(key_share=True))
        count = select(func.count()).select_from(WebhookRow)
        if (self._session.scalar(count.where(*_of(project_id))) or 0) >= MOST:
            raise TooManyWebhooks(MOST)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        id_ = new_id("wh")
        values = {
            "id": id_,
            "project_id": project_id,
            "url": url,
            "secret": self._sealer.seal_text(secret, *_place(id_)),
            "events": sorted(set(events)),
        }
        row = self._session.scalars(insert(WebhookRow).values(**values).returning(WebhookRow)).one()
        return _webhook_of(row), secret

    def list(self, project_id: str) -> list[Webhook]:
        """List the project's webhooks, the oldest first; they are few."""
        found = select(WebhookRow).where(*_of(project_id)).order_by(WebhookRow.created_at, WebhookRow.id)
        return [_webhook_of(row) for row in self._session.scalars(found)]

    def delete(self, project_id: str, webhook_id: str) -> None:
        """Tell it nothing more; what it was not told yet is given up."""
        row = self._row(project_id, webhook_id)
        now = func.clock_timestamp()
        self._session.execute(update(WebhookRow).where(WebhookRow.id == row.id).values(deleted_at=now))
        left = update(DeliveryRow).where(DeliveryRow.webhook_id == row.id, DeliveryRow.due_at.is_not(None))
        self._session.execute(left.values(due_at=None, given_up_at=now, last_error="deleted"))

    def deliveries(
        self, project_id: str, webhook_id: str, cursor: str | None = None, limit: int = 50
    ) -> Page[Delivery]:
        """Give a page of what it was or is to be told, newest first."""
        found = select(DeliveryRow).where(DeliveryRow.webhook_id == self._row(project_id, webhook_id).id)
        if cursor is not None:
            after = decode_cursor(cursor, "dlv")
            place = tuple_(DeliveryRow.created_at, DeliveryRow.id)
            found = found.where(place < tuple_(after.created_at, after.id))
        found = found.order_by(DeliveryRow.created_at.desc(), DeliveryRow.id.desc())
        rows = self._session.scalars(found.limit(check_limit(limit) + 1)).all()
        places = [Place(row.created_at, row.id) for row in rows]
        return page_of([_delivery_of(row) for row in rows], places, limit)

    def test(self, project_id: str, webhook_id: str) -> Delivery:
        """Have something sent now."""
        row = self._row(project_id, webhook_id)
        (values,) = _rows([row.id], TEST, {"id": row.id}, None)
        made = self._session.scalars(insert(DeliveryRow).values(**values).returning(DeliveryRow)).one()
        return _delivery_of(made)

    def _row(self, project_id: str, webhook_id: str) -> WebhookRow:
        found = select(WebhookRow).where(*_of(project_id), WebhookRow.id == webhook_id)
        row = self._session.scalars(found).one_or_none() if is_id("wh", webhook_id) else None
        if row is None:
            raise WebhookNotFound
        return row


def tell_of(session: Session, project_id: str, job_id: str, fact: str) -> None:
    """Write down whom to tell of this fact, in the transaction that makes it one."""
    type_ = f"fine_tuning.{fact}"
    if type_ not in TYPES:
        return
    wanted = select(WebhookRow.id).where(*_of(project_id), WebhookRow.events.contains([type_]))
    if ids := session.scalars(wanted).all():
        # By the id of the surface whose event this is; clients look the job up by it.
        about = {"id": f"ftjob-{job_id.removeprefix('job_')}", "job": job_id}
        session.execute(insert(DeliveryRow), _rows(ids, type_, about, job_id))


def take(session: Session, sealer: Sealer = UNSEALED) -> Errand | None:
    """Take what has waited longest, of the webhook with the least that was tried and not heard.

    A receiver that never answers therefore keeps no other one waiting. What is taken comes due again; what
    can't be signed, for its secret was sealed with a key that is not there, rests like what was not heard.
    """
    while (row := session.execute(_CLAIM, {"held": HELD}).one_or_none()) is not None:
        found = select(WebhookRow).where(WebhookRow.id == row.webhook_id, WebhookRow.deleted_at.is_(None))
        webhook = session.scalars(found).one_or_none()
        if webhook is None:
            _end(session, row.id, row.attempts, given_up_at=func.clock_timestamp(), last_error="deleted")
            continue
        errand = Errand(row.id, row.event_id, row.attempts, row.body, webhook.url, "")
        try:
            return replace(errand, secret=sealer.open_text(webhook.secret, *_place(webhook.id)))
        except (SecretsOff, SecretUnreadable) as fault:
            not_heard(session, errand, fault.code)
    return None


def heard(session: Session, errand: Errand, status: int) -> None:
    """Write down that the receiver has it."""
    _end(
        session,
        errand.delivery_id,
        errand.attempt,
        delivered_at=func.clock_timestamp(),
        last_status=status,
        last_error=None,
    )


def not_heard(session: Session, errand: Errand, error: str, status: int | None = None) -> None:
    """Write down why it has not, and when to try again; after three days never."""
    said = {"last_error": error, "last_status": status}
    mine = (DeliveryRow.id == errand.delivery_id, DeliveryRow.attempts == errand.attempt)
    old = DeliveryRow.created_at < func.clock_timestamp() - PATIENCE
    if session.scalar(select(DeliveryRow.id).where(*mine, old)) is not None:
        _end(session, errand.delivery_id, errand.attempt, given_up_at=func.clock_timestamp(), **said)
        return
    again = update(DeliveryRow).where(*mine, DeliveryRow.due_at.is_not(None))
    session.execute(again.values(due_at=func.clock_timestamp() + rest_after(errand.attempt), **said))


def seal_anew(session: Session, sealer: Sealer) -> int:
    """Seal with the first key whatever another one has sealed, or none; tell how many."""
    count = 0
    for row in session.scalars(select(WebhookRow).with_for_update()):
        if not sealer.is_current_text(row.secret):
            place = _place(row.id)
            row.secret = sealer.seal_text(sealer.open_text(row.secret, *place), *place)
            count += 1
    return count


def rest_after(attempts: int) -> timedelta:
    """Tell how long a delivery rests after so many attempts."""
    rest: timedelta = FIRST_REST * (1 << min(attempts - 1, 20))
    return min(rest, LONGEST_REST)


def _end(session: Session, delivery_id: str, attempt: int, **values: Any) -> None:
    """Make it due no more, unless somebody else has taken it meanwhile."""
    mine = update(DeliveryRow).where(
        DeliveryRow.id == delivery_id, DeliveryRow.attempts == attempt, DeliveryRow.due_at.is_not(None)
    )
    session.execute(mine.values(due_at=None, **values))


def _rows(
    webhook_ids: Sequence[str], type_: str, about: dict[str, str], job_id: str | None
) -> list[dict[str, Any]]:
    event_id = new_id("evt")
    body = {
        "id": event_id,
        "object": "event",
        "type": type_,
        "created_at": int(time.time()),
        "data": about,
    }
    return [
        {"id": new_id("dlv"), "webhook_id": webhook_id, "job_id": job_id, "event_id": event_id}
        | {"type": type_, "body": body}
        for webhook_id in webhook_ids
    ]


def _place(webhook_id: str) -> tuple[str, ...]:
    return "webhooks", webhook_id, "secret"


def _of(project_id: str) -> tuple[Any, ...]:
    return WebhookRow.project_id == project_id, WebhookRow.deleted_at.is_(None)


def _webhook_of(row: WebhookRow) -> Webhook:
    return Webhook(row.id, row.url, tuple(row.events), row.created_at)


def _delivery_of(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        event_id=row.event_id,
        type=row.type,
        job_id=row.job_id,
        attempts=row.attempts,
        due_at=row.due_at,
        delivered_at=row.delivered_at,
        given_up_at=row.given_up_at,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
    )

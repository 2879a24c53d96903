"""Who is told of events, and how that went."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from neftune_store.models.base import NOW, Base, Json


class WebhookRow(Base):
    """Somebody who wants to be told what becomes of a project's jobs."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]


class DeliveryRow(Base):
    """One thing to tell one webhook; due until it was heard or given up."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)  # None: a test
    event_id: Mapped[str]
    type: Mapped[str]
    body: Mapped[Json]
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(server_default=NOW)
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        CheckConstraint(
            "(due_at IS NULL) = (delivered_at IS NOT NULL OR given_up_at IS NOT NULL)", name="due"
        ),
        Index("ix_deliveries_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    )

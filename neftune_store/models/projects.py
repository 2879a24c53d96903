"""Projects, who may act for them, and what they did and keep secret."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from neftune_store.models.base import NOW, SHA256, Base, Json


class ProjectRow(Base):
    """Who owns rows."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    served_at: Mapped[datetime | None]  # when a claim last took one of its jobs: the fair share
    # Quotas that an operator has set. None: the default of queued jobs, and no bound on the others.
    max_queued: Mapped[int | None]
    max_running: Mapped[int | None]
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("max_queued >= 0 AND max_running >= 0 AND max_bytes >= 0", name="quotas"),
    )


class ApiKeyRow(Base):
    """A key's hash and what it may do; the key itself is nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute

    __table_args__ = (CheckConstraint(SHA256, name="sha256"),)


class LoginRow(Base):
    """A browser that was let in by a key; its cookie's hash, never the cookie."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(SHA256, name="sha256"),
        Index("ix_logins_api_key_id_created_at", "api_key_id", "created_at"),
    )


class AuditRow(Base):
    """Who did what, when and from where. Only ever added to; names rows, and outlives them."""

    __tablename__ = "audit_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None]
    key_id: Mapped[str]
    action: Mapped[str]
    target: Mapped[str | None]
    data: Mapped[Json]
    request_id: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        Index("ix_audit_events_created_at_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_audit_events_project_id_created_at_id",
            "project_id",
            text("created_at DESC"),
            text("id DESC"),
        ),
    )


class SecretRow(Base):
    """A value that nobody reads back: sealed for its project and its name."""

    __tablename__ = "secrets"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

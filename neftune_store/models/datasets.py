"""Rows that were uploaded, whole, faulty or in parts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from neftune_store.models.base import NOW, SHA256, Base, Json


class DatasetRow(Base):
    """Sealed rows: immutable but for the mark of deletion."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    format: Mapped[str]
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    blob_key: Mapped[str] = mapped_column(index=True)
    stats: Mapped[Json]
    warnings: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(SHA256, name="sha256"),
        CheckConstraint("rows > 0 AND bytes > 0", name="not_empty"),
        Index("ix_datasets_project_id_created_at_id", "project_id", text("created_at DESC"), text("id DESC")),
    )


class FaultyFileRow(Base):
    """An upload with faults: what was wrong with it, and none of its bytes."""

    __tablename__ = "faulty_files"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_faulty_files_project_id_created_at_id", "project_id", text("created_at DESC"), text("id DESC")
        ),
    )


class UploadRow(Base):
    """A promise of bytes that come in parts; ``file`` is the tail of what it became."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    ended_as: Mapped[str | None]
    file: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("ended_as IN ('completed', 'cancelled')", name="ended_as"),
        CheckConstraint("bytes > 0", name="bytes"),
    )


class UploadPartRow(Base):
    """Some bytes of an upload, staged in storage."""

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    blob_key: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

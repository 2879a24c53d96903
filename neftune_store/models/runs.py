"""What running a job brings forth: events, metrics, checkpoints, results, files."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from neftune_store.lifecycle import TERMINAL
from neftune_store.models.base import NOW, SHA256, Base, Json, one_of

TERMINAL_EVENTS = tuple(f"job.{status}" for status in sorted(TERMINAL))


class RunRow(Base):
    """One attempt at a job."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    fence: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error_code: Mapped[str | None]
    exit: Mapped[int | None] = mapped_column(Integer)
    log_tail: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("job_id", "fence"),
        Index("ix_runs_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome"),
    )


class EventRow(Base):
    """A past-tense fact (``event``), or what the job looked like after it (``status``)."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(server_default="event")
    name: Mapped[str]
    data: Mapped[Json]
    fence: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('event', 'status')", name="kind"),
        Index(
            "uq_events_terminal",
            "job_id",
            unique=True,
            postgresql_where=text(f"kind = 'event' AND name IN {one_of(TERMINAL_EVENTS)}"),
        ),
    )


class MetricRow(Base):
    """The numbers of one step. A step that runs again after a loss replaces its row."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    numbers: Mapped[Json]
    fence: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("step >= 0", name="step"),
        Index("uq_metrics_job_id_seq", "job_id", "seq", unique=True),
    )


class MetricSpanRow(Base):
    """The smallest and the largest value of a curve over ``width`` steps, from ``span * width`` on."""

    __tablename__ = "metric_spans"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    width: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    span: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    low: Mapped[float]
    low_step: Mapped[int] = mapped_column(BigInteger)
    high: Mapped[float]
    high_step: Mapped[int] = mapped_column(BigInteger)
    points: Mapped[int] = mapped_column(BigInteger)

    # Spans are built, and replaced, of all keys at once.
    __table_args__ = (Index("ix_metric_spans_job_id_width_span", "job_id", "width", "span"),)


class LogPartRow(Base):
    """Some of what a run has printed, while it goes on; the newest are kept."""

    __tablename__ = "log_parts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    said: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class CheckpointRow(Base):
    """Where a job can go on."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    step: Mapped[int] = mapped_column(BigInteger)
    manifest: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    dropped_at: Mapped[datetime | None]  # its objects are no longer held
    dropped_why: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("job_id", "step", "fence"),
        CheckConstraint("step > 0", name="step"),
        CheckConstraint(
            "(dropped_at IS NULL) = (dropped_why IS NULL) AND dropped_why IN ('old', 'corrupt', 'expired')",
            name="dropped",
        ),
        Index(
            "ix_checkpoints_job_id_step",
            "job_id",
            text("step DESC"),
            postgresql_where=text("dropped_at IS NULL"),
        ),
    )


class ResultRow(Base):
    """The frozen record of a run that succeeded."""

    __tablename__ = "results"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    record: Mapped[Json]
    headline: Mapped[Json | None]  # of an evaluation: the few figures that a table has room for
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ArtifactRecord(Base):
    """A stored result; it refers only to bytes that were read back."""

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    kind: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    blob_key: Mapped[str] = mapped_column(index=True)
    media_type: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        UniqueConstraint("job_id", "name"),
        CheckConstraint(SHA256, name="sha256"),
        CheckConstraint("bytes >= 0", name="bytes"),
    )


class CondemnedBlobRow(Base):
    """An object that no row named when it was looked at; it goes when that is so for long enough."""

    __tablename__ = "condemned_blobs"

    blob_key: Mapped[str] = mapped_column(primary_key=True)
    condemned_at: Mapped[datetime] = mapped_column(server_default=NOW)

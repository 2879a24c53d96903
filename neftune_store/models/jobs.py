"""What was asked for: jobs, series of them, and the requests that made them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    UniqueConstraint,
    false,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from neftune_store.lifecycle import KINDS, TERMINAL, Intent, Status
from neftune_store.models.base import NOW, Base, Json, one_of
from neftune_store.models.datasets import DatasetRow

_TERMINAL = one_of(sorted(TERMINAL))
_NEWEST = text("created_at DESC"), text("id DESC")
_PATHS = {"held": "jsonb_path_ops"}
# The very words of the index, or it is not used.
JOB_METADATA: ColumnElement[Any] = literal_column("(spec -> 'metadata')", JSONB())
# Not the column: how rare an element of an array is, the planner can't tell where tags are few.
JOB_TAGS: ColumnElement[Any] = literal_column("(spec -> 'tags')", JSONB())
# A list of what is not sorted in yet would be read through by each question.
_GIN: Any = {"postgresql_using": "gin", "postgresql_with": {"fastupdate": "off"}}


class SweepRow(Base):
    """One job asked for at several alphas and seeds. Where it is, its jobs tell."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    spec: Mapped[Json]
    rungs: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))  # what halving has decided
    intent: Mapped[str] = mapped_column(server_default=Intent.RUN.value)
    idempotency_key: Mapped[str | None]
    body_sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        UniqueConstraint("project_id", "idempotency_key"),
        CheckConstraint(f"intent IN {one_of(Intent)}", name="intent"),
        Index("ix_sweeps_project_id_created_at_id", "project_id", *_NEWEST),
    )


class JobRow(Base):
    """What was asked, and where it is."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(server_default="train")
    # What was asked: never changes.
    name: Mapped[str | None]
    model: Mapped[str]
    alpha: Mapped[float]
    tags: Mapped[list[str]]
    priority: Mapped[int] = mapped_column(server_default="0")
    spec: Mapped[Json]
    spec_sha256: Mapped[str]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    validation_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    retry_of: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    clone_of: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    of_job: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))  # whose result this one works on
    options: Mapped[Json | None]  # what to do with it
    sweep_id: Mapped[str | None] = mapped_column(ForeignKey("sweeps.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    # Two writers, two columns.
    intent: Mapped[str] = mapped_column(server_default=Intent.RUN.value)
    status: Mapped[str] = mapped_column(server_default=Status.QUEUED.value)
    cancel_reason: Mapped[str | None]
    # After which share of its steps it waits for the others of its series; and where it has, at which loss.
    hold_at: Mapped[float | None]
    held_step: Mapped[int | None] = mapped_column(BigInteger)
    held_loss: Mapped[float | None]
    # Who runs it, and since when nobody has.
    attempt: Mapped[int] = mapped_column(server_default="0")
    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    run_after: Mapped[datetime | None]
    crashes: Mapped[int] = mapped_column(server_default="0")
    infra_errors: Mapped[int] = mapped_column(server_default="0")
    drains: Mapped[int] = mapped_column(server_default="0")
    # How far it is.
    resolved: Mapped[Json | None]
    progress: Mapped[Json | None]
    metrics_summary: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    committed_step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    live_step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    spans_until: Mapped[int] = mapped_column(BigInteger, server_default="0")
    progress_at: Mapped[datetime | None]
    ckpt_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id", use_alter=True))
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # How it ended.
    result_id: Mapped[str | None] = mapped_column(ForeignKey("results.id", use_alter=True))
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_retryable: Mapped[bool | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    dataset: Mapped[DatasetRow] = relationship(foreign_keys=[dataset_id], lazy="raise", viewonly=True)

    __table_args__ = (
        CheckConstraint(f"status IN {one_of(Status)}", name="status"),
        CheckConstraint(f"intent IN {one_of(Intent)}", name="intent"),
        CheckConstraint(f"kind IN {one_of(KINDS)}", name="kind"),
        CheckConstraint(
            "(status = 'running') = (lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)", name="lease"
        ),
        CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="lease_whole"),
        CheckConstraint(f"(status IN {_TERMINAL}) = (finished_at IS NOT NULL)", name="finished"),
        CheckConstraint("(status = 'succeeded') = (result_id IS NOT NULL)", name="result"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="error"),
        CheckConstraint("alpha >= 0 AND alpha <= 100", name="alpha"),
        CheckConstraint("jsonb_typeof(spec) = 'object'", name="spec"),
        CheckConstraint("(kind = 'train') = (of_job IS NULL)", name="of_job"),
        Index("ix_jobs_sweep_id", "sweep_id", "created_at", postgresql_where=text("sweep_id IS NOT NULL")),
        Index("ix_jobs_of_job", "of_job", postgresql_where=text("of_job IS NOT NULL")),
        Index(
            "uq_jobs_export",
            "of_job",
            text("(options ->> 'kind')"),
            unique=True,
            postgresql_where=text(
                "kind = 'export' AND status NOT IN ('failed', 'cancelled') AND deleted_at IS NULL"
            ),
        ),
        Index("ix_jobs_project_id_created_at_id", "project_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_jobs_queued",
            text("priority DESC"),
            "created_at",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        Index("ix_jobs_queued_project_id", "project_id", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_jobs_queued_project_id_first",
            "project_id",
            text("priority DESC"),
            "created_at",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        # Only the project: the lease moves with every heartbeat, and an index on it would grow with each.
        Index("ix_jobs_running_project_id", "project_id", postgresql_where=text("status = 'running'")),
        # For lists by what hardly any job has; what many have is found on the way through the newest.
        Index("ix_jobs_project_id_status", "project_id", "status", *_NEWEST),
        Index("ix_jobs_project_id_model", "project_id", "model", *_NEWEST),
        Index("ix_jobs_project_id_alpha", "project_id", "alpha"),
        Index("ix_jobs_tags", JOB_TAGS.label("held"), postgresql_ops=_PATHS, **_GIN),
        Index(
            "ix_jobs_metadata", JOB_METADATA.label("held"), postgresql_ops={"held": "jsonb_path_ops"}, **_GIN
        ),
        Index("ix_jobs_dataset_id", "dataset_id"),
        Index("ix_jobs_project_id_tail", "project_id", text("right(id, 8)")),  # a tuned model's name ends so
        Index(
            "ix_jobs_validation_dataset_id",
            "validation_dataset_id",
            postgresql_where=text("validation_dataset_id IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70}},  # room for heartbeats to stay on their page
    )


class JobInputRow(Base):
    """One thing that a job reads beside what its spec names: rows, or weights that another job has left.

    Weights are named file by file, so that what was asked for is read, whatever is kept of that job later.
    """

    __tablename__ = "job_inputs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)  # what it is read as
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    of_job: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    weights: Mapped[Json | None]

    __table_args__ = (
        CheckConstraint(
            "(dataset_id IS NULL) = (weights IS NOT NULL) AND (weights IS NULL) = (of_job IS NULL)",
            name="one",
        ),
        Index("ix_job_inputs_dataset_id", "dataset_id", postgresql_where=text("dataset_id IS NOT NULL")),
        Index("ix_job_inputs_of_job", "of_job", postgresql_where=text("of_job IS NOT NULL")),
    )


class IdempotencyKeyRow(Base):
    """Which job a client's key made, for as long as the job is remembered."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    # Checked at commit: the key is taken first, so that of many first uses one alone makes a job.
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),)


class RecentBodyRow(Base):
    """The last job that an API key has made of a body; a minute later it means nothing any more."""

    __tablename__ = "recent_bodies"

    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    # A repeated attempt has made the job, and the first one has not come yet.
    owed: Mapped[bool] = mapped_column(server_default=false())

"""The tables. Private to the store and the migrations: everyone else speaks to a ledger.

Every constraint is named by convention, so that a migration can name it too. Relations are
``lazy="raise"``: each query is one somebody wrote. Rules about moves are not here but in the trigger
that the first migration makes.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from neftune_store.lifecycle import KINDS, TERMINAL, Intent, Status

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
TERMINAL_EVENTS = tuple(f"job.{status}" for status in sorted(TERMINAL))


def _one_of(values: Any) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


_TERMINAL = _one_of(sorted(TERMINAL))
_SHA256 = "sha256 ~ '^[0-9a-f]{64}$'"
Json = dict[str, Any]
NOW = func.clock_timestamp()
_NEWEST = text("created_at DESC"), text("id DESC")
_PATHS = {"held": "jsonb_path_ops"}
# The very words of the index, or it is not used.
JOB_METADATA: ColumnElement[Any] = literal_column("(spec -> 'metadata')", JSONB())
# Not the column: how rare an element of an array is, the planner can't tell where tags are few.
JOB_TAGS: ColumnElement[Any] = literal_column("(spec -> 'tags')", JSONB())
# A list of what is not sorted in yet would be read through by each question.
_GIN: Any = {"postgresql_using": "gin", "postgresql_with": {"fastupdate": "off"}}


class Base(DeclarativeBase):
    """What all tables share: names by convention, text without length, times with zone, jsonb."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        datetime: DateTime(timezone=True),
        float: Double(),
        Json: JSONB(),
        list[Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }


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

    __table_args__ = (CheckConstraint(_SHA256, name="sha256"),)


class LoginRow(Base):
    """A browser that was let in by a key; its cookie's hash, never the cookie."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(_SHA256, name="sha256"),
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
        CheckConstraint(_SHA256, name="sha256"),
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
        CheckConstraint(f"intent IN {_one_of(Intent)}", name="intent"),
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
        CheckConstraint(f"status IN {_one_of(Status)}", name="status"),
        CheckConstraint(f"intent IN {_one_of(Intent)}", name="intent"),
        CheckConstraint(f"kind IN {_one_of(KINDS)}", name="kind"),
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
            postgresql_where=text(f"kind = 'event' AND name IN {_one_of(TERMINAL_EVENTS)}"),
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
        CheckConstraint(_SHA256, name="sha256"),
        CheckConstraint("bytes >= 0", name="bytes"),
    )


class CondemnedBlobRow(Base):
    """An object that no row named when it was looked at; it goes when that is so for long enough."""

    __tablename__ = "condemned_blobs"

    blob_key: Mapped[str] = mapped_column(primary_key=True)
    condemned_at: Mapped[datetime] = mapped_column(server_default=NOW)


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


class SecretRow(Base):
    """A value that nobody reads back: sealed for its project and its name."""

    __tablename__ = "secrets"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class LogPartRow(Base):
    """Some of what a run has printed, while it goes on; the newest are kept."""

    __tablename__ = "log_parts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    said: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class WorkerRow(Base):
    """A process that trains or answers, as long as it says so itself."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]  # what leases call it
    device: Mapped[str]
    gpus: Mapped[list[Any]]
    address: Mapped[str | None]  # where the api reaches one that answers, and by which token: shown to nobody
    token: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('train', 'generate')", name="kind"),
        CheckConstraint("(address IS NULL) = (token IS NULL)", name="reached"),
    )

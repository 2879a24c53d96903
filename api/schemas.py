"""How datasets, jobs and what belongs to them look in answers.

What goes out is chosen field by field: a column added to a table never leaks by itself. What comes in is
not here: a job is a :class:`neftune_core.spec.JobSpec`.
"""

from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from neftune_store.artifacts import Artifact
from neftune_store.datasets import Dataset
from neftune_store.jobs import Job
from neftune_store.lifecycle import Intent, Status

T = TypeVar("T")


class Schema(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Listing(Schema, Generic[T]):
    """One page; ``next`` is the cursor of the page after, or null."""

    items: list[T]
    next: str | None


class DatasetRead(Schema):
    """Sealed rows."""

    id: str
    name: str
    format: str
    rows: int
    bytes: int
    sha256: str
    status: Literal["ready"] = "ready"
    stats: dict[str, Any]
    warnings: list[Any]
    created_at: datetime

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Show a dataset."""
        return cls(
            id=dataset.id,
            name=dataset.name,
            format=dataset.format,
            rows=dataset.rows,
            bytes=dataset.bytes,
            sha256=dataset.sha256,
            stats=dict(dataset.stats),
            warnings=list(dataset.warnings),
            created_at=dataset.created_at,
        )


class ArtifactRead(Schema):
    """A stored result."""

    name: str
    kind: str
    bytes: int
    sha256: str
    created_at: datetime
    partial: bool = Field(description="Of a job that has not, or not yet, succeeded.")
    url: str = Field(description="Where to download it; relative to this service.")

    @classmethod
    def of(cls, job_id: str, artifact: Artifact) -> Self:
        """Show an artifact."""
        return cls(
            name=artifact.name,
            kind=artifact.kind,
            bytes=artifact.bytes,
            sha256=artifact.sha256,
            created_at=artifact.created_at,
            partial=artifact.partial,
            url=f"/jobs/{job_id}/artifacts/{artifact.name}",
        )


class ErrorRead(Schema):
    """Why a job failed."""

    code: str
    detail: str
    retryable: bool


class QueueRead(Schema):
    """Why a job waits."""

    position: int | None = Field(description="1 is next; null while it can't be told.")
    reason: str


class JobRead(Schema):
    """What was asked, and where it is."""

    id: str
    kind: str
    name: str | None
    status: Status
    intent: Intent = Field(description="What the user wants; the status follows.")
    spec: dict[str, Any] = Field(description="The spec as asked; its preset and the defaults filled in.")
    resolved: dict[str, Any] | None = Field(description="What auto came to mean; null before the run.")
    progress: dict[str, Any] | None
    metrics: dict[str, Any] = Field(description="The latest value of each metric.")
    queue: QueueRead | None
    attempt: int
    error: ErrorRead | None
    tags: list[str]
    retry_of: str | None
    clone_of: str | None
    of_job: str | None = Field(description="The job whose result this one works on; null where it trains.")
    options: dict[str, Any] | None = Field(description="What to do with it.")
    sweep: str | None = Field(description="The series it belongs to, if any.")
    cancel_reason: str | None = Field(description="Who cancelled it, if not a user: halving.")
    last_seq: int = Field(description="Number of the job's latest change; the id of its stream.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job, queue: QueueRead | None = None) -> Self:
        """Show a job."""
        return cls(
            id=job.id,
            kind=job.kind,
            name=job.name,
            status=Status(job.status),
            intent=Intent(job.intent),
            spec=dict(job.spec),
            resolved=job.resolved,
            progress=job.progress,
            metrics=dict(job.metrics_summary),
            queue=queue,
            attempt=job.attempt,
            error=error_of(job),
            tags=list(job.tags),
            retry_of=job.retry_of,
            clone_of=job.clone_of,
            of_job=job.of_job,
            options=job.options,
            sweep=job.sweep_id,
            cancel_reason=job.cancel_reason,
            last_seq=job.last_seq,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class JobDetail(JobRead):
    """One job, with what it has made."""

    artifacts: list[ArtifactRead] = []


def error_of(job: Job) -> ErrorRead | None:
    """Show why a job failed, if it did."""
    if job.error_code is None:
        return None
    return ErrorRead(code=job.error_code, detail=job.error_message or "", retryable=bool(job.error_retryable))


class CheckpointRead(Schema):
    """Which weights are measured."""

    of: Literal["base", "best", "last", "step"] = Field(description="What was asked for.")
    step: int | None

"""What a job looks like from outside the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.models import JobRow, RunRow


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked, and where it is."""

    id: str
    project_id: str
    kind: str
    name: str | None
    model: str
    alpha: float
    tags: tuple[str, ...]
    priority: int
    spec: dict[str, Any]
    spec_sha256: str
    dataset_id: str
    validation_dataset_id: str | None
    retry_of: str | None
    clone_of: str | None
    of_job: str | None
    options: dict[str, Any] | None
    sweep_id: str | None
    created_at: datetime
    status: Status
    intent: Intent
    cancel_reason: str | None
    hold_at: float | None
    held_step: int | None
    attempt: int
    fence: int
    lease_owner: str | None
    lease_expires_at: datetime | None
    run_after: datetime | None
    crashes: int
    infra_errors: int
    drains: int
    resolved: dict[str, Any] | None
    progress: dict[str, Any] | None
    metrics_summary: dict[str, Any]
    committed_step: int
    live_step: int
    progress_at: datetime | None
    last_seq: int
    error_code: str | None
    error_message: str | None
    error_retryable: bool | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Tell whether the job has ended for ever."""
        return self.status in TERMINAL


def job_of(row: JobRow) -> Job:
    """Give the value of a row."""
    return Job(
        id=row.id,
        project_id=row.project_id,
        kind=row.kind,
        name=row.name,
        model=row.model,
        alpha=row.alpha,
        tags=tuple(row.tags),
        priority=row.priority,
        spec=row.spec,
        spec_sha256=row.spec_sha256,
        dataset_id=row.dataset_id,
        validation_dataset_id=row.validation_dataset_id,
        retry_of=row.retry_of,
        clone_of=row.clone_of,
        of_job=row.of_job,
        options=row.options,
        sweep_id=row.sweep_id,
        created_at=row.created_at,
        status=Status(row.status),
        intent=Intent(row.intent),
        cancel_reason=row.cancel_reason,
        hold_at=row.hold_at,
        held_step=row.held_step,
        attempt=row.attempt,
        fence=row.fence,
        lease_owner=row.lease_owner,
        lease_expires_at=row.lease_expires_at,
        run_after=row.run_after,
        crashes=row.crashes,
        infra_errors=row.infra_errors,
        drains=row.drains,
        resolved=row.resolved,
        progress=row.progress,
        metrics_summary=row.metrics_summary,
        committed_step=row.committed_step,
        live_step=row.live_step,
        progress_at=row.progress_at,
        last_seq=row.last_seq,
        error_code=row.error_code,
        error_message=row.error_message,
        error_retryable=row.error_retryable,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job."""

    id: str
    job_id: str
    attempt: int
    fence: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error_code: str | None
    exit: int | None
    log_tail: str | None


def run_of(row: RunRow) -> Run:
    """Give the value of a row."""
    return Run(
        row.id,
        row.job_id,
        row.attempt,
        row.fence,
        row.worker,
        row.started_at,
        row.ended_at,
        row.outcome,
        row.error_code,
        row.exit,
        row.log_tail,
    )

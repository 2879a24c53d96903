"""How much a project may have, held exactly: who asks for more holds the project's row while it is counted.

Rows are counted, not objects: equal bytes uploaded twice are counted twice. Checkpoints of runs are not
counted, for they come and go by themselves.
"""

from sqlalchemy import BindParameter, ScalarSelect, Select, bindparam, func, select
from sqlalchemy.orm import Session

from neftune_store.errors import QueueFull, QuotaExceeded
from neftune_store.lifecycle import Status
from neftune_store.models import ArtifactRecord, DatasetRow, JobRow, ProjectRow

# Built once: every submit asks them, and putting a statement together costs as much as asking it.
_PROJECT: BindParameter[str] = bindparam("project_id")
_QUOTAS = (
    select(ProjectRow.max_queued, ProjectRow.max_bytes)
    .where(ProjectRow.id == _PROJECT)
    .with_for_update(key_share=True)
)
_QUEUED = select(func.count()).select_from(
    select(JobRow.id)
    .where(JobRow.project_id == _PROJECT, JobRow.status == Status.QUEUED)
    .limit(bindparam("limit"))
    .subquery()
)


def check_queue(session: Session, project_id: str, default_limit: int) -> None:
    """Refuse one job too many, or a job of a project whose storage is full; holds the project till commit."""
    max_queued, max_bytes = session.execute(_QUOTAS, {"project_id": project_id}).one()
    limit = default_limit if max_queued is None else max_queued
    if (session.scalar(_QUEUED, {"project_id": project_id, "limit": limit}) or 0) >= limit:
        raise QueueFull(limit)
    if max_bytes is not None:
        _check_bytes(session, project_id, max_bytes, 1)


def check_room(session: Session, project_id: str, more: int, *, hold: bool = True) -> None:
    """Refuse bytes for which the project has no room; with ``hold`` nobody else gets that room till commit.

    Without, it is only a look: it saves the sender of a large body the way.
    """
    quota = select(ProjectRow.max_bytes).where(ProjectRow.id == project_id)
    max_bytes = session.scalar(quota)
    if max_bytes is None:
        return
    if hold:  # only now: a project without a quota has nobody wait
        max_bytes = session.scalar(quota.with_for_update(key_share=True))
    if max_bytes is not None:
        _check_bytes(session, project_id, max_bytes, more)


def stored_bytes(session: Session, project_id: str) -> int:
    """Add up what the project stores: its datasets, and what its jobs have left."""
    datasets = select(func.coalesce(func.sum(DatasetRow.bytes), 0)).where(
        DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None)
    )
    artifacts = (
        select(func.coalesce(func.sum(ArtifactRecord.bytes), 0))
        .join(JobRow, JobRow.id == ArtifactRecord.job_id)
        .where(JobRow.project_id == project_id, JobRow.deleted_at.is_(None))
    )
    return int(session.scalar(datasets) or 0) + int(session.scalar(artifacts) or 0)


def running_limit_reached(project_id: str | BindParameter[str]) -> ScalarSelect[int | None]:
    """Ask for the number of jobs that the project may run at once, if it runs that many now."""
    running = _running(project_id).scalar_subquery()
    limit = select(ProjectRow.max_running)
    return limit.where(ProjectRow.id == project_id, ProjectRow.max_running <= running).scalar_subquery()


def running_jobs(session: Session, project_id: str) -> int:
    """Count the jobs that the project runs now."""
    return session.scalar(_running(project_id)) or 0


def _running(project_id: str | BindParameter[str]) -> Select[int]:
    return select(func.count()).where(JobRow.project_id == project_id, JobRow.status == Status.RUNNING)


def _check_bytes(session: Session, project_id: str, limit: int, more: int) -> None:
    stored = stored_bytes(session, project_id)
    if stored + more > limit:
        raise QuotaExceeded(limit, stored)

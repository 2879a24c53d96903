"""Claiming: which queued job is next, and who has it now.

One statement picks and moves the job, so two workers can never both win: ``SKIP LOCKED`` sends the
second to the next row. Between projects priority counts nothing, or one could keep all others waiting: first
comes the project that runs fewer jobs, then the one that was served longest ago, then the one whose next job
is older. Within a project higher priority goes first, then age. A project that runs as many jobs as it may
is passed over. :mod:`neftune_store.turns` tells places in the queue by the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, func, insert, select, text
from sqlalchemy.orm import Session

from neftune_store.checkpoints import Checkpoint, candidates, rewind
from neftune_store.datasets import Dataset, dataset_of
from neftune_store.ids import new_id
from neftune_store.inputs import Input, inputs_of
from neftune_store.journal import Fact, change
from neftune_store.models import DatasetRow, JobRow, RunRow
from neftune_store.quotas import running_jobs

_TEXTS = ARRAY(Text())
# Of each project so many are looked at: as many workers may be claiming at the same instant. One more finds
# nothing and is rung for again. Their rows are tried one by one: a join would read all jobs there ever were.
# Whoever finds a project's first job taken at this instant counts it as running (``nth``).
CLAIMERS = 64

_CLAIM = text(
    """
    WITH busy AS (
        SELECT project_id, count(*) AS running FROM jobs WHERE status = 'running' GROUP BY project_id
    ), first AS (
        SELECT job.id, job.nth, job.created_at, coalesce(busy.running, 0) + job.nth AS running,
            project.served_at
        FROM projects AS project
        LEFT JOIN busy ON busy.project_id = project.id
        CROSS JOIN LATERAL (
            SELECT id, created_at, row_number() OVER (ORDER BY priority DESC, created_at, id) AS nth FROM jobs
            WHERE project_id = project.id AND status = 'queued' AND intent = 'run'
              AND (run_after IS NULL OR run_after <= clock_timestamp())
            ORDER BY priority DESC, created_at, id
            LIMIT :claimers
        ) AS job
        WHERE project.id <> ALL (:full)
          AND (project.max_running IS NULL OR coalesce(busy.running, 0) < project.max_running)
    ), best AS MATERIALIZED (
        SELECT id FROM first
        ORDER BY running, nth, served_at NULLS FIRST, created_at, id
    ), chosen AS (
        SELECT job.id
        FROM best CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE id = best.id AND status = 'queued' AND intent = 'run'
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS job
        LIMIT 1
    ), claimed AS (
        UPDATE jobs SET
            status = 'running', fence = fence + 1, attempt = attempt + 1, run_after = NULL,
            lease_owner = :worker, lease_expires_at = clock_timestamp() + make_interval(secs => :lease),
            started_at = coalesce(started_at, clock_timestamp()), progress = NULL,
            progress_at = clock_timestamp()
        FROM chosen WHERE jobs.id = chosen.id
        RETURNING jobs.id, jobs.project_id
    ), served AS (
        UPDATE projects SET served_at = clock_timestamp() FROM claimed WHERE projects.id = claimed.project_id
        RETURNING projects.id AS project_id, projects.max_running
    )
    SELECT claimed.id, claimed.project_id, served.max_running FROM claimed, served
    """
).bindparams(
    bindparam("worker"), bindparam("lease"), bindparam("claimers", CLAIMERS), bindparam("full", type_=_TEXTS)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a job, and everything its supervisor needs to know about it."""

    job_id: str
    project_id: str
    run_id: str
    kind: str
    of_job: str | None
    options: dict[str, Any] | None
    fence: int
    attempt: int
    worker: str
    spec: dict[str, Any]
    spec_sha256: str
    resolved: dict[str, Any] | None
    dataset: Dataset
    validation_dataset: Dataset | None
    inputs: tuple[Input, ...]  # what it reads beside
    crashes: int
    infra_errors: int
    drains: int
    committed_step: int
    checkpoints: tuple[Checkpoint, ...]  # where it may go on, the furthest first
    ran_seconds: float  # over all attempts before this one: max_minutes counts them too


def claim_next(session: Session, worker: str, lease_seconds: float) -> Claim | None:
    """Claim the best queued job; ``None`` when there is none.

    Metrics after the furthest checkpoint go, for those steps run again; ``rewound`` tells who draws them.
    """
    job_id = _claimed(session, worker, lease_seconds)
    if job_id is None:
        return None
    run_id = new_id("run")
    # Asked after the claim holds the row, so it sees every row that an earlier run committed.
    row = session.scalars(
        select(JobRow).where(JobRow.id == job_id), execution_options={"populate_existing": True}
    ).one()
    places = candidates(session, job_id)
    begin = places[0].step if places else 0
    values, rewound = rewind(session, row, begin)
    facts = [Fact("run.started", {"attempt": row.attempt, "run": run_id, "worker": worker}), *rewound]
    changed = change(session, row.id, (), values, facts)
    if changed is not None:
        row = changed
    ran = _ran_seconds(session, row.id)
    session.execute(
        insert(RunRow).values(id=run_id, job_id=row.id, attempt=row.attempt, fence=row.fence, worker=worker)
    )
    return _claim_of(session, row, run_id, ran, places)


def _claimed(session: Session, worker: str, lease_seconds: float) -> str | None:
    """Move the best queued job; one that would be too many for its project is put back, and the next tried.

    A claim sees how much a project runs as it was when the statement began. So a project with a quota is
    counted again once the claim holds its row, when those who were before it have committed.
    """
    full: list[str] = []
    while True:
        with session.begin_nested() as claim:
            given = {"worker": worker, "lease": lease_seconds, "full": full}
            found = session.execute(_CLAIM, given).one_or_none()
            if found is None:
                return None
            if found.max_running is None or running_jobs(session, found.project_id) <= found.max_running:
                return str(found.id)
            claim.rollback()
        full.append(found.project_id)


def _ran_seconds(session: Session, job_id: str) -> float:
    length = func.extract("epoch", func.coalesce(RunRow.ended_at, func.clock_timestamp()) - RunRow.started_at)
    return float(
        session.scalar(select(func.coalesce(func.sum(length), 0)).where(RunRow.job_id == job_id)) or 0
    )


def _claim_of(
    session: Session, row: JobRow, run_id: str, ran_seconds: float, places: Sequence[Checkpoint]
) -> Claim:
    wanted = [row.dataset_id, row.validation_dataset_id]
    rows = session.scalars(select(DatasetRow).where(DatasetRow.id.in_([id_ for id_ in wanted if id_])))
    datasets = {found.id: dataset_of(found) for found in rows}
    return Claim(
        job_id=row.id,
        project_id=row.project_id,
        run_id=run_id,
        kind=row.kind,
        of_job=row.of_job,
        options=row.options,
        fence=row.fence,
        attempt=row.attempt,
        worker=row.lease_owner or "",
        spec=row.spec,
        spec_sha256=row.spec_sha256,
        resolved=row.resolved,
        dataset=datasets[row.dataset_id],
        validation_dataset=datasets.get(row.validation_dataset_id) if row.validation_dataset_id else None,
        inputs=inputs_of(session, row.id),
        crashes=row.crashes,
        infra_errors=row.infra_errors,
        drains=row.drains,
        committed_step=row.committed_step,
        checkpoints=tuple(places),
        ran_seconds=ran_seconds,
    )

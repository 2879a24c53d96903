"""What projects have used: jobs, time of runs, tokens, bytes. Read off the rows there are, never metered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

# A run counts with that part of it which lies between the two times. Tokens are counted with the job's end.
_QUESTION = """
    WITH jobs_made AS (
        SELECT project_id, status, count(*) AS jobs FROM jobs
        WHERE created_at >= :since AND created_at < :until {of_jobs}
        GROUP BY project_id, status
    ), by_status AS (
        SELECT project_id, jsonb_object_agg(status, jobs) AS jobs FROM jobs_made GROUP BY project_id
    ), ran AS (
        SELECT jobs.project_id, sum(length.seconds) AS seconds,
            sum(length.seconds) FILTER (WHERE jobs.resolved ->> 'device' = 'cuda') AS gpu_seconds
        FROM runs JOIN jobs ON jobs.id = runs.job_id CROSS JOIN LATERAL (
            SELECT extract(epoch FROM least(coalesce(runs.ended_at, clock_timestamp()), :until)
                - greatest(runs.started_at, :since)) AS seconds
        ) AS length
        WHERE runs.started_at < :until AND coalesce(runs.ended_at, clock_timestamp()) > :since {of_jobs}
        GROUP BY jobs.project_id
    ), trained AS (
        SELECT project_id, sum((metrics_summary ->> 'tokens')::numeric) AS tokens FROM jobs
        WHERE finished_at >= :since AND finished_at < :until {of_jobs}
          AND jsonb_typeof(metrics_summary -> 'tokens') = 'number'
        GROUP BY project_id
    ), uploaded AS (
        SELECT project_id, sum(bytes) AS bytes FROM datasets WHERE deleted_at IS NULL {of_datasets}
        GROUP BY project_id
    ), made AS (
        SELECT jobs.project_id, sum(artifacts.bytes) AS bytes
        FROM artifacts JOIN jobs ON jobs.id = artifacts.job_id WHERE jobs.deleted_at IS NULL {of_jobs}
        GROUP BY jobs.project_id
    )
    SELECT projects.id, projects.name, coalesce(by_status.jobs, '{{}}'::jsonb) AS jobs,
        coalesce(ran.seconds, 0) AS run_seconds, coalesce(ran.gpu_seconds, 0) AS gpu_seconds,
        coalesce(trained.tokens, 0) AS tokens, coalesce(uploaded.bytes, 0) + coalesce(made.bytes, 0) AS bytes
    FROM projects
    LEFT JOIN by_status ON by_status.project_id = projects.id
    LEFT JOIN ran ON ran.project_id = projects.id
    LEFT JOIN trained ON trained.project_id = projects.id
    LEFT JOIN uploaded ON uploaded.project_id = projects.id
    LEFT JOIN made ON made.project_id = projects.id
    WHERE true {of_projects}
    ORDER BY projects.id
    """
_OF_ALL = text(_QUESTION.format(of_jobs="", of_datasets="", of_projects=""))
# Named in each part: a project with few jobs is told at once, however many there are of others.
_OF_ONE = text(
    _QUESTION.format(
        of_jobs="AND jobs.project_id = :project",
        of_datasets="AND datasets.project_id = :project",
        of_projects="AND projects.id = :project",
    )
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one project has used between two times, and what it stores now."""

    project_id: str
    project_name: str
    jobs: Mapping[str, int]  # made in that time, by their status now
    run_seconds: float
    gpu_seconds: float
    tokens: int  # of jobs that have ended in that time
    stored_bytes: int


def usage_of(session: Session, project_id: str | None, since: datetime, until: datetime) -> list[Usage]:
    """Tell what the project has used; all projects when none is named."""
    given: dict[str, Any] = {"since": since, "until": until}
    question = _OF_ALL
    if project_id is not None:
        question, given = _OF_ONE, {**given, "project": project_id}
    return [
        Usage(
            row.id,
            row.name,
            row.jobs,
            round(float(row.run_seconds), 3),
            round(float(row.gpu_seconds), 3),
            int(row.tokens),
            int(row.bytes),
        )
        for row in session.execute(question, given)
    ]

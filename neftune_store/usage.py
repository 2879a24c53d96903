"""What projects have used: jobs, time of runs, tokens, bytes. Read off the rows there are, never metered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, bindparam, text
from sqlalchemy.orm import Session

# A run counts with that part of it which lies between the two times. Tokens are counted with the job's end.
_USED = text(
    """
    WITH asked AS (
        SELECT id, name FROM projects WHERE :project IS NULL OR id = :project
    ), jobs_made AS (
        SELECT project_id, status, count(*) AS jobs FROM jobs
        WHERE created_at >= :since AND created_at < :until AND project_id IN (SELECT id FROM asked)
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
        WHERE runs.started_at < :until AND coalesce(runs.ended_at, clock_timestamp()) > :since
          AND jobs.project_id IN (SELECT id FROM asked)
        GROUP BY jobs.project_id
    ), trained AS (
        SELECT project_id, sum((metrics_summary ->> 'tokens')::numeric) AS tokens FROM jobs
        WHERE finished_at >= :since AND finished_at < :until AND project_id IN (SELECT id FROM asked)
          AND jsonb_typeof(metrics_summary -> 'tokens') = 'number'
        GROUP BY project_id
    ), held AS (
        SELECT project_id, sum(bytes) AS bytes FROM (
            SELECT project_id, bytes FROM datasets WHERE deleted_at IS NULL
            UNION ALL
            SELECT jobs.project_id, artifacts.bytes FROM artifacts JOIN jobs ON jobs.id = artifacts.job_id
            WHERE jobs.deleted_at IS NULL
        ) AS rows WHERE project_id IN (SELECT id FROM asked) GROUP BY project_id
    )
    SELECT asked.id, asked.name, coalesce(by_status.jobs, '{}'::jsonb) AS jobs,
        coalesce(ran.seconds, 0) AS run_seconds, coalesce(ran.gpu_seconds, 0) AS gpu_seconds,
        coalesce(trained.tokens, 0) AS tokens, coalesce(held.bytes, 0) AS bytes
    FROM asked
    LEFT JOIN by_status ON by_status.project_id = asked.id
    LEFT JOIN ran ON ran.project_id = asked.id
    LEFT JOIN trained ON trained.project_id = asked.id
    LEFT JOIN held ON held.project_id = asked.id
    ORDER BY asked.id
    """
).bindparams(bindparam("project", type_=Text()))


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
    given: dict[str, Any] = {"project": project_id, "since": since, "until": until}
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
        for row in session.execute(_USED, given)
    ]

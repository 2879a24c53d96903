"""What a run writes while it goes on: metrics, facts, progress, checkpoints. Every write under the fence.

Keep these transactions to data already in memory: whoever is frozen inside one holds the job's row until
the server ends the session.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from neftune_store import checkpoints
from neftune_store.checkpoints import Checkpoint, CheckpointFile
from neftune_store.claims import Claim
from neftune_store.errors import StoreError
from neftune_store.events import known
from neftune_store.halving import hold_if_due
from neftune_store.job import Run, run_of
from neftune_store.journal import JOBS_CHANNEL, event_row, notify
from neftune_store.leases import fenced
from neftune_store.models import EventRow, JobRow, RunRow
from neftune_store.sanitise import clean_json
from neftune_store.spans import extend

RESERVED = (  # the store's own facts
    *("job.", "run.started", "run.lost", "run.drained", "rewound", "status"),
    *("checkpoint.committed", "checkpoint.corrupt"),
)
BASE_STEP = 0  # measured before training

# All rows in one document: each element of an array would be written out by itself, at twice the price.
_METRICS = text(
    """
    INSERT INTO metrics (job_id, step, seq, numbers, fence)
    SELECT :job, (given.row ->> 0)::bigint, :first + place, given.row -> 1, :fence
    FROM jsonb_array_elements(CAST(:rows AS jsonb)) WITH ORDINALITY AS given(row, place)
    ON CONFLICT (job_id, step) DO UPDATE
    SET numbers = metrics.numbers || excluded.numbers, seq = excluded.seq, fence = excluded.fence
    """
)

Values = Mapping[str, float | None]


def write_metrics(
    session: Session,
    claim: Claim,
    rows: Sequence[tuple[int, Values]],
    *,
    progress: Mapping[str, Any] | None = None,
) -> int:
    """Write the numbers of some steps, and the progress with them; give the last number taken.

    A step that is there already is merged, so a batch whose commit was in doubt may be sent again.
    """
    row = fenced(session, claim)
    steps = _merged(rows)
    if not steps:
        return row.last_seq
    summary = dict(row.metrics_summary)
    for step, values in steps.items():
        summary.update(values)
        if step == BASE_STEP and values.get("eval_loss") is not None:
            summary["base_eval_loss"] = values["eval_loss"]
    changes: dict[str, Any] = {
        "last_seq": row.last_seq + len(steps),
        "metrics_summary": summary,
        "live_step": max(steps),
        "progress_at": func.clock_timestamp(),
    }
    if progress is not None:
        changes["progress"] = clean_json(dict(progress))
    session.execute(
        _METRICS,
        {
            "job": claim.job_id,
            "fence": claim.fence,
            "first": row.last_seq,
            "rows": json.dumps(list(steps.items())),
        },
    )
    changed = min(row.spans_until, row.live_step + 1, *steps)
    _write(session, claim, {**changes, "spans_until": extend(session, claim.job_id, changed, max(steps))})
    hold_if_due(session, row, steps, (progress or {}).get("total_steps"))
    notify(session, JOBS_CHANNEL, claim.job_id)
    return row.last_seq + len(steps)


def set_progress(session: Session, claim: Claim, progress: Mapping[str, Any]) -> None:
    """Show how far a run is that has no steps; who follows its curve need not hear of it."""
    fenced(session, claim)
    _write(session, claim, {"progress": clean_json(dict(progress)), "progress_at": func.clock_timestamp()})
    notify(session, JOBS_CHANNEL, claim.job_id)


def add_event(session: Session, claim: Claim, name: str, data: Mapping[str, Any]) -> int:
    """Write down a fact about the run; give its number. Facts about the job are not a run's to tell."""
    if name.startswith(RESERVED):
        raise StoreError(f"A run cannot tell {name}; choose another name for the event.")
    row = fenced(session, claim)
    _write(session, claim, {"last_seq": row.last_seq + 1})
    values = event_row(claim.job_id, row.last_seq + 1, claim.fence, name, data)
    session.execute(insert(EventRow).values(**values))
    notify(session, JOBS_CHANNEL, claim.job_id)
    return row.last_seq + 1


def set_resolved(session: Session, claim: Claim, resolved: Mapping[str, Any]) -> None:
    """Keep what ``auto`` came to mean, merged over what an earlier attempt has resolved."""
    row = fenced(session, claim)
    merged = {**(row.resolved or {}), **clean_json(dict(resolved))}
    _write(session, claim, {"resolved": merged})


def commit_checkpoint(
    session: Session, claim: Claim, step: int, files: Sequence[CheckpointFile] = (), keep: int = 2
) -> str:
    """Make ``step`` a place to go on from. The metrics up to it were written before."""
    return checkpoints.add(session, fenced(session, claim), step, files, keep)


def pass_over_checkpoint(session: Session, claim: Claim, checkpoint: Checkpoint) -> None:
    """Go on from the place before, for the bytes of this one are not those that were saved."""
    checkpoints.pass_over(session, fenced(session, claim), checkpoint)


def runs_of(session: Session, project_id: str, job_id: str) -> list[Run]:
    """List the attempts at a job, first to last."""
    known(session, project_id, job_id)
    found = select(RunRow).where(RunRow.job_id == job_id).order_by(RunRow.fence)
    return [run_of(row) for row in session.scalars(found)]


def _write(session: Session, claim: Claim, values: Mapping[str, Any]) -> None:
    statement = update(JobRow).where(JobRow.id == claim.job_id).values(**values)
    session.execute(statement, execution_options={"synchronize_session": False})


def _merged(rows: Sequence[tuple[int, Values]]) -> dict[int, dict[str, float | None]]:
    """Bring a batch into step order; a step that comes twice becomes one row."""
    steps: dict[int, dict[str, float | None]] = {}
    for step, values in rows:
        steps.setdefault(step, {}).update(clean_json(dict(values)))
    return dict(sorted(steps.items()))

"""How a run ends: settled for good, laid to rest, or given back for another attempt.

Each function is one transaction's worth of work under the fence. What becomes of a lost run stands in
:func:`settle_lost`, which the supervisor and the reconciler share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, insert, null, select, update
from sqlalchemy.orm import Session

from neftune_store.artifacts import ArtifactRow, add_artifacts
from neftune_store.claims import Claim
from neftune_store.errors import IntentChanged, LeaseLost
from neftune_store.ids import new_id
from neftune_store.journal import Fact, change
from neftune_store.leases import fenced, held
from neftune_store.lifecycle import CRASH_LIMIT, INFRA_LIMIT, Intent, Status, backoff
from neftune_store.models import JobRow, ResultRow, RunRow
from neftune_store.sanitise import clean_json, clean_text, log_tail

Reason = Literal["drained", "crashed", "infra", "once"]
MESSAGE_CHARACTERS = 4000
_NO_LEASE = {"lease_owner": None, "lease_expires_at": None}


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a run ended without a result."""

    reason: Reason
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What is kept of a run that ended."""

    exit: int | None = None
    log_tail: str | None = None


def settle_succeeded(  # noqa: PLR0913 - everything that becomes visible at once
    session: Session,
    claim: Claim,
    record: Mapping[str, Any],
    artifacts: Sequence[ArtifactRow] = (),
    exit: int | None = 0,
    *,
    log_tail: str | None = None,
) -> None:
    """Publish the result: record and artifacts become visible with this commit, or none of them.

    Raises :class:`IntentChanged` when the user has meanwhile asked for something else.
    """
    _wanted(fenced(session, claim), Intent.RUN)
    result_id = new_id("res")
    session.execute(
        insert(ResultRow).values(
            id=result_id,
            job_id=claim.job_id,
            fence=claim.fence,
            record=clean_json(dict(record)),
            headline=_headline(claim, record),
        )
    )
    _settle(
        session,
        claim,
        Status.SUCCEEDED,
        {"result_id": result_id, "crashes": 0},
        artifacts=artifacts,
        end=RunEnd(exit, log_tail),
    )


def _headline(claim: Claim, record: Mapping[str, Any]) -> Any:
    """Give what tables show of an evaluation: read by all who look at a series, and so kept apart."""
    if claim.kind != "evaluate":
        return null()
    from neftune_core.evaluate.headline import headline  # noqa: PLC0415 - many shapes: for who settles

    found = headline(record)
    return null() if found is None else clean_json(found)


def settle_failed(  # noqa: PLR0913, PLR0917 - everything a user needs to understand a failure
    session: Session,
    claim: Claim,
    code: str,
    message: str,
    retryable: bool = False,
    log_tail: str | None = None,
    *,
    artifacts: Sequence[ArtifactRow] = (),
    exit: int | None = None,
) -> None:
    """End the job as failed, with what a user needs to know."""
    fenced(session, claim)
    _settle(
        session,
        claim,
        Status.FAILED,
        error_values(code, message, retryable=retryable),
        artifacts=artifacts,
        end=RunEnd(exit, log_tail),
        error_code=code,
    )


def settle_cancelled(
    session: Session,
    claim: Claim,
    log_tail: str | None = None,
    *,
    artifacts: Sequence[ArtifactRow] = (),
    exit: int | None = None,
) -> None:
    """End the job as the user asked."""
    _wanted(fenced(session, claim), Intent.CANCEL)
    _settle(session, claim, Status.CANCELLED, {}, artifacts=artifacts, end=RunEnd(exit, log_tail))


def settle_paused(
    session: Session,
    claim: Claim,
    log_tail: str | None = None,
    *,
    exit: int | None = None,
) -> None:
    """Lay the job to rest as the user asked."""
    _wanted(fenced(session, claim), Intent.PAUSE)
    _settle(session, claim, Status.PAUSED, {}, end=RunEnd(exit, log_tail))


def give_back(  # noqa: PLR0913, PLR0917 - everything the next attempt and a user need to know
    session: Session,
    claim: Claim,
    reason: Reason,
    code: str = "drained",
    message: str = "",
    log_tail: str | None = None,
    *,
    exit: int | None = None,
) -> Status:
    """Return the job for another attempt, or end it where its patience ends; tell what became of it.

    ``drained``: the worker goes; costs nothing. ``crashed``: the process vanished; three in a row fail as
    ``worker_crashed``. ``infra``: something around it failed; five in a row fail with their code.
    ``once``: tried again a single time for this code.
    """
    row = fenced(session, claim)
    return settle_lost(session, row, Loss(reason, code, message), RunEnd(exit, log_tail))


def settle_lost(session: Session, row: JobRow, loss: Loss, end: RunEnd) -> Status:
    """Decide about a job whose run is gone, with its row locked: the user's intent first, then patience."""
    if row.intent == Intent.CANCEL:
        return _leave(session, row, Status.CANCELLED, {}, loss, end)
    if row.intent == Intent.PAUSE:
        return _leave(session, row, Status.PAUSED, {}, loss, end)
    counted = {
        "crashes": row.crashes + (loss.reason == "crashed"),
        "infra_errors": row.infra_errors + (loss.reason == "infra"),
        "drains": row.drains + (loss.reason == "drained"),
    }
    verdict = _verdict(session, row.id, loss, counted)
    if verdict is not None:
        return _leave(session, row, Status.FAILED, {**counted, **verdict}, loss, end)
    rest = backoff({"crashed": counted["crashes"], "infra": counted["infra_errors"]}.get(loss.reason, 0))
    run_after = func.clock_timestamp() + rest if rest else None
    return _leave(session, row, Status.QUEUED, {**counted, "run_after": run_after}, loss, end)


def _verdict(session: Session, job_id: str, loss: Loss, counted: Mapping[str, int]) -> dict[str, Any] | None:
    """Say with what error the job fails now; ``None`` when it deserves another attempt."""
    if loss.reason == "crashed" and counted["crashes"] >= CRASH_LIMIT:
        message = f"The process vanished in {CRASH_LIMIT} runs in a row. {loss.message}".strip()
        return error_values("worker_crashed", message, retryable=True)
    spent = loss.reason == "infra" and counted["infra_errors"] >= INFRA_LIMIT
    if spent or (loss.reason == "once" and _seen_before(session, job_id, loss.code)):
        return error_values(loss.code, loss.message, retryable=True)
    return None


def _leave(  # noqa: PLR0913, PLR0917 - one move and everything that is told about it
    session: Session,
    row: JobRow,
    status: Status,
    values: Mapping[str, Any],
    loss: Loss,
    end: RunEnd,
) -> Status:
    """Move a job away from its lost run and tell both stories: the run's and the job's."""
    about = {"attempt": row.attempt, "reason": loss.reason, "code": loss.code}
    facts = [
        Fact("run.drained" if loss.reason == "drained" else "run.lost", {**about, "detail": loss.message}),
        Fact(_event_of(status), {"attempt": row.attempt, **told(values)}),
    ]
    _end_run(session, row.id, row.fence, loss.reason if loss.reason == "drained" else "lost", loss.code, end)
    moved = change(session, row.id, (), {"status": status, **_NO_LEASE, **_finish(status), **values}, facts)
    if moved is None:
        raise LeaseLost
    return status


def _settle(  # noqa: PLR0913 - one move and everything that is told about it
    session: Session,
    claim: Claim,
    status: Status,
    values: Mapping[str, Any],
    *,
    end: RunEnd,
    artifacts: Sequence[ArtifactRow] = (),
    error_code: str | None = None,
) -> None:
    add_artifacts(session, claim, artifacts)
    _end_run(session, claim.job_id, claim.fence, status.value, error_code, end)
    fact = Fact(_event_of(status), {"attempt": claim.attempt, **told(values)})
    settled = {"status": status, **_NO_LEASE, **_finish(status), **values}
    if change(session, claim.job_id, (held(claim),), settled, [fact]) is None:
        raise LeaseLost


def _end_run(  # noqa: PLR0913, PLR0917 - one row, all its last columns
    session: Session, job_id: str, fence: int, outcome: str, code: str | None, end: RunEnd
) -> None:
    values: dict[str, Any] = {
        "ended_at": func.clock_timestamp(),
        "outcome": outcome,
        "error_code": code,
        "exit": end.exit,
    }
    if end.log_tail is not None:
        values["log_tail"] = log_tail(end.log_tail)
    session.execute(update(RunRow).where(RunRow.job_id == job_id, RunRow.fence == fence).values(**values))


def _wanted(row: JobRow, intent: Intent) -> None:
    if row.intent != intent:
        raise IntentChanged(row.intent)


def error_values(code: str, message: str, *, retryable: bool) -> dict[str, Any]:
    """Give the columns that say why a job failed."""
    text = clean_text(message)[:MESSAGE_CHARACTERS]
    return {"error_code": code, "error_message": text, "error_retryable": retryable}


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what an event says of the failure in these columns, if any."""
    if "error_code" not in values:
        return {}
    return {"error": {"code": values["error_code"], "detail": values["error_message"]}}


def _finish(status: Status) -> dict[str, Any]:
    if status in (Status.QUEUED, Status.PAUSED):
        return {}
    return {"finished_at": func.clock_timestamp()}


def _event_of(status: Status) -> str:
    return "job.requeued" if status == Status.QUEUED else f"job.{status}"


def _seen_before(session: Session, job_id: str, code: str) -> bool:
    earlier = select(RunRow.id).where(RunRow.job_id == job_id, RunRow.error_code == code)
    return session.scalar(earlier.limit(1)) is not None

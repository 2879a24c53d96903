"""Settling a run: the one transaction in which its verdict becomes the job's status.

Under the claim's fence, asked again while the database is away and the lease may still be ours.
"""

import time
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from neftune_core.failpoint import failpoint
from neftune_store.claims import Claim
from neftune_store.db import is_unavailable, unit_of_work
from neftune_store.errors import IntentChanged, LeaseLost
from neftune_store.lifecycle import Intent
from neftune_store.settling import (
    give_back,
    settle_cancelled,
    settle_failed,
    settle_paused,
    settle_succeeded,
)
from worker import verdict
from worker.heartbeat import Heart
from worker.publish import Result
from worker.verdict import Move, Verdict, bent

RETRY_SECONDS = 0.5
UNRECORDED = verdict.give_back("once", "internal", "The end of the run could not be recorded.")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settling:
    """All that the settling transaction writes."""

    verdict: Verdict
    result: Result | None = None
    exit: int | None = None
    log_tail: str = ""


def settle(engine: Engine, claim: Claim, settling: Settling, heart: Heart, lease_seconds: float) -> None:
    """Settle the job; as long as the lease may be ours, a database that is away is asked again."""
    while settling.verdict.move is not Move.LEAVE and not heart.lost:
        try:
            with unit_of_work(engine) as session:
                _move(session, claim, settling)
                failpoint("settle.inside")
        except IntentChanged as changed:
            settling = replace(settling, verdict=bent(settling.verdict, Intent(changed.intent)))
        except LeaseLost:
            break
        except Exception as fault:
            if is_unavailable(fault) and time.monotonic() - heart.last_good < lease_seconds:
                time.sleep(RETRY_SECONDS)
                continue
            log.exception("run.not_settled", code=settling.verdict.code)
            if is_unavailable(fault) or settling.verdict == UNRECORDED:
                break  # the reconciler finds the lease when it has run out
            settling = Settling(UNRECORDED, exit=settling.exit)
        else:
            failpoint("settle.committed")
            log.info("run.settled", move=settling.verdict.move.value, code=settling.verdict.code)
            return
    log.warning("run.left")


def _move(session: Session, claim: Claim, settling: Settling) -> None:
    """Make the verdict's move, in the caller's transaction."""
    judged, tail, status = settling.verdict, settling.log_tail, settling.exit
    artifacts = [] if settling.result is None else settling.result.artifacts
    match judged.move:
        case Move.SUCCEED if settling.result is not None:
            record = settling.result.record
            settle_succeeded(session, claim, record, artifacts, exit=status, log_tail=tail)
        case Move.CANCEL:
            settle_cancelled(session, claim, tail, artifacts=artifacts, exit=status)
        case Move.PAUSE:
            settle_paused(session, claim, tail, exit=status)
        case Move.FAIL:
            settle_failed(
                session, claim, judged.code, judged.message, False, tail, artifacts=artifacts, exit=status
            )
        case _:
            give_back(session, claim, judged.reason, judged.code, judged.message, tail, exit=status)

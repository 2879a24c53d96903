"""The supervisor's half of the ledgers: what a run writes, one short transaction at a time.

Every write stands under the claim's fence; ``LeaseLost`` from here means: stop, it is not ours any more.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from neftune_core.messages import Event, Metric
from neftune_store import runs
from neftune_store.db import is_unavailable, unit_of_work
from neftune_store.errors import IntentChanged, LeaseLost
from neftune_store.lifecycle import Intent
from neftune_store.metrics import metrics_after
from neftune_store.runs import Claim
from neftune_store.settling import (
    give_back,
    settle_cancelled,
    settle_failed,
    settle_paused,
    settle_succeeded,
)
from worker import verdict
from worker.heartbeat import Heart
from worker.metrics_csv import Row
from worker.publish import Result
from worker.reporter import Batch
from worker.verdict import Move, Verdict, bent

PAGE = 500
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


class Book:
    """What one run writes and reads."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self._engine = engine
        self._claim = claim

    def write(self, batch: Batch) -> None:
        """Write what the runner said."""
        with unit_of_work(self._engine) as session:
            for _, group in groupby(batch.said, type):  # so that a follower hears all in the runner's order
                said = list(group)
                rows = [(one.step, one.values) for one in said if isinstance(one, Metric)]
                if rows:
                    runs.write_metrics(session, self._claim, rows, progress=batch.progress)
                for fact in said:
                    if isinstance(fact, Event):
                        runs.add_event(session, self._claim, fact.name, fact.data)
            if batch.resolved is not None:
                runs.set_resolved(session, self._claim, batch.resolved)

    def event(self, name: str, data: dict[str, object]) -> None:
        """Write one fact of the supervisor's own."""
        with unit_of_work(self._engine) as session:
            runs.add_event(session, self._claim, name, data)

    def metric_rows(self) -> Iterator[Row]:
        """Give the job's metrics in the order of their steps, page by page."""
        seq = 0
        while True:
            with unit_of_work(self._engine) as session:
                page = metrics_after(session, self._claim.project_id, self._claim.job_id, seq, PAGE)
            yield from ((metric.step, metric.values) for metric in page)
            if len(page) < PAGE:
                return
            seq = page[-1].seq

    def settle(self, settling: Settling, heart: Heart, lease_seconds: float) -> None:
        """Settle the job; as long as the lease may be ours, a database that is away is asked again."""
        while settling.verdict.move is not Move.LEAVE and not heart.lost:
            try:
                with unit_of_work(self._engine) as session:
                    apply(session, self._claim, settling)
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
                log.info("run.settled", move=settling.verdict.move.value, code=settling.verdict.code)
                return
        log.warning("run.left")


def apply(session: Session, claim: Claim, settling: Settling) -> None:
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

"""The lease and the fence: who may still write about a job.

All arithmetic uses the database's clock, read at the moment of the check; a worker's clock is nowhere.
"""

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from neftune_store.claims import Claim
from neftune_store.errors import LeaseLost
from neftune_store.journal import FRESH
from neftune_store.lifecycle import Intent, Status
from neftune_store.models import JobRow


def held(claim: Claim) -> ColumnElement[bool]:
    """Say in SQL that this run still owns its job."""
    return and_(
        JobRow.id == claim.job_id,
        JobRow.fence == claim.fence,
        JobRow.status == Status.RUNNING,
        JobRow.lease_expires_at > func.clock_timestamp(),
    )


def heartbeat(session: Session, claim: Claim, lease_seconds: float) -> Intent:
    """Renew the lease and hear the user's intent. A lease that has run out cannot be renewed."""
    renewed = (
        update(JobRow)
        .where(held(claim))
        .values(lease_expires_at=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds))
        .returning(JobRow.intent)
    )
    intent = session.scalar(renewed, execution_options={"synchronize_session": False})
    if intent is None:
        raise LeaseLost
    return Intent(intent)


def fenced(session: Session, claim: Claim) -> JobRow:
    """Lock the job for this transaction, or raise :class:`LeaseLost`.

    Every write of a run begins here. The lock makes a claim or a reconciler at the same moment wait, so
    no row of a run that has lost its lease can slip in between.
    """
    found = select(JobRow).where(held(claim)).with_for_update(key_share=True)
    row = session.scalars(found, execution_options=FRESH).one_or_none()
    if row is None:
        raise LeaseLost
    return row

"""Collecting objects that no row names: condemned at first sight, removed a grace period later.

Never takes what somebody is about to name. Whoever stores an object, or finds that it is there already,
first takes it off the list (:func:`revive`, committed before the bytes are looked at). The collector
removes an object while it holds that very row of the list, having asked once more whether a row names it. So
either the object is revived, and stays for another grace period, or the reviver waits until it is gone and
stores it anew. No clock and no pause between two looks decides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from sqlalchemy import Engine, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.blobs import Blobs
from neftune_store.checkpoints import drop
from neftune_store.db import unit_of_work
from neftune_store.lifecycle import TERMINAL
from neftune_store.live_logs import drop_old_parts
from neftune_store.models import CheckpointRow, CondemnedBlobRow, JobRow

GRACE = timedelta(hours=24)
ROOT = "projects"  # where objects with their final names are
_BATCH = 500
_LOCK = 0x4E46_5402  # any fixed number: one collection at a time

_NAMED = text(
    """
    SELECT given.key FROM unnest(CAST(:keys AS text[])) AS given(key) WHERE
        EXISTS (SELECT FROM datasets WHERE blob_key = given.key AND deleted_at IS NULL)
        OR EXISTS (SELECT FROM artifacts JOIN jobs ON jobs.id = job_id
                   WHERE blob_key = given.key AND deleted_at IS NULL)
    UNION
    SELECT file ->> 'blob_key' FROM job_inputs JOIN jobs ON jobs.id = job_id
    CROSS JOIN jsonb_array_elements(weights -> 'files') AS file
    WHERE status NOT IN ('succeeded', 'failed', 'cancelled')
    AND file ->> 'blob_key' = ANY(CAST(:keys AS text[]))
    UNION
    SELECT file ->> 'blob_key' FROM checkpoints JOIN jobs ON jobs.id = job_id
    CROSS JOIN jsonb_array_elements(manifest -> 'files') AS file
    WHERE dropped_at IS NULL AND deleted_at IS NULL AND file ->> 'blob_key' = ANY(CAST(:keys AS text[]))
    """
)  # all that checkpoints name, once for a batch of keys: asked for each key, they would be read each time


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection has done."""

    expired: int = 0  # checkpoints of jobs that ended long ago
    condemned: int = 0  # objects seen without a name for the first time
    removed: int = 0
    staged: int = 0  # leftovers of writes that broke off
    looked: bool = True  # False: another collector was at it


def revive(session: Session, key: str) -> None:
    """Take an object off the list, waiting for a removal under way. Commit before storing its bytes."""
    session.execute(delete(CondemnedBlobRow).where(CondemnedBlobRow.blob_key == key))


def collect(
    engine: Engine,
    blobs: Blobs,
    *,
    grace: timedelta = GRACE,
    checkpoint_age: timedelta | None = None,
) -> Collected:
    """Look at every object once, and remove what has been without a name for the whole grace period.

    ``checkpoint_age``: checkpoints of jobs that ended so long ago are given up first.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
        if not line.scalar(select(func.pg_try_advisory_lock(_LOCK))):
            return Collected(looked=False)
        try:
            with unit_of_work(engine) as session:
                drop_old_parts(session)
            return Collected(
                expired=_expire(engine, checkpoint_age) if checkpoint_age is not None else 0,
                condemned=_condemn(engine, blobs),
                removed=_remove(engine, blobs, grace),
                staged=blobs.sweep(grace),
            )
        finally:
            line.scalar(select(func.pg_advisory_unlock(_LOCK)))


def _expire(engine: Engine, age: timedelta) -> int:
    ended = (
        select(CheckpointRow.id)
        .join(JobRow, JobRow.id == CheckpointRow.job_id)
        .where(
            CheckpointRow.dropped_at.is_(None),
            JobRow.status.in_(sorted(TERMINAL)),
            JobRow.finished_at < func.clock_timestamp() - age,
        )
    )
    with unit_of_work(engine) as session:
        ids = session.scalars(ended).all()
        if ids:
            drop(session, ids, "expired")
    return len(ids)


def _condemn(engine: Engine, blobs: Blobs) -> int:
    """Put on the list what no row names, and take off it what one does."""
    condemned = 0
    for keys in _batches(info.key for info in blobs.list(ROOT)):
        with unit_of_work(engine) as session:
            named = _named(session, keys)
            nameless = [{"blob_key": key} for key in keys if key not in named]
            session.execute(delete(CondemnedBlobRow).where(CondemnedBlobRow.blob_key.in_(named)))
            if nameless:
                added = insert(CondemnedBlobRow).on_conflict_do_nothing().returning(CondemnedBlobRow.blob_key)
                condemned += len(session.scalars(added, nameless).all())
    return condemned


def _remove(engine: Engine, blobs: Blobs, grace: timedelta) -> int:
    due = select(CondemnedBlobRow.blob_key).where(
        CondemnedBlobRow.condemned_at <= func.clock_timestamp() - grace
    )
    with unit_of_work(engine) as session:
        keys = session.scalars(due).all()
    return sum(_removed(engine, blobs, key, grace) for key in keys)


def _removed(engine: Engine, blobs: Blobs, key: str, grace: timedelta) -> bool:
    """Remove one object while its place on the list is ours."""
    with unit_of_work(engine) as session:
        # Should we be frozen here, nobody may store these bytes until we wake: then waiting is right.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        ours = (
            select(CondemnedBlobRow)
            .where(
                CondemnedBlobRow.blob_key == key,
                CondemnedBlobRow.condemned_at <= func.clock_timestamp() - grace,
            )
            .with_for_update(skip_locked=True)
        )
        if session.scalars(ours).one_or_none() is None:
            return False
        gone = not _named(session, [key])
        if gone:
            blobs.delete(key)
        revive(session, key)
    return gone


def _named(session: Session, keys: list[str]) -> set[str]:
    return set(session.scalars(_NAMED, {"keys": keys}))


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(islice(left, _BATCH)):
        yield batch

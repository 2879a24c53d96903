"""Jobs that train and series in one list, newest first, for a surface that calls both jobs.

They lie in tables of their own; a place in the list is a time and an id of either.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_store.errors import JobNotFound
from neftune_store.ids import is_id
from neftune_store.job import Job
from neftune_store.jobs import JobFilter, JobLedger
from neftune_store.models import JobRow, SweepRow
from neftune_store.paging import Place, encode_cursor
from neftune_store.sweep import Sweep
from neftune_store.sweeps import SweepLedger

_LAST_JOB = "job_7" + 25 * "z"  # of two made at one instant the series stands first: its prefix is later
_FIRST_SWEEP = "swp_" + 26 * "0"

Tuning = Job | Sweep


def tunings(
    session: Session, project_id: str, wanted: JobFilter, after: Place | None, limit: int
) -> tuple[Sequence[Tuning], bool]:
    """Give a page, and whether there is more; of the filter a series has kind and metadata."""
    jobs, sweeps = None, None
    if after is not None:
        jobs, sweeps = (encode_cursor(_as(prefix, after)) for prefix in ("job", "swp"))
    of_jobs = JobLedger(session).list(project_id, replace(wanted, kind="train"), jobs, limit)
    of_sweeps = SweepLedger(session).list(project_id, sweeps, limit, metadata=wanted.metadata)
    found: list[Tuning] = [*of_jobs.items, *of_sweeps.items]
    found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    more = len(found) > limit or of_jobs.next is not None or of_sweeps.next is not None
    return found[:limit], more


def place_of(session: Session, project_id: str, tail: str) -> Place:
    """Give the place of the job or series whose id ends so, also of a job that was deleted meanwhile."""
    for prefix, row in (("job", JobRow), ("swp", SweepRow)):
        id_ = f"{prefix}_{tail}"
        if not is_id(prefix, id_):
            break
        made = session.scalar(select(row.created_at).where(row.project_id == project_id, row.id == id_))
        if made is not None:
            return Place(made, id_)
    raise JobNotFound


def _as(prefix: str, place: Place) -> Place:
    """Give the place as a list of one kind knows it."""
    if place.id.startswith(f"{prefix}_"):
        return place
    return Place(place.created_at, _LAST_JOB if prefix == "job" else _FIRST_SWEEP)

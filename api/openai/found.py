"""What an id of this surface means, a job or a series, and all that is needed to show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from sqlalchemy.orm import Session

from api.openai.ids import TRAIN, native_job, native_series
from api.openai.job_object import FineTuningJob
from api.openai.series import Series, parent
from neftune_store.errors import JobNotFound, SweepNotFound
from neftune_store.files import FileLedger
from neftune_store.jobs import Job, JobLedger
from neftune_store.sweep import Sweep
from neftune_store.sweeps import SweepLedger
from neftune_store.tunings import Tuning

if TYPE_CHECKING:  # numpy comes with it
    from neftune_core.verdict import Verdict


@dataclass(frozen=True)
class OfJob:
    """A job, and the tail of the id of the results that it has left."""

    job: Job
    results: str | None


Found = OfJob | Series


def tuning(tx: Session, project_id: str, ftjob: str) -> Tuning:
    """Give the job that trains, or the series; exports and the like are not of this surface."""
    try:
        return JobLedger(tx).get(project_id, native_job(ftjob), TRAIN)
    except JobNotFound as unknown:
        try:
            return SweepLedger(tx).get(project_id, native_series(ftjob))
        except SweepNotFound:
            raise unknown from None


def all_of(tx: Session, page: Sequence[Tuning]) -> list[Found]:
    """Add what is needed to show them, for all of them at once."""
    sweeps = [one for one in page if isinstance(one, Sweep)]
    children = SweepLedger(tx).children(sweeps) if sweeps else {}
    jobs = [one.id for one in page if isinstance(one, Job)]
    jobs += [child.job.id for several in children.values() for child in several]
    results = FileLedger(tx).results(jobs)
    return [
        Series(one, children[one.id], results) if isinstance(one, Sweep) else OfJob(one, results.get(one.id))
        for one in page
    ]


async def judged(request: Request, found: Found) -> "Verdict | None":
    """Judge a series that has ended."""
    if isinstance(found, OfJob) or not found.has_ended:
        return None
    verdict: Verdict = await request.app.state.verdicts.of(found.sweep, found.children)
    return verdict


def shown(found: Found, verdict: "Verdict | None", request: Request) -> FineTuningJob:
    """Show what was found."""
    strict = request.app.state.settings.openai_strict_status
    if isinstance(found, Series):
        return parent(found, verdict, strict=strict)
    return FineTuningJob.of(found.job, found.results, strict=strict)

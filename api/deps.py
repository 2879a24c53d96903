"""What handlers ask for: who is asking, one transaction, and the ledgers on it.

The transaction ends before the answer leaves (``scope="function"``), so a 201 is never said of a commit
that failed. Keys are looked up first, in a transaction of their own: what is wrong with a request is told
only to those who may make it.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.parameters import refuse_unknown
from api.security import Scope, actor, identify, known
from neftune_core.failpoint import failpoint
from neftune_store.artifacts import ArtifactLedger
from neftune_store.audit import AuditLedger
from neftune_store.datasets import DatasetLedger
from neftune_store.errors import DatasetNotFound, JobNotFound, SweepNotFound
from neftune_store.ids import is_id
from neftune_store.jobs import Job, JobLedger
from neftune_store.projects import Principal
from neftune_store.sweeps import SweepLedger


async def admit(request: Request, scope: Scope, *, or_operator: bool = False) -> Principal:
    """Admit who may ask this, if they ask for nothing that isn't there."""
    who = await identify(request, scope, or_operator=or_operator)
    refuse_unknown(request)
    return who


async def anybody(request: Request) -> Principal:
    """Admit any good key, and any login."""
    who = await known(request)
    refuse_unknown(request)
    return who


async def reader(request: Request) -> Principal:
    """Admit a key that may read."""
    return await admit(request, "read")


async def writer(request: Request) -> Principal:
    """Admit a key that may write."""
    return await admit(request, "write")


async def admin(request: Request) -> Principal:
    """Admit a key that may do everything in its project."""
    return await admit(request, "admin")


async def operator(request: Request) -> Principal:
    """Admit a key that opens all projects."""
    return await admit(request, "operator")


async def reading_overseer(request: Request) -> Principal:
    """Admit a key that may read, or an operator's, which needs no project here."""
    return await admit(request, "read", or_operator=True)


async def overseer(request: Request) -> Principal:
    """Admit an admin's key, or an operator's, which needs no project here."""
    return await admit(request, "admin", or_operator=True)


Reader = Annotated[Principal, Depends(reader)]
Writer = Annotated[Principal, Depends(writer)]
Admin = Annotated[Principal, Depends(admin)]
Operator = Annotated[Principal, Depends(operator)]
Anybody = Annotated[Principal, Depends(anybody)]
ReadingOverseer = Annotated[Principal, Depends(reading_overseer)]
Overseer = Annotated[Principal, Depends(overseer)]


def overseen(who: Principal) -> str | None:
    """Give the project an overseer looks at; ``None``: an operator that named none looks at all."""
    return None if who.is_operator and not who.chose_project else who.project_id


async def session(request: Request) -> AsyncIterator[Session]:
    """Open the one transaction of a request."""
    async with request.app.state.database.transaction() as opened:
        yield opened


async def ringing_session(request: Request) -> AsyncIterator[Session]:
    """Open the one transaction of a request that may give a worker something to do."""
    async with request.app.state.database.transaction() as opened:
        yield opened
    failpoint("submit.committed")
    request.app.state.ringer.ask()  # after the commit; returns at once


Tx = Annotated[Session, Depends(session, scope="function")]  # never the default: it commits after the answer


class Audit:
    """Writes down what this request does, in its own transaction. To be asked for after who asks."""

    def __init__(self, request: Request, tx: Tx) -> None:
        self._request = request
        self._ledger = AuditLedger(tx)

    def note(self, project_id: str | None, action: str, target: str, **data: Any) -> None:
        """Write down one thing; ``data`` holds names and numbers, never a secret."""
        self._ledger.note(actor(self._request), project_id, action, target, data)


Audited = Annotated[Audit, Depends(Audit, scope="function")]
RingingTx = Annotated[Session, Depends(ringing_session, scope="function")]


async def jobs(tx: Tx) -> JobLedger:
    """Give the job ledger."""
    return JobLedger(tx)  # asked and told, never submitted to: it needs no queue limit


async def ringing_jobs(request: Request, tx: RingingTx) -> JobLedger:
    """Give the job ledger; the bell rings when its transaction is committed."""
    return JobLedger(tx, queue_limit=request.app.state.settings.queue_limit)


async def datasets(tx: Tx) -> DatasetLedger:
    """Give the dataset ledger."""
    return DatasetLedger(tx)


async def artifacts(tx: Tx) -> ArtifactLedger:
    """Give the artifact ledger."""
    return ArtifactLedger(tx)


async def sweeps(tx: Tx) -> SweepLedger:
    """Give the ledger of series."""
    return SweepLedger(tx)


async def ringing_sweeps(request: Request, tx: RingingTx) -> SweepLedger:
    """Give the ledger of series; the bell rings when its transaction is committed."""
    return SweepLedger(tx, queue_limit=request.app.state.settings.queue_limit)


Jobs = Annotated[JobLedger, Depends(jobs, scope="function")]
RingingJobs = Annotated[JobLedger, Depends(ringing_jobs, scope="function")]
Datasets = Annotated[DatasetLedger, Depends(datasets, scope="function")]
Sweeps = Annotated[SweepLedger, Depends(sweeps, scope="function")]
RingingSweeps = Annotated[SweepLedger, Depends(ringing_sweeps, scope="function")]
Artifacts = Annotated[ArtifactLedger, Depends(artifacts, scope="function")]


async def job_id(job_id: str) -> str:
    """Take a job's id; what can't be one is as unknown as any other."""
    if not is_id("job", job_id):
        raise JobNotFound
    return job_id


async def dataset_id(dataset_id: str) -> str:
    """Take a dataset's id; what can't be one is as unknown as any other."""
    if not is_id("ds", dataset_id):
        raise DatasetNotFound
    return dataset_id


async def sweep_id(sweep_id: str) -> str:
    """Take a series' id; what can't be one is as unknown as any other."""
    if not is_id("swp", sweep_id):
        raise SweepNotFound
    return sweep_id


SweepId = Annotated[str, Depends(sweep_id)]
JobId = Annotated[str, Depends(job_id)]
DatasetId = Annotated[str, Depends(dataset_id)]


async def visible_job(request: Request, who: Reader, which: JobId) -> Job:
    """Find the job in a transaction that is over before a long answer begins."""
    found: Job = await request.app.state.database.ask(lambda tx: JobLedger(tx).get(who.project_id, which))
    return found


VisibleJob = Annotated[Job, Depends(visible_job)]

Limit = Annotated[int, Query(ge=1, le=200, description="Items on a page.")]
Cursor = Annotated[
    str | None, Query(max_length=512, description="`next` of the page before; leave out for the first page.")
]
# What may stand in a filter: anything that may stand in the field it is held against.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe in OpenAPI that these statuses answer with problem details."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem details", "content": content} for status in statuses}

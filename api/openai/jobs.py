"""Fine-tuning jobs: asked for, listed, and told to stop, pause or go on."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session

from api.deps import PLAIN, Reader, RingingJobs, RingingSweeps, RingingTx, Writer
from api.models import Models
from api.openai.create_body import CreateJob, asked
from api.openai.envelope import ROOT
from api.openai.found import Found, all_of, judged, shown, tuning
from api.openai.ids import PARENT, TRAIN, native_series, tail
from api.openai.job_object import FineTuningJob
from api.openai.mapping import series_of, spec_of
from api.openai.pages import After, OpenAIPage, refusals
from api.refusals import FileFaulty, FileNotFound, InvalidRequest
from neftune_core.spec_faults import Fault
from neftune_store.errors import FileUnknown
from neftune_store.files import FileLedger
from neftune_store.ids import is_id
from neftune_store.jobs import Job, JobFilter, JobLedger
from neftune_store.projects import Principal
from neftune_store.repeats import Attempt, once
from neftune_store.submit import sha256_of
from neftune_store.sweep import Sweep
from neftune_store.sweeps import SweepLedger
from neftune_store.tunings import place_of, tunings

router = APIRouter(prefix=f"{ROOT}/fine_tuning/jobs", tags=["openai"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateJob"}}},
    }
}
_METADATA = re.compile(r"metadata\[(?P<key>.*)\]", re.DOTALL)  # a key may hold brackets of its own
_FILTER = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "required": False,
            "style": "deepObject",
            "description": "`metadata[key]=value`: only jobs with these; `metadata=null`: with none.",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}


async def attempt(request: Request, who: Writer, body: Annotated[CreateJob, Depends(asked)]) -> Attempt:
    """Tell which attempt this is: the client counts those it makes by itself, and sends nothing else."""
    count = request.headers.get("x-stainless-retry-count", "0")
    said = body.model_dump(mode="json", exclude_unset=True)
    return Attempt(who.key_id, sha256_of(said), repeated=count.isdecimal() and int(count[:9]) > 0)


async def metadata(request: Request) -> JobFilter:
    """Read the filters on metadata; brackets come percent-encoded, and decoded by now."""
    wanted: dict[str, str] = {}
    none = False
    for name, value in request.query_params.multi_items():
        if name == "metadata":
            none = True
            if value != "null":
                raise _unfit("metadata", "It should be null, or metadata[key]=value")
        elif (match := _METADATA.fullmatch(name)) is not None:
            wanted[_plain(match["key"], 64)] = _plain(value, 512)
        elif name.startswith("metadata["):  # passed over, it would list all jobs
            raise _unfit("metadata", "It should be null, or metadata[key]=value")
    if len(wanted) > 16 or (none and wanted):
        raise _unfit("metadata", "It should name at most 16 pairs, or be null")
    parent = native_series(wanted.get(PARENT, ""))
    return JobFilter(
        kind=TRAIN,
        metadata=wanted if wanted or none else None,
        parent=parent if is_id("swp", parent) else None,
    )


@router.post(
    "",
    summary="Create a fine-tuning job",
    openapi_extra=_BODY,
    responses=refusals(400, 401, 403, 404, 413, 415, 429, 503),
)
def create(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    request: Request,
    who: Writer,
    body: Annotated[CreateJob, Depends(asked)],
    this: Annotated[Attempt, Depends(attempt)],
    models: Models,
    tx: RingingTx,
    jobs: RingingJobs,
    sweeps: RingingSweeps,
) -> FineTuningJob:
    """Record the job, or all jobs of a series; a worker will pick them up."""
    dataset = _dataset(tx, who.project_id, body.training_file, "training_file")
    held_out = body.validation_file
    if held_out is not None:
        held_out = _dataset(tx, who.project_id, held_out, "validation_file")
    if body.sweep is None:
        spec = spec_of(body, dataset, held_out)
        models.check(spec.model, spec.revision)
        made = once(tx, this, lambda: jobs.submit(who.project_id, spec)[0])
        return shown(all_of(tx, [made])[0], None, request)
    varied = series_of(body, body.sweep, dataset, held_out)
    models.check(varied.job.model, varied.job.revision)
    # What is remembered of a series is its first job: its attempts find the series by that.
    first = once(tx, this, lambda: _first(sweeps, sweeps.submit(who.project_id, varied)[0]))
    return shown(all_of(tx, [sweeps.get(who.project_id, first.sweep_id or "")])[0], None, request)


@router.get(
    "",
    summary="List fine-tuning jobs, newest first",
    openapi_extra=_FILTER,
    responses=refusals(400, 401, 404),
)
async def list_jobs(
    request: Request,
    who: Reader,
    wanted: Annotated[JobFilter, Depends(metadata)],
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> OpenAIPage[FineTuningJob]:
    """List the project's jobs, and its series as jobs."""

    def found(tx: Session) -> tuple[Sequence[Found], bool]:
        place = place_of(tx, who.project_id, tail("ftjob-", after)) if after is not None else None
        page, more = tunings(tx, who.project_id, wanted, place, limit)
        return all_of(tx, page), more

    several, more = await request.app.state.database.ask(found)
    data = [shown(one, await judged(request, one), request) for one in several]
    return OpenAIPage(data=data, has_more=more)


@router.get("/{ftjob}", summary="Look at a fine-tuning job", responses=refusals(401, 404))
async def retrieve(request: Request, who: Reader, ftjob: str) -> FineTuningJob:
    """Tell where the job is."""
    return await _told(request, who, ftjob, JobLedger.get, SweepLedger.get)


@router.post("/{ftjob}/cancel", summary="Cancel a fine-tuning job", responses=refusals(401, 403, 404, 409))
async def cancel(request: Request, who: Writer, ftjob: str) -> FineTuningJob:
    """Stop the job for good. The body, if any, is not read."""
    return await _told(request, who, ftjob, JobLedger.cancel, SweepLedger.cancel)


@router.post("/{ftjob}/pause", summary="Pause a fine-tuning job", responses=refusals(401, 403, 404, 409))
async def pause(request: Request, who: Writer, ftjob: str) -> FineTuningJob:
    """Let the job rest until it is resumed. The body, if any, is not read."""
    return await _told(request, who, ftjob, JobLedger.pause, SweepLedger.pause)


@router.post("/{ftjob}/resume", summary="Resume a fine-tuning job", responses=refusals(401, 403, 404, 409))
async def resume(request: Request, who: Writer, ftjob: str) -> FineTuningJob:
    """Queue a paused job again. The body, if any, is not read."""
    told = await _told(request, who, ftjob, JobLedger.resume, SweepLedger.resume)
    request.app.state.ringer.ask()  # after the commit; returns at once
    return told


async def _told(
    request: Request,
    who: Principal,
    ftjob: str,
    to_job: Callable[[JobLedger, str, str], Job],
    to_series: Callable[[SweepLedger, str, str], Sweep],
) -> FineTuningJob:
    """Tell a job or a series what to do, or look at it, and show what came of it."""

    def found(tx: Session) -> Found:
        which = tuning(tx, who.project_id, ftjob)
        if isinstance(which, Sweep):
            return all_of(tx, [to_series(SweepLedger(tx), who.project_id, which.id)])[0]
        return all_of(tx, [to_job(JobLedger(tx), who.project_id, which.id)])[0]

    one = await request.app.state.database.ask(found)
    return shown(one, await judged(request, one), request)


def _first(sweeps: SweepLedger, sweep: Sweep) -> Job:
    return sweeps.children([sweep])[sweep.id][0].job


def _dataset(tx: Session, project_id: str, file: str, param: str) -> str:
    """Give the dataset that a file is; whose it would be otherwise is not told."""
    try:
        found = FileLedger(tx).get(project_id, tail("file-", file))
    except FileUnknown as unknown:
        raise FileNotFound(param) from unknown
    if found.kind == "faulty":
        raise FileFaulty(param)
    if found.kind != "dataset":
        fault = Fault((param,), "wrong_purpose", "It should be a file of the purpose fine-tune")
        raise InvalidRequest("The file is not one to train on.", [fault])
    return found.id


def _plain(text: str, longest: int) -> str:
    if len(text) > longest or not re.match(PLAIN, text):
        raise _unfit("metadata", "Keys have at most 64 characters and values 512, none of control")
    return text


def _unfit(param: str, told: str) -> InvalidRequest:
    return InvalidRequest("A parameter does not fit; see errors.", [Fault((param,), "metadata_filter", told)])

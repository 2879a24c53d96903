"""Series: one job at several alphas and seeds, asked for at once, told what to do as a whole, and judged."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.bodies import json_body
from api.deps import Cursor, Limit, Reader, RingingSweeps, SweepId, Sweeps, Writer, problems
from api.dry_run import rehearse
from api.dry_run_schemas import SweepDryRun
from api.jobs import KEYED, idempotency_key
from api.models import Models
from api.refusals import InvalidSpec
from api.schemas import Listing
from api.sweep_schemas import SweepDetail, SweepRead
from neftune_core.errors import ModelError
from neftune_core.spec_faults import faults_of
from neftune_core.sweep_spec import SweepSpec
from neftune_store.errors import DatasetNotFound, SecretUnknown
from neftune_store.measured import Evaluations, headlines_of
from neftune_store.sweep import Child, Sweep
from neftune_store.sweeps import SweepLedger

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SweepSpec"}}},
    },
    **KEYED,
}


async def asked_sweep(body: Annotated[object, Depends(json_body)]) -> SweepSpec:
    """Read the body as what it must be."""
    try:
        return SweepSpec.model_validate(body)
    except ValidationError as error:
        raise InvalidSpec(faults_of(error, SweepSpec)) from error


async def rehearsal(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    request: Request,
    who: Writer,
    spec: Annotated[SweepSpec, Depends(asked_sweep)],
    models: Models,
    dry_run: Annotated[bool, Query(description="Check and plan only; nothing is created.")] = False,
    estimates: Annotated[
        bool, Query(description="False: of a dry run, check and plan without reading rows.")
    ] = True,
) -> SweepDryRun | None:
    """Rehearse where that is what was asked for, before the transaction of a submit is opened."""
    if not dry_run:
        return None
    noisiest = spec.job_at(max(spec.alpha), spec.seed[0])
    with _placed_in_the_job():
        each = await rehearse(request, who.project_id, noisiest, models, estimates)
    return SweepDryRun(alpha=list(spec.alpha), seed=list(spec.seed), runs=len(spec.points()), each=each)


@contextmanager
def _placed_in_the_job() -> Iterator[None]:
    """Tell the places of faults as they are in a series, which has the job within it."""
    try:
        yield
    except (ModelError, SecretUnknown, DatasetNotFound) as error:
        if error.place:
            error.place = ("job", *error.place)
        raise


@router.post(
    "",
    status_code=201,
    summary="Submit a series",
    response_model=SweepRead | SweepDryRun,
    openapi_extra=_BODY,
    responses={
        200: {"description": "Made before under this key; or a dry run"},
        **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    },
)
def submit(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    key: Annotated[str | None, Depends(idempotency_key)],
    spec: Annotated[SweepSpec, Depends(asked_sweep)],
    models: Models,
    rehearsed: Annotated[SweepDryRun | None, Depends(rehearsal)],
    sweeps: RingingSweeps,
) -> SweepRead | SweepDryRun:
    """Record all jobs of the series, or none of them."""
    if rehearsed is not None:
        response.status_code = 200
        return rehearsed
    with _placed_in_the_job():
        models.check(spec.job.model, spec.job.revision)
        sweep, created = sweeps.submit(who.project_id, spec, idempotency_key=key)
    response.status_code = 201 if created else 200
    response.headers["location"] = f"/sweeps/{sweep.id}"
    return _shown(sweeps, sweep)


@router.get("", summary="List series, newest first", responses=problems(401, 422))
def list_sweeps(who: Reader, sweeps: Sweeps, cursor: Cursor = None, limit: Limit = 50) -> Listing[SweepRead]:
    """List the project's series; results and verdict are shown one by one."""
    page = sweeps.list(who.project_id, cursor, limit)
    children = sweeps.children(page.items)
    return Listing(items=[SweepRead.of(sweep, children[sweep.id]) for sweep in page.items], next=page.next)


@router.get("/{sweep_id}", summary="Look at a series", responses=problems(401, 404, 503))
async def get_sweep(request: Request, who: Reader, sweep_id: SweepId) -> SweepDetail:
    """Tell where the series is, what its runs have come to and what that says."""

    def asked(tx: Session) -> tuple[Sweep, Sequence[Child], Mapping[str, Evaluations]]:
        ledger = SweepLedger(tx)
        sweep = ledger.get(who.project_id, sweep_id)
        children = ledger.children([sweep])[sweep.id]
        return sweep, children, headlines_of(tx, [child.job.id for child in children])

    sweep, children, evaluated = await request.app.state.database.ask(asked)
    verdict = await request.app.state.verdicts.of(sweep, children)
    return SweepDetail.whole(sweep, children, evaluated, verdict)


@router.post(
    "/{sweep_id}/cancel", status_code=202, summary="Cancel a series", responses=problems(401, 403, 404, 409)
)
def cancel(who: Writer, sweeps: Sweeps, sweep_id: SweepId) -> SweepRead:
    """Stop all of its jobs for good; what has ended stays."""
    return _shown(sweeps, sweeps.cancel(who.project_id, sweep_id))


@router.post(
    "/{sweep_id}/pause", status_code=202, summary="Pause a series", responses=problems(401, 403, 404, 409)
)
def pause(who: Writer, sweeps: Sweeps, sweep_id: SweepId) -> SweepRead:
    """Let all of its jobs rest until it is resumed."""
    return _shown(sweeps, sweeps.pause(who.project_id, sweep_id))


@router.post(
    "/{sweep_id}/resume", status_code=202, summary="Resume a series", responses=problems(401, 403, 404, 409)
)
def resume(who: Writer, sweeps: RingingSweeps, sweep_id: SweepId) -> SweepRead:
    """Queue its paused jobs again."""
    return _shown(sweeps, sweeps.resume(who.project_id, sweep_id))


def _shown(sweeps: SweepLedger, sweep: Sweep) -> SweepRead:
    return SweepRead.of(sweep, sweeps.children([sweep])[sweep.id])

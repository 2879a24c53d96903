"""The report of a series, made when it is asked for: of what its runs and their evaluations have left.

Made of strangers' words, so it is sent as something to keep, and a browser that shows it all the same may
load and run nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.deps import Reader, SweepId, problems
from api.sweep_schemas import SweepDetail
from neftune_core.evaluate.results import Results
from neftune_core.report.document import encoded
from neftune_core.report.page import page
from neftune_core.report.reading import Measured, Point, Run
from neftune_core.report.series import Series, report_of
from neftune_core.report.style import POLICY
from neftune_store import metrics
from neftune_store.blobs import Blobs
from neftune_store.errors import BlobNotFound
from neftune_store.measured import Files, evaluations_of, records_of
from neftune_store.sweep import Child, Sweep
from neftune_store.sweeps import SweepLedger

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

_MOST_BYTES = 32 << 20  # of one file of an evaluation
_POINTS = 300
_RESULTS = "results.json"
_one = anyio.Semaphore(1)  # arithmetic and files, of which one report at a time is enough

Format = Annotated[Literal["html", "json"], Query(description="As a page, or what the page is made from.")]


@dataclass(frozen=True)
class _Left:
    """What the runs of a series have left."""

    sweep: Sweep
    children: Sequence[Child]
    records: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, Sequence[Point]]
    evaluations: Mapping[str, Sequence[Files]]


@router.get(
    "/{sweep_id}/report",
    summary="Report a series",
    response_class=Response,
    responses={
        200: {
            "description": "One file that needs nothing else",
            "content": {"text/html": {}, "application/json": {}},
        },
        **problems(401, 404, 422, 503),
    },
)
async def report(request: Request, who: Reader, sweep_id: SweepId, format: Format = "html") -> Response:
    """Tell what the series comes to, with all that its runs and evaluations have measured, on one page."""

    def asked(tx: Session) -> _Left:
        return _left(tx, who.project_id, sweep_id)

    state = request.app.state
    left = await state.database.ask(asked)
    verdict = await state.verdicts.of(left.children)
    told = SweepDetail.whole(left.sweep, left.children, verdict).model_dump(mode="json")
    async with _one:
        content = await anyio.to_thread.run_sync(_made, told, left, state.blobs, format)
    headers = {
        "Content-Disposition": f'attachment; filename="report.{format}"',
        "Content-Security-Policy": f"{POLICY}; sandbox",
        "Cache-Control": "no-store",
    }
    return Response(
        content, headers=headers, media_type="text/html" if format == "html" else "application/json"
    )


def _left(session: Session, project_id: str, sweep_id: str) -> _Left:
    ledger = SweepLedger(session)
    sweep = ledger.get(project_id, sweep_id)
    children = ledger.children([sweep])[sweep.id]
    ids = [child.job.id for child in children]
    return _Left(
        sweep,
        children,
        records_of(session, ids),
        {job_id: _curve(session, project_id, job_id) for job_id in ids},
        evaluations_of(session, ids),
    )


def _curve(session: Session, project_id: str, job_id: str) -> list[Point]:
    found = metrics.series(session, project_id, job_id, ["eval_loss"], max_points=_POINTS)
    return [(step, {"eval_loss": value}) for points in found.values() for step, value in points]


def _made(told: Mapping[str, Any], left: _Left, blobs: Blobs, form: str) -> bytes:
    runs = {
        job_id: Run(record, None, left.curves[job_id], _evaluations(left.evaluations.get(job_id, ()), blobs))
        for job_id, record in left.records.items()
    }
    made = report_of(Series(told, runs))
    return page(made).encode() if form == "html" else encoded(made)


def _evaluations(found: Sequence[Files], blobs: Blobs) -> list[Measured]:
    """Read evaluations; one whose results can't be read is left out."""
    measured = []
    for files in found:

        def read(name: str, files: Files = files) -> Any:
            return _json(files, name, blobs)

        try:
            measured.append(Measured(Results.model_validate(read(_RESULTS)), read))
        except ValidationError:
            continue
    return measured


def _json(files: Files, name: str, blobs: Blobs) -> Any:
    artifact = files.get(name)
    if artifact is None or artifact.bytes > _MOST_BYTES:
        return None
    try:
        return json.loads(b"".join(blobs.stream(artifact.blob_key)))
    except (BlobNotFound, ValueError, RecursionError):
        return None

"""The report of a series, made when it is asked for: of what its runs and their evaluations have left.

Made of strangers' words, so it is sent as something to keep, and a browser that shows it all the same may
load and run nothing.
"""

from typing import Annotated, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from api.deps import Reader, SweepId, problems
from api.sweep_schemas import SweepDetail

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

_one = anyio.Semaphore(1)  # arithmetic and files, of which one report at a time is enough

Format = Annotated[Literal["html", "json"], Query(description="As a page, or what the page is made from.")]


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
    from api.sweep_page import POLICY, left_of, made  # noqa: PLC0415 - numpy comes with it: for who asks

    state = request.app.state
    left = await state.database.ask(lambda tx: left_of(tx, who.project_id, sweep_id))
    verdict = await state.verdicts.of(left.sweep, left.children)
    told = SweepDetail.whole(left.sweep, left.children, left.evaluated, verdict).model_dump(mode="json")
    async with _one:
        content = await anyio.to_thread.run_sync(made, told, left, state.blobs, format)
    headers = {
        "Content-Disposition": f'attachment; filename="report.{format}"',
        "Content-Security-Policy": f"{POLICY}; sandbox",
        "Cache-Control": "no-store",
    }
    return Response(
        content, headers=headers, media_type="text/html" if format == "html" else "application/json"
    )

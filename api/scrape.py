"""What Prometheus reads: one page of numbers about the whole service.

They tell of all projects, so a project's key will not do: METRICS_TOKEN, which needs no database and so shows
what is down, or an operator's key.
"""

import secrets
from typing import Annotated

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Depends, Request, Response

from api.deps import problems
from api.security import bearer, identify
from api.telemetry import Telemetry

router = APIRouter(tags=["health"])
log = structlog.get_logger()

_BOUND_S = 2.0
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def scraper(request: Request) -> None:
    """Admit who may see numbers of all projects."""
    token, given = request.app.state.settings.metrics_token, bearer(request)
    wanted = None if token is None else token.get_secret_value().encode()
    if wanted is not None and given is not None and secrets.compare_digest(given.encode(), wanted):
        return
    await identify(request, "operator")


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems(401, 403, 404, 503)},
)
async def scrape(request: Request, _who: Annotated[None, Depends(scraper)]) -> Response:
    """Tell how the service does; what does not answer within two seconds is told as down."""
    state = request.app.state
    telemetry: Telemetry = state.telemetry
    told = await state.readiness.ask()
    telemetry.depends(told, state.stream_slots.open)
    async with state.scraping:
        if told.get("postgres") != "up" or not await _looked(request):
            telemetry.forget()
        page = telemetry.text()
    return Response(page, headers={"content-type": _TEXT})


async def _looked(request: Request) -> bool:
    look = request.app.state.telemetry.look
    with anyio.move_on_after(_BOUND_S):
        try:
            await anyio.to_thread.run_sync(
                look, abandon_on_cancel=True, limiter=request.app.state.scrape_threads
            )
        except Exception as error:  # whatever it is, there are no numbers
            log.warning("metrics.not_looked", error=type(error).__name__)
            return False
        return True
    return False

"""Query parameters that a route does not declare are refused: ``?stauts=failed`` would list all jobs.

Not under ``/v1``: clients there may send what another service knows. Health, metrics and what shows pages
admit nobody by a key, and so never ask this.
"""

import difflib
from collections.abc import Iterator, Sequence

from fastapi.dependencies.models import Dependant
from starlette.requests import Request

from api.openai.envelope import speaks
from api.refusals import InvalidRequest
from neftune_core.spec_faults import FAULTS_TOLD, Fault


def refuse_unknown(request: Request) -> None:
    """Refuse a request that names a parameter its route does not have."""
    if not request.scope["query_string"] or speaks(request.url.path):
        return
    known = sorted(set(_declared(request.scope["route"].dependant)))
    strange = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if strange:
        faults = [_fault(name, known) for name in strange[:FAULTS_TOLD]]
        raise InvalidRequest("This route has no such parameter; see errors.", faults)


def _declared(asked: Dependant) -> Iterator[str]:
    """Name the parameters that the handler asks for, and those that what it depends on asks for."""
    yield from (field.alias for field in asked.query_params)
    for other in asked.dependencies:
        yield from _declared(other)


def _fault(name: str, known: Sequence[str]) -> Fault:
    """Tell by its name only what is known by another: anything may have come in by mistake."""
    near = difflib.get_close_matches(name[:64].lower(), known, n=1, cutoff=0.5)
    if near:
        told = f"There is no such parameter here; did you mean {near[0]}?"
    elif known:
        told = "There is no such parameter here; known are " + ", ".join(known) + "."
    else:
        told = "There are no parameters here."
    return Fault(("query", name if near else "unknown"), "unknown_parameter", told)

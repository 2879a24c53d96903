"""JSON bodies: type, size, time and syntax, before anybody looks at what they mean."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.refusals import BodyTooLarge, InvalidJson, InvalidRequest, TooSlow, UnsupportedMedia
from neftune_core import strict_json
from neftune_core.spec_faults import Fault, faults_of

Body = TypeVar("Body", bound=BaseModel)

_JSON = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)


async def json_body(request: Request) -> object:
    """Read the body as strict JSON in UTF-8."""
    types = request.headers.getlist("content-type")
    if len(types) != 1 or not _JSON.fullmatch(types[0]):
        raise UnsupportedMedia("Send JSON in UTF-8, with Content-Type: application/json.")
    data = await _bounded(request, request.app.state.settings.json_body_limit)
    try:
        return strict_json.loads(data)
    except strict_json.JsonFault as fault:
        told = Fault(fault.path or ("body",), fault.code, str(fault))
        raise InvalidJson("The body is not the JSON this service reads; see errors.", [told]) from fault


async def _bounded(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(request.app.state.settings.upload_patience_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise BodyTooLarge(limit)
    except TimeoutError as error:
        raise TooSlow from error
    return bytes(body)


def body_as(kind: type[Body]) -> Callable[[object], Awaitable[Body]]:
    """Make the dependency that reads a body as what it must be."""

    async def read(body: Annotated[object, Depends(json_body)]) -> Body:
        try:
            return kind.model_validate(body)
        except ValidationError as error:
            raise InvalidRequest(
                "The body has faults; see errors for the places.", faults_of(error, kind)
            ) from error

    return read


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """Describe in OpenAPI the body that :func:`body_as` reads."""
    schema = kind.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

"""How every refusal under ``/v1`` looks on the wire: ``{"error": {message, type, param, code}}``.

Codes are the native ones. Faults of a request are 400 here, as clients expect, where the native surface
says 422. Knows the shape and nothing of which code deserves which status.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

ROOT = "/v1"
_STATUSES = {422: 400}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SAID_FAULTS = 3  # in the message; all of them are under `errors`


def speaks(path: str) -> bool:
    """Tell whether a path belongs to this surface."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def envelope(  # noqa: PLR0913 - the members of the document, all by name
    *,
    status: int,
    code: str,
    detail: str,
    param: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the answer; ``errors`` are the faults one by one, for those who look further."""
    status = _STATUSES.get(status, status)
    placed = [one for one in errors if one.get("loc")]
    document = error_of(status, code, "; ".join(map(_sentence, placed[:_SAID_FAULTS])) or detail)
    document["error"]["param"] = param or (_place(placed[0]) if placed else None)
    if errors:
        document["error"]["errors"] = list(errors)
    return Response(
        json.dumps(document),  # ASCII only, as problems are
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def error_of(status: int, code: str, message: str) -> dict[str, Any]:
    """Build the document; in the middle of a stream it is all there is."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _sentence(fault: Mapping[str, Any]) -> str:
    place = _place(fault)
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def _place(fault: Mapping[str, Any]) -> str | None:
    parts = list(fault["loc"])
    if parts[0] in {"query", "path", "body"}:  # where FastAPI found it; clients name the parameter alone
        parts = parts[1:]
    return ".".join(map(str, parts)) or None


def schema() -> dict[str, Any]:
    """Describe the document for OpenAPI."""
    text: dict[str, Any] = {"type": "string"}
    maybe: dict[str, Any] = {"anyOf": [text, {"type": "null"}]}
    error = {
        "type": "object",
        "required": ["message", "type", "param", "code"],
        "properties": {"message": text, "type": text, "param": maybe, "code": maybe},
    }
    return {
        "title": "OpenAIError",
        "type": "object",
        "required": ["error"],
        "properties": {"error": error},
    }

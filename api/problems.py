"""Problem details (RFC 9457): how every refusal looks on the wire.

Knows the shape and nothing of which code deserves which status.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from neftune_core.spec_faults import Fault

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

MEDIA_TYPE = "application/problem+json"


def problem(  # noqa: PLR0913 - the members of a problem document, all by name
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    errors: Sequence[Mapping[str, Any]] = (),
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the answer; ``extra`` adds members, such as the counts of a dataset's faults."""
    body = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request_id,
        "code": code,
        "errors": list(errors),
        **(extra or {}),
    }
    # ASCII only: nothing in a message can then upset a terminal or a log.
    return Response(json.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def told(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Show spec faults as the contract names them."""
    return [
        {"loc": [_plain(part) for part in fault.loc], "code": fault.code, "msg": fault.msg}
        for fault in faults
    ]


def _plain(part: str | int) -> str | int:
    """Give a part of a place if it reads like a name; a key from outside may be any text."""
    return part if isinstance(part, int) or _NAME.fullmatch(part) else "(a key)"


def schema() -> dict[str, Any]:
    """Describe the document for OpenAPI."""
    text = {"type": "string"}
    fault = {"type": "object", "properties": {"loc": {"type": "array"}, "code": text, "msg": text}}
    return {
        "title": "Problem",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "code", "errors"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": {"type": "string", "description": "The request id."},
            "code": text,
            "errors": {"type": "array", "items": fault},
        },
    }

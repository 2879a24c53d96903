"""The OpenAPI document: FastAPI's own, with the job spec's schema and the shape of problems added."""

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems
from api.generate_body import GenerateSpec
from api.openai import envelope
from api.openai.chat_body import ChatSpec, CompletionSpec
from api.openai.create_body import CreateJob
from api.openai.uploads import CompleteUpload, CreateUpload
from api.openapi_words import EXAMPLES, described
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.spec import JobSpec
from neftune_core.sweep_spec import SweepSpec

_DESCRIPTION = """Fine-tune language models with the paper's NEFTune noise.

Send the key as `Authorization: Bearer <key>`; an operator's names a project in `Neftune-Project`. Browsers
log in with `POST /session`. Refusals are problem details (RFC 9457) with a stable `code`; what was sent is
never repeated. `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` tell where the key stands."""


_REFUSED = "Refused; `code` tells why, and errors.md what to do."
_PLACE = re.compile(r"\{(\w+)\}")
_TEXT = {"type": "string"}
OPEN = frozenset({"/healthz", "/readyz"})  # those that ask for no key
_BODIES = (
    JobSpec,
    EvaluationSpec,
    SweepSpec,
    CreateJob,
    CreateUpload,
    CompleteUpload,
    GenerateSpec,
    ChatSpec,
    CompletionSpec,
)


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the document once, and give it again."""
    if app.openapi_schema is None:
        app.openapi_schema = _built(app)
    return app.openapi_schema


def _built(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for body in _BODIES:
        whole = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(whole.pop("$defs", {}))
        schemas[body.__name__] = whole
    schemas["Problem"] = problems.schema()
    schemas["OpenAIError"] = envelope.schema()
    document["components"]["responses"] = {
        "Problem": _refusal(problems.MEDIA_TYPE, "Problem"),
        "OpenAIError": _refusal("application/json", "OpenAIError"),
    }
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for operation in item.values():
            _refine(path, operation)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["schema"], parts = _taken_apart(content["schema"])
                schemas.update(parts)
                _describe_fields(content["schema"])
                called = content["schema"].get("$ref", "").rpartition("/")[2] or content["schema"].get(
                    "title"
                )
                if called in EXAMPLES:
                    content["examples"] = {"plain": {"value": EXAMPLES[called]}}
    for schema in schemas.values():
        _describe_fields(schema)
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own way to refuse
        schemas.pop(unused, None)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _describe_fields(schema: dict[str, Any]) -> None:
    fields = schema.get("properties", {})
    fields.update({name: described(name, field) for name, field in fields.items()})


def _refine(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    _name_places(path, operation)
    for answer in responses.values():
        for content in answer.get("content", {}).values():
            if "itemSchema" in content:  # of each message; a stream as a whole is no text
                content.pop("schema", None)
    for one in operation.get("parameters", ()):
        one.update(described(one["name"], one))
    if path not in OPEN:
        operation["security"] = [{"key": []}]
    if envelope.speaks(path):
        responses.pop("422", None)  # there it is a 400
    refusals = {status for status in responses if status[0] in "45"} | _of_every_route(path)
    told = "OpenAIError" if envelope.speaks(path) else "Problem"
    responses.update(dict.fromkeys(refusals - _told_by_routes(responses), _ref("responses", told)))
    operation["responses"] = dict(sorted(responses.items()))


def _taken_apart(schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a body's schema and those it is made of, which may not stand inside it here."""
    if "$defs" not in schema:
        return schema, {}
    placed = json.loads(json.dumps(schema).replace("#/$defs/", "#/components/schemas/"))
    return placed, placed.pop("$defs")


def _name_places(path: str, operation: dict[str, Any]) -> None:
    """Name the parts of a path that the handler itself does not look at."""
    known = {one["name"] for one in operation.get("parameters", ())}
    missing = [name for name in _PLACE.findall(path) if name not in known]
    if missing:
        places = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in missing]
        operation["parameters"] = [*places, *operation.get("parameters", ())]


def _of_every_route(path: str) -> set[str]:
    """List what is refused before a route is asked, or by what all routes ask first."""
    found = {"400", "413", "415", "431"}  # the gate's
    if path not in OPEN:
        found |= {"401", "403", "404", "429", "503"}  # the key's, and of the project that it names
    if path not in OPEN and not envelope.speaks(path):
        found |= {"422"}  # of a parameter that is not there
    return found | ({"404"} if "{" in path else set())


def _told_by_routes(responses: dict[str, Any]) -> set[str]:
    """List refusals of another shape, such as what a service tells that is not ready."""
    return {
        status
        for status, one in responses.items()
        if status[0] in "45" and _told_as(one) not in {None, "Problem", "OpenAIError", "HTTPValidationError"}
    }


def _told_as(response: dict[str, Any]) -> str | None:
    schemas = [one.get("schema", {}) for one in response.get("content", {}).values()]
    return str(schemas[0].get("$ref", "inline")).rpartition("/")[2] if schemas else None


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _refusal(media_type: str, name: str) -> dict[str, Any]:
    return {"description": _REFUSED, "content": {media_type: {"schema": _ref("schemas", name)}}}

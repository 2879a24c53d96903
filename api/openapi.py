"""The OpenAPI document: FastAPI's own, with the job spec's schema and the shape of problems added."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems
from api.openai import envelope
from api.openai.create_body import CreateJob
from api.openai.uploads import CompleteUpload, CreateUpload
from neftune_core.spec import JobSpec

_DESCRIPTION = """Fine-tune language models with the paper's NEFTune noise.

Send the key as `Authorization: Bearer <key>`. Refusals are problem details (RFC 9457) with a stable
`code`; what was sent is never repeated."""


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the document once, and give it again."""
    if app.openapi_schema is None:
        app.openapi_schema = _built(app)
    return app.openapi_schema


def _built(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for body in (JobSpec, CreateJob, CreateUpload, CompleteUpload):
        described = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[body.__name__] = described
    schemas["Problem"] = problems.schema()
    schemas["OpenAIError"] = envelope.schema()
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for operation in item.values():
            _refine(path, operation)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _refine(path: str, operation: dict[str, Any]) -> None:
    if path not in {"/healthz", "/readyz"}:
        operation["security"] = [{"key": []}]
    # FastAPI describes its own 422; ours are problems like all others.
    unfit = operation["responses"].get("422")
    if unfit is not None:
        if envelope.speaks(path):  # there it is a 400, described with the others
            del operation["responses"]["422"]
            return
        unfit["description"] = "Problem details"
        unfit["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

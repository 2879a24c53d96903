"""The docs name every code and every route; the OpenAPI document is a snapshot.

Regenerate the snapshot with ``python -m tests.api.test_docs``; its diff is a promise changed.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import neftune_core
import neftune_core.errors
import neftune_core.evaluate.judge.alpaca_eval
import neftune_core.rows_faults
import neftune_core.spec
import neftune_store.errors
from api import refusals
from api.errors import RETRY_AFTER_S, STATUSES, TITLES
from api.main import create_app
from api.settings import ApiSettings
from tests.api.live_api import Service

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("openapi.json")
# Where faults of rows and of JSON are made: calls with a literal code.
FAULT_MAKERS = {
    "Flaw": 0,
    "RowFault": 1,
    "JsonFault": 0,
    "Refused": 0,
    "PydanticCustomError": 0,
    "fault_at": 1,
}


def tree(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from tree(below)


def codes_of_errors() -> set[str]:
    roots = (neftune_core.errors.CoreError, neftune_store.errors.StoreError, refusals.ApiError)
    ours = ("neftune_core", "neftune_store", "api")
    return {one.code for root in roots for one in tree(root) if one.__module__.startswith(ours)}  # type: ignore[attr-defined]  # each class of the trees has one


def codes_of_faults() -> set[str]:
    found = {"unknown_field", "missing_field"}  # made by spec_faults out of pydantic's
    for file in Path(neftune_core.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in FAULT_MAKERS:
                place = FAULT_MAKERS[node.func.id]  # type: ignore[attr-defined]  # it has an id, as just seen
                found |= {code for given in node.args[place : place + 1] for code in literals(given)}
    return found


def literals(node: ast.expr) -> Iterator[str]:
    """The texts an expression can be: itself, or either arm of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


CODES = codes_of_errors() | codes_of_faults() | set(STATUSES)


def test_codes_are_found_where_they_are_made() -> None:
    assert {"no_assistant_turn", "row_too_long", "epochs_or_max_steps", "digest_mismatch"} <= CODES
    assert len(CODES) > 60


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_explained(code: str) -> None:
    assert f"\n### `{code}`\n" in (ROOT / "docs/errors.md").read_text()


def test_no_code_is_explained_twice_or_without_being_there() -> None:
    explained = re.findall(r"\n### `([a-z_]+)`\n", (ROOT / "docs/errors.md").read_text())
    of_jobs = {"worker_crashed", "host_oom", "adapter_corrupt"}  # told by the supervisor
    assert sorted(explained) == sorted(CODES | of_jobs)


def test_every_refusal_of_api_and_store_has_a_status() -> None:
    roots = (neftune_store.errors.StoreError, refusals.ApiError, neftune_core.rows_faults.DatasetError,
             neftune_core.errors.ModelError, neftune_core.errors.SpecError)  # fmt: skip
    assert {one.code for root in roots for one in tree(root)} <= set(STATUSES)  # type: ignore[attr-defined]  # as above
    assert set(TITLES) | set(RETRY_AFTER_S) <= set(STATUSES)
    assert {code for code, status in STATUSES.items() if status in {429, 503}} <= set(RETRY_AFTER_S)


def document() -> dict[str, object]:
    settings = ApiSettings(database_url="postgresql://nobody@localhost/none", storage_url="file:///tmp")
    return dict(create_app(settings).openapi())


def as_text(found: dict[str, object]) -> str:
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def test_the_openapi_document_is_the_promised_one() -> None:
    assert as_text(document()) == SNAPSHOT.read_text(), "a promise changed: python -m tests.api.test_docs"


def test_the_openapi_document_shows_the_job_spec_itself() -> None:
    found = json.loads(as_text(document()))
    spec = found["components"]["schemas"]["JobSpec"]
    assert set(spec["properties"]) == set(neftune_core.spec.JobSpec.model_fields)
    used = set(re.findall(r"#/components/schemas/([A-Za-z0-9_]+)", as_text(found)))
    assert used <= set(found["components"]["schemas"])
    assert "$defs" not in as_text(found)  # such a name leads nowhere from inside a document


def test_every_route_is_documented_with_a_call() -> None:
    native, theirs = ((ROOT / "docs" / page).read_text() for page in ("api.md", "openai.md"))
    routes = {
        f"{method.upper()} {path}"
        for path, item in json.loads(SNAPSHOT.read_text())["paths"].items()
        for method in item
    }
    documented = set(re.findall(r"^### `([A-Z]+ /[^`?]*)", native + theirs, re.MULTILINE))
    assert documented == routes | {"GET /docs", "GET /openapi.json"}
    assert native.count("curl ") >= len([route for route in routes if " /v1/" not in route])


def test_the_docs_page_loads_nothing_from_elsewhere(service: Service) -> None:
    page = httpx.get(f"{service.url}/docs", trust_env=False)
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")
    assert "<script" not in page.text
    assert "POST /jobs" in page.text
    assert "?." not in page.text


def test_docs_can_be_switched_off(service: Service) -> None:
    app = create_app(service.settings.model_copy(update={"docs": False}))
    assert app.openapi_url is None
    assert not [route for route in app.routes if getattr(route, "path", "") == "/docs"]


if __name__ == "__main__":
    SNAPSHOT.write_text(as_text(document()))

"""Everything in the OpenAPI document is described, and what stands there as an example fits its schema."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.openapi_words import FIELDS
from tests.api.test_docs import as_text, document

DOCUMENT: dict[str, Any] = json.loads(as_text(document()))
SCHEMAS = DOCUMENT["components"]["schemas"]


OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    (f"{method.upper()} {path}", operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def is_told(field: dict[str, Any]) -> bool:
    """Whether a field says what it is, or refers to a schema that does."""
    return "description" in field or "$ref" in field or any("$ref" in one for one in field.get("anyOf", ()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described(name: str) -> None:
    fields = SCHEMAS[name].get("properties", {})
    assert [field for field, about in fields.items() if not is_told(about)] == []


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_and_parameter_is_described(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"], name
    assert [one["name"] for one in operation.get("parameters", ()) if not is_told(one)] == []
    for content in operation.get("requestBody", {}).get("content", {}).values():
        fields = content["schema"].get("properties", {})
        assert [field for field, about in fields.items() if not is_told(about)] == []


def test_every_number_that_may_be_sent_has_bounds() -> None:
    unbounded = [
        f"{name} {one['name']}"
        for name, operation in OPERATIONS
        for one in operation.get("parameters", ())
        for kind in (one["schema"], *one["schema"].get("anyOf", ()))
        if kind.get("type") in {"integer", "number"} and not {"minimum", "exclusiveMinimum"} & set(kind)
    ]
    assert unbounded == []


def test_examples_fit_their_schemas() -> None:
    seen = 0
    for name, operation in OPERATIONS:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for example in content.get("examples", {}).values():
                whole = {**content["schema"], "components": DOCUMENT["components"]}
                faults = [
                    fault.message for fault in Draft202012Validator(whole).iter_errors(example["value"])
                ]
                assert faults == [], name
                seen += 1
    assert seen >= 4


def test_no_word_is_there_for_nothing() -> None:
    named = set(json.dumps(DOCUMENT).split('"'))
    assert set(FIELDS) - named == set()

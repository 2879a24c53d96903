"""docs/jobspec.md tells each field of JobSpec with its default, and no other."""

import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from neftune_core.spec import JobSpec

DOC = Path(__file__).parents[2] / "docs" / "jobspec.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| (?:`(.*?)`|(required)) \| \S.* \|$", re.M)


def told() -> dict[str, str]:
    return {name: default or required for name, default, required in ROW.findall(DOC.read_text("utf-8"))}


def inner_spec(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arms = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else ()
    return next((found for arm in arms if (found := inner_spec(arm))), None)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        inner = inner_spec(field.annotation)
        if inner is None or field.default is None:
            yield prefix + name, default_of(field.default)
        if inner is not None:
            yield from fields(inner, f"{prefix}{name}.")


def default_of(default: object) -> str:
    return "required" if default is PydanticUndefined else json.dumps(default)


def test_every_field_and_its_default_is_told():
    assert told() == dict(fields(JobSpec))


def test_the_shortest_example_is_a_job():
    example = re.search(r"```json\n(.*?)```", DOC.read_text("utf-8"), re.S)
    assert JobSpec.model_validate_json(example[1]).alpha == 5

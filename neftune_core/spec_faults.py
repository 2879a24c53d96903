"""What is wrong with a spec, told so that the sender can mend it: place, code, way out.

Turns pydantic's findings into :class:`Fault`. What was sent is never repeated.
"""

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

FAULTS_TOLD = 100

# pydantic's types that we give a name of our own; the rest keep theirs.
_CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where."""

    loc: tuple[str | int, ...]
    code: str
    msg: str


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """List what ``error`` found in a value meant for ``model``; the first hundred."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return list(_merged(_fault(one, model) for one in found))[:FAULTS_TOLD]


def _fault(found: Any, model: type[BaseModel]) -> Fault:
    loc = _without_union_arms(found["loc"], model)
    if found["type"] == "extra_forbidden":
        return (
            Fault((*loc[:-1], "unknown"), "unknown_field", _unknown(loc, model))
            if _unsafe(loc[-1])
            else Fault(loc, "unknown_field", _unknown(loc, model))
        )
    return Fault(loc, _CODES.get(found["type"], found["type"]), found["msg"])


def _merged(faults: Iterator[Fault]) -> Iterator[Fault]:
    """Let the arms of a union, which fail each in its own way, speak once for their place."""
    seen: dict[tuple[str | int, ...], None] = {}
    for fault in faults:
        if fault.code == "unknown_field" or fault.loc not in seen:
            seen[fault.loc] = None
            yield fault


def _unsafe(name: str | int) -> bool:
    return isinstance(name, str) and not (name.isascii() and name.isidentifier() and len(name) <= 64)


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    owner = model
    for part in loc[:-1]:
        inner = (
            _spec_inside(owner.model_fields[str(part)].annotation)
            if str(part) in owner.model_fields
            else None
        )
        if inner is None:
            break
        owner = inner
    near = difflib.get_close_matches(str(loc[-1])[:64].lower(), owner.model_fields, n=1, cutoff=0.5)
    if near:
        return f"There is no such field here; did you mean {near[0]}?"
    return "There is no such field here; known are " + ", ".join(owner.model_fields) + "."


def _without_union_arms(loc: Sequence[str | int], model: type[BaseModel]) -> tuple[str | int, ...]:
    """Keep of a location what the sender wrote: field names and positions, not names of union arms."""
    kept: list[str | int] = []
    owner: type[BaseModel] | None = model
    for part in loc:
        if owner is not None:
            kept.append(part)
            field = owner.model_fields.get(str(part))
            owner = _spec_inside(field.annotation) if field else None
        elif isinstance(part, int) or (kept and kept[-1] == "metadata" and part != "[key]"):
            kept.append(part)
    return tuple(kept)


def _spec_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for arm in typing.get_args(annotation):
            if (inner := _spec_inside(arm)) is not None:
                return inner
    return None

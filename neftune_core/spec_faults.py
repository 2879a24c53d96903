"""What is wrong with a spec, told so that the sender can mend it: place, code, way out.

Turns pydantic's findings into :class:`Fault`. What was sent is never repeated: neither values nor names
that the sender made up.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from neftune_core.spec import DISPLAY, DURATION, MODEL_ID

FAULTS_TOLD = 100

# pydantic's types that we give a name of our own; the rest keep theirs.
_CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}
_WORDS = (
    (re.compile(r"valid dictionary( or instance of \w+)?"), "object"),
    (re.compile(r"a valid tuple"), "a list"),
    (re.compile(r"^(Dictionary|Tuple|String)"), "It"),
    (re.compile(r" after validation, not .*$"), ""),
    (re.compile(r"^Input should"), "It should"),
    (re.compile(r"^Value error, must"), "It must"),  # what our own checks say goes without saying so
    (re.compile(r"^Value error, "), ""),
    (re.compile(r" be None$"), " be null"),  # as JSON calls them
    (re.compile(r" be False$"), " be false"),
    (re.compile(r"a object"), "an object"),
)

_PATTERNS = {
    DISPLAY: "It should hold no control characters and no marks that turn the direction of text",
    DURATION: 'It should be a duration such as "5m"',
    MODEL_ID: "It should be the id of a model, such as org/name; never a path",
}

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where."""

    loc: Loc
    code: str
    msg: str


@dataclass(frozen=True)
class _Found:
    """A fault, and whether it is what one arm of a union had to say."""

    fault: Fault
    of_arm: bool


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """List what ``error`` found in a value meant for ``model``; the first hundred."""
    found = error.errors(include_url=False, include_input=False)
    return _merged([_found(one, model) for one in found])[:FAULTS_TOLD]


def _found(one: Any, model: type[BaseModel]) -> _Found:
    context = one.get("ctx", {})
    given = one["loc"] + ((context["field"],) if context.get("field") else ())
    loc = _without_union_arms(given, model)
    if one["type"] == "extra_forbidden":
        told = _unknown(loc, model)
        loc = (*loc[:-1], "unknown") if _unsafe(loc[-1]) else loc
    else:
        told = _in_our_words(one, context)
    return _Found(Fault(loc, _CODES.get(one["type"], one["type"]), told), len(loc) < len(given))


def _in_our_words(one: Any, context: dict[str, Any]) -> str:
    if context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    told: str = one["msg"]
    for pattern, word in _WORDS:
        told = pattern.sub(word, told)
    return told


def _merged(found: Sequence[_Found]) -> list[Fault]:
    """Let the arms of a union, which fail each in its own way, speak once for their place."""
    places: dict[tuple[Loc, str], list[Fault]] = {}
    for one in found:
        deeper = any(len(other.fault.loc) > len(one.fault.loc) and _under(other, one) for other in found)
        if one.of_arm and deeper:
            continue  # another arm took the value for its own and has more to say
        key = (one.fault.loc, "" if one.of_arm else one.fault.code)
        places.setdefault(key, []).append(one.fault)
    return [_together(faults) for faults in places.values()]


def _under(other: _Found, one: _Found) -> bool:
    return other.fault.loc[: len(one.fault.loc)] == one.fault.loc


def _together(faults: Sequence[Fault]) -> Fault:
    told = dict.fromkeys(fault.msg for fault in faults)
    said = [msg.removeprefix("It should ") if number else msg for number, msg in enumerate(told)]
    return replace(_most_telling(faults), msg=", or ".join(said))


def _most_telling(faults: Sequence[Fault]) -> Fault:
    """Prefer what is wrong with the value of the right kind to what says only that the kind is wrong."""
    for fault in faults:
        if fault.code != "literal_error" and not fault.code.endswith("_type"):
            return fault
    return faults[0]


def _unsafe(name: str | int) -> bool:
    return isinstance(name, str) and not (name.isascii() and name.isidentifier() and len(name) <= 64)


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    fields = _fields_at(loc[:-1], model)
    near = difflib.get_close_matches(str(loc[-1])[:64].lower(), fields, n=1, cutoff=0.5)
    if near:
        return f"There is no such field here; did you mean {near[0]}?"
    return "There is no such field here; known are " + ", ".join(fields) + "."


def _fields_at(loc: Iterable[str | int], model: type[BaseModel]) -> Sequence[str]:
    owner: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue  # of a list: its items are what the field says
        field = owner.model_fields.get(part) if owner else None
        owner = _spec_inside(field.annotation)[0] if field else None
    return list(owner.model_fields) if owner else []


def _without_union_arms(loc: Sequence[str | int], model: type[BaseModel]) -> Loc:
    """Keep field names and positions; leave out names of union arms and keys the sender made up."""
    kept: list[str | int] = []
    owner: type[BaseModel] | None = model
    listed = False  # the owner is that of a list's items, and what comes before a position names an arm
    for part in loc:
        if isinstance(part, int):
            kept.append(part)
            listed = False
        elif owner is not None and not listed:
            kept.append(part)
            field = owner.model_fields.get(part)
            owner, listed = _spec_inside(field.annotation) if field else (None, False)
    return tuple(kept)


def _spec_inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Find the class that a field holds, if any, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated, list):
        for arm in typing.get_args(annotation):
            inner, listed = _spec_inside(arm)
            if inner is not None:
                return inner, listed or origin is list
    return None, False

"""Reads one row the slow way and says everything that is wrong with it, each with its place.

Knows the forms a row may have; knows nothing of files or lines.
"""

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from neftune_core.rows_faults import plain
from neftune_core.rows_look import Flaw
from neftune_core.rows_schema import (
    FORMS,
    ROW_TYPES,
    AlpacaRow,
    AnyRow,
    ChatMessage,
    Format,
    MessagesRow,
    ShareGptRow,
    Turn,
    format_of,
    keys_of,
)

FLAWS_TOLD = 100  # of one row: a row of a megabyte has room for half a million

_ROLES = {
    ChatMessage: ("system", "developer", "user", "assistant", "tool"),
    Turn: ("human", "gpt", "system", "function_call", "observation", "tool", "user", "assistant"),
}
_DECODERS: dict[Format, msgspec.json.Decoder[AnyRow]] = {
    form: msgspec.json.Decoder(row) for form, row in ROW_TYPES.items()
}


def form_of(value: object) -> Format | Flaw:
    """Tell which form this value has, or why none."""
    if not isinstance(value, dict):
        return Flaw("row_not_object", "A row must be a JSON object.")
    return format_of(value) or Flaw("unknown_schema", f"The row has none of the known forms: {FORMS}.")


def flaws_of(value: dict[str, Any], form: Format) -> list[Flaw]:
    """List what keeps this value from being a row of this form, the first hundred things."""
    return list(islice(_flaws(value, form), FLAWS_TOLD))


def decode(data: bytes, form: Format) -> AnyRow | Flaw:
    """Decode a row in which :func:`flaws_of` found nothing."""
    try:
        return _DECODERS[form].decode(data)
    except (msgspec.DecodeError, RecursionError):
        return Flaw("wrong_type", "The row does not fit its form.")


def _flaws(value: dict[str, Any], form: Format) -> Iterator[Flaw]:
    row_type = ROW_TYPES[form]
    yield from _unknown_keys(value, row_type, "")
    if row_type is MessagesRow:
        yield from _list_of_parts(value, "messages", ChatMessage)
        yield from _tools(value, text=False)
    elif row_type is ShareGptRow:
        yield from _list_of_parts(value, "conversations", Turn)
        yield from _text(value, "system", required=False)
        yield from _tools(value, text=True)
    elif row_type is AlpacaRow:
        for key in ("instruction", "output"):
            yield from _text(value, key)
        for key in ("input", "system"):
            yield from _text(value, key, required=False)
        yield from _history(value.get("history"))
    else:
        for key in ("prompt", "completion") if form == "prompt_completion" else ("text",):
            yield from _text(value, key)


def _unknown_keys(value: dict[str, Any], part: type[msgspec.Struct], path: str) -> Iterator[Flaw]:
    known = keys_of(part)
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key[:64].lower(), known, n=1)
            way_out = f"did you mean {near[0]}?" if near else "remove it."
            yield Flaw(
                "unknown_key", f"There is no key {plain(key)} here; {way_out}", _join(path, plain(key))
            )


def _text(value: dict[str, Any], key: str, path: str = "", *, required: bool = True) -> Iterator[Flaw]:
    if key not in value:
        if required:
            yield Flaw("missing_key", f"The key {key} is missing.", _join(path, key))
    elif not isinstance(value[key], str) and (required or value[key] is not None):
        yield Flaw("wrong_type", f"{key} must be text.", _join(path, key))


def _list_of_parts(value: dict[str, Any], key: str, part: type[ChatMessage | Turn]) -> Iterator[Flaw]:
    if not isinstance(value[key], list):
        yield Flaw("wrong_type", f"{key} must be a list.", key)
        return
    for number, one in enumerate(value[key]):
        path = f"{key}[{number}]"
        if not isinstance(one, dict):
            yield Flaw("wrong_type", "A message must be an object.", path)
            continue
        yield from _unknown_keys(one, part, path)
        yield from _role(one, part, path)
        yield from _weight(one, path)
        if part is Turn:
            yield from _text(one, "value", path)
        else:
            yield from _message_texts(one, path)


def _role(one: dict[str, Any], part: type[ChatMessage | Turn], path: str) -> Iterator[Flaw]:
    key = "role" if part is ChatMessage else "from"
    if key not in one:
        yield Flaw("missing_key", f"The key {key} is missing.", _join(path, key))
    elif not isinstance(one[key], str) or one[key] not in _ROLES[part]:
        yield Flaw("unknown_role", f"{key} must be one of {', '.join(_ROLES[part])}.", _join(path, key))


def _weight(one: dict[str, Any], path: str) -> Iterator[Flaw]:
    weight = one.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int) or weight not in (0, 1):
        yield Flaw("wrong_weight", "weight must be 0 or 1.", _join(path, "weight"))


def _message_texts(one: dict[str, Any], path: str) -> Iterator[Flaw]:
    for key in ("content", "name", "tool_call_id"):
        yield from _text(one, key, path, required=False)
    if not are_calls(one.get("tool_calls"), one.get("role")):
        told = (
            'tool_calls, only in a message of the assistant: [{"type", "function": {"name", "arguments"}}].'
        )
        yield Flaw("wrong_type", told, _join(path, "tool_calls"))


def are_calls(calls: object, role: object) -> bool:
    """Tell whether this is a good value of ``tool_calls`` in a message of this role."""
    if calls is None:
        return True
    return role == "assistant" and isinstance(calls, list) and bool(calls) and all(map(_is_call, calls))


def are_tools(tools: object, *, text: bool) -> bool:
    """Tell whether this is a good value of ``tools``; ``text``: JSON text will do."""
    if tools is None:
        return True
    if isinstance(tools, str):
        return text
    return isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)


def _is_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments", ""), str | dict)
    )


def _tools(value: dict[str, Any], *, text: bool) -> Iterator[Flaw]:
    if not are_tools(value.get("tools"), text=text):
        yield Flaw("wrong_type", "tools must be a list of tool definitions.", "tools")


def _history(history: object) -> Iterator[Flaw]:
    if history is None:
        return
    if not isinstance(history, list):
        yield Flaw("wrong_type", "history must be a list of pairs.", "history")
        return
    for number, pair in enumerate(history):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)):
            yield Flaw("wrong_type", "Each entry must be [question, answer].", f"history[{number}]")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key

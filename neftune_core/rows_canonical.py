"""One shape for rows of every form: what the templates render and the trainer reads.

Alpaca's ``input`` stays apart as ``context``, because the Alpaca template has a block of its own for it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

from msgspec import UNSET, Raw, UnsetType

from neftune_core.rows_schema import (
    AlpacaRow,
    AnyRow,
    ChatMessage,
    Format,
    MessagesRow,
    PromptRow,
    ShareGptRow,
    TextRow,
    Turn,
)

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the assistant makes; ``arguments`` is JSON text."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``weight`` tells whether an assistant's turn is trained on."""

    role: Role
    content: str
    weight: int = 1
    context: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One example: either a conversation or a plain text."""

    source_format: Format
    kind: Literal["messages", "text"] = "messages"
    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[Mapping[str, Any], ...] | None = None


@singledispatch
def canonical(row: AnyRow) -> Row:
    """Give the row in the one shape."""
    raise TypeError(f"{type(row).__name__} is not a row")


@canonical.register
def _text(row: TextRow) -> Row:
    return Row("text", kind="text", text=row.text)


@canonical.register
def _prompt(row: PromptRow) -> Row:
    return Row(
        "prompt_completion", messages=(Message("user", row.prompt), Message("assistant", row.completion))
    )


@canonical.register
def _alpaca(row: AlpacaRow) -> Row:
    return Row("alpaca", messages=tuple(_alpaca_messages(row)))


def _alpaca_messages(row: AlpacaRow) -> Iterator[Message]:
    if isinstance(row.system, str) and row.system:
        yield Message("system", row.system)
    for question, answer in row.history or ():
        yield Message("user", question)
        yield Message("assistant", answer)
    yield Message("user", row.instruction, context=_given(row.input) or "")
    yield Message("assistant", row.output)


@canonical.register
def _messages(row: MessagesRow) -> Row:
    return Row("messages", messages=tuple(map(_message, row.messages)), tools=_tools(row.tools))


def _message(message: ChatMessage) -> Message:
    calls = () if message.tool_calls is UNSET else json.loads(bytes(message.tool_calls)) or ()
    return Message(
        role="system" if message.role == "developer" else message.role,
        content=_given(message.content) or "",
        weight=1 if message.weight is UNSET else message.weight,
        tool_calls=tuple(_call(call["function"], call.get("id")) for call in calls),
        tool_call_id=_given(message.tool_call_id),
        name=_given(message.name),
    )


@canonical.register
def _sharegpt(row: ShareGptRow) -> Row:
    messages = [_turn(turn) for turn in row.conversations]
    system = _given(row.system)
    if system and not (messages and messages[0].role == "system"):
        messages.insert(0, Message("system", system))
    return Row("sharegpt", messages=tuple(messages), tools=_tools(row.tools))


_SPEAKERS: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}


def _turn(turn: Turn) -> Message:
    weight = 1 if turn.weight is UNSET else turn.weight
    calls = _calls_in(turn.value) if turn.speaker == "function_call" else ()
    return Message(_SPEAKERS[turn.speaker], "" if calls else turn.value, weight=weight, tool_calls=calls)


def _calls_in(text: str) -> tuple[ToolCall, ...]:
    """Read the calls in a ``function_call`` turn; text that holds none stays text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return ()
    return tuple(_call(call, None) for call in calls)


def _call(function: Mapping[str, Any], call_id: object) -> ToolCall:
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(function["name"], text, call_id if isinstance(call_id, str) else None)


def _tools(raw: Raw | UnsetType) -> tuple[Mapping[str, Any], ...] | None:
    """Read tool definitions: a list, or JSON text of one; text that is none of it describes a single tool."""
    value = None if raw is UNSET else json.loads(bytes(raw))
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = [{"description": value}] if value.strip() else None
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence) or not value:
        return None
    return tuple(tool for tool in value if isinstance(tool, Mapping)) or None


def _given(text: str | UnsetType | None) -> str | None:
    return text if isinstance(text, str) else None

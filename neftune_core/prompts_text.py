"""Words for what a template without tools of its own has to say: calls, tool definitions, context."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from neftune_core.rows_canonical import Message, ToolCall

_TOOLS = 'You can call these tools. To call one, answer with JSON only: {"name": ..., "arguments": {...}}.\n'


def asked(message: Message) -> str:
    """Give what the user says, with the context that Alpaca keeps apart."""
    return f"{message.content}\n\n{message.context}" if message.context else message.content


def answer_text(message: Message) -> str:
    """Give what the assistant says, its calls as JSON."""
    calls = "\n".join(map(call_text, message.tool_calls))
    return f"{message.content}\n{calls}" if message.content and calls else message.content or calls


def call_text(call: ToolCall) -> str:
    """Give one call as JSON text."""
    return json.dumps({"name": call.name, "arguments": arguments_of(call)}, ensure_ascii=False)


def arguments_of(call: ToolCall) -> Any:
    """Give the arguments as an object where they are one."""
    try:
        value = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments
    return value if isinstance(value, dict) else call.arguments


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """Give tool definitions as text for a system message."""
    return _TOOLS + json.dumps(list(tools), ensure_ascii=False)

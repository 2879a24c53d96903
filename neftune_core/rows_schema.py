"""The five forms a row may have, as types: the fast reader decodes straight into them.

A key that is not listed is refused. The keys of :class:`Labelled` are kept by many public datasets beside
what is trained on; they are checked to be sound JSON and otherwise ignored.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

Format = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "text"]

Extra = Raw | UnsetType
Weight = Annotated[int, msgspec.Meta(ge=0, le=1)] | UnsetType
Text = str | None | UnsetType


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    pass


class Labelled(_Part, kw_only=True):
    """A row with the labels that public datasets carry."""

    id: Extra = UNSET
    idx: Extra = UNSET
    index: Extra = UNSET
    source: Extra = UNSET
    data_source: Extra = UNSET
    dataset: Extra = UNSET
    category: Extra = UNSET
    topic: Extra = UNSET
    title: Extra = UNSET
    url: Extra = UNSET
    language: Extra = UNSET
    lang: Extra = UNSET
    license: Extra = UNSET
    timestamp: Extra = UNSET
    metadata: Extra = UNSET
    meta: Extra = UNSET
    model: Extra = UNSET
    model_name: Extra = UNSET
    generator: Extra = UNSET
    score: Extra = UNSET
    tags: Extra = UNSET
    hash: Extra = UNSET


class ChatMessage(_Part, kw_only=True):
    """One message as OpenAI writes it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text = UNSET
    weight: Weight = UNSET
    name: Text = UNSET
    tool_calls: Extra = UNSET
    tool_call_id: Text = UNSET


class MessagesRow(Labelled, kw_only=True):
    """``{"messages": [...]}``."""

    messages: list[ChatMessage]
    tools: Extra = UNSET
    parallel_tool_calls: Extra = UNSET
    prompt: Extra = UNSET
    prompt_id: Extra = UNSET


class Turn(_Part, kw_only=True):
    """One turn as ShareGPT writes it."""

    speaker: Literal[
        "human", "user", "gpt", "assistant", "system", "function_call", "observation", "tool"
    ] = msgspec.field(name="from")
    value: str
    weight: Weight = UNSET


class ShareGptRow(Labelled, kw_only=True):
    """``{"conversations": [{"from": ..., "value": ...}]}``; ``tools`` is JSON text or a list."""

    conversations: list[Turn]
    system: Text = UNSET
    tools: Extra = UNSET
    system_prompt: Extra = UNSET
    custom_instruction: Extra = UNSET
    skip_prompt_formatting: Extra = UNSET
    views: Extra = UNSET
    avatarUrl: Extra = UNSET  # noqa: N815 - the key as public files spell it


class AlpacaRow(Labelled, kw_only=True):
    """``{"instruction", "input", "output"}``, with ``history`` of earlier pairs."""

    instruction: str
    output: str
    input: Text = UNSET
    system: Text = UNSET
    history: list[tuple[str, str]] | UnsetType | None = UNSET
    text: Extra = UNSET


class PromptRow(Labelled, kw_only=True):
    """``{"prompt": ..., "completion": ...}``."""

    prompt: str
    completion: str


class TextRow(Labelled, kw_only=True):
    """``{"text": ...}``: trained on as a whole."""

    text: str


AnyRow = MessagesRow | ShareGptRow | AlpacaRow | PromptRow | TextRow

ROW_TYPES: dict[Format, type[AnyRow]] = {
    "messages": MessagesRow,
    "sharegpt": ShareGptRow,
    "alpaca": AlpacaRow,
    "prompt_completion": PromptRow,
    "text": TextRow,
}
FORMS = (
    'messages {"messages": [...]}, ShareGPT {"conversations": [...]}, Alpaca {"instruction", "output"}, '
    'prompt/completion {"prompt", "completion"} or text {"text"}'
)


def keys_of(part: type[msgspec.Struct]) -> tuple[str, ...]:
    """List the keys this part may have, as they are spelt in JSON."""
    return part.__struct_encode_fields__


def format_of(keys: Any) -> Format | None:
    """Tell a row's form by the keys it has; the first that fits."""
    if "messages" in keys:
        return "messages"
    if "conversations" in keys:
        return "sharegpt"
    if "instruction" in keys:
        return "alpaca"
    if "completion" in keys or "prompt" in keys:
        return "prompt_completion"
    if "text" in keys:
        return "text"
    return None

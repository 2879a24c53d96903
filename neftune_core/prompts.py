"""Turns a row into text with marks: what is trained on, and what belongs to the template.

The beginning-of-text token is put first by who encodes, except where a model's own chat template writes
it. Knows no ids and no torch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from neftune_core.errors import TemplateError
from neftune_core.prompts_chat import chat
from neftune_core.prompts_spans import Span, TokenizerLike, Wish
from neftune_core.prompts_text import answer_text, asked, tools_text
from neftune_core.rows_canonical import Message, Row

Template = Literal["alpaca", "vicuna", "chat", "plain"]
# The paper's evaluation asked with a newline after "### Response:" that its training never had.
PromptTemplate = Template | Literal["alpaca-newline"]

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def trained_by(template: PromptTemplate) -> Template:
    """Give the template whose training such a prompt is for."""
    return "alpaca" if template == "alpaca-newline" else template


def resolve_template(name: str, source_format: str, has_chat_template: bool) -> Template:
    """Give the template that ``auto`` stands for, by the form of the rows."""
    if name in ("alpaca", "vicuna", "chat", "plain"):
        return name  # type: ignore[return-value] # mypy does not narrow str to Literal by "in"
    if source_format == "messages":
        return "chat" if has_chat_template else "vicuna"
    return _AUTO[source_format]


_AUTO: dict[str, Template] = {
    "sharegpt": "vicuna",
    "alpaca": "alpaca",
    "text": "plain",
    "prompt_completion": "plain",
}


def render(
    row: Row, template: Template, tokenizer: TokenizerLike, train_on: Literal["response", "all"] = "response"
) -> list[Span]:
    """Give the spans of one example; raise :class:`TemplateError` where the template has no place for it.

    Trained are the assistant's turns of weight 1 with the end-of-text token after them; with ``train_on``
    ``all`` everything but the turns of weight 0; of a text row always everything. Response is what the
    assistant says, each turn to its end-of-text token and whatever its weight; a text row is response whole.
    """
    if row.kind == "text":
        return _tidy([Span(row.text, trained=True, response=True), end(tokenizer, trained=True)])
    return _tidy(_renderer(template)(row, tokenizer, Wish(everything=train_on == "all")))


def render_prompt(row: Row, template: PromptTemplate, tokenizer: TokenizerLike) -> list[Span]:
    """Give the spans that a model continues with its next turn: for generating, never for training.

    Answers at the end of the row are left out: they are what the model is asked for. ``alpaca-newline``
    differs from ``alpaca`` by the one newline at the end, and is for reproducing the paper's answers.
    """
    if row.kind == "text":
        return _tidy([Span(row.text)])
    messages = row.messages
    while messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    spans = _renderer(trained_by(template))(replace(row, messages=messages), tokenizer, Wish(opened=True))
    newline = [Span("\n", special=True)] if template == "alpaca-newline" else []
    return _tidy(Span(span.text, special=span.special) for span in (*spans, *newline))


Renderer = Callable[[Row, TokenizerLike, Wish], Iterable[Span]]


def _renderer(template: Template) -> Renderer:
    if template == "chat":
        return chat
    return _BUILT_IN[template]


def _alpaca(row: Row, tokenizer: TokenizerLike, wish: Wish) -> Iterator[Span]:
    system, turns = _with_system(row.messages)
    _refuse_unless_turns_alternate(turns, opened=wish.opened)
    said = any(message.context for message in turns)
    yield (
        Span(system, wish.everything)
        if system
        else Span(ALPACA_WITH_INPUT if said else ALPACA_WITHOUT_INPUT, wish.everything, special=True)
    )
    for message in turns:
        if message.role == "assistant":
            yield from _answer(message, tokenizer)
            continue
        yield Span("\n\n### Instruction:\n", wish.everything, special=True)
        yield Span(message.content, wish.everything)
        if message.context:
            yield Span("\n\n### Input:\n", wish.everything, special=True)
            yield Span(message.context, wish.everything)
        yield Span("\n\n### Response:", wish.everything, special=True)


def _refuse_unless_turns_alternate(turns: Sequence[Message], *, opened: bool) -> None:
    roles = ["user", "assistant"] * (len(turns) // 2 + 1)
    if [turn.role for turn in turns] != roles[: len(turns)] or len(turns) % 2 != opened:
        raise TemplateError(
            "The alpaca template needs user and assistant in turns, and no tools; use vicuna or chat."
        )
    if any(turn.tool_calls for turn in turns):
        raise TemplateError("The alpaca template has no place for tool calls; use vicuna or chat.")


def _vicuna(row: Row, tokenizer: TokenizerLike, wish: Wish) -> Iterator[Span]:
    system, turns = _with_system(row.messages)
    yield Span(system, wish.everything) if system else Span(VICUNA_SYSTEM, wish.everything, special=True)
    if row.tools:
        yield Span("\n" + tools_text(row.tools), wish.everything)
    yield Span(" ", wish.everything, special=True)
    for message in turns:
        yield Span(f"{_VICUNA_ROLES[message.role]}:", wish.everything, special=True)
        if message.role == "assistant":
            yield Span(" ", trained=bool(message.weight), response=True)
            yield from _answer(message, tokenizer, otherwise="</s>")
        else:
            yield Span(" " + asked(message), wish.everything)
            yield Span(" ", wish.everything, special=True)
    if wish.opened:
        yield Span("ASSISTANT:", special=True)


_VICUNA_ROLES = {"system": "SYSTEM", "user": "USER", "assistant": "ASSISTANT", "tool": "TOOL"}


def _plain(row: Row, tokenizer: TokenizerLike, wish: Wish) -> Iterator[Span]:
    between = "" if row.source_format == "prompt_completion" else "\n"
    if row.tools:
        yield Span(tools_text(row.tools) + "\n", wish.everything)
    for message in row.messages:
        if message.role == "assistant":
            yield from _answer(message, tokenizer)
        else:
            yield Span(asked(message), wish.everything)
        if message is not row.messages[-1] or wish.opened:
            yield Span(between, wish.everything)


_BUILT_IN: dict[str, Renderer] = {"alpaca": _alpaca, "vicuna": _vicuna, "plain": _plain}


def _answer(message: Message, tokenizer: TokenizerLike, otherwise: str = "") -> Iterator[Span]:
    trained = bool(message.weight)
    yield Span(answer_text(message), trained, response=True)
    yield Span(tokenizer.eos_token or otherwise, trained, special=True, response=True)


def _with_system(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """Take the system messages at the beginning apart."""
    first = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    return "\n".join(message.content for message in messages[:first]), messages[first:]


def end(tokenizer: TokenizerLike, *, trained: bool) -> Span:
    """Give the token that ends a text."""
    return Span(tokenizer.eos_token or "", trained=trained, special=True, response=True)


def _tidy(spans: Iterable[Span]) -> list[Span]:
    """Leave out empty spans; join neighbours of one kind."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last and replace(last, text=span.text) == span:
            joined[-1] = replace(span, text=last.text + span.text)
        elif span.text:
            joined.append(span)
    return joined

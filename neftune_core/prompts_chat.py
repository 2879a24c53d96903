"""Renders a row by the model's own chat template, and finds the answers in what comes out.

Templates say nothing about which text is an answer, so it is found from outside: each message's content is
replaced by a mark nobody writes, which shows where contents stand; and the conversation is rendered up to
and after each answer, which shows where its turn begins and ends.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from neftune_core.errors import TemplateError
from neftune_core.prompts_jinja import ChatTemplate, compiled
from neftune_core.prompts_spans import Span, TokenizerLike, Wish
from neftune_core.prompts_text import answer_text, arguments_of, asked, tools_text
from neftune_core.rows_canonical import Message, Row

_MARKS = ("\uf8f0", "\uf8f1", "\uf8f2", "\uf8f3")  # private use: first one that no content holds


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message as the template takes it, beside what was in the dataset."""

    message: Message
    given: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Chat:
    """One conversation and the template that renders it."""

    template: ChatTemplate
    variables: Mapping[str, Any]
    turns: Sequence[_Turn]

    def text(self, upto: int | None = None, *, opened: bool = False) -> str:
        """Render the first turns."""
        return self._rendered([turn.given for turn in self.turns[:upto]], opened)

    def marked(self, marks: "_Marks", upto: int | None = None, *, opened: bool = False) -> str:
        """Render with numbers in marks for contents."""
        messages = [
            {**turn.given, "content": f"{marks.mark}{number}{marks.mark}"}
            if turn.given["content"].strip() or (marks.empty and turn.message.role == "assistant")
            else turn.given
            for number, turn in enumerate(self.turns[:upto])
        ]
        return self._rendered(messages, opened)

    def _rendered(self, messages: Sequence[Mapping[str, Any]], opened: bool) -> str:
        return self.template.text({**self.variables, "messages": messages, "add_generation_prompt": opened})


@dataclass(frozen=True, slots=True)
class _Marks:
    """How contents are marked; ``empty``: also the empty ones of the assistant."""

    mark: str
    empty: bool


def chat(row: Row, tokenizer: TokenizerLike, wish: Wish) -> Iterator[Span]:
    """Give the spans of a conversation as the model's own template writes it."""
    source = _source(tokenizer, has_tools=row.tools is not None)
    conversation = _Chat(compiled(source), _variables(row, tokenizer, source), _turns(row, source))
    text = conversation.text(opened=wish.opened)
    found = _contents(conversation, text, wish)
    _refuse_forged(row, tokenizer, contents_unknown=found is None)
    marks, places = found or (None, {})
    rendering = _Rendering(conversation, text, marks, places, tokenizer.eos_token or "")
    answers = [] if wish.opened else list(rendering.answers())
    if not answers or not rendering.never_ends():
        yield from _cut(text, places, answers, wish)
        return
    yield from _cut(text[: places[len(conversation.turns) - 1][-1][1]], places, answers, wish)
    yield Span(rendering.eos, trained=bool(row.messages[-1].weight), special=True, response=True)


def _source(tokenizer: TokenizerLike, *, has_tools: bool) -> str:
    source: Any = tokenizer.chat_template
    if isinstance(source, Mapping):
        source = source.get("tool_use" if has_tools and "tool_use" in source else "default")
    if not source or not isinstance(source, str):
        raise TemplateError("The model has no chat template; use alpaca, vicuna or plain.")
    return source


def _variables(row: Row, tokenizer: TokenizerLike, source: str) -> dict[str, Any]:
    named = dict(getattr(tokenizer, "special_tokens_map", None) or {})
    named |= {"bos_token": tokenizer.bos_token or "", "eos_token": tokenizer.eos_token or ""}
    if row.tools and "tools" in source:
        named["tools"] = [
            dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}
            for tool in row.tools
        ]
    return named


def _turns(row: Row, source: str) -> list[_Turn]:
    """Put messages as templates expect them; what a template has no word for is said in text."""
    turns = [_Turn(message, _given(message, source)) for message in row.messages]
    if row.tools and "tools" not in source:
        told = tools_text(row.tools)
        if turns and turns[0].message.role == "system":
            turns[0].given["content"] += "\n\n" + told
        else:
            system = Message("system", told)
            turns.insert(0, _Turn(system, _given(system, source)))
    return turns


def _given(message: Message, source: str) -> dict[str, Any]:
    given: dict[str, Any] = {"role": message.role, "content": asked(message)}
    if message.role == "tool" and not re.search(r"""["'](?:tool|ipython)["']""", source):
        given["role"] = "user"
    if message.tool_calls and "tool_calls" not in source:
        given["content"] = answer_text(message)
    elif message.tool_calls:
        given["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": arguments_of(call)}}
            | ({"id": call.id} if call.id else {})
            for call in message.tool_calls
        ]
    for key in ("name", "tool_call_id"):
        if value := getattr(message, key):
            given[key] = value
    return given


Place = tuple[int, int]
Answer = tuple[int, int, bool]


def _contents(chat: _Chat, text: str, wish: Wish) -> tuple[_Marks, dict[int, list[Place]]] | None:
    """Find where the contents of the messages stand in the text; ``None``: the template alters them."""
    mark = next((mark for mark in _MARKS if mark not in text), None)
    if mark is None:
        return None
    # A turn that is only a call shows by an empty content where it begins, if the template bears with it.
    for empty in (True, False) if any(turn.message.tool_calls for turn in chat.turns) else (False,):
        marks = _Marks(mark, empty)
        try:
            marked = chat.marked(marks, opened=wish.opened)
        except TemplateError:
            continue
        places = _places(chat, text, marked, mark)
        if places is not None:
            return marks, places
    return None


def _places(chat: _Chat, text: str, marked: str, mark: str) -> dict[int, list[Place]] | None:
    pieces = re.split(f"{mark}(\\d+){mark}", marked)
    places: dict[int, list[Place]] = {}
    position = 0
    for index in range(0, len(pieces), 2):
        if not text.startswith(pieces[index], position):
            return None
        position += len(pieces[index])
        if index + 1 == len(pieces):
            break
        number = int(pieces[index + 1])
        length = _length_here(text, position, chat.turns[number].given["content"], pieces[index + 2])
        if length is None:
            return None
        places.setdefault(number, []).append((position, position + length))
        position += length
    return places if position == len(text) else None


def _length_here(text: str, position: int, content: str, after: str) -> int | None:
    """Tell how long this content is here: many templates trim it."""
    for variant in (content, content.strip(), content.rstrip(), content.lstrip()):
        if text.startswith(variant, position) and text.startswith(after, position + len(variant)):
            return len(variant)
    return None


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A rendered conversation in which the answers are looked for."""

    chat: _Chat
    text: str
    marks: _Marks | None
    places: Mapping[int, list[Place]]
    eos: str

    def answers(self) -> Iterator[Answer]:
        """Give begin, end and weight of each answer."""
        for number, turn in enumerate(self.chat.turns):
            if turn.message.role == "assistant":
                begin = self._begin(number)
                yield begin, self._end(number, begin), bool(turn.message.weight)

    def never_ends(self) -> bool:
        """Tell whether the last turn is an answer after which the template writes nothing."""
        last = len(self.chat.turns) - 1
        if self.chat.turns[last].message.role != "assistant" or last not in self.places:
            return False
        return not self.text[self.places[last][-1][1] :].strip()

    def _begin(self, number: int) -> int:
        """Find where the model begins to write: after what opens its turn, else at the content."""
        place = self.places.get(number, [None])[-1]
        try:
            opened = self.chat.text(number, opened=True)
        except TemplateError:
            opened = ""  # some templates can't render a conversation that has not begun
        if opened and self.text.startswith(opened) and (place is None or len(opened) <= place[0]):
            return len(opened)
        if place is None:
            raise TemplateError("The chat template shows no place for an answer; use another template.")
        return place[0]

    def _end(self, number: int, begin: int) -> int:
        """Find where the turn is over: after its end token, without the space before the next turn."""
        after = self.places[number][-1][1] if number in self.places else begin
        tail = self._tail(number, after)
        if self.eos and self.eos in tail:
            return after + tail.index(self.eos) + len(self.eos)
        return after + len(tail.rstrip())

    def _tail(self, number: int, after: int) -> str:
        """Give what the template writes after this content and before the next turn."""
        if number == len(self.chat.turns) - 1:
            return self.text[after:]
        until = self.chat.text(number + 1)
        if self.text.startswith(until):
            return self.text[after : len(until)]
        if self.marks is None or number not in self.places:
            raise TemplateError("The chat template rewrites earlier turns; use another template.")
        marked = self.chat.marked(self.marks, number + 1)
        return _common(marked[marked.rfind(self.marks.mark) + 1 :], self.text[after:])


def _common(one: str, other: str) -> str:
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other)) if length is None else length]


def _cut(
    text: str, places: Mapping[int, list[Place]], answers: Sequence[Answer], wish: Wish
) -> Iterator[Span]:
    contents = sorted(place for found in places.values() for place in found)
    edges = {0, len(text), *(edge for place in contents for edge in place)}
    cuts = sorted(edges | {edge for answer in answers for edge in answer[:2]})
    for begin, finish in pairwise(cuts):
        answer = next((one for one in answers if one[0] <= begin < one[1]), None)
        content = any(a <= begin < b for a, b in contents)
        trained = answer[2] if answer else wish.everything
        yield Span(text[begin:finish], trained, special=not content, response=answer is not None)


def _refuse_forged(row: Row, tokenizer: TokenizerLike, *, contents_unknown: bool) -> None:
    """Refuse special tokens where they can't be told from the template's own."""
    said = [str(row.tools or "")]
    said += [call.name + call.arguments for message in row.messages for call in message.tool_calls]
    if contents_unknown:
        said += [message.content + message.context for message in row.messages]
    text = "\n".join(said)
    if any(token in text for token in _special_tokens(tokenizer)):
        raise TemplateError(
            "The row holds the model's special tokens where its chat template can't keep them apart."
        )


def _special_tokens(tokenizer: TokenizerLike) -> set[str]:
    tokens = set(getattr(tokenizer, "all_special_tokens", ()))
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    tokens |= {token.content for token in added.values() if token.special}
    return {token for token in (*tokens, tokenizer.bos_token, tokenizer.eos_token) if token}

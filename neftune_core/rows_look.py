"""What a well-formed row means for training: is there an answer to learn, and what is unusual about it.

Works on decoded rows of every form; knows nothing of bytes or lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import UNSET

from neftune_core.rows_schema import AlpacaRow, AnyRow, ChatMessage, MessagesRow, PromptRow, ShareGptRow, Turn


class Flaw(NamedTuple):
    """What makes one row useless, and where in it."""

    code: str
    msg: str
    path: str = ""


@dataclass(slots=True)
class Tally:
    """Counts over all rows: what the dataset is like, and what a user may want to know."""

    rows: int = 0
    turns: int = 0
    answers: int = 0
    answer_chars: int = 0
    with_tools: int = 0
    multi_turn: int = 0
    first_turn_answers: int = 0
    users_in_sequence: int = 0
    untrained: int = 0


NO_FLAWS: Sequence[Flaw] = ()


def look(row: AnyRow, tally: Tally) -> Sequence[Flaw]:
    """Count the row; list what makes it useless."""
    tally.rows += 1
    if isinstance(row, AlpacaRow):
        return _look_at_alpaca(row, tally)
    if isinstance(row, MessagesRow):
        return _look_at_messages(row.messages, row.tools is not UNSET, tally)
    if isinstance(row, ShareGptRow):
        return _look_at_turns(row.conversations, row.tools is not UNSET, tally)
    if isinstance(row, PromptRow):
        return _look_at_answer(row.completion, "completion", tally)
    if not row.text or row.text.isspace():
        return (Flaw("empty_text", "The text is empty.", "text"),)
    return NO_FLAWS


def _look_at_answer(answer: str, path: str, tally: Tally) -> Sequence[Flaw]:
    tally.turns += 2
    tally.answers += 1
    tally.answer_chars += len(answer)
    if not answer or answer.isspace():
        return (Flaw("empty_answer", "The answer is empty.", path),)
    return NO_FLAWS


def _look_at_alpaca(row: AlpacaRow, tally: Tally) -> Sequence[Flaw]:
    if row.history:
        tally.multi_turn += 1
        for number, (_, answer) in enumerate(row.history):
            flaws = _look_at_answer(answer, f"history[{number}][1]", tally)
            if flaws:
                return flaws
    return _look_at_answer(row.output, "output", tally)


def _look_at_messages(messages: Iterable[ChatMessage], has_tools: bool, tally: Tally) -> Sequence[Flaw]:
    flaws: list[Flaw] = []
    before = "system"
    answers = trained = turns = 0
    for number, message in enumerate(messages):
        role = message.role
        turns += 1
        content = message.content
        if role == "assistant":
            answers += 1
            trained += message.weight != 0
            if before == "system":
                tally.first_turn_answers += 1
            if isinstance(content, str) and content and not content.isspace():
                tally.answer_chars += len(content)
            elif message.tool_calls is UNSET or bytes(message.tool_calls) == b"null":
                flaws.append(_no_content(content, number))
        else:
            if not isinstance(content, str):
                flaws.append(Flaw("missing_content", "A message needs its content as text.", _at(number)))
            if role == "user" and before == "user":
                tally.users_in_sequence += 1
        before = "system" if role == "developer" else role
    _count(tally, turns, answers, trained)
    tally.with_tools += has_tools
    return flaws or _whole(answers, "messages")


def _no_content(content: object, number: int) -> Flaw:
    if isinstance(content, str):
        return Flaw("empty_answer", "The assistant's message is empty.", _at(number))
    return Flaw("missing_content", "An assistant's message needs content or tool_calls.", _at(number))


def _at(number: int) -> str:
    return f"messages[{number}].content"


def _look_at_turns(turns: Sequence[Turn], has_tools: bool, tally: Tally) -> Sequence[Flaw]:
    flaws: list[Flaw] = []
    before = "system"
    answers = trained = 0
    for number, turn in enumerate(turns):
        speaker = turn.speaker
        if speaker in _ANSWERS:
            answers += 1
            trained += turn.weight != 0
            tally.answer_chars += len(turn.value)
            if before == "system":
                tally.first_turn_answers += 1
            if not turn.value or turn.value.isspace():
                flaws.append(
                    Flaw("empty_answer", "The model's turn is empty.", f"conversations[{number}].value")
                )
            before = "gpt"
        else:
            if speaker in _ASKS and before == "human":
                tally.users_in_sequence += 1
            before = "human" if speaker in _ASKS else speaker
    _count(tally, len(turns), answers, trained)
    tally.with_tools += has_tools
    return flaws or _whole(answers, "conversations")


_ANSWERS = frozenset(("gpt", "assistant", "function_call"))
_ASKS = frozenset(("human", "user"))


def _count(tally: Tally, turns: int, answers: int, trained: int) -> None:
    tally.turns += turns
    tally.answers += answers
    tally.multi_turn += answers > 1
    tally.untrained += answers > 0 and not trained


def _whole(answers: int, path: str) -> Sequence[Flaw]:
    if answers:
        return NO_FLAWS
    return (Flaw("no_assistant_turn", "There is no turn of the assistant to learn from.", path),)

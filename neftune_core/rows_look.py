"""What a well-formed row means for training: is there an answer to learn, and what is unusual about it.

Works on decoded rows of every form; knows nothing of bytes or lines.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from msgspec import UNSET

from neftune_core.rows_schema import AlpacaRow, AnyRow, MessagesRow, PromptRow, ShareGptRow, TextRow


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


def look(rows: Sequence[AnyRow], tally: Tally) -> list[tuple[int, Sequence[Flaw]]]:
    """Count rows of one form; list what makes some of them useless, by their places in the sequence."""
    if not rows:
        return []
    tally.rows += len(rows)
    if isinstance(rows[0], MessagesRow):
        return list(_look_at_messages(cast("Sequence[MessagesRow]", rows), tally))
    look_at = _LOOKS[type(rows[0])]
    return [(place, flaws) for place, row in enumerate(rows) if (flaws := look_at(row, tally))]


def _look_at_text(row: TextRow, _tally: Tally) -> Sequence[Flaw]:
    if not row.text or row.text.isspace():
        return (Flaw("empty_text", "The text is empty.", "text"),)
    return NO_FLAWS


def _look_at_prompt(row: PromptRow, tally: Tally) -> Sequence[Flaw]:
    return _look_at_answer(row.completion, "completion", tally)


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


def _look_at_messages(rows: Sequence[MessagesRow], tally: Tally) -> Iterator[tuple[int, Sequence[Flaw]]]:
    """Look at whole blocks with few steps for each message: this is most of what chat data costs here."""
    turns = all_answers = chars = 0
    for place, row in enumerate(rows):
        before = "system"
        answers = trained = 0
        flaws: list[Flaw] = []
        turns += len(row.messages)
        for number, message in enumerate(row.messages):
            role = message.role
            content = message.content
            if role == "assistant":
                answers += 1
                trained += message.weight != 0
                if before == "system":
                    tally.first_turn_answers += 1
                if type(content) is str and content and not content.isspace():
                    chars += len(content)
                elif message.tool_calls is UNSET or bytes(message.tool_calls) == b"null":
                    flaws.append(_no_content(content, number))
            elif type(content) is not str:
                flaws.append(Flaw("missing_content", "A message needs its content as text.", _at(number)))
            elif role == "user" and before == "user":
                tally.users_in_sequence += 1
            before = role if role != "developer" else "system"
        if answers != 1 or not trained or row.tools is not UNSET:
            tally.multi_turn += answers > 1
            tally.untrained += answers > 0 and not trained
            tally.with_tools += row.tools is not UNSET
        all_answers += answers
        if flaws or not answers:
            yield place, flaws or _nothing_to_learn("messages")
    tally.turns += turns
    tally.answers += all_answers
    tally.answer_chars += chars


def _no_content(content: object, number: int) -> Flaw:
    if isinstance(content, str):
        return Flaw("empty_answer", "The assistant's message is empty.", _at(number))
    return Flaw("missing_content", "An assistant's message needs content or tool_calls.", _at(number))


def _at(number: int) -> str:
    return f"messages[{number}].content"


def _look_at_turns(row: ShareGptRow, tally: Tally) -> Sequence[Flaw]:
    flaws: list[Flaw] = []
    before = "system"
    answers = trained = 0
    for number, turn in enumerate(row.conversations):
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
    _count(tally, len(row.conversations), answers, trained)
    tally.with_tools += row.tools is not UNSET
    return flaws or (NO_FLAWS if answers else _nothing_to_learn("conversations"))


_ANSWERS = frozenset(("gpt", "assistant", "function_call"))
_ASKS = frozenset(("human", "user"))


def _count(tally: Tally, turns: int, answers: int, trained: int) -> None:
    tally.turns += turns
    tally.answers += answers
    tally.multi_turn += answers > 1
    tally.untrained += answers > 0 and not trained


def _nothing_to_learn(path: str) -> Sequence[Flaw]:
    return (Flaw("no_assistant_turn", "There is no turn of the assistant to learn from.", path),)


_LOOKS: dict[type[AnyRow], Callable[[Any, Tally], Sequence[Flaw]]] = {
    ShareGptRow: _look_at_turns,
    AlpacaRow: _look_at_alpaca,
    PromptRow: _look_at_prompt,
    TextRow: _look_at_text,
}

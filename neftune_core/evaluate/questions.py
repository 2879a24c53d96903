"""Rows as questions: what they ask, in one text, and how they answer it themselves. Light."""

from collections.abc import Sequence
from dataclasses import dataclass

from neftune_core.prompts_text import asked
from neftune_core.rows import Message, Row


class NotThere(Exception):
    """Something asked for can't be had, and why."""


@dataclass(frozen=True)
class Question:
    """A row whose prompt is answered; ``row`` is its number in its dataset or its part of the split."""

    row: int
    asked: Row
    instruction: str
    reference: str | None


def questions_in(rows: Sequence[Row]) -> list[Question]:
    """Take the rows that ask something."""
    found = [_question(number, row) for number, row in enumerate(rows) if _asks(row)]
    if not found:
        raise NotThere("No row asks anything: they are plain text.")
    return found


def _asks(row: Row) -> bool:
    return row.kind == "messages" and any(message.role == "user" for message in _before(row))


def _question(number: int, row: Row) -> Question:
    before = _before(row)
    answer = row.messages[len(before)].content if len(before) < len(row.messages) else None
    users = [message for message in before if message.role == "user"]
    if len(before) == 1:
        told = asked(users[0])
    else:  # all that was said, for who judges the answer to it
        told = "\n\n".join(f"{message.role}: {asked(message)}" for message in before)
    return Question(number, row, told, answer or None)


def _before(row: Row) -> Sequence[Message]:
    """Give the turns before the answer that ends a row."""
    messages = row.messages
    while messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    return messages

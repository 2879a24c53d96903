"""Cuts a conversation that is too long into shorter ones, so that its later turns are learnt and not cut off.

Knows turns; what "too long" means is asked of the caller. Rows are held out before any of them is cut, so
no conversation stands on both sides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from neftune_core.rows_canonical import Message, Row

Exchange = Sequence[Message]


def splits(asked: str, template: str, source_format: str) -> bool:
    """Tell whether conversations are split: left open, ShareGPT by the Vicuna template, as published."""
    return asked == "on" or (asked, template, source_format) == ("auto", "vicuna", "sharegpt")


def parts(row: Row, fits: Callable[[Row], bool]) -> Iterator[Row]:
    """Give the row if it fits, else parts of it, each as many exchanges as fit together.

    A part begins where the user speaks after an answer, and keeps the system's words and the tools. An
    exchange that is too long by itself is a part of its own, to be cut at its end.
    """
    system, exchanges = _exchanges(row.messages)
    if len(exchanges) < 2 or fits(row):
        yield row
        return
    held: list[Message] = []
    for exchange in exchanges:
        if held and not fits(_part(row, system, [*held, *exchange])):
            yield _part(row, system, held)
            held = []
        held += exchange
    yield _part(row, system, held)


def _exchanges(messages: Sequence[Message]) -> tuple[Sequence[Message], list[Exchange]]:
    """Take the system's first words apart; cut the rest before each turn that follows an answer."""
    first = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    turns = messages[first:]
    answers = ("assistant", "tool")
    cuts = [
        n
        for n, (before, after) in enumerate(pairwise(turns), 1)
        if before.role in answers and after.role not in answers
    ]
    return messages[:first], [turns[a:b] for a, b in pairwise([0, *cuts, len(turns)])]


def _part(row: Row, system: Sequence[Message], turns: Sequence[Message]) -> Row:
    return replace(row, messages=(*system, *turns))

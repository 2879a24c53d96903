"""Answers side by side, their prompts picked by rule: nobody chose what makes a good impression.

The rules, each of which picks one prompt that none before has picked: the first; the answer that has grown
most, and the one that has shrunk most; the one whose growth is in the middle; the one that repeats itself
most; the first that a judge preferred, and the first that it did not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neftune_core.evaluate.texts import repetition
from neftune_core.report.document import Pair, Text

LONGEST = 1500  # characters shown

RULES: Mapping[str, str] = {
    "first": "The first prompt",
    "grown_most": "The answer that is longer by the most characters",
    "shrunk_most": "The answer that is shorter by the most characters",
    "middle": "The change of length in the middle of all",
    "repeats_most": "The answer that repeats itself most, by pairs of words",
    "first_preferred": "The first answer that the judge prefers",
    "first_rejected": "The first answer that the judge likes less",
}


@dataclass(frozen=True)
class Side:
    """Two answers to one prompt."""

    prompt: str
    ours: str
    theirs: str
    row: int | None = None
    preference: float | None = None  # share of the win that is ours

    @property
    def grown(self) -> int:
        """By how many characters ours is longer."""
        return len(self.ours) - len(self.theirs)


def sides(ours: Any, theirs: Any, judged: Any = None) -> list[Side]:
    """Put answers to the same prompt side by side; files that are not of answers give none."""
    others = {prompt: output for prompt, output, _ in _answers(theirs)}
    preferred = dict(_annotations(judged))
    return [
        Side(prompt, output, others[prompt], row, preferred.get((prompt, output)))
        for prompt, output, row in _answers(ours)
        if prompt in others
    ]


def picked(found: Sequence[Side], names: tuple[str, str]) -> tuple[Pair, ...]:
    """Pick by the rules; ``names`` are ours and theirs."""
    left, pairs = list(range(len(found))), []
    for rule, pick in _PICKS.items():
        place = pick(found, left)
        if place is not None:
            left.remove(place)
            pairs.append(_pair(found[place], rule, names))
    return tuple(pairs)


def _pair(side: Side, rule: str, names: tuple[str, str]) -> Pair:
    ours, theirs = names
    return Pair(
        rule=rule,
        why=RULES[rule],
        row=side.row,
        prompt=shortened("Prompt", side.prompt),
        answers=(shortened(ours, side.ours), shortened(theirs, side.theirs)),
    )


def shortened(name: str, whole: str) -> Text:
    """Give a text as it is shown."""
    return Text(name=name, text=whole[:LONGEST], characters=len(whole), cut=len(whole) > LONGEST)


Pick = Callable[[Sequence[Side], list[int]], int | None]


def _first(_: Sequence[Side], left: list[int]) -> int | None:
    return left[0] if left else None


def _grown_most(found: Sequence[Side], left: list[int]) -> int | None:
    place = max(left, key=lambda one: found[one].grown, default=None)
    return place if place is not None and found[place].grown > 0 else None


def _shrunk_most(found: Sequence[Side], left: list[int]) -> int | None:
    place = min(left, key=lambda one: found[one].grown, default=None)
    return place if place is not None and found[place].grown < 0 else None


def _middle(found: Sequence[Side], left: list[int]) -> int | None:
    """Give the one nearest to the median of all, not of those that are left."""
    if not left:
        return None
    middle = sorted(one.grown for one in found)[(len(found) - 1) // 2]
    return min(left, key=lambda one: abs(found[one].grown - middle))


def _repeats_most(found: Sequence[Side], left: list[int]) -> int | None:
    shares = {one: repetition(words, 2) for one in left if len(words := found[one].ours.split()) > 1}
    place = max(shares, key=lambda one: shares[one], default=None)
    return place if place is not None and shares[place] > 0 else None


def _first_preferred(found: Sequence[Side], left: list[int]) -> int | None:
    return next((one for one in left if (found[one].preference or 0) > 0.5), None)


def _first_rejected(found: Sequence[Side], left: list[int]) -> int | None:
    shares = ((one, found[one].preference) for one in left)
    return next((one for one, share in shares if share is not None and share < 0.5), None)


_PICKS: Mapping[str, Pick] = {
    "first": _first,
    "grown_most": _grown_most,
    "shrunk_most": _shrunk_most,
    "middle": _middle,
    "repeats_most": _repeats_most,
    "first_preferred": _first_preferred,
    "first_rejected": _first_rejected,
}


def _answers(told: Any) -> list[tuple[str, str, int | None]]:
    entries = told if isinstance(told, list) else []
    return [
        (one["instruction"], one["output"], row if type(row := one.get("row")) is int else None)
        for one in entries
        if isinstance(one, dict)
        and isinstance(one.get("instruction"), str)
        and isinstance(one.get("output"), str)
    ]


def _annotations(told: Any) -> list[tuple[tuple[str, str], float]]:
    """Read AlpacaEval's preferences: 2 is ours."""
    entries = told if isinstance(told, list) else []
    return [
        ((one["instruction"], one["output_2"]), float(preference) - 1)
        for one in entries
        if isinstance(one, dict)
        and isinstance(one.get("instruction"), str)
        and isinstance(one.get("output_2"), str)
        and isinstance(preference := one.get("preference"), int | float)
        and 1 <= preference <= 2
    ]

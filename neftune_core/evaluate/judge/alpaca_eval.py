"""Files of AlpacaEval: answers of a model, and preferences between the answers of two.

A preference is 1 where the first answer won, 2 for the second, 1.5 or 0 for a draw, anything between for a
judge in two minds, and null where there is none. The first is the other side's, the second is ours.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core.errors import CoreError
from neftune_core.strict_json import JsonFault, loads


class NotAlpacaEval(CoreError):
    """A file does not hold what AlpacaEval's do."""

    code = "alpaca_eval_invalid"


@dataclass(frozen=True, slots=True)
class Output:
    """What a model answered."""

    instruction: str
    output: str
    generator: str = ""
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction."""

    instruction: str
    ours: str
    theirs: str
    dataset: str = ""

    @property
    def longer(self) -> int:
        """Our length less theirs, in characters."""
        return len(self.ours) - len(self.theirs)


def read_outputs(path: Path) -> list[Output]:
    """Read a file of answers. Raises :class:`NotAlpacaEval`."""
    return [_output(entry, f"{path.name}: entry {number}") for number, entry in enumerate(_entries(path), 1)]


def paired(ours: Iterable[Output], theirs: Iterable[Output]) -> list[Pair]:
    """Put answers to the same instruction side by side, in our order; what has no counterpart is left out."""
    waiting: defaultdict[str, deque[Output]] = defaultdict(deque)
    for one in theirs:
        waiting[one.instruction].append(one)
    pairs = []
    for one in ours:
        if others := waiting[one.instruction]:
            other = others.popleft()
            dataset = one.dataset or other.dataset
            pairs.append(Pair(one.instruction, one.output, other.output, dataset))
    return pairs


@dataclass(frozen=True, slots=True)
class Annotation:
    """A pair, and our share of the win: 0 to 1, or None where nobody knows."""

    pair: Pair
    win: float | None


def read_annotations(path: Path) -> list[Annotation]:
    """Read preferences. Raises :class:`NotAlpacaEval`."""
    return [
        _annotation(entry, f"{path.name}: entry {number}") for number, entry in enumerate(_entries(path), 1)
    ]


def written_annotations(
    annotations: Sequence[Annotation], generators: tuple[str, str], annotator: str
) -> list[dict[str, Any]]:
    """Give preferences as AlpacaEval keeps them; ``generators`` are the other side's name and ours."""
    return [
        {
            "instruction": one.pair.instruction,
            "output_1": one.pair.theirs,
            "generator_1": generators[0],
            "dataset": one.pair.dataset,
            "output_2": one.pair.ours,
            "generator_2": generators[1],
            "annotator": annotator,
            "preference": None if one.win is None else 1.0 + one.win,
        }
        for one in annotations
    ]


def _entries(path: Path) -> list[Any]:
    try:
        entries = loads(path.read_bytes())
    except JsonFault as fault:
        raise NotAlpacaEval(f"{path.name}: {fault.msg}") from None
    if not isinstance(entries, list):
        raise NotAlpacaEval(f"{path.name}: should be a JSON list of objects.")
    return entries


def _output(entry: Any, place: str) -> Output:
    text = _texts(entry, ("instruction", "output"), place)
    more = {name: entry[name] for name in ("generator", "dataset") if isinstance(entry.get(name), str)}
    return Output(_asked(text["instruction"], entry), text["output"], **more)


def _annotation(entry: Any, place: str) -> Annotation:
    text = _texts(entry, ("instruction", "output_1", "output_2"), place)
    dataset = entry.get("dataset")
    pair = Pair(
        _asked(text["instruction"], entry),
        text["output_2"],
        text["output_1"],
        dataset if isinstance(dataset, str) else "",
    )
    return Annotation(pair, _win(entry.get("preference"), place))


def _win(preference: Any, place: str) -> float | None:
    if preference is None:
        return None
    known = not isinstance(preference, bool) and isinstance(preference, int | float)
    if not known or not (preference == 0 or 1 <= preference <= 2):
        raise NotAlpacaEval(f"{place}: preference should be 0, a number from 1 to 2, or null.")
    return 0.5 if preference == 0 else float(preference) - 1.0


def _texts(entry: Any, names: Sequence[str], place: str) -> Mapping[str, str]:
    if not isinstance(entry, dict):
        raise NotAlpacaEval(f"{place}: should be an object.")
    for name in names:
        if not isinstance(entry.get(name), str):
            raise NotAlpacaEval(f"{place}: {name} should be a text.")
    return entry


def _asked(instruction: str, entry: Mapping[str, Any]) -> str:
    """Older files keep the input of an instruction apart."""
    more = entry.get("input")
    return f"{instruction}\n\n{more}" if isinstance(more, str) and more else instruction


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)

"""What a report is made from, and how it is read: a runner wrote it, so nothing of it is taken on trust."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neftune_core.evaluate.results import Results
from neftune_core.evaluate.spec import EvaluationSpec

Point = tuple[int, Mapping[str, float | None]]
Files = Callable[[str], Any]  # what a file beside the results holds, or None

LARGEST = 1e300  # beyond, a sum may be infinite


@dataclass(frozen=True)
class Measured:
    """An evaluation: its results, and the files they name."""

    results: Results
    files: Files

    @property
    def spec(self) -> EvaluationSpec:
        """What was asked."""
        return self.results.spec


@dataclass(frozen=True)
class Run:
    """A run: ``record.json``, its metrics, and what was evaluated of it."""

    record: Mapping[str, Any]
    name: str | None = None
    metrics: Sequence[Point] = ()
    evaluations: Sequence[Measured] = field(default=())

    @property
    def alpha(self) -> float:
        """Tell the strength of the noise; 0: there was none."""
        return number(self.record, "spec", "alpha") or 0.0

    @property
    def seed(self) -> int | None:
        """Tell the seed."""
        seed = number(self.record, "seed")
        return None if seed is None else int(seed)


def at(told: Any, *path: str) -> Any:
    """Give what stands at a path of names, or None."""
    for name in path:
        if not isinstance(told, Mapping):
            return None
        told = told.get(name)
    return told


def number(told: Any, *path: str) -> float | None:
    """Give a finite number, or None."""
    found = at(told, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) > LARGEST:
        return None
    return float(found) if math.isfinite(found) else None


def text(told: Any, *path: str) -> str | None:
    """Give a string, or None."""
    found = at(told, *path)
    return found if isinstance(found, str) else None


def entries(told: Any, *path: str) -> list[Mapping[str, Any]]:
    """Give the objects of a list; where there is none, none."""
    found = at(told, *path)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def beside(folder: Path) -> Files:
    """Read the files of an evaluation's folder; what can't be read is not there."""

    def read(name: str) -> Any:
        if Path(name).name != name:  # a name, and not a way out
            return None
        try:
            return json.loads((folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    return read


def flat(told: Mapping[str, Any], before: str = "", depth: int = 8) -> dict[str, Any]:
    """Give nested fields under dotted names; what is nested deeper than any of ours is one value."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, Mapping) and value and depth:
            found.update(flat(value, f"{before}{name}.", depth - 1))
        else:
            found[f"{before}{name}"] = value
    return found

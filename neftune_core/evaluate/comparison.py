"""Benchmarks of base and checkpoint side by side, from what each of them scored."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from neftune_core.evaluate.benchmarks import Score, Scores, difference
from neftune_core.evaluate.plan import Part
from neftune_core.evaluate.results import BenchmarkOf


def kept(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Give scores as they are kept: a metric that is no number is left out, and so is such an error."""
    return {"scores": {task: _kept(one) for task, one in scores.items()}}


def scored(there: Mapping[Part, Any]) -> tuple[BenchmarkOf, ...]:
    """Give each metric of each task, and how far the checkpoint is from the base where both were measured."""
    parts = {(part.rows, part.subject): one for part, one in there.items() if part.kind == "benchmark"}
    found: list[BenchmarkOf] = []
    for asked in dict.fromkeys(rows for rows, _ in parts):
        base = parts.get((asked, "base"))
        tuned = parts.get((asked, "checkpoint"))
        found += _compared(asked, tuned or base, base if tuned else None)
    return tuple(found)


def _compared(asked: str, measured: Any, base: Any) -> Iterator[BenchmarkOf]:
    for task, scores in measured["scores"].items():
        before = {} if base is None else base["scores"].get(task, {}).get("metrics", {})
        for called, one in scores["metrics"].items():
            metric, _, kind = called.partition(",")
            value, first = _score(one), before.get(called) and _score(before[called])
            apart = first and difference(first, value)
            yield BenchmarkOf(
                asked=asked,
                task=task,
                metric=metric,
                filter=kind or "none",
                num_fewshot=scores["shots"],
                documents=scores["documents"],
                value=value.value,
                standard_error=value.stderr,
                base=first.value if first else None,
                base_standard_error=first.stderr if first else None,
                difference=apart.value if apart else None,
                difference_standard_error=apart.stderr if apart else None,
                version=scores["version"],
            )


def _kept(scores: Scores) -> dict[str, Any]:
    told = scores.json()
    told["metrics"] = {
        name: {**one, "stderr": one["stderr"] if _is_number(one["stderr"]) else None}
        for name, one in told["metrics"].items()
        if _is_number(one["value"]) and all(map(_is_number, one["per_document"]))
    }
    return told


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _score(told: Mapping[str, Any]) -> Score:
    return Score(told["value"], told["stderr"], tuple(told["per_document"]))

"""Runs, evaluations and series as folders hold them, read for a report.

Of a run: ``record.json``, ``metrics.csv`` of the service or ``metrics.jsonl``, what a run has spoken on
``--report-fd``, and evaluations in any folder below. A record is needed; all else may be missing.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neftune_core.errors import SpecError
from neftune_core.eval_losses import MAX_BYTES, NAME, EvalLosses, NotEvalLosses, decoded
from neftune_core.evaluate.headline import in_short
from neftune_core.evaluate.results import Results
from neftune_core.report.curves import kept
from neftune_core.report.reading import Measured, Point, Run, at, beside, number
from neftune_core.report.series import Series
from neftune_core.statistics import CONFIDENCE
from neftune_core.verdict import Result, judge

RESULTS = "results.json"
_DEPTHS = (RESULTS, f"*/{RESULTS}", f"*/*/{RESULTS}")


def run_in(folder: Path, metrics: Path | None = None, evaluations: Sequence[Path] = ()) -> Run:
    """Read a run; ``evaluations`` are folders elsewhere. Raises :class:`SpecError`."""
    record = _json(folder / "record.json")
    if not isinstance(record, Mapping):
        raise SpecError(f"There should be a run's record.json in {folder}.")
    below = (path.parent for pattern in _DEPTHS for path in sorted(folder.glob(pattern)))
    found = [measured for one in below if (measured := _evaluation(one)) is not None]
    return Run(
        record,
        name=folder.name or None,
        metrics=kept(_metrics(metrics, folder)),
        evaluations=[*found, *map(evaluation_in, evaluations)],
    )


def evaluation_in(folder: Path) -> Measured:
    """Read an evaluation, or the one that its OUT_DIR holds. Raises :class:`SpecError`."""
    for place in (folder, folder / "evaluation"):
        if (found := _evaluation(place)) is not None:
            return found
    raise SpecError(f"There should be a {RESULTS} of an evaluation in {folder}.")


def series_in(folders: Sequence[Path], told: Path | None = None) -> Series:
    """Read the runs of a series and judge them, or take what ``GET /sweeps/{id}`` said of it."""
    runs = {folder.name: run_in(folder) for folder in folders}
    if told is not None:
        series = _json(told)
        if not isinstance(series, Mapping) or "results" not in series:
            raise SpecError(f"{told.name} should be a series as GET /sweeps/{{id}} shows it.")
        return Series(series, runs)
    if len(runs) < len(folders):
        raise SpecError("Two runs have folders of the same name.")
    points = [(run.alpha, run.seed) for run in runs.values()]
    if len(set(points)) < len(points):
        raise SpecError("Two runs have the same alpha and seed; name one of them.")
    return Series(_told(folders, runs), runs)


def _told(folders: Sequence[Path], runs: Mapping[str, Run]) -> dict[str, Any]:
    """Say of a series what the service would."""
    losses = {folder.name: _eval_losses(folder / NAME) for folder in folders}
    results = [Result(run.alpha, run.seed or 0, True, losses[name]) for name, run in runs.items()]
    verdict = judge(results)
    first = next(iter(runs.values()))
    return {
        "name": None,
        "status": "succeeded",
        "alpha": sorted({one.alpha for one in results}),
        "seed": sorted({one.seed for one in results}),
        "job": at(first.record, "spec"),
        "results": [_line(name, run) for name, run in runs.items()],
        "verdict": {
            "outcome": verdict.outcome.value,
            "recommended_alpha": verdict.recommended_alpha,
            "interval": verdict.interval,
            "reasons": [reason.value for reason in verdict.reasons],
            "why": verdict.why,
            "confidence": CONFIDENCE,
            "alphas": [asdict(line) for line in verdict.alphas],
        },
    }


def _line(name: str, run: Run) -> dict[str, Any]:
    final = {
        ours: number(run.record, "final", theirs)
        for ours, theirs in (
            ("eval_loss", "eval_loss"),
            ("best_eval_loss", "best_eval_loss"),
            ("best_step", "best_step"),
            ("base_eval_loss", "base_eval_loss"),
            ("clean_train_loss", "last_clean_train_loss"),
            ("best_clean_train_loss", "best_clean_train_loss"),
        )
    }
    evaluations = [_in_short(one.results) for one in run.evaluations]
    told = {"job": name, "alpha": run.alpha, "seed": run.seed or 0, "status": "succeeded"}
    return {**told, **final, "evaluations": evaluations}


def _in_short(results: Results) -> dict[str, Any]:
    checkpoint = {"of": results.of.checkpoint, "step": results.of.step}
    return {"status": "succeeded", "checkpoint": checkpoint, **in_short(results)}


def _evaluation(folder: Path) -> Measured | None:
    try:
        results = Results.model_validate_json((folder / RESULTS).read_bytes())
    except (OSError, ValidationError):
        return None
    return Measured(results, beside(folder))


def _eval_losses(path: Path) -> EvalLosses | None:
    try:
        return decoded(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, NotEvalLosses):
        return None


def _metrics(named: Path | None, folder: Path) -> Iterator[Point]:
    """Read what there is of metrics; a line that is something else is passed over."""
    places = (named,) if named is not None else (folder / "metrics.csv", folder / "metrics.jsonl")
    path = next((place for place in places if place is not None and place.is_file()), None)
    if path is None:
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        yield from _csv(lines) if path.suffix == ".csv" else _spoken(lines)


def _csv(lines: Iterable[str]) -> Iterator[Point]:
    for line in csv.DictReader(lines):
        values = {}
        for name, value in line.items():
            with suppress(TypeError, ValueError):  # an empty cell, or none
                values[name] = float(value)
        if (step := number(values, "step")) is not None:
            yield int(step), values


def _spoken(lines: Iterable[str]) -> Iterator[Point]:
    for line in lines:
        told = _loaded(line)
        step, values = number(told, "step"), at(told, "values")
        if at(told, "type") == "metric" and step is not None and isinstance(values, Mapping):
            yield int(step), values


def _json(path: Path) -> Any:
    try:
        return _loaded(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

"""Results from parts: what losses and answers tell when all of them are there. Needs no model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neftune_core.evaluate.comparison import scored
from neftune_core.evaluate.losses import by_rows, edges_for, losses_of
from neftune_core.evaluate.overlap import overlap_of
from neftune_core.evaluate.plan import Part
from neftune_core.evaluate.results import (
    AnswersOf,
    DiversityOf,
    ExampleLosses,
    LossOf,
    Missing,
    Of,
    OverlapOf,
    Results,
    written,
)
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.evaluate.texts import diversity_of
from neftune_core.surroundings import versions

RESULTS = "results.json"

Found = Mapping[Part, Any]


def assembled(spec: EvaluationSpec, of: Of, found: Found) -> Results:
    """Put the parts together."""
    there = {part: one for part, one in found.items() if "missing" not in one}
    answers = {part: one for part, one in there.items() if part.kind == "answers"}
    missing = [
        Missing(what=part.what, why=one["missing"]) for part, one in found.items() if part not in there
    ]
    missing += [
        Missing(what=part.what, why=f"{short} of {one['prompts']} prompts leave no room for an answer.")
        for part, one in answers.items()
        if (short := one["prompts"] - len(one["answers"]))
    ]
    overlap, without = _overlap(answers)
    return Results(
        spec=spec,
        of=of,
        loss=_loss(there, spec.loss.bins),
        answers=tuple(_answers(part, one) for part, one in answers.items()),
        overlap=overlap,
        diversity=_diversity(answers, spec),
        benchmarks=scored(there),
        missing=(*missing, *without),
        files=tuple(f"{part.name}.json" for part in there),
        versions=versions(),
    )


def lay_out(results: Results, found: Found, folder: Path) -> Path:
    """Write the results and the files they name."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, one in found.items():
        if f"{part.name}.json" in results.files:
            content = one["answers"] if part.kind == "answers" else one
            _write(folder / f"{part.name}.json", content)
    return write_results(results, folder)


def write_results(results: Results, folder: Path) -> Path:
    """Write the results alone; whoever reads them finds all of them."""
    path = folder / RESULTS
    _write(path, written(results))
    return path


def _loss(there: Found, bins: int) -> tuple[LossOf, ...]:
    files = {part: ExampleLosses.model_validate(one) for part, one in there.items() if part.kind == "losses"}
    edges = {rows: edges_for(measured, bins) for rows, measured in by_rows(tuple(files.values())).items()}
    return tuple(losses_of(one, edges[one.rows], f"{part.name}.json") for part, one in files.items())


def _answers(part: Part, one: Any) -> AnswersOf:
    given = one["answers"]
    return AnswersOf(
        subject=part.subject,
        variant=part.variant,
        on="train" if part.rows == "train" else "prompts",
        prompts=one["prompts"],
        answers=len(given),
        stopped=sum(answer["finish"] == "stop" for answer in given),
        completion_tokens=sum(answer["completion_tokens"] for answer in given),
        seconds=one["seconds"],
        file=f"{part.name}.json",
    )


def _overlap(answers: Found) -> tuple[tuple[OverlapOf, ...], tuple[Missing, ...]]:
    """Compare answers to training prompts with what was trained on."""
    found, missing = [], []
    for part, one in answers.items():
        if part.rows != "train":
            continue
        pairs = [(answer["output"], answer["reference"]) for answer in one["answers"] if answer["reference"]]
        if pairs:
            said, references = zip(*pairs, strict=True)
            found.append(overlap_of(said, references, subject=part.subject))
        else:
            missing.append(Missing(what=f"overlap/{part.subject}", why="No training row has an answer."))
    return tuple(found), tuple(missing)


def _diversity(answers: Found, spec: EvaluationSpec) -> tuple[DiversityOf, ...]:
    if "diversity" not in spec.kinds:
        return ()
    return tuple(
        diversity_of(
            [answer["output"] for answer in one["answers"]],
            [answer["completion_tokens"] for answer in one["answers"]],
            spec.diversity.chunks,
            subject=part.subject,
            variant=part.variant,
        )
        for part, one in answers.items()
        if part.rows == "prompts" and one["answers"]
    )


def _write(path: Path, content: Any) -> None:
    passing = path.with_name(f"{path.name}.tmp")
    passing.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", "utf-8")
    passing.replace(path)

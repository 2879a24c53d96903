"""Judging what an evaluation has answered: its folder gets preferences, figures, and what is missing.

Whoever answered the prompts is judged against the other side: the checkpoint, each of the baselines that tell
length from quality, and the base too where it is not the other side itself. The answers were made before by a
process that knows no key; this one knows no model.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import ValidationError

from neftune_core import messages
from neftune_core.errors import CoreError, SpecError
from neftune_core.evaluate.judge.alpaca_eval import (
    NotAlpacaEval,
    Output,
    paired,
    read_outputs,
    write_json,
)
from neftune_core.evaluate.judge.files import (
    ANSWERS,
    alone,
    hearing,
    key_of,
    name_of,
    print_json,
    write_annotations,
)
from neftune_core.evaluate.judge.judging import Judge, estimate, judge_pairs
from neftune_core.evaluate.judge.remembered import Remembered
from neftune_core.evaluate.judge.saving import Saving
from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.evaluate.questions import NotThere, questions_in
from neftune_core.evaluate.results import AnswersOf, JudgeOf, Missing, Results, written
from neftune_core.ports import Reporter, StopSignal
from neftune_core.rows import read_rows
from neftune_core.runner import told

RESULTS = "results.json"


def judge_folder(asked: argparse.Namespace) -> int:
    """Judge the answers of an evaluation's folder, as its spec asks."""
    return told(
        asked.folder.parent, asked.report_fd, lambda _place, reporter, stop: _judge(asked, reporter, stop)
    )


def _judge(asked: argparse.Namespace, reporter: Reporter, stop: StopSignal) -> int:
    results = _results(asked.folder)
    spec = results.spec.judge
    if spec is None:
        raise SpecError("The evaluation asks for no judge.")
    judge = Judge.of(spec, key_of(asked.key_env, asked.key_fd), asked.allow)
    known = Remembered(asked.known or asked.folder / ANSWERS)
    try:
        theirs = _theirs(results, spec, asked)
    except NotThere as why:
        return _keep(asked.folder, results, (), [Missing(what="judge", why=str(why))], reporter)
    sides = [
        (one, paired(ours, theirs)[: spec.most], ours) for one, ours in _ours(results, spec, asked.folder)
    ]
    expected = [asdict(estimate(pairs, judge, known)) for _, pairs, _ in sides]
    totals = {name: _sum([one[name] for one in expected]) for name in expected[0]} if expected else {}
    if asked.estimate:
        return print_json(totals)
    reporter.event("judge.estimated", totals)
    saving = Saving(asked.folder.parent, asked.known or asked.folder / ANSWERS, reporter)
    found: list[JudgeOf] = []
    ended, begun = "died" if asked.ask_nobody else None, time.monotonic()
    missing = [] if sides else [Missing(what="judge", why="There are no answers to judge.")]
    for one, pairs, ours in sides:
        what = f"judge/{one.subject}" + ("" if one.variant == "plain" else f"/{one.variant}")
        hear = _saved(saving, hearing(reporter, what))
        left = replace(judge, patience=judge.patience.after(time.monotonic() - begun))
        judged = judge_pairs(pairs, left, known, stop, hear, ended=ended)
        ended = judged.heard.ended
        if stop.requested():
            saving.now()
            return messages.EXIT_STOPPED
        file = f"judge_annotations_{one.subject}_{one.variant}.json"
        write_annotations(asked.folder / file, judged, (name_of(theirs), name_of(ours)))
        found.append(judged.result(_against(spec), file, one.subject, one.variant))
        missing += [*alone(what, ours, pairs, spec.most), *judged.missing(what)]
    return _keep(asked.folder, results, tuple(found), missing, reporter)


def _saved(saving: Saving, told: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Save now and then what is heard."""

    def hear(answered: int, of: int) -> None:
        saving.if_due()
        told(answered, of)

    return hear


def _results(folder: Path) -> Results:
    try:
        return Results.model_validate_json((folder / RESULTS).read_bytes())
    except (OSError, ValidationError):
        raise SpecError(f"There should be a {RESULTS} of an evaluation in the folder.") from None


def _ours(results: Results, spec: JudgeSpec, folder: Path) -> Iterator[tuple[AnswersOf, list[Output]]]:
    for one in results.answers:
        base = spec.against == "base" and (one.subject, one.variant) == ("base", "plain")
        other_side = base or one.subject == "other"
        if one.on == "prompts" and not other_side:
            yield one, read_outputs(folder / one.file)


def _theirs(results: Results, spec: JudgeSpec, asked: argparse.Namespace) -> list[Output]:
    """Give the other side's answers. Raises :class:`NotThere`."""
    if spec.against == "base":
        of_base = [
            one
            for one in results.answers
            if (one.on, one.subject, one.variant) == ("prompts", "base", "plain")
        ]
        if not of_base:
            raise NotThere("There are no answers of the base.")
        return read_outputs(asked.folder / of_base[0].file)
    if asked.others is None:
        raise SpecError(f"The judge compares with a {spec.against}; name its answers with --others.")
    return _others(asked.others)


def _others(path: Path) -> list[Output]:
    """Read answers, or rows that have answers. Raises :class:`NotThere`."""
    try:
        return read_outputs(path)
    except NotAlpacaEval:
        pass
    try:
        questions = questions_in(list(read_rows(path)))
    except CoreError as error:
        raise NotThere(str(error)) from error
    return [
        Output(one.instruction, one.reference, path.stem) for one in questions if one.reference is not None
    ]


def _keep(
    folder: Path, results: Results, found: tuple[JudgeOf, ...], missing: list[Missing], reporter: Reporter
) -> int:
    """Put the figures in the place of those of an earlier judging."""
    others = tuple(one for one in results.missing if one.what.split("/")[0] != "judge")
    old = {one.file for one in results.judge}
    files = tuple(name for name in results.files if name not in old)
    told = results.model_copy(
        update={
            "judge": found,
            "missing": (*others, *missing),
            "files": (*files, *(one.file for one in found)),
        }
    )
    write_json(folder / RESULTS, written(told))
    reporter.artifact(folder.name, folder)
    return print_json(
        {"judge": [written(one) for one in found], "missing": [written(one) for one in missing]}
    )


def _against(spec: JudgeSpec) -> str:
    named = {"base": None, "run": spec.run, "reference": spec.reference}[spec.against]
    return spec.against if named is None else f"{spec.against}:{named}"


def _sum(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers else None

"""Judging as a process: files in, files out, a reporter told, an exit status."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neftune_core import messages
from neftune_core.errors import CoreError, SpecError
from neftune_core.evaluate.judge import preferences
from neftune_core.evaluate.judge.alpaca_eval import (
    Output,
    Pair,
    paired,
    read_annotations,
    read_outputs,
    write_json,
    written_annotations,
)
from neftune_core.evaluate.judge.judging import Judge, Judged, estimate, judge_pairs
from neftune_core.evaluate.judge.remembered import Remembered
from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.evaluate.results import Missing, written
from neftune_core.ports import Reporter, StopSignal
from neftune_core.runner import told
from neftune_core.spec_faults import faults_of

ANSWERS, ANNOTATIONS, RESULT = "judge_answers.jsonl", "judge_annotations.json", "judge.json"
_OPTIONS = (
    "price_in",
    "price_out",
    "temperature",
    "max_tokens",
    "attempts",
    "concurrency",
    "max_minutes",
    "most",
)
_LONGEST_KEY = 4096


def judge_files(asked: argparse.Namespace) -> int:
    """Judge the answers of one file against those of another."""
    return told(asked.out, asked.report_fd, lambda _place, reporter, stop: _judge(asked, reporter, stop))


def _judge(asked: argparse.Namespace, reporter: Reporter, stop: StopSignal) -> int:
    judge = Judge.of(_spec(asked), key_of(asked.key_env, asked.key_fd), asked.allow)
    ours, theirs = read_outputs(asked.ours), read_outputs(asked.theirs)
    pairs = paired(ours, theirs)[: judge.spec.most]
    known = Remembered(asked.known or asked.out / ANSWERS)
    expected = {"pairs": len(pairs), **asdict(estimate(pairs, judge, known))}
    if asked.estimate:
        return print_json(expected)
    asked.out.mkdir(parents=True, exist_ok=True)
    reporter.event("judge.estimated", expected)
    judged = judge_pairs(pairs, judge, known, stop, hearing(reporter))
    if stop.requested():
        return messages.EXIT_STOPPED
    missing = [*alone("judge", ours, pairs, judge.spec.most), *judged.missing()]
    found = {
        "judge": written(judged.result(f"reference:{asked.theirs.name}", ANNOTATIONS)),
        "missing": [written(one) for one in missing],
    }
    write_annotations(asked.out / ANNOTATIONS, judged, (name_of(theirs), name_of(ours)))
    write_json(asked.out / RESULT, found)
    reporter.artifact(ANNOTATIONS, asked.out / ANNOTATIONS)
    reporter.artifact(RESULT, asked.out / RESULT)
    return print_json(found)


def key_of(variable: str | None, descriptor: int | None) -> str | None:
    """Read the key from where it is said to be, and leave it in neither place. Raises ``SpecError``."""
    if variable is None and descriptor is None:
        return None
    if variable is not None:
        key = os.environ.pop(variable, "").strip()
    else:
        try:
            with os.fdopen(descriptor or 0, "rb") as pipe:
                key = pipe.read(_LONGEST_KEY + 2).decode("ascii", "replace").strip()
        except OSError:
            key = ""
    if not key or len(key) > _LONGEST_KEY or not all("!" <= sign <= "~" for sign in key):
        raise SpecError(
            "The judge's key should be one word of printable ASCII; there is nothing of the kind."
        )
    return key


def hearing(reporter: Reporter, what: str = "judge") -> Callable[[int, int], None]:
    """Tell a reporter of progress: at once, then each second, and at the end."""
    last = -1.0

    def tell(answered: int, of: int) -> None:
        nonlocal last
        if answered == of or time.monotonic() - last >= 1.0:
            last = time.monotonic()
            reporter.event("judge.progressed", {"what": what, "answered": answered, "of": of})

    return tell


def write_annotations(path: Path, judged: Judged, generators: tuple[str, str]) -> None:
    """Write preferences as AlpacaEval's; ``generators`` are the other side's name and ours."""
    write_json(path, written_annotations(judged.annotations(), generators, judged.judge.spec.model))


def tell_win_rate(path: Path) -> int:
    """Print the figures of preferences that are there already."""
    try:
        annotations = read_annotations(path)
    except CoreError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return messages.EXIT_FAILED
    known = [(one.win, one.pair.longer) for one in annotations if one.win is not None]
    wins = [win for win, _ in known]
    raw = preferences.win_rate(wins)
    controlled = preferences.controlled(wins, [longer for _, longer in known])
    return print_json(
        {
            "pairs": len(annotations),
            "judged": len(known),
            **asdict(preferences.counts(wins)),
            "win_rate": raw and written(raw),
            "length_controlled": controlled and written(controlled),
        }
    )


def _spec(asked: argparse.Namespace) -> JudgeSpec:
    given: dict[str, Any] = {name: getattr(asked, name) for name in _OPTIONS}
    given |= {"timeout_seconds": asked.timeout, "give_up_seconds": asked.give_up}
    kept = {name: None if value == "none" else value for name, value in given.items() if value is not None}
    named = {"endpoint": asked.endpoint, "model": asked.model, "against": "reference", "reference": "file"}
    try:
        return JudgeSpec.model_validate({**named, **kept})
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in faults_of(error, JudgeSpec))
        raise SpecError("; ".join(faults)) from None


def alone(what: str, ours: list[Output], pairs: list[Pair], most: int | None) -> list[Missing]:
    """Tell how many of our answers have no counterpart."""
    number = min(len(ours), most or len(ours)) - len(pairs)
    return [Missing(what=what, why=f"{number} answers have no counterpart.")] if number > 0 else []


def name_of(outputs: list[Output]) -> str:
    """Name who answered."""
    return outputs[0].generator if outputs else ""


def print_json(value: Mapping[str, Any]) -> int:
    """Print for who reads it, and give the exit status."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    return messages.EXIT_OK

"""What limits what a series can tell, beside the reasons of its verdict: each caveat when it applies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.report.caveats import caveat, codes_of_held_out, of_evaluations, unusual
from neftune_core.report.document import Caveat
from neftune_core.report.reading import Run, at, entries, number, text

WORDS = {
    "runs_missing": "Some runs did not come to their end, or were deleted; their pairs are missing.",
    "halved": "Alphas that lost were stopped early: their figures are of where they stopped, and they are "
    "not judged.",
    "control_overtrained": "The runs without noise were best before their end: they have trained for too "
    "long, and noise may look good only against that.",
    "control_still_falling": "Runs without noise were best at their very end: they were not trained for long "
    "enough to need noise, and more steps may change the answer.",
    "rows_decide": "Most of the error comes from which rows are held out: more seeds would not narrow it, "
    "more held-out rows would.",
    "evaluations_incomplete": "Not all runs were evaluated; means of evaluations are over those that were.",
    "checkpoints_mixed": "Evaluations are of different checkpoints; compare those of the same one.",
    "evaluations_differ": "Runs were not evaluated in the same way: a mean or difference may be over what "
    "cannot be compared.",
    "only_losses_judged": "The verdict is on held-out loss alone. Other differences are shown without a "
    "test: among many, some are large by chance.",
}
_DECIDED = {"recommended", "not_recommended"}
_FAILED = {"failed", "cancelled"}


def of_series(told: Mapping[str, Any], runs: Sequence[Run], differing: Sequence[str]) -> tuple[Caveat, ...]:
    """Tell what limits a series; ``differing`` are parts in which its runs should be equal and are not."""
    codes = set(_codes(told, runs))
    own = [Caveat(code=code, text=words) for code, words in WORDS.items() if code in codes]
    if differing:
        words = f"The runs differ in more than alpha and seed: {', '.join(differing)}."
        own.append(Caveat(code="runs_differ", text=words))
    held_out = dict.fromkeys(code for run in runs for code in codes_of_held_out(run))
    evaluated = of_evaluations(one.results for run in runs for one in run.evaluations)
    odd = dict.fromkeys(one for run in runs for one in unusual(run))
    return (*own, *(caveat(code) for code in held_out), *evaluated, *odd)


def _codes(told: Mapping[str, Any], runs: Sequence[Run]) -> Iterator[str]:
    results = entries(told, "results")
    halved = [line for line in results if text(line, "cancel_reason") == "halving"]
    failed = any(text(line, "status") in _FAILED for line in results if line not in halved)
    if failed or len(results) < _many(told, "alpha") * _many(told, "seed"):  # others were deleted
        yield "runs_missing"
    if halved:
        yield "halved"
    controls = [line for line in results if number(line, "alpha") == 0]
    if any(_overtrained(line) for line in controls):
        yield "control_overtrained"
    elif text(told, "verdict", "outcome") in _DECIDED and any(_still_falling(line) for line in controls):
        yield "control_still_falling"
    for line in entries(told, "verdict", "alphas"):
        rows, seeds = (number(line, "to_last", name) for name in ("row_error", "seed_error"))
        if rows is not None and seeds is not None and rows > seeds:
            yield "rows_decide"
    evaluated = [run for run in runs if run.evaluations]
    if evaluated:
        yield "only_losses_judged"
        if len(evaluated) < len(results):
            yield "evaluations_incomplete"
    if len({one.results.of.checkpoint for run in evaluated for one in run.evaluations}) > 1:
        yield "checkpoints_mixed"
    if len({frozenset(_asked(one.spec) for one in run.evaluations) for run in evaluated}) > 1:
        yield "evaluations_differ"


def _asked(spec: EvaluationSpec) -> str:
    """Give what decides how something was measured; its checkpoint has a caveat of its own."""
    return spec.model_dump_json(exclude={"name": True, "checkpoint": True, "judge": {"run"}})


def _many(told: Mapping[str, Any], name: str) -> int:
    found = at(told, name)
    return len(found) if isinstance(found, list | tuple) else 0


def _overtrained(line: Mapping[str, Any]) -> bool:
    last, best = number(line, "eval_loss"), number(line, "best_eval_loss")
    return last is not None and best is not None and best < last


def _still_falling(line: Mapping[str, Any]) -> bool:
    last, best, step = (number(line, name) for name in ("eval_loss", "best_eval_loss", "best_step"))
    return last is not None and best is not None and best >= last and step != 0  # 0: no step beats the base

"""What limits what a report's figures can tell: each caveat when it applies, and only then.

Each has a code that stays and a sentence. Knows runs and results; pages and series are elsewhere.
"""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from neftune_core.cautions import cautions
from neftune_core.evaluate.results import JudgeOf, Results
from neftune_core.report.document import Caveat
from neftune_core.report.reading import Run, at, number
from neftune_core.spec import JobSpec

FEW_ROWS = 100  # held out: fewer, and their choice alone moves the loss by more than alpha does
FEW_PAIRS = 100  # judged: fewer, and the error of the win rate is above five per cent
CUT_OFF = 0.1  # of the answers: more, and lengths tell of the limit
ERRORS = 2.0  # standard errors, beyond which a difference is taken for one

WORDS = {
    "noisy_curve": "The training loss was measured with the noise on: compare runs by the clean losses.",
    "no_control": "There is no run without noise beside this one, so nothing here tells what alpha did. "
    "A series has its control.",
    "one_seed": "One seed tells nothing of chance: another one may turn the difference round.",
    "no_held_out_rows": "No rows were held out, so nothing here shows overfitting.",
    "few_held_out_rows": "Few rows were held out: which ones they are may move their loss by more than "
    "alpha does.",
    "best_before_last": "The held-out loss was lowest before the end: the run has trained for too long, and "
    "noise may look good only against that. Compare with the best checkpoint too.",
    "base_is_best": "No step has a lower held-out loss than the base model.",
    "judge_position_biased": "The judge prefers a place, whatever stands there. Both orders were asked: that "
    "evens it out but makes no better judge.",
    "length_explains": "At equal length the judge's preference is gone: it may be for length.",
    "no_length_control": "There is no win rate at equal length; judges prefer longer answers.",
    "judge_incomplete": "Some pairs have no preference; the missing ones may be unlike the others.",
    "few_judged": "Few pairs were judged; the win rate's error is large.",
    "answers_cut_off": "Many answers were cut off at the longest length: lengths tell of that limit.",
    "chunks_too_long": "More than half of the answers are shorter than a cut; its diversity is of the long "
    "ones alone.",
    "other_template": "Answers were asked for with another template than the run was trained with.",
    "benchmarks_limited": "Benchmarks ran on their first documents; published scores are of all.",
    "benchmarks_within_error": "No benchmark differs from the base by more than its error allows.",
    "no_base": "The base was not measured, so an evaluation tells of no difference.",
}


def of_run(run: Run, control: Run | None = None) -> tuple[Caveat, ...]:
    """Tell what limits the report of a run."""
    return (*_told(_codes_of_run(run, control)), *unusual(run))


def of_evaluations(found: Iterable[Results]) -> tuple[Caveat, ...]:
    """Tell what limits what evaluations found."""
    return _told(code for results in found for code in _codes_of(results))


def caveat(code: str) -> Caveat:
    """Give a caveat by its code."""
    return Caveat(code=code, text=WORDS[code])


def _told(codes: Iterable[str]) -> tuple[Caveat, ...]:
    """Give each once, in the order in which they stand in :data:`WORDS`."""
    found = set(codes)
    return tuple(caveat(code) for code in WORDS if code in found)


def _codes_of_run(run: Run, control: Run | None) -> Iterator[str]:
    if run.alpha > 0:
        if any(number(values, "train_loss") is not None for _, values in run.metrics):
            yield "noisy_curve"
        yield "no_control" if control is None else "one_seed"
    yield from codes_of_held_out(run)
    best, last = number(run.record, "final", "best_step"), number(run.record, "resolved", "total_steps")
    if best == 0:
        yield "base_is_best"
    elif best is not None and last is not None and best < last:
        yield "best_before_last"


def codes_of_held_out(run: Run) -> Iterator[str]:
    """Tell whether there are enough held-out rows."""
    rows = number(run.record, "dataset", "eval_rows")
    if not rows:
        yield "no_held_out_rows"
    elif rows < FEW_ROWS:
        yield "few_held_out_rows"


def _codes_of(results: Results) -> Iterator[str]:
    for one in results.judge:
        yield from _codes_of_judge(one)
    if any(one.answers - one.stopped > CUT_OFF * one.answers for one in results.answers):
        yield "answers_cut_off"
    if any(chunk.dropped > chunk.kept for one in results.diversity for chunk in one.chunks):
        yield "chunks_too_long"
    if results.spec.generation.template not in {"run", results.of.template} and results.answers:
        yield "other_template"
    if results.benchmarks and results.spec.benchmarks.limit is not None:
        yield "benchmarks_limited"
    if results.of.checkpoint != "base" and not results.spec.compare_base:
        yield "no_base"
    told = [
        (one.difference, one.difference_standard_error)
        for one in results.benchmarks
        if one.difference is not None and one.difference_standard_error is not None
    ]
    if told and all(abs(difference) <= ERRORS * error for difference, error in told):
        yield "benchmarks_within_error"


def _codes_of_judge(one: JudgeOf) -> Iterator[str]:
    if one.position is not None and one.position.biased:
        yield "judge_position_biased"
    if one.judged < one.pairs:
        yield "judge_incomplete"
    if one.judged < FEW_PAIRS:
        yield "few_judged"
    raw, controlled = one.win_rate, one.length_controlled
    if controlled is None:
        yield "no_length_control"
    elif raw is not None:
        side = _apart(raw.percent, raw.standard_error)
        if side and side != _apart(controlled.percent, controlled.standard_error):
            yield "length_explains"


def _apart(percent: float, error: float | None) -> int:
    """Tell on which side of a draw a win rate surely is: 1, -1, or 0 where it isn't sure."""
    distance = percent - 50
    if error is None or abs(distance) <= ERRORS * error:
        return 0
    return 1 if distance > 0 else -1


def unusual(run: Run) -> Iterator[Caveat]:
    """Tell what the job's own spec has that is worth knowing, as a dry run does."""
    try:
        spec = JobSpec.model_validate(at(run.record, "spec"))
    except ValidationError:  # a record of another version
        return
    yield from (Caveat(code="unusual", text=f"{told[0].upper()}{told[1:]}.") for told in cautions(spec))

"""What an evaluation found, kind by kind, as values that are written as JSON and read again.

A number that could not be measured is null, and ``missing`` tells what is not there and why. Everything is
of a *subject* (the checkpoint, or the base beside it) and, for answers, of a *variant* (plain, or one of the
baselines that tell length from quality). Knows shapes; nothing of how they come about.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from neftune_core.evaluate.spec import EvaluationSpec

Subject = Literal["checkpoint", "base", "other"]  # other: the run that a judge compares with
Variant = Literal["plain", "min_length", "long_prompt"]
AnswersOn = Literal["prompts", "train"]  # the prompts of diversity and judge; training prompts of overlap
FORMAT = 1

# NaN and infinity are not JSON: a measurement that gave one is null.
Number = Annotated[float, Field(allow_inf_nan=False)]


class Result(BaseModel):
    """A value; a reader takes fields that a later version has added for nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Missing(Result):
    """Something asked for that is not there: what (``judge``, ``loss/held_out``), and why."""

    what: str
    why: str


class Spread(Result):
    """How numbers lie: mean, standard deviation (n - 1) and quartiles."""

    count: int
    mean: Number | None
    std: Number | None
    low: Number | None
    quarter: Number | None
    median: Number | None
    three_quarters: Number | None
    high: Number | None


class Histogram(Result):
    """``counts[i]`` values lie in ``edges[i] <= value < edges[i + 1]``, the last bar with its upper edge.

    Histograms of the same rows have the same edges, whoever was measured.
    """

    edges: tuple[Number, ...]
    counts: tuple[int, ...]


class LossOf(Result):
    """What a subject pays on rows, with the noise off."""

    subject: Subject
    rows: str  # train, held_out, or the id of a dataset
    examples: int
    tokens: int  # trained ones: those that have a loss
    per_token: Number | None  # as in training: the sum over all tokens, divided by their number
    per_example: Spread  # of the mean loss of each example
    histogram: Histogram
    file: str  # ExampleLosses, by name


class ExampleLosses(Result):
    """The file of a :class:`LossOf`: one entry for each example, in the order of the rows."""

    subject: Subject
    rows: str
    row: tuple[int, ...]  # number of the row in its dataset (train, held_out: in the run's split), from 0
    loss: tuple[Number | None, ...]  # mean over the example's tokens
    tokens: tuple[int, ...]


class AnswersOf(Result):
    """Answers that were generated, and what that took."""

    subject: Subject
    variant: Variant
    on: AnswersOn
    prompts: int
    answers: int
    stopped: int  # ended by themselves; the others reached the longest length
    completion_tokens: int
    seconds: Number
    file: str  # a list of Answer, by name; AlpacaEval takes it as it is


class Answer(Result):
    """One entry of a file of answers. The first four fields are AlpacaEval's."""

    instruction: str
    output: str
    generator: str
    dataset: str
    reference: str | None = None  # the answer of the row, where it has one
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    row: int


class Rouge(Result):
    """ROUGE-L of rouge-score, each the mean over the answers."""

    precision: Number
    recall: Number
    f1: Number


class Bleu(Result):
    """Corpus BLEU of sacrebleu, in per cent."""

    score: Number
    precisions: tuple[Number, ...]
    brevity_penalty: Number
    answer_words: int
    reference_words: int
    signature: str


class OverlapOf(Result):
    """How near answers to training prompts come to what was trained on."""

    subject: Subject
    answers: int
    rouge_l: Rouge
    bleu: Bleu
    identical: int  # word for word the reference


class Repetition(Result):
    """Share of n-grams that had come before, for n = 2, 3 and 4; the mean over the texts."""

    two: Number
    three: Number
    four: Number


class Chunk(Result):
    """Diversity of texts cut to ``words`` words, so that length does not decide."""

    words: int
    kept: int  # texts of at least so many words
    dropped: int
    repetition: Repetition | None  # None: no text is as long
    log_diversity: Number | None  # as defined: of the product of 1 - repetition
    log_diversity_published: Number | None  # as the published code computes it


class DiversityOf(Result):
    """Length and repetition of answers."""

    subject: Subject
    variant: Variant
    answers: int
    empty: int
    characters: Spread
    characters_as_listed: int | None  # the mean as AlpacaEval's leaderboard lists it: cut off, not rounded
    words: Spread  # between white space
    tokens: Spread | None  # of the model's tokenizer; None: there was none
    whole: Repetition | None  # of the texts uncut: those that have four words
    chunks: tuple[Chunk, ...]


class WinRate(Result):
    """Share of pairs won, ties half, in per cent, with its standard error."""

    percent: Number
    standard_error: Number | None


class Position(Result):
    """Whether the judge prefers a place: how often the first text won, in per cent, of both orders."""

    first_percent: Number
    standard_error: Number | None
    biased: bool
    disagreed: int  # pairs whose two orders gave opposite winners


class JudgeCost(Result):
    """What judging took."""

    calls: int  # answered by the endpoint now
    cached: int  # known from before
    failed: int  # tries that failed, whether or not a later one went well
    prompt_tokens: int
    completion_tokens: int
    price: Number | None  # None: no prices were told


class JudgeOf(Result):
    """Preference for a subject's answers over the other side's."""

    subject: Subject
    variant: Variant
    against: str  # base, run:<id> or reference:<id>
    model: str
    pairs: int  # of which both answers are there
    judged: int  # with a preference; the others are missing
    wins: int
    losses: int
    ties: int
    win_rate: WinRate | None
    length_controlled: WinRate | None
    position: Position | None
    characters: Number  # mean length of the subject's answers
    characters_other: Number
    cost: JudgeCost
    file: str  # AlpacaEval's annotations, by name


class BenchmarkOf(Result):
    """A metric of a task, in its units; ``value`` is the checkpoint's, or the base's if that is asked."""

    asked: str  # the task that the spec names: this one, or a group that it is in
    task: str
    metric: str
    filter: str
    num_fewshot: int | None
    documents: int
    value: Number | None
    standard_error: Number | None
    base: Number | None = None
    base_standard_error: Number | None = None
    difference: Number | None = None  # checkpoint minus base
    difference_standard_error: Number | None = None  # of the same documents, one by one
    version: str | None = None  # of the task


class Of(Result):
    """Which model was measured."""

    model: str  # of the base
    checkpoint: Literal["base", "best", "last", "step"]
    step: int | None
    template: str
    alpha: Number | None  # that it was trained with
    distribution: str | None


class Results(Result):
    """All that an evaluation found; the file ``results.json``."""

    format: int = FORMAT
    spec: EvaluationSpec
    of: Of
    loss: tuple[LossOf, ...] = ()
    answers: tuple[AnswersOf, ...] = ()
    overlap: tuple[OverlapOf, ...] = ()
    diversity: tuple[DiversityOf, ...] = ()
    judge: tuple[JudgeOf, ...] = ()
    benchmarks: tuple[BenchmarkOf, ...] = ()
    missing: tuple[Missing, ...] = ()
    files: tuple[str, ...] = ()  # beside results.json, which the above name
    versions: dict[str, str] = {}


def written(result: Result) -> dict[str, Any]:
    """Give a result as what JSON can hold."""
    return result.model_dump(mode="json")

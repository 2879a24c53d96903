"""EvaluationSpec: what is to be measured, of which checkpoint, on which rows.

The api validates with this very class, and the command line reads it. Datasets and runs are named by id; on
the command line a name stands for a file. What is wrong is told by :mod:`neftune_core.spec_faults`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.spec import (
    DISPLAY,
    KEPT_NAME,
    SEED_MAX,
    Finite,
    Spec,
    StrictInt,
    fault_at,
)
from neftune_core.spec_secrets import FOUND, field_with_secret

Kind = Literal["loss", "overlap", "diversity", "judge", "benchmarks"]
KINDS: tuple[Kind, ...] = ("loss", "overlap", "diversity", "judge", "benchmarks")  # in this order they run
Checkpoint = Literal["base", "best", "last"] | Annotated[StrictInt, Field(ge=0, le=10_000_000)]
Id = Annotated[str, Field(min_length=1, max_length=128)]
Count = Annotated[StrictInt, Field(ge=1, le=100_000)]
StrictBool = Annotated[bool, Field(strict=True)]


class LossSpec(Spec):
    """Losses with the noise off, example by example."""

    train_sample: Annotated[
        StrictInt, Field(ge=0, le=100_000, description="Training rows measured, chosen by the seed; 0: none.")
    ] = 256
    held_out: Annotated[StrictBool, Field(description="Measure held-out rows, if there are any.")] = True
    datasets: Annotated[tuple[Id, ...], Field(max_length=8, description="Other rows to measure.")] = ()
    most_rows: Annotated[Count, Field(description="Rows of each other dataset: the first.")] = 1000
    bins: Annotated[StrictInt, Field(ge=2, le=200, description="Bars of a histogram.")] = 40


class PromptsSpec(Spec):
    """What is answered for ``diversity`` and ``judge``."""

    dataset: Annotated[
        Id | None, Field(description="Rows whose prompts are answered; null: those of the held-out rows.")
    ] = None
    most: Annotated[Count, Field(description="Prompts answered: the first ones.")] = 805


class GenerationSpec(Spec):
    """How answers are generated: greedily, and by default as in the paper's evaluation."""

    max_new_tokens: Annotated[StrictInt, Field(ge=1, le=131_072)] | None = None
    max_total_tokens: Annotated[
        StrictInt, Field(ge=8, le=131_072, description="Prompt and answer together.")
    ] = 2048
    repetition_penalty: Annotated[Finite, Field(ge=1, le=10)] = 1.2
    template: Annotated[
        Literal["run", "alpaca", "alpaca-newline", "vicuna", "chat", "plain"],
        Field(description="run: the one trained with; alpaca-newline: the paper's own evaluation."),
    ] = "run"
    batch_size: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=1024)] = "auto"


class BaselinesSpec(Spec):
    """More answers of the checkpoint, long for another reason than noise: they tell length from quality.

    Asked of a run without noise, they are the paper's. Its third baseline, Gaussian noise of the same
    variance, is a run of its own (``noise.distribution: gaussian``).
    """

    min_new_tokens: Annotated[
        StrictInt | None,
        Field(ge=1, le=4096, description="Answer again with the end of text forbidden for so many tokens."),
    ] = None
    long_prompt: Annotated[
        StrictBool, Field(description="Answer again, each prompt asking for a long answer.")
    ] = False


class OverlapSpec(Spec):
    """Answers to training prompts against the answers that were trained on."""

    prompts: Annotated[Count, Field(description="Training prompts answered, chosen by the seed.")] = 128


class DiversitySpec(Spec):
    """Length and repetition of answers."""

    chunks: Annotated[
        tuple[Annotated[StrictInt, Field(ge=5, le=10_000)], ...],
        Field(min_length=1, max_length=8, description="Words to which answers are cut."),
    ] = (50, 100, 150)


class BenchmarksSpec(Spec):
    """Tasks of lm-eval, as its own command line would run them."""

    tasks: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=KEPT_NAME)], ...],
        Field(min_length=1, max_length=32, description="Names of lm-eval, or of the operator's own tasks."),
    ] = ("arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2")
    num_fewshot: Annotated[
        StrictInt | None, Field(ge=0, le=100, description="Examples shown; null: what the task says.")
    ] = None
    limit: Annotated[Count | None, Field(description="Documents of a task: the first; null: all.")] = None
    batch_size: Annotated[StrictInt, Field(ge=1, le=1024)] = 8


class EvaluationSpec(Spec):
    """What is measured. Only ``kinds`` matters to most users."""

    name: Annotated[str, StringConstraints(max_length=120, pattern=DISPLAY)] | None = None
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=len(KINDS))]
    checkpoint: Annotated[
        Checkpoint, Field(description="base, best (lowest eval_loss), last, or the step of a kept one.")
    ] = "last"
    compare_base: Annotated[
        StrictBool, Field(description="Measure the base model too, so that there is a difference to tell.")
    ] = True
    seed: Annotated[
        StrictInt | None, Field(ge=0, le=SEED_MAX, description="Chooses the training rows; null: the run's.")
    ] = None
    prompts: PromptsSpec = PromptsSpec()
    generation: GenerationSpec = GenerationSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    loss: LossSpec = LossSpec()
    overlap: OverlapSpec = OverlapSpec()
    diversity: DiversitySpec = DiversitySpec()
    judge: JudgeSpec | None = None
    benchmarks: BenchmarksSpec = BenchmarksSpec()

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, given: Any) -> Any:
        if isinstance(given, dict) and (field := field_with_secret(given)) is not None:
            raise fault_at(field if field in cls.model_fields else "", "secret_in_spec", FOUND)
        return given

    @model_validator(mode="after")
    def _each_kind_once(self) -> Self:
        if len(set(self.kinds)) < len(self.kinds):
            raise fault_at("kinds", "kind_twice", "A kind is named twice; once is enough.")
        return self

    @model_validator(mode="after")
    def _judge_is_named(self) -> Self:
        if "judge" in self.kinds and self.judge is None:
            raise fault_at("judge", "judge_needed", "The kind judge needs judge: its endpoint and model.")
        return self

    @model_validator(mode="after")
    def _options_have_their_kind(self) -> Self:
        # Defaults may stand there: a spec that was written out in full says no more than the short one.
        for kind in KINDS:
            if kind not in self.kinds and getattr(self, kind) != type(self).model_fields[kind].default:
                raise fault_at(kind, "kind_not_asked", "Options of a kind that is not among kinds.")
        return self

    def asked(self) -> tuple[Kind, ...]:
        """Give the kinds in the order in which they run."""
        return tuple(kind for kind in KINDS if kind in self.kinds)

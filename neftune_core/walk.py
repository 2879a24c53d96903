"""The walk along the plan: step after step, measured, told and guarded.

Knows when something is due and what is told of it. Knows nothing of checkpoint files, or of how a model
is loaded; what it remembers can be taken out as plain values, with which another walk goes on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neftune_core.batches import MicroBatch, Step, steps
from neftune_core.clean_losses import clean_loss
from neftune_core.errors import CoreError
from neftune_core.failpoint import failpoint
from neftune_core.final_report import Best
from neftune_core.guards import EarlyStop, NoiseGuard, SkipGuard
from neftune_core.losses import LossHead
from neftune_core.material import Material
from neftune_core.noise import NoisyEmbeddings
from neftune_core.ports import Reporter
from neftune_core.ranks import ALONE, Ranks
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper, gpu_memory

Values = dict[str, float | None]


class Stopped(Exception):
    """Somebody asked the run to stop."""


@dataclass(frozen=True)
class Trainee:
    """A model in training, and what its steps and its losses are taken with."""

    model: Any
    head: LossHead
    noisy: NoisyEmbeddings
    stepper: Stepper
    evaluation: Sequence[MicroBatch]  # this rank's
    ranks: Ranks = ALONE
    ends: Callable[[], bool] = lambda: False  # whether this rank was asked to stop

    def clean_loss_of(self, step: Step) -> float | None:
        """Measure the examples of a step with noise and dropout off."""
        batches = self.stepper.arranged(step)
        return clean_loss(self.model, self.head, batches, self.stepper.device, ranks=self.ranks)

    def eval_loss(self) -> float | None:
        """Measure the held-out rows; no matter how, where somebody asked to stop."""
        device, ends = self.stepper.device, self.ends
        return clean_loss(self.model, self.head, self.evaluation, device, ends=ends, ranks=self.ranks)


class Walk:
    """The steps of one run, each taken and told once.

    ``number`` counts the steps taken; ``final`` holds the base's losses and the latest of each other;
    ``resumed`` tells after which steps another walk went on.
    ``end_if_asked`` may raise; ``after_step`` is called when a step was told and another may follow.
    """

    def __init__(  # noqa: PLR0913 - what a walk is made of, each once
        self,
        spec: JobSpec,
        material: Material,
        trainee: Trainee,
        *,
        noise_guard: NoiseGuard,
        best: Best,
        reporter: Reporter,
        end_if_asked: Callable[[], None],
        after_step: Callable[["Walk"], None],
        base: Values,
    ) -> None:
        self._spec, self._material, self._plan = spec, material, material.plan
        self._reporter, self._end_if_asked, self._after_step = reporter, end_if_asked, after_step
        self._noise_guard, self._skips = noise_guard, SkipGuard(reporter)
        patience = spec.training.early_stop.patience if spec.training.early_stop else None
        self._early = EarlyStop(patience, base.get("base_eval_loss"))
        self._eval_steps = self._plan.eval_steps if material.held_out.examples else frozenset()
        self._tokens, self._ended = 0, False
        self._untold: Values | None = None  # of a step that was taken when somebody asked to stop
        self.trainee, self.best = trainee, best
        self.number = 0
        self.final: Values = dict(base)
        self.resumed: list[int] = []

    def run(self) -> None:
        """Take the steps of the plan that are not taken yet, or as many as do any good."""
        if self._untold is not None:
            self._tell(self._untold)
        for step in self._steps_left():
            self._end_if_asked()
            self._tell(self._taken(step))
            if self._ended:
                break
            self._after_step(self)
        self._skips.finished(self.number)
        self._noise_guard.finished()

    def _steps_left(self) -> Iterator[Step]:
        training, total = self._spec.training, self._plan.total_steps
        return steps(
            self._material.train.examples,
            training.batch_size,
            self.number if self._ended else total,
            training.seed,
            after=self.number,
            drop_last=training.drop_last,
        )

    def _taken(self, step: Step) -> Values:
        """Take one step and give its numbers; a guard that ends the run lets them be told first."""
        values: Values = {}
        if self._clean_is_due(step.number):
            values["clean_train_loss"] = self.trainee.clean_loss_of(step)
        learning_rate = self._plan.learning_rate(step.number)
        strength = self._plan.noise_strength(step.number)
        self.trainee.ranks.part_dropout(self._spec.training.seed, step.number)
        started = time.perf_counter()
        taken = self.trainee.stepper.take(step, learning_rate, strength)
        seconds = time.perf_counter() - started
        reading = self.trainee.noisy.meter.read().gathered(self.trainee.ranks.gather)
        self.number = step.number
        failpoint("step.taken")
        self._tokens += step.tokens
        values |= {
            "train_loss": taken.loss,
            "learning_rate": learning_rate,
            "grad_norm": taken.grad_norm,
            "token_accuracy": taken.accuracy,
            "tokens": self._tokens,
            "tokens_per_s": step.tokens / seconds,
            "epoch": step.number / self._plan.steps_per_epoch,
            "noise_effective_alpha": reading.effective_alpha,
            "noise_ratio": reading.ratio,
            **gpu_memory(),
        }
        try:
            self._noise_guard.saw(step.examples, reading, strength)
            self._skips.saw(step, taken)
        except CoreError:
            self._reporter.metrics(step.number, values)
            raise
        return values

    def _tell(self, values: Values) -> None:
        """Tell the numbers of the step just taken, with the held-out loss where it is due."""
        self._untold = values
        evaluated = self.number in self._eval_steps
        if evaluated:
            values = {**values, "eval_loss": self.trainee.eval_loss()}
            self._end_if_asked()
        self._untold = None
        self._reporter.metrics(self.number, values)
        self._remember(values)
        if evaluated:
            self._judge(values["eval_loss"])

    def _judge(self, eval_loss: float | None) -> None:
        """Keep what is best so far, and end where it does no good to go on."""
        self.best.saw(self.number, eval_loss, self.trainee.model)
        if self._early.saw(eval_loss) and self.number < self._plan.total_steps:
            self._reporter.event("run.stopped_early", {"step": self.number, "eval_loss": eval_loss})
            self._ended = True

    def state(self) -> dict[str, Any]:
        """Give what is remembered, as plain values."""
        return {
            "number": self.number,
            "tokens": self._tokens,
            "ended": self._ended,
            "untold": self._untold,
            "final": self.final,
            "resumed": self.resumed,
            "skips": self._skips.state(),
            "early": self._early.state(),
            "noise": self._noise_guard.state(),
            "best": self.best.state(),
            "arrangement": asdict(self.trainee.stepper.arrangement),
        }

    def go_on(self, state: Mapping[str, Any], best: Path | None) -> None:
        """Remember what another walk did; ``best`` is its file of weights."""
        self.number, self._tokens, self._ended = state["number"], state["tokens"], state["ended"]
        self._untold, self.final = state["untold"], dict(state["final"])
        self.resumed = [*state["resumed"], self.number]
        self._skips.go_on(state["skips"])
        self._early.go_on(state["early"])
        self._noise_guard.go_on(state["noise"])
        self.best.go_on(state["best"], best)
        stepper, then = self.trainee.stepper, state["arrangement"]
        if then["rows"] != "packed" or stepper.arrangement.rows == "packed":  # else it can't be packed here
            stepper.arrangement = replace(stepper.arrangement, **then)

    def _remember(self, values: Values) -> None:
        """Keep the latest of each loss for the record."""
        for name in ("train_loss", "clean_train_loss", "eval_loss"):
            if name in values:
                self.final[name] = values[name]

    def _clean_is_due(self, number: int) -> bool:
        every = self._spec.noise.clean_loss_every
        return every > 0 and (number == 1 or number % every == 0 or number == self._plan.total_steps)

"""The walk along the plan: step after step, measured, told and guarded.

Knows when something is due and what is told of it. Knows nothing of files, or of how a model is loaded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neftune_core.batches import MicroBatch, Step, arrange, steps
from neftune_core.clean_losses import clean_loss
from neftune_core.guards import EarlyStop, NoiseGuard, SkipGuard
from neftune_core.losses import LossHead
from neftune_core.material import Material
from neftune_core.noise import NoisyEmbeddings
from neftune_core.ports import Reporter
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper

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
    evaluation: Sequence[MicroBatch]

    def clean_loss_of(self, step: Step) -> float | None:
        """Measure the examples of a step with noise and dropout off."""
        batches = arrange(step.examples, self.stepper.arrangement)
        return clean_loss(self.model, self.head, batches, self.stepper.device)

    def eval_loss(self, between: Callable[[], None]) -> float | None:
        """Measure the held-out rows."""
        return clean_loss(self.model, self.head, self.evaluation, self.stepper.device, between=between)


class Walk:
    """The steps of one run. ``final`` holds the latest of each loss; ``end_if_asked`` may raise."""

    def __init__(  # noqa: PLR0913 - what a walk is made of, each once
        self,
        spec: JobSpec,
        material: Material,
        trainee: Trainee,
        *,
        noise_guard: NoiseGuard,
        reporter: Reporter,
        end_if_asked: Callable[[], None],
        base_eval_loss: float | None,
    ) -> None:
        self._spec, self._material, self._plan, self._trainee = spec, material, material.plan, trainee
        self._reporter, self._end_if_asked = reporter, end_if_asked
        self._noise_guard, self._skips = noise_guard, SkipGuard(reporter)
        patience = spec.training.early_stop.patience if spec.training.early_stop else None
        self._early = EarlyStop(patience, base_eval_loss)
        self._eval_steps = self._plan.eval_steps if trainee.evaluation else frozenset()
        self._tokens = 0
        self.final: Values = {}

    def run(self) -> None:
        """Take every step of the plan, or as many as do any good."""
        training, number = self._spec.training, 0
        examples = self._material.train.examples
        for step in steps(examples, training.batch_size, self._plan.total_steps, training.seed):
            self._end_if_asked()
            number = step.number
            if self._stops_after(step):
                break
        self._skips.finished(number)
        self._noise_guard.finished()

    def _stops_after(self, step: Step) -> bool:
        """Take one step and tell of it; say whether the run had better end here."""
        values: Values = {}
        if self._clean_is_due(step.number):
            values["clean_train_loss"] = self._trainee.clean_loss_of(step)
        learning_rate = self._plan.learning_rate(step.number)
        started = time.perf_counter()
        taken = self._trainee.stepper.take(step, learning_rate)
        seconds = time.perf_counter() - started
        reading = self._trainee.noisy.meter.read()
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
        }
        evaluated = step.number in self._eval_steps
        if evaluated:
            values["eval_loss"] = self._trainee.eval_loss(self._end_if_asked)
        self._reporter.metrics(step.number, values)
        self._remember(values)
        self._noise_guard.saw(step, reading)
        self._skips.saw(step, taken)
        if evaluated and self._early.saw(values["eval_loss"]) and step.number < self._plan.total_steps:
            self._reporter.event("run.stopped_early", {"step": step.number, "eval_loss": values["eval_loss"]})
            return True
        return False

    def _remember(self, values: Values) -> None:
        """Keep the latest of each loss for the record."""
        for name in ("train_loss", "clean_train_loss", "eval_loss"):
            if name in values:
                self.final[name] = values[name]

    def _clean_is_due(self, number: int) -> bool:
        every = self._spec.noise.clean_loss_every
        return every > 0 and (number == 1 or number % every == 0 or number == self._plan.total_steps)

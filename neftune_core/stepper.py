"""One optimizer step: the losses of its trained tokens over their number, clipped, and applied.

The step is the same in every arrangement of its examples, unless the paper's mean of means was asked for.
Knows a model, its noise and AdamW; knows
nothing of plans, reports or files.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neftune_core.batches import Arrangement, Step, arrange
from neftune_core.errors import OutOfMemory
from neftune_core.losses import LossHead
from neftune_core.noise import NoisyEmbeddings
from neftune_core.spec import TrainingSpec


@dataclass(frozen=True)
class Taken:
    """What came of a step. A non-finite loss or gradient norm is ``None``, and its step was skipped."""

    loss: float | None
    grad_norm: float | None
    accuracy: float

    @property
    def skipped(self) -> bool:
        """Tell whether the weights were left alone."""
        return self.loss is None or self.grad_norm is None


class Stepper:
    """Takes steps with a model and its optimizer."""

    def __init__(  # noqa: PLR0913 - what a step is taken with, each once
        self,
        model: Any,
        head: LossHead,
        noisy: NoisyEmbeddings,
        training: TrainingSpec,
        *,
        arrangement: Arrangement,
        autocast: bool = False,
    ) -> None:
        self.arrangement = arrangement
        self._model, self._head, self._noisy, self._autocast = model, head, noisy, autocast
        self._may_halve = training.micro_batch_size == "auto"
        self._mean_of_means = training.loss_reduction == "micro_batch"
        self._max_norm = training.max_grad_norm or math.inf
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device = self._parameters[0].device
        self.optimizer = _adamw(self._parameters, training.weight_decay)

    def take(self, step: Step, learning_rate: float) -> Taken:
        """Take one step; out of memory, once more with half the micro-batch where the spec left it open."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            return self._take(step)
        except OutOfMemory:
            if not self._may_halve or self.arrangement.micro_batch_size == 1:
                raise
        self._may_halve = False
        self.arrangement = self.arrangement.halved()
        self.optimizer.zero_grad(set_to_none=True)
        self._noisy.meter.read()  # what the failed attempt measured
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._take(step)

    def _take(self, step: Step) -> Taken:
        self._model.train()
        with naming_out_of_memory(step.number):
            loss, correct = self._accumulate(step)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        told = [float(loss), float(norm), float(correct)]
        finite_loss, finite_norm = (value if math.isfinite(value) else None for value in told[:2])
        taken = Taken(finite_loss, finite_norm, told[2] / step.trained_tokens)
        if not taken.skipped:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return taken

    def _accumulate(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up the gradients of all micro-batches; nothing waits for the device in between."""
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        batches = arrange(step.examples, self.arrangement)
        for batch in batches:
            # By the paper the step's loss is the mean of its micro-batches' means, whatever their sizes.
            over = len(batch.label_M) * len(batches) if self._mean_of_means else step.trained_tokens
            # The backward pass belongs inside: with recomputed activations it calls the model again.
            with self._noisy.during(batch.layout, step.epoch):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
                    losses = self._head(batch.to(self.device))
                (losses.loss_M.sum() / over).backward()  # type: ignore[no-untyped-call]  # torch's
            loss += losses.loss_M.detach().double().sum() / over
            correct += losses.correct_M.sum()
        return loss, correct


@contextmanager
def naming_out_of_memory(step: int) -> Iterator[None]:
    """Turn the ways a device says "no memory" into :class:`OutOfMemory`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in text:
            raise
        raise OutOfMemory(
            f"Out of memory at step {step}: lower training.micro_batch_size or max_length, "
            "or turn gradient_checkpointing on."
        ) from error


def _adamw(parameters: list[torch.nn.Parameter], weight_decay: float) -> torch.optim.AdamW:
    """Build AdamW; biases and norms, which have one axis, are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)

"""One optimizer step: the losses of its trained tokens over their number, clipped, and applied.

The step is the same in every arrangement of its examples, unless the paper's mean of means was asked for.
Knows a model, its noise and AdamW; knows nothing of plans, reports or files.
"""

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neftune_core.batches import Arrangement, MicroBatch, Step, arrange
from neftune_core.errors import OutOfMemory
from neftune_core.failpoint import failpoint
from neftune_core.losses import LossHead
from neftune_core.noise import NoisyEmbeddings
from neftune_core.ranks import ALONE, Ranks
from neftune_core.spec import TrainingSpec
from neftune_core.tokenise import Example

_GIB = 1 << 30
# How CPUs, CUDA and its matrix library say it where torch does not.
_NO_MEMORY = ("allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


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
    """Takes steps with a model and its optimizer, on every rank the same ones."""

    def __init__(  # noqa: PLR0913 - what a step is taken with, each once
        self,
        model: Any,
        head: LossHead,
        noisy: NoisyEmbeddings,
        training: TrainingSpec,
        *,
        arrangement: Arrangement,
        autocast: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.arrangement, self._ranks = arrangement, ranks
        self._model, self._head, self._noisy, self._autocast = model, head, noisy, autocast
        self._mean_of_means = training.loss_reduction == "micro_batch"
        # Where each micro-batch has its mean, half of one is another loss.
        self._may_halve = training.micro_batch_size == "auto" and not self._mean_of_means
        self._max_norm = training.max_grad_norm or math.inf
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device = self._parameters[0].device
        self.optimizer = _adamw(self._parameters, training.weight_decay)

    def take(self, step: Step, learning_rate: float, strength: float = 1.0) -> Taken:
        """Take one step, whichever rank holds its examples; all ranks agree on what came of it.

        ``strength`` is the share of alpha that its noise has.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self._model.train()
        # All of it: the optimizer's moments are made in the first step, after the gradients.
        with naming_out_of_memory(f"at step {step.number}"):
            return self._taken(step, strength)

    def _taken(self, step: Step, strength: float) -> Taken:
        loss, correct = self._accumulated(step, strength)
        self._ranks.sum_gradients(self._parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm))
        summed, guessed, unbounded = self._ranks.sum(
            float(loss), float(correct), float(not math.isfinite(norm))
        )
        taken = Taken(
            loss=summed if math.isfinite(summed) else None,
            grad_norm=None if unbounded else norm,
            accuracy=guessed / step.trained_tokens,
        )
        if not taken.skipped:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return taken

    def share(self, step: Step) -> list[Example]:
        """Give this rank's examples of a step."""
        size = self.arrangement.micro_batch_size if self._mean_of_means else None
        return self._ranks.share(step.examples, together=size)

    def arranged(self, step: Step) -> list[MicroBatch]:
        """Lay this rank's examples of a step into rows."""
        return arrange(self.share(step), self.arrangement)

    def _accumulated(self, step: Step, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Accumulate; out of memory, once more with half the micro-batch where the spec left it open.

        Each rank decides that for itself: nothing is exchanged before, and layout decides nothing.
        """
        try:
            with naming_out_of_memory(f"at step {step.number}"):
                return self._accumulate(step, strength)
        except OutOfMemory:
            if not self._may_halve or self.arrangement.micro_batch_size == 1:
                raise
        self._may_halve = False
        self.arrangement = self.arrangement.halved()
        self.optimizer.zero_grad(set_to_none=True)
        self._noisy.meter.read()  # what the failed attempt measured
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._accumulate(step, strength)

    def _accumulate(self, step: Step, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up the gradients of all micro-batches; no number is read back from the device in between."""
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        micro_batches = -(-len(step.examples) // self.arrangement.micro_batch_size)  # of all ranks
        failpoint("step.inside")
        for batch in self.arranged(step):
            # By the paper the step's loss is the mean of its micro-batches' means, whatever their sizes.
            over = len(batch.label_M) * micro_batches if self._mean_of_means else step.trained_tokens
            # The backward pass belongs inside: with recomputed activations it calls the model again.
            with self._noisy.during(batch.layout, step.epoch, strength):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
                    losses = self._head(batch.to(self.device))
                (losses.loss_M.sum() / over).backward()  # type: ignore[no-untyped-call]  # torch's
            loss += losses.loss_M.detach().double().sum() / over
            correct += losses.correct_M.sum()
        return loss, correct


@contextmanager
def naming_out_of_memory(when: str) -> Iterator[None]:
    """Turn the ways a device says "no memory" into :class:`OutOfMemory`; ``when`` it did, for the message."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        named = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not named and not any(words in text for words in _NO_MEMORY):
            raise
        raise OutOfMemory(
            f"Out of memory {when}: lower training.micro_batch_size or max_length, "
            f"or turn gradient_checkpointing on. {_peak()}"
        ) from error


def gpu_memory() -> dict[str, float | None]:
    """Tell the most that this process has held on its GPU; nothing where it has none."""
    if not (torch.cuda.is_available() and torch.cuda.max_memory_allocated()):
        return {}
    return {"gpu_memory_bytes": float(torch.cuda.max_memory_allocated())}


def _peak() -> str:
    """Say how much the run held at its peak, on its device where it has one."""
    if torch.cuda.is_available() and torch.cuda.memory_allocated():
        held, there = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
        return f"At its peak the run held {held / _GIB:.1f} of the device's {there / _GIB:.1f} GiB."
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"At its peak the run held {held / _GIB:.1f} GiB of the host's memory."


def _adamw(parameters: list[torch.nn.Parameter], weight_decay: float) -> torch.optim.AdamW:
    """Build AdamW; biases and norms, which have one axis, are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)

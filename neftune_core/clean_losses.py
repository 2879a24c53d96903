"""Clean losses: what a model pays with noise and dropout off. Measuring leaves no trace.

The noisy training curves of different alphas look alike; these do not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from neftune_core.batches import MicroBatch
from neftune_core.failpoint import failpoint
from neftune_core.losses import LossHead
from neftune_core.ranks import ALONE, Ranks
from neftune_core.tokenise import Example


@contextmanager
def measuring(model: Any) -> Iterator[None]:
    """Switch to eval mode without gradient; restore mode and random generators afterwards."""
    modes = {module: module.training for module in model.modules()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []  # the others are others'
    with torch.random.fork_rng(devices), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def clean_loss(  # noqa: PLR0913 - what is measured, on what, and with whom
    model: Any,
    head: LossHead,
    batches: Sequence[MicroBatch],
    device: torch.device,
    *,
    ends: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> float | None:
    """Give the mean loss over the trained tokens of all ranks' batches; ``None`` when it is not finite.

    Summed in float64. ``ends`` is asked after each batch whether to break off; the number then means
    nothing.
    """
    total, tokens = torch.zeros((), dtype=torch.float64, device=device), 0
    failpoint("loss.inside")
    with measuring(model):
        for batch in batches:
            losses = head(batch.to(device))
            total += losses.loss_M.double().sum()
            tokens += len(batch.label_M)
            if ends():
                break
    summed, of = ranks.sum(float(total), tokens)
    mean = summed / of
    return mean if math.isfinite(mean) else None


def example_losses(  # noqa: PLR0913, PLR0917 - as above
    model: Any,
    head: LossHead,
    batches: Sequence[MicroBatch],
    examples: Sequence[Example],
    device: torch.device,
    ranks: Ranks = ALONE,
) -> list[float]:
    """Give the loss of each example, summed over its trained tokens, whichever rank's batches hold it."""
    number_of = {example.key: number for number, example in enumerate(examples)}
    sums = torch.zeros(len(examples), dtype=torch.float64)
    with measuring(model):
        for batch in batches:
            losses = head(batch.to(device)).loss_M.double().cpu()
            numbers = torch.tensor([number_of[key] for key in batch.layout.key_S.tolist()])
            # The place before a trained token is of the same example: none has its first token trained.
            segments = batch.layout.segment_BT.flatten()[batch.place_M]
            sums.index_add_(0, numbers[segments], losses)
    return ranks.sum(*sums.tolist())

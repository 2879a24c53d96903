"""Clean losses: what a model pays with noise and dropout off. Measuring leaves no trace.

The noisy training curves of different alphas look alike; these do not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from neftune_core.batches import MicroBatch
from neftune_core.losses import LossHead


@contextmanager
def measuring(model: Any) -> Iterator[None]:
    """Switch to eval mode without gradient; restore mode and random generators afterwards."""
    modes = {module: module.training for module in model.modules()}
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def clean_loss(
    model: Any,
    head: LossHead,
    batches: Sequence[MicroBatch],
    device: torch.device,
    between: Callable[[], None] = lambda: None,
) -> float | None:
    """Give the mean loss over all trained tokens, summed in float64; ``None`` when it is not finite.

    ``between`` is called after each batch; what it raises ends the measurement.
    """
    total, tokens = torch.zeros((), dtype=torch.float64, device=device), 0
    with measuring(model):
        for batch in batches:
            losses = head(batch.to(device))
            total += losses.loss_M.double().sum()
            tokens += len(batch.label_M)
            between()
    mean = float(total) / tokens
    return mean if math.isfinite(mean) else None

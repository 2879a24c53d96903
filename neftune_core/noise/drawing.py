"""NEFTune noise, exact for every example and keyed: what was asked for, and its sum with the embeddings.

For an example of L real tokens and embeddings of width D each real token gets
``alpha / sqrt(L * D) * U(-1, 1)`` in every channel, pads get nothing. U is a pure function of
(seed, epoch, example key, token position, channel), so neither padding, micro-batches, packing nor the
order of batches changes it, and no random generator is read or moved.

Knows tensors and layouts. Knows nothing of models, rows, losses or optimizers.

Axes: B rows of a batch, T its width, D channels.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from neftune_core.errors import NeftuneMisapplied, SpecError
from neftune_core.noise import ops
from neftune_core.noise.layout import Layout

MOST_ALPHA = 100.0  # as in a job's spec; the paper goes to 15

Distribution = Literal["uniform", "gaussian", "sphere"]
Scale = Literal["paper", "batch_width"]


@dataclass(frozen=True)
class Noise:
    """What noise was asked for; refuses what cannot be meant.

    ``distribution`` is the paper's ``uniform``, or for research of the same variance: ``gaussian``, or
    ``sphere``, where an example's whole noise has the norm ``alpha / sqrt(3)`` exactly. ``scale`` is the
    paper's, or ``batch_width``: the row's width in place of the example's length, as other tools have it,
    which makes the noise depend on the batch. ``later_multiplier`` is the number the model itself
    multiplies the embedding by afterwards; it is divided out, so that alpha means the same in every model.
    """

    alpha: float
    seed: int
    distribution: Distribution = "uniform"
    scale: Scale = "paper"
    later_multiplier: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range and words that name nothing."""
        if not 0 <= self.alpha <= MOST_ALPHA:  # nor is NaN
            raise SpecError(f"alpha is {self.alpha}; it must lie in 0..{MOST_ALPHA:g}, and 0 means no noise.")
        if type(self.seed) is not int or not 0 <= self.seed < ops.NUMBERS:
            raise SpecError(
                f"The noise's seed is {self.seed}; it must be a whole number in 0..{ops.NUMBERS - 1}."
            )
        if not 0 < self.later_multiplier < math.inf:
            raise SpecError(
                f"The model multiplies its embedding by {self.later_multiplier}; nothing undoes that."
            )
        for word, known in ((self.distribution, Distribution), (self.scale, Scale)):
            if word not in get_args(known):
                raise SpecError(f"The noise knows no {word!r}; it knows {', '.join(get_args(known))}.")

    def bound(self, length: int, width: int) -> float:
        """Give the largest absolute value of uniform noise in an example of ``length`` real tokens."""
        return self.alpha / math.sqrt(length * width) / self.later_multiplier


def draw(  # noqa: PLR0913 - what noise, where, in what shape, and how much of it
    noise: Noise,
    layout: Layout,
    epoch: int,
    width: int,
    device: torch.device,
    *,
    strength: float | Tensor = 1.0,
) -> Tensor:
    """Draw the noise of a batch in fp32: ``[B, T, width]``, zero where none belongs.

    ``strength`` multiplies alpha for this batch. Inside ``torch.compile`` give one that changes as a
    0-dim float64 tensor on the host: each new plain number would be compiled anew.
    """
    if not isinstance(strength, Tensor):
        strength = torch.tensor(strength, dtype=torch.float64)
    drawn: Tensor = torch.ops.neftune.draw(
        layout.segment_BT,
        layout.position_BT,
        layout.length_S,
        layout.key_S,
        layout.chosen_BT,
        strength,
        noise.alpha / noise.later_multiplier,
        noise.seed,
        epoch,
        noise.distribution,
        noise.scale,
        width,
        device,
    )
    return drawn


def apply(
    embeds_BTD: Tensor, noise: Noise, layout: Layout, epoch: int, strength: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Add the noise to token embeddings: (noised in their own dtype, noised in fp32 before that cast).

    The noise is a constant to autograd; the embeddings keep their ordinary gradient. For ``strength`` see
    :func:`draw`.
    """
    if embeds_BTD.shape[:-1] != layout.segment_BT.shape:
        raise NeftuneMisapplied(
            f"The embeddings have shape {tuple(embeds_BTD.shape)}, but the batch has "
            f"{tuple(layout.segment_BT.shape)} places; the noise would fall on the wrong tokens."
        )
    with torch.no_grad():
        drawn_BTD = draw(noise, layout, epoch, embeds_BTD.shape[-1], embeds_BTD.device, strength=strength)
    noised_BTD = embeds_BTD.float() + drawn_BTD
    return noised_BTD.to(embeds_BTD.dtype), noised_BTD

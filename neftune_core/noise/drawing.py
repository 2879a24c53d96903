"""NEFTune noise, exact for every example and keyed: what a batch gets, and its sum with the embeddings.

For an example of L real tokens and embeddings of width D each real token gets
``alpha / sqrt(L * D) * U(-1, 1)`` in every channel, pads get nothing. U is a pure function of
(seed, epoch, example key, token position, channel), so neither padding, micro-batches, packing nor the
order of batches changes it, and no random generator is read or moved.

Knows tensors and layouts. Knows nothing of models, rows, losses or optimizers.

Axes: B rows of a batch, T its width, N real tokens, D channels, S examples (segments).
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise.layout import Layout
from neftune_core.noise.philox import WORD, philox4x32, to_unit

COUNTERS_AT_ONCE = 1 << 16  # what stays in the cache; each counter gives four channels


@dataclass(frozen=True)
class Noise:
    """What noise was asked for.

    ``later_multiplier`` is the number the model itself multiplies the embedding by afterwards; it is
    divided out, so that alpha means the same in every model.
    """

    alpha: float
    seed: int
    later_multiplier: float = 1.0

    def bound(self, length: int, width: int) -> float:
        """Give the largest absolute value in an example of ``length`` real tokens."""
        return self.alpha / math.sqrt(length * width) / self.later_multiplier


def draw(noise: Noise, layout: Layout, epoch: int, width: int, device: torch.device) -> Tensor:
    """Draw the noise of a batch in fp32: ``[B, T, width]``, zero at pads."""
    place_N = (layout.segment_BT.flatten() >= 0).nonzero().squeeze(1)
    segment_N = layout.segment_BT.flatten()[place_N]
    # The bound is computed in float64 and cast once; in bf16 the length itself would already be rounded.
    bound_S = torch.tensor(
        [noise.bound(max(length, 1), width) for length in layout.length_S.tolist()], dtype=torch.float64
    ).to(torch.float32)
    unit_ND = _unit(
        (noise.seed, epoch),
        layout.key_S[segment_N].to(device),
        layout.position_BT.flatten()[place_N].to(device),
        width,
    )
    unit_ND.mul_(bound_S[segment_N].to(device)[:, None])
    drawn = torch.zeros(layout.segment_BT.numel(), width, dtype=torch.float32, device=device)
    drawn[place_N.to(device)] = unit_ND
    return drawn.view(*layout.segment_BT.shape, width)


def _unit(key: tuple[int, int], key_N: Tensor, position_N: Tensor, width: int) -> Tensor:
    """Draw U(-1, 1) for each token: one counter for four neighbouring channels."""
    lanes = -(-width // 4)
    lane_1C = torch.arange(lanes, device=key_N.device)[None, :]
    unit_ND = torch.empty(key_N.shape[0], width, dtype=torch.float32, device=key_N.device)
    tokens_at_once = max(1, COUNTERS_AT_ONCE // lanes)
    for start in range(0, key_N.shape[0], tokens_at_once):
        part = slice(start, start + tokens_at_once)
        low_n1, high_n1 = (key_N[part] & WORD)[:, None], ((key_N[part] >> 32) & WORD)[:, None]
        words = philox4x32(key, (lane_1C, position_N[part][:, None], low_n1, high_n1))
        unit_ND[part] = to_unit(torch.stack(words, dim=-1)).flatten(1)[:, :width]
    return unit_ND


def apply(embeds_BTD: Tensor, noise: Noise, layout: Layout, epoch: int) -> tuple[Tensor, Tensor]:
    """Add the noise to token embeddings: (noised in their own dtype, noised in fp32 before that cast).

    The noise is a constant to autograd; the embeddings keep their ordinary gradient.
    """
    if embeds_BTD.shape[:-1] != layout.segment_BT.shape:
        raise NeftuneMisapplied(
            f"The embeddings have shape {tuple(embeds_BTD.shape)}, but the batch has "
            f"{tuple(layout.segment_BT.shape)} places; the noise would fall on the wrong tokens."
        )
    with torch.no_grad():
        drawn_BTD = draw(noise, layout, epoch, embeds_BTD.shape[-1], embeds_BTD.device)
    noised_BTD = embeds_BTD.float() + drawn_BTD
    return noised_BTD.to(embeds_BTD.dtype), noised_BTD

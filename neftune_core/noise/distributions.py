"""Values of the standard distributions for tokens, made of their own random words.

One counter of Philox gives four neighbouring channels: key (seed, epoch), counter (channel // 4, position,
low and high word of the example's key). A token's values are therefore the same wherever it lies.

Axes: N tokens, C counters of a token, D channels.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from neftune_core.noise.philox import WORD, interleaved, philox4x32, to_unit

COUNTERS_AT_ONCE = 1 << 16  # many enough that starting an operation costs little, few enough for the cache


def parts(tokens: int, width: int) -> Iterator[slice]:
    """Cut tokens into runs whose words are drawn at once."""
    at_once = max(1, COUNTERS_AT_ONCE // _counters(width))
    for start in range(0, tokens, at_once):
        yield slice(start, start + at_once)


def uniform(stream: tuple[int, int], key_N: Tensor, position_N: Tensor, width: int) -> Tensor:
    """Draw U(-1, 1) in fp32: ``[N, width]``, variance 1/3, the same bits on every device."""
    return to_unit(_words(stream, key_N, position_N, width))[:, :width]


def gaussian(stream: tuple[int, int], key_N: Tensor, position_N: Tensor, width: int) -> Tensor:
    """Draw N(0, 1) in float64 by Box and Muller, each pair of channels from its pair of words.

    Logarithm and cosine differ between devices in the last bit of float64; rounded to fp32 that shows in
    about one value of a hundred million.
    """
    word_ND = _words(stream, key_N, position_N, width).long() & WORD
    share_ND = (word_ND.double() + 0.5) * 2.0**-32  # never 0 or 1
    radius_NC = (share_ND[:, 0::2].log() * -2.0).sqrt_()
    angle_NC = share_ND[:, 1::2] * (2.0 * math.pi)
    return torch.stack((radius_NC * angle_NC.cos(), radius_NC * angle_NC.sin()), -1).flatten(1)[:, :width]


def _words(stream: tuple[int, int], key_N: Tensor, position_N: Tensor, width: int) -> Tensor:
    """Draw a word for each channel, and up to three more: ``[N, 4 * C]``, int32."""
    counter_1C = torch.arange(_counters(width), device=key_N.device)[None, :]
    low_N1, high_N1 = (key_N & WORD)[:, None], ((key_N >> 32) & WORD)[:, None]
    return interleaved(philox4x32(stream, (counter_1C, position_N[:, None], low_N1, high_N1)))


def _counters(width: int) -> int:
    return -(-width // 4)

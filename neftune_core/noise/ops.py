"""The draw as one operator, ``torch.ops.neftune.draw``, which compilers leave whole.

Opaque on every device: left to itself a compiler fuses the generator's integer arithmetic anew, and wrong
words have been seen from its code for CPUs. On CUDA, uniform noise comes from one Triton kernel where Triton
is installed, with the same bits.

Axes: B rows of a batch, T its width, P places (B * T), N tokens, D channels, S examples.
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from neftune_core.noise.distributions import gaussian, parts, uniform

NUMBERS = 1 << 31  # seeds and epochs lie below
_HAS_TRITON = find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own switch: kernels run on the CPU

Stream = tuple[int, int]  # seed and epoch
Values = Callable[[Stream, Tensor, Tensor, int], Tensor]


@torch.library.custom_op("neftune::draw", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def draw(  # noqa: PLR0913, PLR0917 - an operator takes tensors and numbers, no objects
    segment_BT: Tensor,
    position_BT: Tensor,
    length_S: Tensor,
    key_S: Tensor,
    chosen_BT: Tensor | None,
    strength: Tensor,
    alpha: float,
    seed: int,
    epoch: int,
    distribution: str,
    scale: str,
    width: int,
    device: torch.device,
) -> Tensor:
    """Draw the noise of a batch in fp32 on ``device``: ``[B, T, width]``, zero where none belongs.

    The tensors lie on the host, as a layout's do; a recorded CUDA graph would not read them again.
    ``strength`` is one float64 number: a tensor, for a plain number would be compiled in.
    """
    if not 0 <= epoch < NUMBERS:
        raise ValueError(f"The epoch is {epoch}; it must lie in 0..{NUMBERS - 1}.")
    shape = (*segment_BT.shape, width)
    if not 0 <= float(strength) < math.inf:  # nor is NaN
        raise ValueError(f"The noise has strength {float(strength)}; it must be finite and not negative.")
    magnitude = alpha * float(strength)
    if magnitude == 0:
        return torch.zeros(shape, dtype=torch.float32, device=device)
    # In float64, and cast once: in bf16 the length itself would already be rounded.
    row_S = length_S if scale == "paper" else torch.full_like(length_S, segment_BT.shape[-1])
    bound_S = magnitude / (row_S.clamp(min=1).double() * width).sqrt()
    places = _Places(segment_BT.flatten(), position_BT.flatten(), key_S, width, device)
    chosen_P = None if chosen_BT is None else chosen_BT.flatten()
    if distribution == "uniform":
        return _uniform((seed, epoch), places, chosen_P, bound_S).view(shape)
    std_S = bound_S / 3**0.5
    if distribution == "sphere":
        std_S *= (length_S.double() * width / _squares((seed, epoch), places)).sqrt()
    return _spread(gaussian, (seed, epoch), places.tokens(chosen_P), std_S).view(shape)


@draw.register_fake
def _like(segment_BT: Tensor, *others: Any) -> Tensor:
    """Tell a compiler the shape of what comes."""
    *_, width, device = others
    return torch.empty((*segment_BT.shape, width), dtype=torch.float32, device=device)


@dataclass(frozen=True)
class _Tokens:
    """Tokens on the device that draws. ``place_N`` is ``None`` where they fill all places in order."""

    segment_N: Tensor
    position_N: Tensor
    key_N: Tensor
    place_N: Tensor | None
    shape: tuple[int, int]  # of the places' values


@dataclass(frozen=True)
class _Places:
    """A batch's places on the host, in one row."""

    segment_P: Tensor
    position_P: Tensor
    key_S: Tensor
    width: int
    device: torch.device

    def tokens(self, chosen_P: Tensor | None = None) -> _Tokens:
        """Give the real tokens, those that are chosen if so."""
        here_P = self.segment_P >= 0 if chosen_P is None else (self.segment_P >= 0) & chosen_P
        shape = (len(here_P), self.width)
        if here_P.all():
            segment, position = self.segment_P.to(self.device), self.position_P.to(self.device)
            return _Tokens(segment, position, self.key_S.to(self.device)[segment], None, shape)
        place_N = here_P.nonzero().squeeze(1)
        segment_N = self.segment_P[place_N]
        host = (segment_N, self.position_P[place_N], self.key_S[segment_N], place_N)
        segment_N, position_N, key_N, place_N = (each.to(self.device) for each in host)
        return _Tokens(segment_N, position_N, key_N, place_N, shape)

    def marked(self, chosen_P: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Give every place's example (-1 where none gets noise) and position, and the keys."""
        segment_P = self.segment_P if chosen_P is None else self.segment_P.where(chosen_P, -1)
        return segment_P.to(self.device), self.position_P.to(self.device), self.key_S.to(self.device)


def _uniform(stream: Stream, places: _Places, chosen_P: Tensor | None, bound_S: Tensor) -> Tensor:
    if _HAS_TRITON and (places.device.type == "cuda" or _INTERPRETED):
        from neftune_core.noise import philox_triton  # noqa: PLC0415 - slow, and not everywhere

        return philox_triton.uniform(
            stream, *places.marked(chosen_P), bound_S.float().to(places.device), places.width
        )
    return _spread(uniform, stream, places.tokens(chosen_P), bound_S.float())


def _spread(values: Values, stream: Stream, tokens: _Tokens, factor_S: Tensor) -> Tensor:
    """Give each token its values times its example's factor, and every other place zeros."""
    places, width = tokens.shape
    empty = torch.zeros if tokens.place_N is not None else torch.empty
    drawn_PD = empty(places, width, dtype=torch.float32, device=tokens.key_N.device)
    factor_N1 = factor_S.to(tokens.key_N.device)[tokens.segment_N][:, None]
    for part in parts(len(tokens.key_N), width):
        part_ND = values(stream, tokens.key_N[part], tokens.position_N[part], width).mul_(factor_N1[part])
        if tokens.place_N is None:
            drawn_PD[part] = part_ND
        else:
            drawn_PD.index_copy_(0, tokens.place_N[part], part_ND.float())
    return drawn_PD


def _squares(stream: Stream, places: _Places) -> Tensor:
    """Give each example's squared norm of standard normal values, over all its real tokens."""
    tokens = places.tokens()
    square_S = torch.zeros(len(places.key_S), dtype=torch.float64)
    segment_N = tokens.segment_N.cpu()
    for part in parts(len(tokens.key_N), places.width):
        part_ND = gaussian(stream, tokens.key_N[part], tokens.position_N[part], places.width)
        # On the host, one after another: a GPU adds in any order, and the last bit would be chance.
        square_S.index_add_(0, segment_N[part], part_ND.square_().sum(1).cpu())
    return square_S

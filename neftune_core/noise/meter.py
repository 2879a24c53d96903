"""Measuring the noise that really reached a model.

Knows tensors before and after; draws nothing, and knows nothing of what was asked for.

Axes: B rows of a batch, T its width, D channels, N = B * T places, S examples (segments).
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neftune_core.noise.layout import Layout


@dataclass(frozen=True)
class Reading:
    """What was measured on the embeddings of some batches since the last reading, example by example.

    ``square_S`` is an example's squared noise norm as the first layer sees it, ``clean_S`` that of its
    embeddings at the same places; ``places_S`` counts these places, and ``row_S`` those of the row in which
    it lay. ``elsewhere`` is the largest noise norm of a place that was to have none.
    """

    key_S: Tensor
    square_S: Tensor
    clean_S: Tensor
    places_S: Tensor
    row_S: Tensor
    channels: int
    elsewhere: float

    @property
    def effective_alpha(self) -> float | None:
        """Give the mean over examples of sqrt(3) times the norm of their noise; ``None`` for no number."""
        return _number(float((3 * self.square_S).sqrt().mean())) if len(self.square_S) else 0.0

    @property
    def ratio(self) -> float | None:
        """Give noise over embeddings, root mean squares; ``None`` for no number."""
        clean = float(self.clean_S.sum())
        return _number(math.sqrt(float(self.square_S.sum()) / clean)) if clean > 0 else _number(clean)

    def gathered(self, gather: Callable[[Tensor], Tensor]) -> "Reading":
        """Give what all processes measured; ``gather`` puts their values one after another."""
        # Keys need all 64 bits, so the float64 columns travel as integers too.
        bits_S5 = torch.stack(
            [self.key_S, _bits(self.square_S), _bits(self.clean_S), self.places_S, self.row_S], dim=1
        )
        key_S, square_S, clean_S, places_S, row_S = gather(bits_S5.flatten()).view(-1, 5).unbind(1)
        return Reading(
            key_S=key_S,
            square_S=_numbers(square_S),
            clean_S=_numbers(clean_S),
            places_S=places_S,
            row_S=row_S,
            channels=int(gather(torch.tensor([self.channels])).max()),
            elsewhere=float(gather(torch.tensor([self.elsewhere], dtype=torch.float64)).max()),
        )


def _bits(values_S: Tensor) -> Tensor:
    return values_S.to(torch.float64).view(torch.int64)


def _numbers(bits_S: Tensor) -> Tensor:
    return bits_S.contiguous().view(torch.float64)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


class NoiseMeter:
    """Measures what was really added, in fp32 before the cast to the model's dtype."""

    def __init__(self, later_multiplier: float) -> None:
        self._later_multiplier = later_multiplier
        self._measured: list[Tensor] = []  # on the device: [3, S], noise, embeddings and places
        self._elsewhere: list[Tensor] = []
        self._keys: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._channels = 0

    @torch.no_grad()
    def record(self, embeds_BTD: Tensor, noised_BTD: Tensor, layout: Layout) -> None:
        """Measure one batch; nothing is copied to the host yet."""
        clean_BTD = embeds_BTD.detach().float()
        added_ND = (noised_BTD.detach() - clean_BTD).flatten(0, -2)
        noise_N, clean_N = (_squares(values_ND) for values_ND in (added_ND, clean_BTD.flatten(0, -2)))
        segment_BT, chosen_BT = layout.segment_BT, layout.segment_BT >= 0
        if layout.chosen_BT is not None:
            chosen_BT = chosen_BT & layout.chosen_BT
        segment_N = segment_BT.flatten().clamp(min=0).to(embeds_BTD.device)
        chosen_N = chosen_BT.flatten().to(embeds_BTD.device)
        by_place_3N = torch.where(chosen_N, torch.stack([noise_N, clean_N, torch.ones_like(noise_N)]), 0.0)
        examples = len(layout.length_S)
        by_example_3S = by_place_3N.new_zeros(3, max(examples, 1)).index_add_(1, segment_N, by_place_3N)
        self._measured.append(by_example_3S[:, :examples])
        # What is no number without noise either tells nothing.
        self._elsewhere.append(torch.where(chosen_N | clean_N.isfinite().logical_not(), 0.0, noise_N).amax())
        self._keys.append(layout.key_S)
        self._rows.append(torch.full_like(layout.key_S, segment_BT.shape[-1]))
        self._channels = embeds_BTD.shape[-1]

    def read(self) -> Reading:
        """Give what was measured since the last reading, and start anew."""
        no_S = torch.zeros(0, dtype=torch.int64)
        squares_3S = torch.cat(self._measured, 1).cpu() if self._measured else torch.zeros(3, 0)
        elsewhere = float(torch.stack(self._elsewhere).amax()) if self._elsewhere else 0.0
        factor = self._later_multiplier
        reading = Reading(
            key_S=torch.cat([no_S, *self._keys]),
            square_S=squares_3S[0] * factor**2,
            clean_S=squares_3S[1] * factor**2,
            places_S=squares_3S[2].to(torch.int64),
            row_S=torch.cat([no_S, *self._rows]),
            channels=self._channels,
            elsewhere=math.sqrt(elsewhere) * abs(factor),
        )
        self._measured, self._elsewhere, self._keys, self._rows = [], [], [], []
        return reading


def _squares(values_ND: Tensor) -> Tensor:
    """Give each place's squared norm in float64; an example's sum over thousands of them stays exact."""
    norm_N: Tensor = torch.linalg.vector_norm(values_ND, dim=-1)
    return norm_N.to(torch.float64).square()

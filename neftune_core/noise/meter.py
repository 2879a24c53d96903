"""Measuring the noise that really reached a model, and holding it against alpha.

Knows tensors before and after; draws nothing. The law it checks: an example's squared noise norm has
the expectation alpha squared / 3 whatever its length, with a relative variance of 0.8 / (L * D).

Axes: B rows of a batch, T its width, D channels, S examples (segments).
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neftune_core.errors import NeftuneMisapplied

TOLERANCE = 0.02  # of alpha
_SIGMAS = 5.0  # how sure the measurement must be before the tolerance is held against it


@dataclass(frozen=True)
class Reading:
    """What was measured on the embeddings of some batches since the last reading.

    ``square_S`` is each example's squared noise norm as the first layer sees it; by the paper its
    expectation is alpha squared / 3, whatever the length.
    """

    square_S: Tensor
    elements_S: Tensor
    ratio: float
    on_pads: float

    @property
    def effective_alpha(self) -> float:
        """Give the mean over examples of sqrt(3) times the norm of their noise."""
        return float((3 * self.square_S).sqrt().mean()) if len(self.square_S) else 0.0


class NoiseMeter:
    """Measures what was really added, in fp32 before the cast to the model's dtype."""

    def __init__(self, later_multiplier: float) -> None:
        self._later_multiplier = later_multiplier
        self._squares: list[Tensor] = []
        self._elements: list[Tensor] = []
        self._energies: list[Tensor] = []  # (noise, embeddings, largest on pads)

    @torch.no_grad()
    def record(self, embeds_BTD: Tensor, noised_BTD: Tensor, segment_BT: Tensor, length_S: Tensor) -> None:
        """Measure one batch; nothing is copied to the host yet."""
        clean_BTD = embeds_BTD.detach().float()
        added_BTD = (noised_BTD.detach() - clean_BTD) * self._later_multiplier
        segment = segment_BT.flatten().to(embeds_BTD.device)
        real = (segment >= 0).to(torch.float64)
        square = added_BTD.square().sum(-1).flatten().to(torch.float64)
        clean = clean_BTD.square().sum(-1).flatten().to(torch.float64) * self._later_multiplier**2
        square_S = torch.zeros(len(length_S), dtype=torch.float64, device=embeds_BTD.device)
        square_S.index_add_(0, segment.clamp(min=0), square * real)
        self._squares.append(square_S)
        self._elements.append(length_S * embeds_BTD.shape[-1])
        self._energies.append(
            torch.stack([(square * real).sum(), (clean * real).sum(), (square * (1 - real)).amax()])
        )

    def read(self) -> Reading:
        """Give what was measured since the last reading, and start anew."""
        if not self._squares:
            return Reading(torch.zeros(0), torch.zeros(0), 0.0, 0.0)
        energies = torch.stack(self._energies).cpu()
        noise, clean = float(energies[:, 0].sum()), float(energies[:, 1].sum())
        reading = Reading(
            square_S=torch.cat(self._squares).cpu(),
            elements_S=torch.cat(self._elements).to(torch.float64),
            ratio=math.sqrt(noise / clean) if clean > 0 else 0.0,
            on_pads=math.sqrt(float(energies[:, 2].max())),
        )
        self._squares, self._elements, self._energies = [], [], []
        return reading


class Verification:
    """Collects readings of the first steps until they can tell alpha within the tolerance."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._square = 0.0
        self._variance = 0.0  # of the sum of squares, in units of (alpha squared / 3) squared
        self._ratios: list[float] = []
        self.examples = 0
        self.elements = 0

    def add(self, reading: Reading, real_tokens: int, width: int) -> None:
        """Take a step's reading; ``real_tokens`` are counted from the examples, not from any mask."""
        if reading.on_pads != 0:
            raise NeftuneMisapplied(f"Pads carry noise of norm {reading.on_pads:.3g}; it must be 0.")
        elements = int(reading.elements_S.sum())
        if elements != real_tokens * width:
            raise NeftuneMisapplied(
                f"{elements} values were noised; the examples have {real_tokens * width}."
            )
        self._square += float(reading.square_S.sum())
        self._variance += float((0.8 / reading.elements_S).sum())
        self._ratios.append(reading.ratio)
        self.examples += len(reading.square_S)
        self.elements += elements

    def state(self) -> dict[str, Any]:
        """Give what was collected as plain values."""
        return {
            "square": self._square,
            "variance": self._variance,
            "ratios": self._ratios,
            "examples": self.examples,
            "elements": self.elements,
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from what another one collected."""
        self._square, self._variance = state["square"], state["variance"]
        self._ratios = list(state["ratios"])
        self.examples, self.elements = state["examples"], state["elements"]

    @property
    def effective_alpha(self) -> float:
        """Give the root mean square over examples of sqrt(3) times the norm of their noise."""
        return math.sqrt(3 * self._square / max(self.examples, 1))

    @property
    def margin(self) -> float:
        """Give the relative error that chance alone allows ``effective_alpha`` (five sigmas)."""
        if self.examples == 0:
            return math.inf
        return _SIGMAS * 0.5 * math.sqrt(self._variance) / self.examples

    @property
    def enough(self) -> bool:
        """Tell whether chance alone stays within the tolerance."""
        return self.margin <= TOLERANCE

    def conclude(self) -> dict[str, float | int]:
        """Give the facts of ``neftune.verified``, or raise :class:`NeftuneMisapplied`."""
        allowed = max(TOLERANCE, self.margin)
        measured = self.effective_alpha
        if self.examples == 0 or abs(measured / self._alpha - 1) > allowed:
            raise NeftuneMisapplied(
                f"The noise measured on {self.examples} examples is that of alpha {measured:.4g}, "
                f"but alpha {self._alpha:g} was asked for."
            )
        return {
            "alpha": self._alpha,
            "effective_alpha": measured,
            "tolerance": allowed,
            "examples": self.examples,
            "elements": self.elements,
            "noise_ratio": sum(self._ratios) / len(self._ratios),
            "noise_on_pads": 0.0,
        }

"""Holding measured noise against what the options say it should be.

What is expected comes from the examples and the options alone, never from a layout or a drawing: a wrong
length there shows here. An example of L real tokens, n of which get noise, has the squared norm
``alpha^2 / 3 * n / L`` on average; with ``scale="batch_width"`` its row's width stands for L.

Knows readings and options. Knows nothing of models or batches.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise.drawing import Noise
from neftune_core.noise.meter import Reading

TOLERANCE = 0.02  # of alpha
_SIGMAS = 5.0  # how sure the measurement must be before the tolerance is held against it
_SIGMAS_OF_ONE = 8.0  # the same for a single example, of which there are many
_ROUNDING = (
    2.0**-24
)  # of a sum in fp32, at most; it shows where noise is far smaller than what it is added to


@dataclass(frozen=True)
class Due:
    """An example as the dataset has it: its name, its real tokens, and how many of them get noise."""

    key: int
    length: int
    noised: int


class Verification:
    """Collects readings of the first steps until they can tell alpha within the tolerance."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._square = self._expected = 0.0
        self._variance = 0.0  # of the sum of squares
        self._rounding = 0.0  # the same sum may be off by so much without chance
        self._ratios: list[float] = []
        self.examples = 0
        self.elements = 0

    def add(self, reading: Reading, dues: Sequence[Due], strength: float = 1.0) -> None:
        """Take the reading of a step, or of one rank's share of it, and the examples that were in it."""
        if reading.elsewhere != 0:
            raise NeftuneMisapplied(
                f"Pads, or tokens that were to have no noise, carry noise of norm {reading.elsewhere:.3g}."
            )
        if Counter(reading.key_S.tolist()) != Counter(due.key for due in dues):
            raise NeftuneMisapplied(
                f"The noise fell on {len(reading.key_S)} examples that are not the step's {len(dues)}."
            )
        by_key = {due.key: due for due in dues}
        columns = (reading.key_S, reading.square_S, reading.clean_S, reading.places_S, reading.row_S)
        for key, square, clean, places, row in zip(*(column.tolist() for column in columns), strict=True):
            due = by_key[key]
            if places != due.noised:
                raise NeftuneMisapplied(
                    f"{places} tokens of an example were noised; by the options it is {due.noised}."
                )
            if math.isfinite(clean):  # else the weights are no numbers, which the loss will show
                self._take(due, square, clean, row, reading.channels, strength)
        if reading.ratio is not None:
            self._ratios.append(reading.ratio)

    def _take(  # noqa: PLR0913, PLR0917 - what was measured of one example
        self, due: Due, square: float, clean: float, row: int, channels: int, strength: float
    ) -> None:
        """Take one example; far off, it is a fault by itself, however right the others are."""
        elements = due.noised * channels
        by = row if self._noise.scale == "batch_width" else due.length
        expected = (self._noise.alpha * strength) ** 2 / 3 * due.noised / by
        variance = self._relative_variance(due, channels) if elements else 0.0
        allowed = (1 + TOLERANCE) ** 2 - 1 + _SIGMAS_OF_ONE * math.sqrt(variance)
        off = math.sqrt(clean) * _ROUNDING  # the norm of what rounding may add
        rounding = 2 * math.sqrt(expected) * off + off**2 if elements else 0.0
        if not abs(square - expected) <= allowed * expected + rounding:
            raise NeftuneMisapplied(
                f"An example of {due.length} tokens carries noise of squared norm {square:.4g}; alpha "
                f"{self._noise.alpha:g} asks for {expected:.4g}, within {allowed:.0%}."
            )
        self._square += square
        self._expected += expected
        self._variance += expected**2 * variance
        self._rounding += rounding
        self.examples += 1
        self.elements += elements

    def _relative_variance(self, due: Due, channels: int) -> float:
        """Give the variance of an example's squared norm by chance, relative to its expectation squared."""
        if self._noise.distribution == "sphere":
            # The whole norm is fixed; chance only shares it among the tokens.
            return 2 * (due.length - due.noised) / (due.noised * (due.length * channels + 2))
        return (2.0 if self._noise.distribution == "gaussian" else 0.8) / (due.noised * channels)

    def state(self) -> dict[str, Any]:
        """Give what was collected as plain values."""
        return {
            "square": self._square,
            "expected": self._expected,
            "variance": self._variance,
            "rounding": self._rounding,
            "ratios": self._ratios,
            "examples": self.examples,
            "elements": self.elements,
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from what another one collected."""
        self._square, self._expected = state["square"], state["expected"]
        self._variance, self._rounding = state["variance"], state["rounding"]
        self._ratios = list(state["ratios"])
        self.examples, self.elements = state["examples"], state["elements"]

    @property
    def effective_alpha(self) -> float:
        """Give the root mean square over examples of sqrt(3) times the norm of their noise."""
        return math.sqrt(3 * self._square / max(self.examples, 1))

    @property
    def expected_alpha(self) -> float:
        """Give what ``effective_alpha`` should be; by the paper's options it is alpha."""
        return math.sqrt(3 * self._expected / max(self.examples, 1))

    @property
    def sampling_error(self) -> float:
        """Give the relative error that chance gives ``effective_alpha`` (one sigma)."""
        return 0.5 * math.sqrt(self._variance) / self._expected if self._expected else math.inf

    @property
    def enough(self) -> bool:
        """Tell whether chance alone stays within the tolerance."""
        return _SIGMAS * self.sampling_error <= TOLERANCE

    def conclude(self) -> dict[str, float | int]:
        """Give the facts of ``neftune.verified``, or raise :class:`NeftuneMisapplied`."""
        allowed = max(TOLERANCE, _SIGMAS * self.sampling_error)
        measured, expected = self.effective_alpha, self.expected_alpha
        rounding = math.sqrt(expected**2 + 3 * self._rounding / max(self.examples, 1)) - expected
        if not abs(measured - expected) <= allowed * expected + rounding:
            raise NeftuneMisapplied(
                f"The noise measured on {self.examples} examples is that of alpha {measured:.4g}; "
                f"alpha {self._noise.alpha:g} was asked for, which is {expected:.4g} by the options."
            )
        return {
            "alpha": self._noise.alpha,
            "effective_alpha": measured,
            "expected_alpha": expected,
            "tolerance": allowed,
            "sampling_error": self.sampling_error,
            "examples": self.examples,
            "elements": self.elements,
            "later_multiplier": self._noise.later_multiplier,
            "noise_ratio": sum(self._ratios) / max(len(self._ratios), 1),
            "noise_on_pads": 0.0,
        }

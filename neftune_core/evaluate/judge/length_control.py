"""The win rate as it would be if both answers were equally long.

Judges like length. So each preference is explained by who answered and by how much longer the answer is, in a
logistic regression, and then the length is taken out:

    logit P(win) = model + slope * tanh(d / sd(d)) + step * sign(d)

where d is our length less theirs, in characters.

The controlled win rate is the mean of P(win) just above and just below d = 0. The tanh is AlpacaEval 2's; the
step is for judges that go by which answer is longer at all, where a slope alone has to guess at zero. Firth's
penalty and a wide prior keep weights finite where length decides everything. The standard error is the
sandwich's, because half a win is a value and not two outcomes; it is never smaller than what two pairs make.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NO_SURER = 2  # pairs: where length decides everything, no residual tells what a few others would change
SIDE = 5  # pairs in which either is the longer one: with fewer, a value at equal length is a guess
_PRIOR_SD = 3.0  # of the two weights of length, in logits; GPT-4's slope is about 2.4
_STEPS, _STILL = 100, 1e-10
_LONGEST_STEP = 2.0

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LengthControlled:
    """In per cent; ``slope`` and ``step`` are what the judge gives for length, in logits."""

    win_rate: float
    standard_error: float
    slope: float
    step: float


class OneSideLonger(ValueError):
    """One side's answers are nearly always the longer ones: length and quality cannot be told apart."""


def length_controlled(wins: Sequence[float], differences: Sequence[int]) -> LengthControlled:
    """Fit; ``wins`` are 0 to 1 for us, ``differences`` our length less theirs.

    Raises :class:`OneSideLonger` where the figures say nothing about equal lengths.
    """
    outcomes = np.asarray(wins, dtype=np.float64)
    longer = np.asarray(differences, dtype=np.float64)
    if min(int((longer >= 0).sum()), int((longer <= 0).sum())) < SIDE:
        raise OneSideLonger
    features = _features(longer)
    weights, covariance = _fit(features, outcomes)
    above, below = _logistic(weights[0] + weights[2]), _logistic(weights[0] - weights[2])
    up, down = above * (1 - above), below * (1 - below)
    gradient = np.array([up + down, 0.0, up - down]) / 2
    error = max(float(np.sqrt(gradient @ covariance @ gradient)), _NO_SURER / len(outcomes))
    return LengthControlled(50 * float(above + below), 100 * error, float(weights[1]), float(weights[2]))


def _features(longer: Numbers) -> Numbers:
    spread = float(longer.std(ddof=1))
    slope = np.tanh(longer / spread) if spread else np.zeros_like(longer)
    return np.stack([np.ones_like(longer), slope, np.sign(longer)], axis=1)


def _fit(features: Numbers, outcomes: Numbers) -> tuple[Numbers, Numbers]:
    """Solve the penalised score equation by Newton's steps; give the weights and their covariance."""
    prior = np.array([0.0, _PRIOR_SD**-2, _PRIOR_SD**-2])
    weights = np.zeros(3)
    for _ in range(_STEPS):
        chances, leverages, inverse = _state(features, weights, prior)
        move = inverse @ (features.T @ (outcomes - chances + leverages * (0.5 - chances)) - prior * weights)
        longest = float(np.abs(move).max())
        weights = weights + move * min(1.0, _LONGEST_STEP / max(longest, _STILL))
        if longest < _STILL:
            break
    chances, leverages, inverse = _state(features, weights, prior)
    # Each residual is widened by its own leverage (HC3): honest with few pairs too.
    scores = features * ((outcomes - chances) / (1 - leverages))[:, None]
    return weights, inverse @ (scores.T @ scores) @ inverse


def _state(features: Numbers, weights: Numbers, prior: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Give probabilities, leverages and the inverse of the information."""
    chances = _logistic(features @ weights)
    information = chances * (1 - chances)
    inverse = np.asarray(
        np.linalg.inv((features * information[:, None]).T @ features + np.diag(prior)), dtype=np.float64
    )
    leverages: Numbers = information * ((features @ inverse) * features).sum(axis=1)
    return chances, leverages, inverse


def _logistic(z: Numbers) -> Numbers:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))

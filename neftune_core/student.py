"""Student's t: its tail and its quantiles, for any degrees of freedom.

A few lines instead of a library of which nothing else would be used. Knows numbers only.
"""

import math

_TINY = 1e-300  # in place of a zero that would be divided by
_PRECISION = 1e-12


def tail(t: float, df: float) -> float:
    """Give the probability of a value above ``t``."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    beyond = 0.5 * _beta(df / 2, 0.5, df / (df + t * t))
    return beyond if t >= 0 else 1 - beyond


def quantile(probability: float, df: float) -> float:
    """Give the value that is exceeded with ``1 - probability``."""
    if probability < 0.5:
        return -quantile(1 - probability, df)
    low, high = 0.0, 2.0
    while tail(high, df) > 1 - probability:
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        low, high = (middle, high) if tail(middle, df) > 1 - probability else (low, middle)
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """Give the regularised incomplete beta function, by its continued fraction (Lentz's way)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond, the fraction of the mirrored one is the quick one
        return 1 - _beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    over, under = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    value = under
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            under = 1 / (1 + term * under or _TINY)
            over = 1 + term / over or _TINY
            value *= under * over
        if abs(under * over - 1) < _PRECISION:
            break
    return math.exp(front) * value / a

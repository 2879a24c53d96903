"""Successive halving: which alphas of a series go on, and where that is decided.

At a quarter and at half of the steps the worse half of the alphas is stopped, by clean held-out loss over all
seeds that have one for every alpha. The control is not among them: it is what all are held against. Pure.
"""

import math
from collections.abc import Mapping
from statistics import fmean

RUNGS = (0.25, 0.5)  # shares of a run


def kept(losses: Mapping[float, Mapping[int, float]]) -> list[float]:
    """Choose the alphas that go on, by the losses that each has with each seed; an alpha without any goes."""
    there = {alpha: of for alpha, of in losses.items() if of}
    if not there:
        return []
    common = set.intersection(*(set(of) for of in there.values()))
    if not common:  # nothing to compare by
        return sorted(there)
    ranked = sorted(there, key=lambda alpha: (fmean(there[alpha][seed] for seed in common), alpha))
    return sorted(ranked[: math.ceil(len(losses) / 2)])

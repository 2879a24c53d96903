"""How near the win rate at equal length comes to a planted one, and what a judge of lengths alone gets.

    python benchmarks/length_control.py [--series 2000]

Preferences of both orders are drawn from P(win) = logistic(model + slope * tanh(d / 300)), d normal with the
mean told and a standard deviation of 300 characters. Covered: how many of the 95 % intervals hold the truth.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neftune_core.evaluate.judge.length_control import OneSideLonger, length_controlled

Numbers = NDArray[np.float64]
Wins = Callable[[Numbers, np.random.Generator], Numbers]
JUDGES = {"no taste": (0.5, 0.0), "like GPT-4's": (-1.0, 2.4), "strong": (0.0, 8.0), "and ahead": (1.5, 2.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=2000)
    series = parser.parse_args().series
    print("| judge | pairs | mean d | true | found, mean | sd | standard error, mean | covered |")
    print("|---|---|---|---|---|---|---|---|")
    for pairs in (30, 100, 400, 805):
        for mean in (150, 300):
            for name, (model, slope) in JUDGES.items():
                row(name, pairs, mean, series, (taste(model, slope), 100 / (1 + np.exp(-model))))
            row("longer wins", pairs, mean, series, (lambda d, _: (d > 0) + (d == 0) / 2, 50.0))


def taste(model: float, slope: float) -> Wins:
    def wins(longer: Numbers, drawn: np.random.Generator) -> Numbers:
        chance = 1 / (1 + np.exp(-(model + slope * np.tanh(longer / 300))))
        return np.asarray(
            ((drawn.random(len(longer)) < chance) * 1.0 + (drawn.random(len(longer)) < chance)) / 2
        )

    return wins


def row(name: str, pairs: int, mean: float, series: int, judge: tuple[Wins, float]) -> None:
    wins, true = judge
    found, errors = [], []
    for seed in range(series):
        drawn = np.random.default_rng(seed)
        longer = np.round(drawn.normal(mean, 300, pairs))
        try:
            fitted = length_controlled(list(wins(longer, drawn)), [int(one) for one in longer])
        except OneSideLonger:
            continue
        found.append(fitted.win_rate)
        errors.append(fitted.standard_error)
    rates, widths = np.array(found), np.array(errors)
    covered = float((np.abs(rates - true) < 1.96 * widths).mean())
    print(
        f"| {name} | {pairs} | {mean} | {true:.1f} | {rates.mean():.1f} | {rates.std():.1f} "
        f"| {widths.mean():.1f} | {100 * covered:.0f} % of {len(found)} |"
    )


if __name__ == "__main__":
    main()

"""How often a verdict on a series is wrong, in worlds whose truth is known, and what the plain ways would do.

    PYTHONPATH=. python benchmarks/verdict_errors.py [--times 500]

Each world is judged without any effect (an alpha that is recommended then is an error), and with one of four
true standard errors. Beside ours stand the percentile bootstrap (seeds, then examples) and a t-test for each
alpha, both with Holm over alphas. It shows what there is, no goal: ends with 0.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from neftune_core.statistics import holm
from neftune_core.student import quantile, tail
from neftune_core.verdict import LEVEL, Result
from tests.core.planted import World, rates, series

WORLDS = {
    "seeds and rows": World(),
    "seeds": World(row_noise=0.01),
    "rows": World(seed_noise=0.001),
    "control twice as loud": World(row_noise=0.01, control_noise=2.0),
}
_DRAWS = 400

Judge = Callable[[Sequence[np.ndarray], np.random.Generator], tuple[float, tuple[float, float]]]


def percentile(pairs: Sequence[np.ndarray], random: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Draw seeds, then examples of each; the share of draws that are no better, and the middle 95 %."""
    seeds, examples = len(pairs), len(pairs[0])
    drawn = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        chosen = random.integers(seeds, size=seeds)
        drawn[draw] = np.mean([pairs[one][random.integers(examples, size=examples)].mean() for one in chosen])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float((drawn >= 0).mean()), (float(low), float(high))


def t_test(pairs: Sequence[np.ndarray], _random: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Test one alpha by itself."""
    means = np.array([pair.mean() for pair in pairs])
    error, df = means.std(ddof=1) / len(means) ** 0.5, len(means) - 1
    reach = quantile(0.975, df) * error
    return tail(-means.mean() / error, df), (means.mean() - reach, means.mean() + reach)


def judged(world: World, judge: Judge, times: int) -> tuple[float, float, float]:
    """Give the shares of series that recommend any alpha, that find the first, and of intervals that hold."""
    random = np.random.default_rng(1)
    recommended = found = covered = 0
    for _ in range(times):
        results = series(world, random)
        told = [judge(_pairs(results, alpha), random) for alpha in world.alphas]
        good = [
            p <= LEVEL and interval[1] < 0
            for p, (_, interval) in zip(holm([p for p, _ in told]), told, strict=True)
        ]
        recommended, found = recommended + any(good), found + good[0]
        covered += sum(
            low <= world.true_difference(alpha) <= high
            for alpha, (_, (low, high)) in zip(world.alphas, told, strict=True)
        )
    return recommended / times, found / times, covered / times / len(world.alphas)


def _pairs(results: Sequence[Result], alpha: float) -> list[np.ndarray]:
    last = {
        (one.alpha, one.seed): np.array(one.losses.last.losses) / one.losses.tokens
        for one in results
        if one.losses is not None and one.losses.last is not None
    }
    return [last[alpha, seed] - last[0.0, seed] for seed in sorted({one.seed for one in results})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=500)
    times = parser.parse_args().times
    print("| noise of | seeds | alphas | judged by | no effect: recommended | 4 errors: found | covered |")
    for name, plain in WORLDS.items():
        for seeds, alphas in ((3, (5.0, 10.0, 15.0)), (5, (5.0, 10.0, 15.0)), (3, (5.0,)), (5, (5.0,))):
            world = replace(plain, seeds=seeds, alphas=alphas)
            planted = replace(world, errors=4.0)
            nothing, one = rates(world, times), rates(planted, times, seed=2)
            lines = [("ours", nothing.recommended, one.found, nothing.covered)]
            if name in {"seeds and rows", "seeds"} and seeds == 3:
                for way, judge in (("percentile bootstrap", percentile), ("t-test", t_test)):
                    recommended, _, covered = judged(world, judge, times)
                    lines.append((way, recommended, judged(planted, judge, times)[1], covered))
            for way, *shares in lines:
                told = " | ".join(f"{share:.3f}" for share in shares)
                print(f"| {name} | {seeds} | {len(alphas)} | {way} | {told} |", flush=True)


if __name__ == "__main__":
    main()

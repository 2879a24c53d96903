"""Series whose truth is known: made of numbers, judged by the code that judges real ones.

A run's loss on an example is that example's own, plus what its alpha truly does, plus noise of its seed, plus
noise of its own. Arms share nothing but examples: each has noise as if its seeds were others.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neftune_core.eval_losses import EvalLosses, Measurement
from neftune_core.verdict import Result, Verdict, judge


@dataclass(frozen=True)
class World:
    """What is true of a series."""

    seeds: int = 3
    alphas: tuple[float, ...] = (5.0, 10.0, 15.0)
    examples: int = 40
    seed_noise: float = 0.02  # of one run's loss
    row_noise: float = 0.1  # of one run's loss on one example
    kind_noise: float = 0.0  # of what alpha does to an example, whatever the seed
    control_noise: float = 1.0  # the control's seed noise, in those of the others
    same_rows: bool = False  # for all seeds, as with a validation dataset
    overtrained: float = 0.0  # how far the control's best step is below its last
    errors: float = 0.0  # what alpha truly gains, in true standard errors of the difference
    helping: int = 1  # how many of the alphas gain

    @property
    def error(self) -> float:
        """The true standard error of an alpha's difference to the control."""
        of_runs = self.seed_noise**2 * (1 + self.control_noise**2) + 2 * self.row_noise**2 / self.examples
        of_rows = self.kind_noise**2 / self.examples
        return math.sqrt(
            (of_runs + of_rows) / self.seeds if not self.same_rows else of_runs / self.seeds + of_rows
        )

    def true_difference(self, alpha: float) -> float:
        """What alpha does to the loss."""
        return -self.errors * self.error if alpha in self.alphas[: self.helping] else 0.0


def series(world: World, random: np.random.Generator) -> list[Result]:
    """Make one series."""
    shape = world.examples
    tokens = [10] * shape  # equal ones: the true error is then known
    kind = {(alpha, None): random.normal(0, world.kind_noise, shape) for alpha in world.alphas}
    results = []
    for seed in range(world.seeds):
        for alpha in (0.0, *world.alphas):
            loss = 3.0 + random.normal(0, world.row_noise, shape)
            loss += random.normal(0, world.seed_noise * (1.0 if alpha else world.control_noise))
            if alpha:
                of_kind = kind[alpha, None] if world.same_rows else random.normal(0, world.kind_noise, shape)
                loss += world.true_difference(alpha) + of_kind
            last = Measurement(30, (10 * loss).tolist())
            best = (
                last
                if alpha or not world.overtrained
                else Measurement(9, (10 * (loss - world.overtrained)).tolist())
            )
            rows = "same" if world.same_rows else f"of seed {seed}"
            results.append(Result(alpha, seed, True, EvalLosses(rows, shape, tokens, last, best)))
    return results


def judged(world: World, times: int, seed: int = 1) -> Iterator[Verdict]:
    """Make and judge so many series."""
    random = np.random.default_rng(seed)
    for _ in range(times):
        yield judge(series(world, random))


@dataclass(frozen=True)
class Rates:
    """What came of many series, in shares of them."""

    recommended: float
    found: float  # the first alpha is among those that are surely better
    covered: float  # of the intervals


def rates(world: World, times: int, seed: int = 1) -> Rates:
    """Judge many series and count."""
    recommended = found = covered = intervals = 0
    for verdict in judged(world, times, seed):
        recommended += verdict.recommended_alpha is not None
        for line in verdict.alphas:
            assert line.to_last is not None
            assert line.to_last.interval is not None
            low, high = line.to_last.interval
            covered += low <= world.true_difference(line.alpha) <= high
            intervals += 1
            found += line.alpha == world.alphas[0] and (line.p_adjusted or 1) <= 0.05 and high < 0
    return Rates(recommended / times, found / times, covered / intervals)

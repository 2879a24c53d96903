"""What a run pays on each held-out example at its end: at its last step and at its best one.

Collected while the final report measures, whatever weights the model has then. Knows the loss and the
examples; what becomes of the numbers is :mod:`neftune_core.eval_losses`.
"""

import math
from collections.abc import Callable, Sequence

from neftune_core.eval_losses import EvalLosses, Measurement, grouped, name_of
from neftune_core.final_report import Best
from neftune_core.tokenise import Example

Measure = Callable[[], list[float]]


class HeldOut:
    """The held-out examples of a run, and what was measured on them."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.base: list[float] | None = None
        self._taken: list[list[float]] = []

    def beside(
        self, measure: Measure, clean_train_loss: Callable[[], float | None]
    ) -> Callable[[], float | None]:
        """Have the held-out examples measured whenever the training rows are."""

        def both() -> float | None:
            if self.examples:
                self._taken.append(measure())
            return clean_train_loss()

        return both

    def told(self, best: Best, last_step: int, of_base: Measure) -> EvalLosses | None:
        """Put together what was taken, the last weights' first; None where nothing is held out."""
        if not self._taken:
            return None
        last = of_best = self._taken[0]
        if best.step == 0:
            of_best = of_base() if self.base is None else self.base
        elif best.step != last_step:
            of_best = self._taken[-1]
        tokens = [example.trained_tokens for example in self.examples]
        return EvalLosses(
            rows=name_of([example.key for example in self.examples], tokens),
            examples=len(self.examples),
            tokens=[int(count) for count in grouped(tokens)],
            last=_measurement(last_step, last),
            best=None if best.step is None else _measurement(best.step, of_best),
        )


def _measurement(step: int, losses: Sequence[float]) -> Measurement | None:
    return Measurement(step, grouped(losses)) if all(map(math.isfinite, losses)) else None

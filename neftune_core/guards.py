"""Guards of a run: against losses that are no number, losses that stop falling, noise that is not alpha's.

Each is told what happened and decides one thing. None knows a model or a file. What a guard remembers is
plain values (``state``), with which another one goes on (``go_on``) as if it had seen it all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from neftune_core.batches import Step
from neftune_core.errors import NonFiniteLoss
from neftune_core.noise import Noise
from neftune_core.noise.meter import Reading
from neftune_core.noise.verification import Due, Verification
from neftune_core.ports import Reporter
from neftune_core.stepper import Taken
from neftune_core.tokenise import Example

Target = Literal["all", "prompt", "response"]

SKIPS_IN_A_ROW = 3
_ROWS_NAMED = 32


class SkipGuard:
    """Lets a few steps without a finite loss or gradient pass, then ends the run."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._in_a_row = 0
        self.skipped = 0

    def saw(self, step: Step, taken: Taken) -> None:
        """Count a skipped step; raise :class:`NonFiniteLoss` at one too many."""
        if not taken.skipped:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self.skipped += 1
        rows = sorted(example.row for example in step.examples)[:_ROWS_NAMED]
        if self._in_a_row > SKIPS_IN_A_ROW:
            raise NonFiniteLoss(
                f"Loss or gradient norm was not finite {self._in_a_row} steps in a row, the last at step "
                f"{step.number} (rows {', '.join(map(str, rows))}); lower the learning rate or alpha."
            )
        self._reporter.event(
            "run.step_skipped", {"step": step.number, "in_a_row": self._in_a_row, "rows": rows}
        )

    def finished(self, steps: int) -> None:
        """Refuse a run in which every step was skipped: its result is the base."""
        if steps and self.skipped == steps:
            raise NonFiniteLoss(
                f"Loss or gradient norm was not finite in all {steps} steps; nothing was learnt."
            )

    def state(self) -> dict[str, Any]:
        """Give what is remembered."""
        return {"in_a_row": self._in_a_row, "skipped": self.skipped}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Remember what another guard did."""
        self._in_a_row, self.skipped = state["in_a_row"], state["skipped"]


class EarlyStop:
    """Says when ``eval_loss`` has not improved for ``patience`` evaluations; without patience never."""

    def __init__(self, patience: int | None, base: float | None) -> None:
        self._patience, self._best, self._since = patience, base, 0

    def saw(self, eval_loss: float | None) -> bool:
        """Take an evaluation; tell whether it is time to stop."""
        if eval_loss is not None and (self._best is None or eval_loss < self._best):
            self._best, self._since = eval_loss, 0
        else:
            self._since += 1
        return self._patience is not None and self._since >= self._patience

    def state(self) -> dict[str, Any]:
        """Give what is remembered."""
        return {"best": self._best, "since": self._since}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Remember what another guard did."""
        self._best, self._since = state["best"], state["since"]


class NoiseGuard:
    """Holds the noise of the first steps against the options and tells the verdict once.

    What each example should have comes from the dataset, never from how it was laid out. Examples and
    reading are a rank's share of a step, or all ranks' together.
    """

    def __init__(self, noise: Noise, reporter: Reporter, target: Target = "all") -> None:
        self._check = Verification(noise) if noise.alpha else None
        self._reporter, self._target = reporter, target
        self.facts: dict[str, float | int] = {"alpha": noise.alpha, "effective_alpha": 0.0}

    def saw(self, examples: Sequence[Example], reading: Reading, strength: float = 1.0) -> None:
        """Take a step's examples and measurement; raise :class:`NeftuneMisapplied` when it is not alpha's."""
        if self._check is None:
            return
        dues = [
            Due(example.key, len(example.ids), noised_tokens(example, self._target)) for example in examples
        ]
        self._check.add(reading, dues, strength)
        if self._check.enough:
            self.finished()

    def finished(self) -> None:
        """Give the verdict now; a short run's is as sharp as its few elements allow."""
        if self._check is None or self._check.elements == 0:
            return
        self.facts, self._check = self._check.conclude(), None
        self._reporter.event("neftune.verified", self.facts)

    def state(self) -> dict[str, Any]:
        """Give what is remembered: the verdict, or what was measured towards it."""
        return {"facts": self.facts, "check": self._check.state() if self._check else None}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Remember what another guard did."""
        self.facts = state["facts"]
        if state["check"] is None:
            self._check = None
        elif self._check is not None:
            self._check.go_on(state["check"])


def noised_tokens(example: Example, target: Target) -> int:
    """Count the tokens of an example that get noise; its length stays the real one."""
    response = int(example.response.sum())
    return {"all": len(example.ids), "response": response, "prompt": len(example.ids) - response}[target]

"""How series look in answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from api.schemas import Schema
from api.sweep_results import ResultRead
from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.measured import Evaluations
from neftune_store.sweep import Child, Sweep, status_of

if TYPE_CHECKING:  # numpy comes with them: for whoever asks for a verdict
    from neftune_core.statistics import Difference
    from neftune_core.verdict import AlphaVerdict, Verdict


class CostRead(Schema):
    """What a series takes, in whole runs."""

    runs: float = Field(description="Steps taken so far, in those of a whole run.")
    grid_runs: float = Field(description="What all of its jobs would take.")
    saved_runs: float | None = Field(description="What was never run, once all has ended.")
    seconds: float = Field(description="Of all runs, also those that were lost.")

    @classmethod
    def of(cls, sweep: Sweep, children: Sequence[Child]) -> Self:
        """Add a series up."""
        runs, whole = sum(child.runs for child in children), float(len(sweep.points))
        over = all(child.job.status in TERMINAL for child in children)
        return cls(
            runs=round(runs, 4),
            grid_runs=whole,
            saved_runs=round(whole - runs, 4) if over else None,
            seconds=round(sum(child.seconds for child in children), 2),
        )


class SweepRead(Schema):
    """What was asked, and where it is."""

    id: str
    name: str | None
    status: Status = Field(description="Derived from its jobs.")
    intent: Intent
    strategy: str = Field(description="How its jobs are run: grid or halving.")
    alpha: list[float]
    seed: list[int]
    job: dict[str, Any] = Field(description="What all of its jobs have in common.")
    jobs: dict[str, int] = Field(description="How many have each status.")
    cost: CostRead
    created_at: datetime

    @classmethod
    def of(cls, sweep: Sweep, children: Sequence[Child], **more: Any) -> Self:
        """Show a series."""
        counts: dict[str, int] = {}
        for child in children:
            counts[child.job.status] = counts.get(child.job.status, 0) + 1
        return cls(
            id=sweep.id,
            name=sweep.spec["job"].get("name"),
            status=status_of(children, sweep.deleted),
            intent=sweep.intent,
            strategy=sweep.strategy,
            alpha=list(sweep.spec["alpha"]),
            seed=list(sweep.spec["seed"]),
            job=_common(sweep.spec["job"]),
            jobs=counts,
            cost=CostRead.of(sweep, children),
            created_at=sweep.created_at,
            **more,
        )


class DifferenceRead(Schema):
    """An alpha against its controls, in clean held-out loss: below zero is better."""

    mean: float = Field(description="Over the pairs.")
    interval: list[float] | None = Field(description="At the verdict's confidence; null with too few seeds.")
    error: float | None = Field(description="Standard error.")
    seed_error: float | None = Field(description="What of it comes from seeds.")
    row_error: float | None = Field(description="What of it comes from held-out rows that all seeds share.")
    p: float | None = Field(description="One-sided, unadjusted.")
    pairs: int = Field(description="Seeds of which run and control have ended.")
    better: int = Field(description="Pairs in which the run beats its control.")

    @classmethod
    def of(cls, found: "Difference") -> Self:
        """Show a difference."""
        interval = None if found.interval is None else list(found.interval)
        return cls(
            mean=found.mean,
            interval=interval,
            error=found.error,
            seed_error=found.seed_error,
            row_error=found.row_error,
            p=found.p,
            pairs=found.pairs,
            better=found.better,
        )


class AlphaRead(Schema):
    """What is known of one alpha."""

    alpha: float
    to_last: DifferenceRead | None = Field(description="Last step against the control's last one.")
    to_best: DifferenceRead | None = Field(description="Last step against the control's best one.")
    p_adjusted: float | None = Field(description="Of being better than both, with all alphas counted (Holm).")

    @classmethod
    def of(cls, line: "AlphaVerdict") -> Self:
        """Show a line of the verdict."""
        return cls(
            alpha=line.alpha,
            to_last=None if line.to_last is None else DifferenceRead.of(line.to_last),
            to_best=None if line.to_best is None else DifferenceRead.of(line.to_best),
            p_adjusted=line.p_adjusted,
        )


class VerdictRead(Schema):
    """What the series says."""

    outcome: str = Field(description="recommended, not_recommended or inconclusive.")
    recommended_alpha: float | None = Field(description="Null unless the outcome is recommended.")
    interval: list[float] | None = Field(description="Of the recommended alpha's difference to the control.")
    reasons: list[str] = Field(
        description="Why no alpha is recommended, in stable words: unfinished, no_control, no_held_out_rows, "
        "too_few_seeds, early_stopping_is_as_good, no_clear_difference or noise_is_worse."
    )
    why: str = Field(description="The same in a sentence.")
    confidence: float = Field(description="Of the intervals.")
    alphas: list[AlphaRead] = Field(description="What is known of each alpha.")

    @classmethod
    def of(cls, verdict: "Verdict") -> Self:
        """Show a verdict."""
        return cls(
            outcome=verdict.outcome.value,
            recommended_alpha=verdict.recommended_alpha,
            interval=None if verdict.interval is None else list(verdict.interval),
            reasons=[reason.value for reason in verdict.reasons],
            why=verdict.why,
            confidence=verdict.confidence,
            alphas=[AlphaRead.of(line) for line in verdict.alphas],
        )


class RungRead(Schema):
    """Where halving has decided, and what."""

    at: float = Field(description="Share of a run's steps.")
    losses: list[dict[str, float]] = Field(description="By which was decided, for each alpha and seed.")
    kept: list[float] = Field(description="Alphas that went on.")
    stopped: list[float] = Field(description="Alphas that were stopped.")


class SweepDetail(SweepRead):
    """One series, with its results and what they say."""

    rungs: list[RungRead] = Field(description="Of halving.")
    results: list[ResultRead] = Field(description="A line for each job.")
    verdict: VerdictRead

    @classmethod
    def whole(
        cls,
        sweep: Sweep,
        children: Sequence[Child],
        evaluated: Mapping[str, Evaluations],
        verdict: "Verdict",
    ) -> Self:
        """Show all of a series; ``evaluated`` is by the jobs' ids."""
        return cls.of(
            sweep,
            children,
            rungs=[RungRead.model_validate(rung) for rung in sweep.rungs],
            results=[ResultRead.of(child, evaluated.get(child.job.id, Evaluations())) for child in children],
            verdict=VerdictRead.of(verdict),
        )


def _common(job: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of the job what is another in each."""
    training = {name: value for name, value in job["training"].items() if name != "seed"}
    return {**{name: value for name, value in job.items() if name != "alpha"}, "training": training}

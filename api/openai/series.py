"""A series as this surface shows it: a job that trains nothing itself; its ``sweep`` lists its children.

What it comes to is the model of one of them: that of the recommended alpha, at the first of the seeds that
were asked for. No seed is better than another by more than chance, and this one was chosen before anything
was measured. Where no alpha is recommended there is no such model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from api.openai.ids import ours, seconds
from api.openai.job_object import (
    FineTuningJob,
    JobMethod,
    JobSeries,
    JobSupervised,
    SeriesChild,
    error_of,
    hyperparameters_of,
    tokens_of,
)
from api.openai.names import organization, tuned_model
from neftune_core.spec import JobSpec
from neftune_store.lifecycle import TERMINAL, Status
from neftune_store.sweep import Child, Sweep, status_of

if TYPE_CHECKING:  # numpy comes with it
    from neftune_core.verdict import Verdict


@dataclass(frozen=True)
class Series:
    """A series with its jobs, and the tails of the ids of the results that those have left."""

    sweep: Sweep
    children: Sequence[Child]
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Tell whether it can be judged."""
        return all(child.job.status in TERMINAL for child in self.children)

    def winner(self, verdict: "Verdict | None") -> Child | None:
        """Give the child whose model is that of the series."""
        alpha = None if verdict is None else verdict.recommended_alpha
        trained = {
            child.seed: child
            for child in self.children
            if child.alpha == alpha and child.job.status == Status.SUCCEEDED
        }
        if alpha is None or status_of(self.children) != Status.SUCCEEDED:
            return None
        return next((trained[seed] for seed in self.sweep.spec["seed"] if seed in trained), None)


def parent(series: Series, verdict: "Verdict | None", *, strict: bool) -> FineTuningJob:
    """Show a series as a job; ``verdict`` where it has ended."""
    sweep, children, status = series.sweep, series.children, status_of(series.children)
    asked = JobSpec.model_validate(sweep.spec["job"])
    winner = series.winner(verdict)
    numbers = hyperparameters_of(asked, None if winner is None else winner.alpha)
    ends = [child.job.finished_at for child in children if child.job.finished_at is not None]
    results = None if winner is None else series.results.get(winner.job.id)
    held_out = asked.validation.dataset
    return FineTuningJob(
        id=ours("ftjob-", sweep.id),
        created_at=seconds(sweep.created_at),
        finished_at=seconds(max(ends)) if series.has_ended and ends else None,
        estimated_finish=None,
        model=asked.model,
        fine_tuned_model=None if winner is None else tuned_model(winner.job),
        organization_id=organization(sweep.project_id),
        status="queued" if strict and status == Status.PAUSED else status.value,
        hyperparameters=numbers,
        method=JobMethod(supervised=JobSupervised(hyperparameters=numbers)),
        training_file=ours("file-", asked.dataset),
        validation_file=ours("file-", held_out) if held_out else None,
        result_files=[f"file-{results}"] if results else [],
        trained_tokens=_tokens(children) if series.has_ended else None,
        error=next(filter(None, (error_of(child.job) for child in children)), None)
        if status == Status.FAILED
        else None,
        seed=sweep.spec["seed"][0] if winner is None else winner.seed,
        metadata=dict(asked.metadata) or None,
        neftune_status=status.value,
        native_id=sweep.id,
        native_status=status.value,
        sweep=_listed(series, verdict, winner),
    )


def _listed(series: Series, verdict: "Verdict | None", winner: Child | None) -> JobSeries:
    sweep = series.sweep
    return JobSeries(
        strategy=sweep.strategy,
        alpha=list(sweep.spec["alpha"]),
        seed=list(sweep.spec["seed"]),
        children=[_child(child) for child in series.children],
        outcome=None if verdict is None else verdict.outcome.value,
        recommended_alpha=None if verdict is None else verdict.recommended_alpha,
        why=None if verdict is None else verdict.why,
        winner=None if winner is None else ours("ftjob-", winner.job.id),
    )


def _child(child: Child) -> SeriesChild:
    succeeded = child.job.status == Status.SUCCEEDED
    return SeriesChild(
        id=ours("ftjob-", child.job.id),
        neftune_alpha=child.alpha,
        seed=child.seed,
        status=child.job.status.value,
        fine_tuned_model=tuned_model(child.job) if succeeded else None,
        eval_loss=(child.final or {}).get("eval_loss"),
    )


def _tokens(children: Sequence[Child]) -> int | None:
    told: list[Any] = [tokens_of(child.job.metrics_summary) for child in children]
    return sum(filter(None, told)) if any(told) else None

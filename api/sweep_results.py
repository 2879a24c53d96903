"""How the results of a series look in answers: a line for each job, with what was evaluated of it."""

from datetime import datetime
from typing import Self

from pydantic import Field

from api.schemas import CheckpointRead, Schema
from neftune_store.lifecycle import Status
from neftune_store.measured import MOST, Evaluation, Evaluations
from neftune_store.sweep import Child


class FigureRead(Schema):
    """One figure that an evaluation found, of plain answers."""

    kind: str = Field(description="loss, overlap, diversity, judge or benchmarks.")
    measure: str = Field(description="loss, rouge_l, bleu, characters and so on; a benchmark's metric.")
    of: str = Field(description="Which rows, the words that answers are cut to, the other side, the task.")
    value: float = Field(description="What was measured.")
    standard_error: float | None = Field(description="Of the value, where it has one.")
    base: float | None = Field(description="The base's, where it was measured too.")
    difference: float | None = Field(description="To the base.")
    difference_standard_error: float | None = Field(description="Of the same documents, one by one.")


class EvaluatedRead(Schema):
    """An evaluation of a run, in short."""

    id: str
    name: str | None
    status: Status
    checkpoint: CheckpointRead | None = Field(description="What is measured.")
    figures: list[FigureRead] | None = Field(description="Null until it has succeeded.")
    missing: int | None = Field(description="How much that was asked for is not there.")
    created_at: datetime

    @classmethod
    def of(cls, found: Evaluation) -> Self:
        """Show an evaluation with what is kept of its figures."""
        headline = found.headline or {}
        return cls.model_validate(
            {
                "id": found.id,
                "name": found.name,
                "status": found.status,
                "checkpoint": found.checkpoint,
                "figures": headline.get("figures"),
                "missing": headline.get("missing"),
                "created_at": found.created_at,
            }
        )


class ResultRead(Schema):
    """One run: clean losses, noise and dropout off; null where they are not known (yet)."""

    job: str = Field(description="Id of the job.")
    alpha: float
    seed: int
    status: Status
    cancel_reason: str | None = Field(description="Who cancelled it, if not a user: halving.")
    eval_loss: float | None = Field(description="Held-out loss at the last step.")
    best_eval_loss: float | None = Field(description="Held-out loss at the best step.")
    best_step: int | None = Field(description="Step with the lowest held-out loss; 0 is the base.")
    base_eval_loss: float | None = Field(description="Held-out loss of the base.")
    clean_train_loss: float | None = Field(description="On training rows, at the last step.")
    best_clean_train_loss: float | None = Field(description="The same at the best step.")
    runs: float = Field(description="Share of its steps that were taken.")
    seconds: float = Field(description="Time that its runs took.")
    evaluations: list[EvaluatedRead] = Field(description=f"The latest {MOST}, the newest first.")
    evaluations_total: int = Field(description="How many there are; GET /evaluations?job= lists all.")

    @classmethod
    def of(cls, child: Child, evaluated: Evaluations) -> Self:
        """Show a job of a series; one that has not succeeded tells what it measured last."""
        final, latest = child.final or {}, child.job.metrics_summary
        best_step = final.get("best_step")
        return cls(
            job=child.job.id,
            alpha=child.alpha,
            seed=child.seed,
            status=Status(child.job.status),
            cancel_reason=child.job.cancel_reason,
            eval_loss=final.get("eval_loss", latest.get("eval_loss")),
            best_eval_loss=final.get("best_eval_loss"),
            best_step=None if best_step is None else int(best_step),
            base_eval_loss=final.get("base_eval_loss", latest.get("base_eval_loss")),
            clean_train_loss=final.get("last_clean_train_loss"),
            best_clean_train_loss=final.get("best_clean_train_loss"),
            runs=round(child.runs, 4),
            seconds=round(child.seconds, 2),
            evaluations=[EvaluatedRead.of(one) for one in evaluated.latest],
            evaluations_total=evaluated.total,
        )

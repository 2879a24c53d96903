"""A fine-tuning job as this surface shows it: the required fields of OpenAI's, and the native ones beside."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import Field

from api.openai.ids import PARENT, ours, seconds
from api.openai.mapping import multiplier_of
from api.openai.names import organization, tuned_model
from api.schemas import Schema
from neftune_core.spec import JobSpec
from neftune_store.jobs import Job
from neftune_store.lifecycle import Status


class JobError(Schema):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class JobHyperparameters(Schema):
    """How long and how fast, in numbers."""

    n_epochs: int | float | Literal["auto"]
    batch_size: int
    learning_rate_multiplier: float
    neftune_alpha: float | None = Field(description="Of a series the recommended one, if there is one.")
    learning_rate: float = Field(description="What the multiplier came to.")


class JobSupervised(Schema):
    """The supervised method."""

    hyperparameters: JobHyperparameters


class JobMethod(Schema):
    """The way it is tuned."""

    type: Literal["supervised"] = "supervised"
    supervised: JobSupervised


class SeriesChild(Schema):
    """A job of a series, which is also shown by itself."""

    id: str
    neftune_alpha: float
    seed: int
    status: str = Field(description="The native one.")
    fine_tuned_model: str | None = Field(description="Null until it has succeeded.")
    eval_loss: float | None = Field(description="Held-out loss at the last step, noise off.")


class JobSeries(Schema):
    """What makes a job a series of others."""

    strategy: str = Field(description="grid or halving.")
    alpha: list[float]
    seed: list[int]
    children: list[SeriesChild] = Field(description="One for each alpha and seed.")
    outcome: str | None = Field(description="recommended, inconclusive or not_recommended, at its end.")
    recommended_alpha: float | None = Field(description="Null unless the outcome is recommended.")
    why: str | None = Field(description="The outcome in a sentence.")
    winner: str | None = Field(description="The child whose model fine_tuned_model is.")


class FineTuningJob(Schema):
    """A job."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int = Field(description="Unix seconds, as all times here.")
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None = Field(description="Null until the job has succeeded.")
    organization_id: str
    status: str = Field(description="`paused` too; `queued` then, where OPENAI_STRICT_STATUS is on.")
    hyperparameters: JobHyperparameters
    method: JobMethod
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    error: JobError | None
    seed: int
    integrations: None = None
    metadata: dict[str, str] | None
    neftune_status: str = Field(description="The native status, whatever clients bear.")
    native_id: str = Field(description="The job's id on the native surface.")
    native_status: str
    sweep: JobSeries | None = Field(None, description="Of a series: its children, and what they come to.")

    @classmethod
    def of(cls, job: Job, results: str | None, *, strict: bool) -> Self:
        """Show a job; ``results`` is the tail of its results' id."""
        spec = JobSpec.model_validate(job.spec)
        numbers = hyperparameters_of(spec, spec.alpha)
        held_out = job.validation_dataset_id
        return cls(
            id=ours("ftjob-", job.id),
            created_at=seconds(job.created_at),
            finished_at=seconds(job.finished_at) if job.finished_at else None,
            estimated_finish=_estimate(job),
            model=job.model,
            fine_tuned_model=tuned_model(job) if job.status == Status.SUCCEEDED else None,
            organization_id=organization(job.project_id),
            status="queued" if strict and job.status == Status.PAUSED else job.status.value,
            hyperparameters=numbers,
            method=JobMethod(supervised=JobSupervised(hyperparameters=numbers)),
            training_file=ours("file-", job.dataset_id),
            validation_file=ours("file-", held_out) if held_out else None,
            result_files=[f"file-{results}"] if results else [],
            trained_tokens=tokens_of(job.metrics_summary) if job.finished else None,
            error=error_of(job),
            seed=spec.training.seed,
            metadata={**spec.metadata, **_parent(job)} or None,
            neftune_status=job.status.value,
            native_id=job.id,
            native_status=job.status.value,
        )


def hyperparameters_of(spec: JobSpec, alpha: float | None) -> JobHyperparameters:
    """Give the numbers of a spec, at this alpha."""
    epochs = spec.training.epochs
    whole = epochs is not None and epochs.is_integer()
    return JobHyperparameters(
        n_epochs="auto" if epochs is None else int(epochs) if whole else epochs,
        batch_size=spec.training.batch_size,
        learning_rate_multiplier=multiplier_of(spec),
        neftune_alpha=alpha,
        learning_rate=spec.training.learning_rate,
    )


def _estimate(job: Job) -> int | None:
    left = (job.progress or {}).get("eta_s")
    if job.status != Status.RUNNING or not isinstance(left, int | float):
        return None
    return seconds(datetime.now(UTC) + timedelta(seconds=min(left, 10**9)))


def _parent(job: Job) -> dict[str, str]:
    return {} if job.sweep_id is None else {PARENT: ours("ftjob-", job.sweep_id)}


def tokens_of(latest: dict[str, Any]) -> int | None:
    """Give the tokens trained on, where they are told."""
    tokens = latest.get("tokens")
    return int(tokens) if isinstance(tokens, int | float) else None


def error_of(job: Job) -> JobError | None:
    """Tell why a job failed, if it did."""
    if job.error_code is None:
        return None
    return JobError(code=job.error_code, message=job.error_message or "")

"""What has happened to a job, and where it can be gone on from, as this surface tells it: newest first."""

import re
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import ConfigDict

from api.deps import Reader, Tx
from api.openai.envelope import ROOT
from api.openai.found import tuning
from api.openai.ids import ours, seconds, tail
from api.openai.names import tuned_checkpoint
from api.openai.pages import After, OpenAIPage, OpenAIPageBetween, between, refusals
from api.schemas import Schema
from neftune_store.errors import JobNotFound
from neftune_store.events import FeedItem, story_before
from neftune_store.jobs import Job
from neftune_store.milestones import Milestone, milestones
from neftune_store.sweep import Sweep

router = APIRouter(prefix=f"{ROOT}/fine_tuning/jobs/{{ftjob}}", tags=["openai"])

# Our numbers under the names that clients look for; the others keep theirs.
_NAMES = {
    "train_loss": "train_loss",
    "token_accuracy": "train_mean_token_accuracy",
    "eval_loss": "valid_loss",
}
_SEQ = re.compile(r"[1-9][0-9]{0,18}")
_WORDS = {
    "job.queued": "The job waits for a worker.",
    "job.paused": "The job was paused.",
    "job.resumed": "The job waits for a worker again.",
    "job.succeeded": "The job has succeeded.",
    "job.failed": "The job has failed.",
    "job.cancelled": "The job was cancelled.",
    "run.started": "Fine-tuning has started.",
    "run.lost": "The run was lost; the job goes on from its last checkpoint.",
    "checkpoint.committed": "A checkpoint was kept.",
}
_WARNINGS = {"run.lost", "rewound", "checkpoint.corrupt", "checkpoint.refused", "checkpoint.no_room"}


class FineTuningEvent(Schema):
    """Something that has happened, or the numbers of a step."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: dict[str, Any]

    @classmethod
    def of(cls, job: str, item: FeedItem) -> Self:
        """Show a fact or a metric."""
        shown = _metric(item) if item.kind == "metric" else _fact(item)
        return cls(
            id=f"ftevent-{tail('ftjob-', job)}-{item.seq}", created_at=seconds(item.created_at), **shown
        )


class CheckpointMetrics(Schema):
    """The numbers of a step: OpenAI's names first, all of ours beside."""

    model_config = ConfigDict(extra="allow")

    step: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None


class FineTuningCheckpoint(Schema):
    """A checkpoint that is kept."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics

    @classmethod
    def of(cls, job: Job, found: Milestone) -> Self:
        """Show a checkpoint."""
        return cls(
            id=ours("ftckpt_", found.id),
            created_at=seconds(found.created_at),
            fine_tuned_model_checkpoint=tuned_checkpoint(job, found.step),
            fine_tuning_job_id=ours("ftjob-", job.id),
            step_number=found.step,
            metrics=CheckpointMetrics.model_validate({**_numbers(found.numbers), "step": found.step}),
        )


@router.get("/events", summary="List what happened to a fine-tuning job", responses=refusals(400, 401, 404))
def list_events(
    who: Reader,
    tx: Tx,
    ftjob: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> OpenAIPage[FineTuningEvent]:
    """List facts and metrics, newest first."""
    before = _place(ftjob, after) if after is not None else None
    which = tuning(tx, who.project_id, ftjob)
    if isinstance(which, Sweep):  # nothing happens to a series itself: its jobs have their stories
        return OpenAIPage(data=[])
    found = story_before(tx, who.project_id, which.id, before, limit + 1)
    data = [FineTuningEvent.of(ftjob, item) for item in found[:limit]]
    return OpenAIPage(data=data, has_more=len(found) > limit)


@router.get("/checkpoints", summary="List a job's checkpoints", responses=refusals(400, 401, 404))
def list_checkpoints(
    who: Reader,
    tx: Tx,
    ftjob: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 10,
) -> OpenAIPageBetween[FineTuningCheckpoint]:
    """List the checkpoints that are kept, the furthest first."""
    which = tuning(tx, who.project_id, ftjob)
    found = []
    if not isinstance(which, Sweep):  # a series has none itself, and what it comes to is a job's
        found = [FineTuningCheckpoint.of(which, one) for one in milestones(tx, who.project_id, which.id)]
    if after is not None:
        ids = [one.id for one in found]
        if after not in ids:
            raise JobNotFound
        found = found[ids.index(after) + 1 :]
    return OpenAIPageBetween[FineTuningCheckpoint](**between(found[:limit], more=len(found) > limit))


def _place(ftjob: str, after: str) -> int:
    seq = tail(f"ftevent-{tail('ftjob-', ftjob)}-", after)
    if not _SEQ.fullmatch(seq):
        raise JobNotFound
    return int(seq)


def _metric(item: FeedItem) -> dict[str, Any]:
    step, numbers = item.data["step"], _numbers(item.data["values"])
    told = [f"{name} {value:.4g}" for name in _NAMES.values() if (value := numbers.get(name)) is not None]
    return {
        "level": "info",
        "type": "metrics",
        "message": f"Step {step}: " + (", ".join(told) or "no loss"),
        "data": {**numbers, "step": step},
    }


def _fact(item: FeedItem) -> dict[str, Any]:
    name = item.data["name"]
    level = "error" if name == "job.failed" else "warn" if name in _WARNINGS else "info"
    return {
        "level": level,
        "type": "message",
        "message": _WORDS.get(name, name),
        "data": {**item.data["data"], "event": name},
    }


def _numbers(said: dict[str, float | None]) -> dict[str, float | None]:
    return {_NAMES.get(name, name): value for name, value in said.items()}

"""Models: the operator's bases, and what the project's jobs have made of them."""

from typing import Literal, Self

from fastapi import APIRouter

from api.deps import Jobs, Reader, Tx, Writer
from api.models import Models
from api.openai.envelope import ROOT
from api.openai.ids import TRAIN, seconds
from api.openai.names import Tuned, organization, taken_apart, tuned_model
from api.openai.pages import OpenAIPage, refusals
from api.refusals import BaseModelKept, NotYet
from api.schemas import Schema
from neftune_core.catalog import Catalog, ModelCard
from neftune_store.errors import JobNotFound
from neftune_store.jobs import Job, JobFilter, JobLedger
from neftune_store.lifecycle import Status
from neftune_store.milestones import milestones

router = APIRouter(prefix=f"{ROOT}/models", tags=["openai"])

_PAGE = 200
_MOST = 5  # pages of tuned models


class OpenAIModel(Schema):
    """A model that jobs may name, or that a job has made."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str

    @classmethod
    def of(cls, job: Job, name: str | None = None) -> Self:
        """Show what a job has made."""
        made = job.finished_at or job.created_at
        return cls(id=name or tuned_model(job), created=seconds(made), owned_by=organization(job.project_id))


class ModelDeleted(Schema):
    """A model that is no more."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


@router.get("", summary="List base and tuned models", responses=refusals(401))
def list_models(who: Reader, models: Models, jobs: Jobs) -> OpenAIPage[OpenAIModel]:
    """List the bases at hand, and the newest thousand of what the project has tuned; on one page."""
    tuned: list[OpenAIModel] = []
    cursor: str | None = None
    for _ in range(_MOST):
        page = jobs.list(who.project_id, JobFilter(kind=TRAIN, status=Status.SUCCEEDED), cursor, _PAGE)
        tuned += [OpenAIModel.of(job) for job in page.items]
        cursor = page.next
        if cursor is None:
            break
    return OpenAIPage(data=[*map(_base, models.list()), *tuned])


@router.get("/{model:path}", summary="Look at a model", responses=refusals(401, 404))
def retrieve(who: Reader, models: Models, jobs: Jobs, tx: Tx, model: str) -> OpenAIModel:
    """Tell of a base, a tuned model, or a checkpoint of one that is kept."""
    wanted = taken_apart(model)
    if wanted is None:
        return _base(_card(models, model))
    job = _job_of(jobs, who.project_id, wanted)
    if wanted.step is None:
        if job.status != Status.SUCCEEDED:
            raise JobNotFound
        return OpenAIModel.of(job)
    if wanted.step not in [one.step for one in milestones(tx, who.project_id, job.id)]:
        raise JobNotFound
    return OpenAIModel.of(job, model)


@router.delete("/{model:path}", summary="Delete a tuned model", responses=refusals(400, 401, 403, 404))
def delete(who: Writer, models: Models, jobs: Jobs, model: str) -> ModelDeleted:
    """Delete what a job has made, and the job with it."""
    wanted = taken_apart(model)
    if wanted is None:
        _card(models, model)
        raise BaseModelKept
    job = _job_of(jobs, who.project_id, wanted)
    if wanted.step is not None:
        raise NotYet("Checkpoints can't be deleted one by one; delete the model.")
    if job.status != Status.SUCCEEDED:
        raise JobNotFound
    jobs.delete(who.project_id, job.id)
    return ModelDeleted(id=model)


def _job_of(jobs: JobLedger, project_id: str, wanted: Tuned) -> Job:
    for job in jobs.ending_in(project_id, wanted.tail):
        if tuned_model(job) == wanted.model:
            return job
    raise JobNotFound


def _card(models: Catalog, model: str) -> ModelCard:
    for card in models.list():
        if card.id == model:
            return card
    raise JobNotFound


def _base(card: ModelCard) -> OpenAIModel:
    made = (card.path / "config.json").stat().st_mtime
    return OpenAIModel(id=card.id, created=int(made), owned_by="operator")

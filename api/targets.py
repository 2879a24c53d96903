"""From the name of a model to what must be loaded for it: a base, what a job has made, or a checkpoint.

A project's key finds its own jobs alone; what is foreign, unknown, deleted or no name at all reads the
same. Names are ids of bases, ``job_…``, ``ft:…``, and the last two with ``:ckpt-step-<n>``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session
from starlette.requests import Request

from api.openai.names import taken_apart, tuned_model
from api.refusals import JobHasNoModel, ModelNotFound
from neftune_core.catalog import Catalog
from neftune_core.generation_lines import Choosing, Question, Tuned, TunedFile, Turn
from neftune_store.artifacts import Artifact, ArtifactLedger
from neftune_store.datasets import DatasetLedger
from neftune_store.errors import NotFound
from neftune_store.ids import is_id
from neftune_store.jobs import Job, JobLedger
from neftune_store.lifecycle import Status
from neftune_store.projects import Principal

_OF_JOB = re.compile(r"(?P<job>job_[0-9a-z]{26})(?::ckpt-step-(?P<step>[1-9][0-9]{0,17}))?")
_ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}
_WEIGHTS = "weights.safetensors"
_AS_IT_IS = {"text", "prompt_completion"}  # rows whose prompts have nothing around them


@dataclass(frozen=True, slots=True)
class Target:
    """What answers to a name; ``template`` is the one it was trained with, if it was."""

    model: str
    revision: str | None = None
    quantization: dict[str, object] | None = None
    tuned: Tuned | None = None
    template: str = "auto"
    as_it_is: bool = False  # its prompts are gone on with as they are
    owner: str | None = None  # the project whose own token has fetched the base

    def question(self, asked: tuple[Turn, ...] | str, template: str, choosing: Choosing) -> Question:
        """Ask it a conversation, or a prompt: a user's turn, unless its rows were bare text."""
        if isinstance(asked, str) and template != "none" and not (template == "auto" and self.as_it_is):
            asked = (Turn("user", asked),)
        return Question(
            model=self.model,
            asked=asked,
            template=self.template if template == "auto" else template,
            choosing=choosing,
            revision=self.revision,
            quantization=self.quantization,
            tuned=self.tuned,
            owner=self.owner,
        )


async def targets_of(request: Request, who: Principal, models: Catalog, names: Sequence[str]) -> list[Target]:
    """Find what answers to these names for who asks, in one transaction that is over before they answer."""
    found: list[Target] = await request.app.state.database.ask(
        lambda tx: [_target_of(tx, who.project_id, models, name) for name in names]
    )
    return found


def _target_of(tx: Session, project_id: str, models: Catalog, name: str) -> Target:
    """Find what answers to this name for this project."""
    try:
        if (own := _OF_JOB.fullmatch(name)) is not None and is_id("job", own["job"]):
            step = int(own["step"]) if own["step"] else None
            return _of_job(tx, JobLedger(tx).get(project_id, own["job"]), step)
        if (wanted := taken_apart(name)) is not None:
            for job in JobLedger(tx).ending_in(project_id, wanted.tail):
                if tuned_model(job) == wanted.model:
                    return _of_job(tx, job, wanted.step)
    except NotFound:
        raise ModelNotFound from None
    for card in models.list():
        if card.id == name:
            return Target(card.id, card.commit)
    raise ModelNotFound


def _of_job(tx: Session, job: Job, step: int | None) -> Target:
    if job.kind != "train" or (step is None and job.status != Status.SUCCEEDED):
        raise JobHasNoModel
    full = job.spec.get("method") == "full"
    target = Target(
        job.model,
        job.spec.get("revision"),
        job.spec.get("quantization") if job.spec.get("method") == "qlora" else None,
        owner=job.project_id if job.spec.get("hub_token") else None,
        template=str((job.resolved or {}).get("template") or job.spec["training"]["template"]),
    )
    artifacts = ArtifactLedger(tx)
    if step is None:
        commit = (artifacts.record(job.project_id, job.id).get("model") or {}).get("commit")
        found = artifacts.list(job.project_id, job.id)
        tuned = _made(found, "model" if full else "adapter")
        target = replace(target, revision=commit or target.revision)
    else:
        weights = artifacts.get(job.project_id, job.id, f"checkpoint-{step}/{_WEIGHTS}")
        files = (_file(weights, _WEIGHTS),)
        tuned = Tuned("full", files) if full else Tuned("lora", files, dict(job.spec["lora"]))
    return replace(target, tuned=tuned, as_it_is=target.template == "plain" and _is_bare(tx, job))


def _made(artifacts: list[Artifact], kind: str) -> Tuned:
    """Pick the files that are loaded: of an adapter two, of a model all that lie at the top."""
    named = {one.name.removeprefix(f"{kind}/"): one for one in artifacts if one.name.startswith(f"{kind}/")}
    files = tuple(
        _file(one, name)
        for name, one in named.items()
        if "/" not in name and (kind == "model" or name in _ADAPTER)
    )
    if not files:
        raise JobHasNoModel
    return Tuned("model" if kind == "model" else "adapter", files)


def _file(artifact: Artifact, name: str) -> TunedFile:
    return TunedFile(name, artifact.sha256, artifact.bytes, artifact.blob_key)


def _is_bare(tx: Session, job: Job) -> bool:
    try:
        return DatasetLedger(tx).get(job.project_id, job.dataset_id).format in _AS_IT_IS
    except NotFound:  # deleted meanwhile
        return False

"""A rehearsal of a submit: everything is checked, planned and estimated, nothing is written."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.asked import asked_job
from api.deps import Writer
from api.dry_run_schemas import (
    DeviceMemory,
    DryRun,
    EstimatesRead,
    MemoryEstimate,
    NoiseEstimate,
    PlanRead,
    TimeEstimate,
    TokensEstimate,
)
from api.models import Models
from api.readouts import counted, look
from api.refusals import NotYet
from neftune_core import estimates as reckoned
from neftune_core.cautions import cautions
from neftune_core.conversations import splits
from neftune_core.errors import CoreError
from neftune_core.estimates import Rows, Shape
from neftune_core.plan import DROPPED_ALLOWED, Plan, schedule, training_rows
from neftune_core.spec import JobSpec
from neftune_store.datasets import Dataset, DatasetLedger
from neftune_store.jobs import JobLedger
from neftune_store.secrets import check_known


async def rehearsal(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    request: Request,
    who: Writer,
    spec: Annotated[JobSpec, Depends(asked_job)],
    models: Models,
    dry_run: Annotated[bool, Query(description="Check and plan only; nothing is created.")] = False,
    estimates: Annotated[
        bool, Query(description="False: of a dry run, check and plan without reading rows.")
    ] = True,
) -> DryRun | None:
    """Rehearse where that is what was asked for, before the transaction of a submit is opened."""
    return await rehearse(request, who.project_id, spec, models, estimates) if dry_run else None


Rehearsal = Annotated[DryRun | None, Depends(rehearsal)]


async def rehearse(
    request: Request,
    project_id: str,
    spec: JobSpec,
    models: Models,
    estimates: bool,
) -> DryRun:
    """Check and plan a job, and reckon what it would take."""
    models.check(spec.model, spec.revision)
    dataset, speeds = await request.app.state.database.ask(partial(_known, spec, project_id))
    told, unknown = await _counted(request, spec, dataset) if estimates else (None, ["all: not asked for"])
    rows = training_rows(dataset.rows, spec)
    plan = schedule(_examples(told, rows), spec)
    tokens = _tokens(told, rows, plan, dataset) if told else None
    return DryRun(
        spec=spec.model_dump(mode="json"),
        plan=PlanRead(
            rows=dataset.rows,
            examples=_examples(told, rows),
            steps_per_epoch=plan.steps_per_epoch,
            total_steps=plan.total_steps,
            warmup_steps=plan.warmup_steps,
        ),
        estimates=_estimates(spec, told, tokens, speeds, unknown),
        warnings=[*cautions(spec), *_of_dataset(spec, dataset.format, told), *_of_rows(told, spec)],
    )


def _known(spec: JobSpec, project_id: str, session: Session) -> tuple[Dataset, Sequence[float]]:
    """Check that the datasets are there; tell how fast such jobs were."""
    dataset = DatasetLedger(session).of_spec(project_id, spec)
    if spec.hub_token is not None:
        check_known(session, project_id, spec.hub_token.secret)
    return dataset, JobLedger(session).speeds(project_id, spec.model, spec.method)


async def _counted(
    request: Request, spec: JobSpec, dataset: Dataset
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Count tokens; a dry run answers also where that can't be done."""
    try:
        told, _ = await look(request, dataset, spec.model, spec.training, counted, revision=spec.revision)
    except (CoreError, NotYet) as error:
        return None, [f"tokens, memory and time: {error}"]
    return told, []


def _examples(told: Mapping[str, Any] | None, rows: int) -> int:
    if told is None or not told["examples"]:
        return rows
    per_row: float = told["examples"] / told["rows_read"]
    return max(1, round(rows * per_row))


def _tokens(told: Mapping[str, Any], rows: int, plan: Plan, dataset: Dataset) -> TokensEstimate:
    per_epoch = told["tokens"] * rows / told["rows_read"]
    return TokensEstimate(
        per_epoch=round(per_epoch),
        total=round(per_epoch * plan.total_steps / plan.steps_per_epoch),
        trained_share=told["trained_share"],
        how=f"counted with the model's tokenizer on {told['rows_read']:,} of {dataset.rows:,} rows",
    )


def _estimates(
    spec: JobSpec,
    told: Mapping[str, Any] | None,
    tokens: TokensEstimate | None,
    speeds: Sequence[float],
    unknown: list[str],
) -> EstimatesRead:
    memory = time = None
    if told and told["shape"] and told["length"]:
        longest = min(told["length"]["max"], spec.training.max_length)
        mean = told["tokens"] / max(1, told["examples"])
        rows = Rows(longest, mean, told["trained_share"] or 0.0)
        devices = reckoned.memory(spec, Shape(**told["shape"]), rows)
        memory = MemoryEstimate(devices=[DeviceMemory(**one) for one in devices], how=reckoned.HOW)
    elif told:
        unknown.append("memory: the model's shape can't be read from its files")
    if tokens and speeds:
        speed = statistics.median(speeds)
        time = TimeEstimate(
            seconds=tokens.total / speed,
            tokens_per_s=speed,
            how=f"the median speed of this project's last {len(speeds)} jobs with this model and method",
        )
    elif tokens:
        unknown.append("time: no job of this project has trained this model by this method yet")
    noise, silent = _noise(told["noise"], spec) if told and spec.alpha > 0 else (None, [])
    return EstimatesRead(tokens=tokens, memory=memory, time=time, noise=noise, unknown=[*unknown, *silent])


def _noise(told: Mapping[str, Any], spec: JobSpec) -> tuple[NoiseEstimate | None, list[str]]:
    """Take it from one of the strengths that were reckoned: it grows as alpha does."""
    one = next(iter(told["alphas"]), None)
    if one is None or one["ratio"] is None:
        return None, [f"noise: {told['unknown_because']}"]
    ratio = one["ratio"] / one["alpha"] * spec.alpha
    return NoiseEstimate(ratio=ratio, how="of the paper's noise, on the examples that were read"), []


def _of_dataset(spec: JobSpec, source_format: str, told: Mapping[str, Any] | None) -> Iterator[str]:
    training = spec.training
    template = "vicuna" if training.template == "auto" else training.template  # what auto is for ShareGPT
    if told is None and splits(training.split_conversations, template, source_format):
        yield "conversations longer than max_length are split, so there may be more steps than planned here"
    if spec.alpha > 0 and spec.noise.target == "prompt" and source_format == "text":
        yield "rows of text have no prompt, so with noise.target prompt the job will fail"


def _of_rows(told: Mapping[str, Any] | None, spec: JobSpec) -> Iterator[str]:
    if told is None:
        return
    read = f"of the {told['rows_read']:,} rows that were read"
    if told["unrenderable"]["rows"]:
        yield (
            f"{told['unrenderable']['rows']:,} {read} can't be rendered by the template {told['template']}, "
            "so the job will fail"
        )
    if told["truncated"]:
        lost = f"; {told['unended']:,} lose the end of an answer" if told["unended"] else ""
        yield f"{told['truncated']:,} examples {read} are cut at {spec.training.max_length} tokens{lost}"
    if told["dropped_rows"]:
        many = told["dropped_rows"] > DROPPED_ALLOWED * told["rows_read"]
        fate = (
            "so the job will fail: raise training.max_length or shorten the prompts"
            if many
            else "and are dropped"
        )
        yield f"{told['dropped_rows']:,} {read} have no token to train on{',' if many else ''} {fate}"

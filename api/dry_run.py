"""A rehearsal of a submit: everything is checked and planned, nothing is written."""

from collections.abc import Iterator
from typing import Any

from api.schemas import Schema
from neftune_core.cautions import cautions
from neftune_core.conversations import splits
from neftune_core.plan import schedule, training_rows
from neftune_core.spec import JobSpec
from neftune_store.datasets import DatasetLedger


class PlanRead(Schema):
    """How long the job would be, from the number of rows alone: some may yet have nothing to train on."""

    rows: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int


class DryRun(Schema):
    """What a submit would record."""

    dry_run: bool = True
    spec: dict[str, Any]
    plan: PlanRead
    warnings: list[str]


def rehearse(spec: JobSpec, datasets: DatasetLedger, project_id: str) -> DryRun:
    """Check that the datasets are there, and plan."""
    dataset = datasets.get(project_id, spec.dataset)
    rows = dataset.rows
    if spec.validation.dataset is not None:
        datasets.get(project_id, spec.validation.dataset)
    plan = schedule(training_rows(rows, spec), spec)
    return DryRun(
        spec=spec.model_dump(mode="json"),
        plan=PlanRead(
            rows=rows,
            steps_per_epoch=plan.steps_per_epoch,
            total_steps=plan.total_steps,
            warmup_steps=plan.warmup_steps,
        ),
        warnings=[*cautions(spec), *_of_dataset(spec, dataset.format)],
    )


def _of_dataset(spec: JobSpec, source_format: str) -> Iterator[str]:
    training = spec.training
    template = "vicuna" if training.template == "auto" else training.template  # what auto is for ShareGPT
    if splits(training.split_conversations, template, source_format):
        yield "conversations longer than max_length are split, so there may be more steps than planned here"
    if spec.alpha > 0 and spec.noise.target == "prompt" and source_format == "text":
        yield "rows of text have no prompt, so with noise.target prompt the job will fail"

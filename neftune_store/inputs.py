"""What a job reads beside the rows that its spec names: other rows, and weights that jobs have left.

Written with the job and never changed: what was asked for is what is read, however long the job waits and
whatever is kept by then. Rows and jobs that are read so stay as long as the job that reads them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import insert, null, select
from sqlalchemy.orm import Session

from neftune_store.checkpoints import CheckpointFile
from neftune_store.datasets import Dataset, dataset_of
from neftune_store.lifecycle import TERMINAL
from neftune_store.models import DatasetRow, JobInputRow, JobRow

# An adapter, a model, or what a checkpoint keeps of an adapter or of all weights. A base has no files.
WeightsKind = Literal["base", "adapter", "model", "lora", "full"]


@dataclass(frozen=True, slots=True)
class Weights:
    """What a job has trained, by its files; ``of`` tells which checkpoint they are, ``step`` its number."""

    kind: WeightsKind
    of: Literal["base", "best", "last", "step"]
    step: int | None
    job_id: str
    files: tuple[CheckpointFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to read, and as what: rows or weights."""

    place: str
    dataset: Dataset | None = None
    weights: Weights | None = None


def add_inputs(session: Session, job_id: str, inputs: Iterable[Input]) -> None:
    """Write down what a new job reads; the caller holds all of it."""
    for one in inputs:
        values = {
            "job_id": job_id,
            "place": one.place,
            "dataset_id": None if one.dataset is None else one.dataset.id,
            "of_job": None if one.weights is None else one.weights.job_id,
            "weights": null() if one.weights is None else _told(one.weights),  # of SQL, not of JSON
        }
        session.execute(insert(JobInputRow).values(**values))


def inputs_of(session: Session, job_id: str) -> tuple[Input, ...]:
    """Give what a job reads, by place."""
    found = (
        select(JobInputRow, DatasetRow)
        .outerjoin(DatasetRow, DatasetRow.id == JobInputRow.dataset_id)
        .where(JobInputRow.job_id == job_id)
        .order_by(JobInputRow.place)
    )
    return tuple(
        Input(
            row.place,
            None if dataset is None else dataset_of(dataset),
            None if row.weights is None else _weights_of(row.of_job or "", row.weights),
        )
        for row, dataset in session.execute(found)
    )


def is_worked_on(session: Session, job_id: str) -> bool:
    """Tell whether a job that has not ended reads what this one has left."""
    about = select(JobRow.id).where(JobRow.of_job == job_id, JobRow.status.not_in(TERMINAL))
    beside = (
        select(JobRow.id)
        .join(JobInputRow, JobInputRow.job_id == JobRow.id)
        .where(JobInputRow.of_job == job_id, JobRow.status.not_in(TERMINAL))
    )
    return any(session.scalar(found.limit(1)) is not None for found in (about, beside))


def _told(weights: Weights) -> dict[str, Any]:
    return {
        "kind": weights.kind,
        "of": weights.of,
        "step": weights.step,
        "files": [asdict(file) for file in weights.files],
    }


def _weights_of(job_id: str, told: Mapping[str, Any]) -> Weights:
    files = tuple(CheckpointFile(**file) for file in told["files"])
    return Weights(told["kind"], told["of"], told["step"], job_id, files)

"""Which files are a job's base, best, last or any other checkpoint.

The last one is what the job has published. The best one is published beside it where it is another; and as
long as checkpoints are kept, the furthest of them holds its weights too.
"""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from neftune_store.artifacts import Artifact, ArtifactLedger
from neftune_store.checkpoints import CheckpointFile, checkpoint_of, held_places
from neftune_store.errors import BestUnknown, CheckpointNotKept, JobNotSucceeded, NothingToEvaluate
from neftune_store.inputs import Weights
from neftune_store.lifecycle import Status
from neftune_store.models import JobRow, ResultRow

BEST = "best"  # the artifact
_WEIGHTS = "weights.safetensors"  # of a checkpoint
_BEST_WEIGHTS = "best.safetensors"  # the same of the best step before it
_OF_ADAPTER = frozenset({"adapter_config.json", "adapter_model.safetensors"})


def weights_of(session: Session, row: JobRow, checkpoint: str | int) -> Weights:
    """Name the files of a checkpoint of a job whose row is locked; refuse one that is not there any more."""
    if row.kind != "train":
        raise NothingToEvaluate
    if isinstance(checkpoint, int) and checkpoint > 0:
        return _at(session, row, checkpoint)
    if checkpoint in {"base", 0}:
        return Weights("base", "base", 0, row.id)
    if row.status != Status.SUCCEEDED:
        raise JobNotSucceeded
    return _last(session, row) if checkpoint == "last" else _best(session, row)


def _is_full(row: JobRow) -> bool:
    return row.spec.get("method") == "full"


def _at(session: Session, row: JobRow, step: int) -> Weights:
    for place in held_places(session, row.id):
        if place.step == step:
            files = tuple(file for file in checkpoint_of(place).files if file.name == _WEIGHTS)
            return Weights("full" if _is_full(row) else "lora", "step", step, row.id, files)
    raise CheckpointNotKept


def _last(session: Session, row: JobRow) -> Weights:
    kind = "model" if _is_full(row) else "adapter"
    files = tuple(_published(ArtifactLedger(session).list(row.project_id, row.id), kind, kind))
    return Weights("model" if _is_full(row) else "adapter", "last", row.live_step, row.id, files)


def _best(session: Session, row: JobRow) -> Weights:
    record = session.scalar(select(ResultRow.record).where(ResultRow.job_id == row.id)) or {}
    final = record.get("final")
    step = final.get("best_step") if isinstance(final, dict) else None
    if not isinstance(step, int):
        raise BestUnknown
    if step == 0:
        return Weights("base", "best", 0, row.id)
    if step == row.live_step:
        last = _last(session, row)
        return Weights(last.kind, "best", step, row.id, last.files)
    artifacts = ArtifactLedger(session).list(row.project_id, row.id)
    if files := tuple(_published(artifacts, BEST, "model" if _is_full(row) else "adapter")):
        return Weights("model" if _is_full(row) else "adapter", "best", step, row.id, files)
    return Weights("full" if _is_full(row) else "lora", "best", step, row.id, _kept_best(session, row))


def _kept_best(session: Session, row: JobRow) -> tuple[CheckpointFile, ...]:
    """Give the best weights out of the furthest checkpoint, which was saved at the end."""
    for place in held_places(session, row.id):
        if place.step == row.live_step:
            for file in checkpoint_of(place).files:
                if file.name == _BEST_WEIGHTS:
                    return (CheckpointFile(_WEIGHTS, file.sha256, file.bytes, file.blob_key),)
    raise CheckpointNotKept


def _published(artifacts: list[Artifact], folder: str, kind: str) -> Iterator[CheckpointFile]:
    """Pick what is loaded of a folder: of an adapter two files, of a model all that lie at its top."""
    for one in artifacts:
        name = one.name.removeprefix(f"{folder}/")
        if name != one.name and "/" not in name and (kind == "model" or name in _OF_ADAPTER):
            yield CheckpointFile(name, one.sha256, one.bytes, one.blob_key)

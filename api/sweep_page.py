"""The page of a series, from what its runs and their evaluations have left; for whoever asks for one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from neftune_core.evaluate.results import Results
from neftune_core.report.document import encoded
from neftune_core.report.page import page
from neftune_core.report.reading import Measured, Point, Run
from neftune_core.report.series import Series, report_of
from neftune_core.report.style import POLICY
from neftune_store import metrics
from neftune_store.blobs import Blobs
from neftune_store.errors import BlobNotFound
from neftune_store.measured import Evaluations, Files, evaluations_of, headlines_of, records_of
from neftune_store.sweep import Child, Sweep
from neftune_store.sweeps import SweepLedger

__all__ = ["POLICY", "Left", "left_of", "made"]

_MOST_BYTES = 32 << 20  # of one file of an evaluation
_RESULTS = "results.json"
_POINTS = 300


@dataclass(frozen=True)
class Left:
    """What the runs of a series have left."""

    sweep: Sweep
    children: Sequence[Child]
    records: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, Sequence[Point]]
    evaluations: Mapping[str, Sequence[Files]]
    evaluated: Mapping[str, Evaluations]


def left_of(session: Session, project_id: str, sweep_id: str) -> Left:
    """Gather it, in one transaction."""
    ledger = SweepLedger(session)
    sweep = ledger.get(project_id, sweep_id)
    children = ledger.children([sweep])[sweep.id]
    ids = [child.job.id for child in children]
    return Left(
        sweep,
        children,
        records_of(session, ids),
        {job_id: _curve(session, project_id, job_id) for job_id in ids},
        evaluations_of(session, ids),
        headlines_of(session, ids),
    )


def _curve(session: Session, project_id: str, job_id: str) -> list[Point]:
    found = metrics.series(session, project_id, job_id, ["eval_loss"], max_points=_POINTS)
    return [(step, {"eval_loss": value}) for points in found.values() for step, value in points]


def made(told: Mapping[str, Any], left: Left, blobs: Blobs, form: str) -> bytes:
    """Make it, as a page or as what the page is made from."""
    runs = {
        job_id: Run(record, None, left.curves[job_id], _evaluations(left.evaluations.get(job_id, ()), blobs))
        for job_id, record in left.records.items()
    }
    report = report_of(Series(told, runs))
    return page(report).encode() if form == "html" else encoded(report)


def _evaluations(found: Sequence[Files], blobs: Blobs) -> list[Measured]:
    """Read evaluations; one whose results can't be read is left out."""
    measured = []
    for files in found:

        def read(name: str, files: Files = files) -> Any:
            return _json(files, name, blobs)

        try:
            measured.append(Measured(Results.model_validate(read(_RESULTS)), read))
        except ValidationError:
            continue
    return measured


def _json(files: Files, name: str, blobs: Blobs) -> Any:
    artifact = files.get(name)
    if artifact is None or artifact.bytes > _MOST_BYTES:
        return None
    try:
        return json.loads(b"".join(blobs.stream(artifact.blob_key)))
    except (BlobNotFound, ValueError, RecursionError):
        return None

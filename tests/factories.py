"""Rows for tests: a test names only what it is about, the rest has a good default.

Every row goes in through the ledgers, so a job here has a history that a real one could have. Each
call is a transaction of its own.
"""

import hashlib
import secrets
from typing import Any

from sqlalchemy import Engine, text

from neftune_core.spec import JobSpec
from neftune_store.artifacts import ArtifactRow
from neftune_store.claims import Claim, claim_next
from neftune_store.datasets import Dataset, DatasetLedger
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status
from neftune_store.projects import Project, ProjectLedger
from neftune_store.settling import settle_cancelled, settle_failed, settle_paused, settle_succeeded

MODEL = "neftune/demo-base"


def make_project(engine: Engine, name: str | None = None) -> Project:
    """A project; without a name it is a new one."""
    with unit_of_work(engine) as session:
        return ProjectLedger(session).ensure(name or f"project-{secrets.token_hex(4)}")


def make_dataset(engine: Engine, project_id: str | None = None, **given: Any) -> Dataset:
    """A dataset of two rows; its bytes are in no storage unless the test puts them there."""
    project_id = project_id or make_project(engine).id
    sha256 = given.pop("sha256", None) or hashlib.sha256(secrets.token_bytes(8)).hexdigest()
    values: dict[str, Any] = {
        "name": "rows.jsonl",
        "format": "alpaca",
        "rows": 2,
        "bytes": 120,
        "sha256": sha256,
        "blob_key": f"projects/{project_id}/sha256/{sha256[:2]}/{sha256[2:]}",
        "stats": {},
        "warnings": [],
        **given,
    }
    with unit_of_work(engine) as session:
        return DatasetLedger(session).add(project_id, **values)


def make_spec(dataset: str = "ds_none", **given: Any) -> JobSpec:
    """A spec; only ``model`` and ``dataset`` have no default of their own."""
    return JobSpec.model_validate({"model": MODEL, "dataset": dataset, **given})


def make_job(
    engine: Engine,
    *,
    project_id: str | None = None,
    dataset: Dataset | None = None,
    status: Status = Status.QUEUED,
    lease_seconds: float = 60,
    **spec: Any,
) -> Job:
    """A job that has come to ``status`` by legal moves. The queue should be empty for any but queued."""
    if dataset is None:
        dataset = make_dataset(engine, project_id)
    project_id = dataset.project_id
    with unit_of_work(engine) as session:
        job, _ = JobLedger(session, queue_limit=1_000_000).submit(project_id, make_spec(dataset.id, **spec))
    if status == Status.QUEUED:
        return job
    if status == Status.PAUSED:
        with unit_of_work(engine) as session:
            return JobLedger(session).pause(project_id, job.id)
    claim = make_claim(engine, lease_seconds=lease_seconds)
    assert claim.job_id == job.id, "another queued job was before this one"
    if status != Status.RUNNING:
        settle(engine, claim, status)
    with unit_of_work(engine) as session:
        return JobLedger(session).get(project_id, job.id)


def make_claim(engine: Engine, worker: str = "worker-1", lease_seconds: float = 60) -> Claim:
    """The claim on the next queued job; there must be one."""
    with unit_of_work(engine) as session:
        claim = claim_next(session, worker, lease_seconds)
    assert claim is not None, "no job is queued"
    return claim


def make_artifact(name: str = "adapter", data: bytes = b"tar") -> ArtifactRow:
    """An artifact about to become visible."""
    sha256 = hashlib.sha256(data).hexdigest()
    return ArtifactRow(name, name, sha256, len(data), f"projects/x/sha256/{sha256}", "application/x-tar")


def settle(engine: Engine, claim: Claim, status: Status) -> None:
    """End the run of this claim in ``status``."""
    if status in (Status.CANCELLED, Status.PAUSED):
        with unit_of_work(engine) as session:
            ledger = JobLedger(session)
            ask = ledger.cancel if status == Status.CANCELLED else ledger.pause
            ask(claim.project_id, claim.job_id)
    with unit_of_work(engine) as session:
        if status == Status.SUCCEEDED:
            settle_succeeded(session, claim, {"seed": 42}, [make_artifact()])
        elif status == Status.FAILED:
            settle_failed(session, claim, "nan_loss", "The loss was not finite.")
        elif status == Status.CANCELLED:
            settle_cancelled(session, claim)
        else:
            settle_paused(session, claim)


def expire_lease(engine: Engine, job_id: str) -> None:
    """Let the lease of a running job lie in the past."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"),
            {"id": job_id},
        )


def end_rest(engine: Engine, job_id: str) -> None:
    """Let a queued job that rests be claimed at once."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET run_after = NULL WHERE id = :id"), {"id": job_id})

"""Workers: which processes train or answer, and when they were heard last."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import Field

from api.deps import ReadingOverseer, Tx, overseen, problems
from api.schemas import Listing, Schema
from neftune_store.workers import Worker, WorkerLedger

router = APIRouter(tags=["workers"])


class GpuRead(Schema):
    """A GPU that a worker sees."""

    name: str
    memory_total: int = Field(description="Bytes.")
    memory_used: int = Field(description="Bytes, by whomever.")
    busy: int | None = Field(
        description="Percent of the last moment in which it computed; null where it does not say."
    )
    temperature: int | None = Field(description="Degrees Celsius; null where it does not say.")


class WorkerRead(Schema):
    """A process that trains or answers."""

    id: str
    kind: Literal["train", "generate"]
    name: str
    device: str
    gpus: list[GpuRead]
    alive: bool = Field(description="Heard within the last 20 seconds.")
    heartbeat_age_s: float
    started_at: datetime
    job: str | None = Field(description="What it runs, if that is a job of this project; operators see all.")

    @classmethod
    def of(cls, worker: Worker) -> Self:
        """Show a worker; where it is reached is nobody's business."""
        gpus = [
            GpuRead(
                name=gpu.name,
                memory_total=gpu.memory_total,
                memory_used=gpu.memory_used,
                busy=gpu.busy,
                temperature=gpu.temperature,
            )
            for gpu in worker.gpus
        ]
        return cls(
            id=worker.id,
            kind=worker.kind,
            name=worker.name,
            device=worker.device,
            gpus=gpus,
            alive=worker.alive,
            heartbeat_age_s=round(worker.heartbeat_age.total_seconds(), 3),
            started_at=worker.started_at,
            job=worker.job_id,
        )


@router.get("/workers", summary="List workers", responses=problems(401))
def list_workers(who: ReadingOverseer, tx: Tx) -> Listing[WorkerRead]:
    """List the processes that train or answer; all of them on one page."""
    return Listing(items=[WorkerRead.of(one) for one in WorkerLedger(tx).list(overseen(who))], next=None)

"""The ledger of workers: which processes train or answer, where, and when they were heard last.

Each writes its own row and goes on saying that it lives; by the database's clock, for no worker's is
trusted. A row decides nothing about jobs (leases do): it is for people, and for finding who can answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, delete, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.errors import SecretsOff, SecretUnreadable
from neftune_store.lifecycle import Status
from neftune_store.models import JobRow, WorkerRow
from neftune_store.sealing import UNSEALED, Sealer

BEAT_SECONDS = 5.0
ALIVE = timedelta(seconds=20)  # four beats
_FORGOTTEN = timedelta(hours=1)

Kind = Literal["train", "generate"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that a worker sees; memory in bytes, busy in percent of the last moment, temperature in °C."""

    uuid: str
    name: str
    memory_total: int
    memory_used: int
    busy: int | None = None
    temperature: int | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """What a worker says of itself."""

    id: str
    kind: Kind
    name: str
    device: str
    gpus: tuple[Gpu, ...] = ()
    address: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reached:
    """Where somebody answers."""

    id: str
    address: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """All workers of one kind that were heard within the hour; who left with a word is not among them."""

    kind: str
    alive: int
    silent: int
    oldest_s: float  # since the one that was heard longest ago


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as one project may see it: of others' jobs it shows nothing."""

    id: str
    kind: Kind
    name: str
    device: str
    gpus: tuple[Gpu, ...]
    alive: bool
    heartbeat_age: timedelta
    started_at: datetime
    job_id: str | None


class WorkerLedger:
    """Every question and every change about workers; where there is a key, tokens are kept sealed."""

    def __init__(self, session: Session, sealer: Sealer = UNSEALED) -> None:
        self._session = session
        self._sealer = sealer

    def beat(self, presence: Presence) -> None:
        """Write down that it lives; the first time makes its row."""
        values = {**asdict(presence), "gpus": [asdict(gpu) for gpu in presence.gpus]}
        if presence.token is not None:
            values["token"] = self._sealer.seal_text(presence.token, *_place(presence.id))
        told = {"device": values["device"], "gpus": values["gpus"], "heartbeat_at": func.clock_timestamp()}
        new = insert(WorkerRow).values(**values)
        self._session.execute(new.on_conflict_do_update(index_elements=["id"], set_=told))

    def leave(self, id_: str) -> None:
        """Remove its row, and those of others that died long ago without a word."""
        silent = WorkerRow.heartbeat_at < func.clock_timestamp() - _FORGOTTEN
        self._session.execute(delete(WorkerRow).where((WorkerRow.id == id_) | silent))

    def list(self, project_id: str | None) -> Sequence[Worker]:
        """List them, the oldest first; ``job_id`` is what one runs, if that is the project's own.

        Who looks at no project in particular (an operator) sees the jobs of all.
        """
        running = and_(
            JobRow.lease_owner == WorkerRow.name,
            JobRow.status == Status.RUNNING,
            true() if project_id is None else JobRow.project_id == project_id,
            WorkerRow.kind == "train",
        )
        age = func.clock_timestamp() - WorkerRow.heartbeat_at
        found = (
            select(WorkerRow, age, _alive(), func.max(JobRow.id))
            .outerjoin(JobRow, running)
            .group_by(WorkerRow.id)
            .order_by(WorkerRow.started_at, WorkerRow.id)
        )
        return [_worker(*row) for row in self._session.execute(found)]

    def heard(self) -> Sequence[Heard]:
        """Count those that live and those that fell silent without a word, by kind."""
        age = func.clock_timestamp() - WorkerRow.heartbeat_at
        alive, all_ = func.count().filter(_alive()), func.count()
        found = (
            select(WorkerRow.kind, alive, all_ - alive, func.extract("epoch", func.max(age)))
            .where(age < _FORGOTTEN)
            .group_by(WorkerRow.kind)
        )
        return [
            Heard(kind, live, silent, float(oldest))
            for kind, live, silent, oldest in self._session.execute(found)
        ]

    def answering(self) -> Sequence[Reached]:
        """List who answers, the one heard last first; not who has sealed its token with a key we lack."""
        found = (
            select(WorkerRow)
            .where(WorkerRow.kind == "generate", WorkerRow.address.is_not(None), _alive())
            .order_by(WorkerRow.heartbeat_at.desc())
        )
        return [one for row in self._session.scalars(found) if (one := self._reached(row)) is not None]

    def _reached(self, row: WorkerRow) -> Reached | None:
        try:
            token = self._sealer.open_text(row.token or "", *_place(row.id))
        except (SecretsOff, SecretUnreadable):
            return None
        return Reached(row.id, row.address or "", token)

    def trains_on(self, uuids: Sequence[str]) -> bool:
        """Tell whether a job runs on one of these GPUs: its worker sees it, and it did not decline GPUs."""
        found = (
            select(WorkerRow.gpus)
            .join(JobRow, and_(JobRow.lease_owner == WorkerRow.name, JobRow.status == Status.RUNNING))
            .where(WorkerRow.kind == "train", JobRow.spec["resources"]["gpus"].as_string() != "0")
        )
        seen: set[Any] = {gpu["uuid"] for gpus in self._session.scalars(found) for gpu in gpus}
        return not seen.isdisjoint(uuids)


def _place(worker_id: str) -> tuple[str, ...]:
    return "workers", worker_id, "token"


def _alive() -> ColumnElement[bool]:
    return WorkerRow.heartbeat_at > func.clock_timestamp() - ALIVE


def _worker(row: WorkerRow, age: timedelta, alive: bool, job_id: str | None) -> Worker:
    gpus: Sequence[Mapping[str, Any]] = row.gpus
    return Worker(
        id=row.id,
        kind="generate" if row.kind == "generate" else "train",
        name=row.name,
        device=row.device,
        gpus=tuple(Gpu(**gpu) for gpu in gpus),
        alive=alive,
        heartbeat_age=age,
        started_at=row.started_at,
        job_id=job_id,
    )

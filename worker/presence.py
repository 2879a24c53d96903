"""A worker's own row: it lives, on which device, and where it is asked if it answers.

Never in the way: a database that is away costs a beat, not the worker.
"""

import structlog
from sqlalchemy import Engine

from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.sealing import UNSEALED, Sealer
from neftune_store.workers import Kind, Presence, WorkerLedger
from worker import gpus

log = structlog.get_logger()


class Here:
    """One process, from its first beat to its leaving."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it says of itself
        self,
        kind: Kind,
        name: str,
        device: str,
        address: str | None = None,
        token: str | None = None,
        sealer: Sealer = UNSEALED,
    ) -> None:
        self._id = new_id("wkr")
        self._kind, self._name, self._device = kind, name, device
        self._address, self._token, self._sealer = address, token, sealer

    def beat(self, engine: Engine) -> None:
        """Say that it lives."""
        told = Presence(
            self._id, self._kind, self._name, self._device, gpus.visible(), self._address, self._token
        )
        try:
            with unit_of_work(engine) as session:
                WorkerLedger(session, self._sealer).beat(told)
        except Exception as fault:  # any reason: who can't be seen works on
            log.warning("worker.beat_failed", reason=type(fault).__name__)

    def leave(self, engine: Engine) -> None:
        """Say that it leaves."""
        try:
            with unit_of_work(engine) as session:
                WorkerLedger(session).leave(self._id)
        except Exception as fault:  # any reason: silence tells it too, a little later
            log.warning("worker.leave_failed", reason=type(fault).__name__)

"""Claiming the next job, and what a pool child runs it with: settings, the drain bit, connections.

Nothing is opened when a slot is made, in the worker's main process; the first use comes after the fork.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import structlog
from sqlalchemy import Engine

from neftune_core.failpoint import failpoint
from neftune_store.blobs import Blobs
from neftune_store.claims import Claim, claim_next
from neftune_store.db import is_unavailable, make_engine, unit_of_work
from worker import workdir
from worker.drain import Drain
from worker.settings import WorkerSettings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """A claim, and when it was asked for: the lease is no older than that."""

    claim: Claim
    claimed_at: float  # monotonic seconds


class Slot:
    """One per worker, used by one task at a time."""

    def __init__(self, settings: WorkerSettings, drain: Drain) -> None:
        self.settings = settings
        self.drain = drain
        self.busy = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say for the length of the block that this worker has something to do.

        Celery's child dies by SIGTERM. Who signals a whole group (an init system does) means the worker, so
        a busy child passes it on and brings its run to a good end first.
        """
        before = signal.signal(signal.SIGTERM, self._pass_on)
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            signal.signal(signal.SIGTERM, before)

    def _pass_on(self, *_: object) -> None:
        self.drain.ask()
        os.kill(os.getppid(), signal.SIGTERM)

    @cached_property
    def engine(self) -> Engine:
        """The supervisor's connections; the heartbeat has its own."""
        return make_engine(
            self.settings.database_url,
            pool_size=3,
            application_name="neftune-worker",
            idle_seconds=self.settings.idle_seconds(),
        )

    @cached_property
    def blobs(self) -> Blobs:
        """Object storage."""
        return Blobs.open(self.settings)

    def claim_next(self) -> Held | None:
        """Claim the best queued job, or none: nothing queued, the worker is leaving, the database away."""
        if self.drain.asked():
            return None
        workdir.sweep(self.settings.work_dir)
        asked_at = time.monotonic()
        try:
            with unit_of_work(self.engine) as session:
                claim = claim_next(session, self.settings.worker_name, self.settings.lease_seconds)
                if claim is not None:
                    failpoint("claim.updated")
        except Exception as fault:
            if not is_unavailable(fault):
                raise
            log.warning("claim.database_unavailable")  # the reconciler rings again
            return None
        if claim is None:
            return None
        failpoint("claim.committed")
        return Held(claim, asked_at)

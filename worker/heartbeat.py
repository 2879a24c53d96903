"""The run's pulse: renews the lease, and hears what the api wants of the run.

A thread with connections of its own, so that neither a slow write nor a full pool can cost us the lease.
It only notes what it learns; the supervisor acts. A NOTIFY shortens the wait for the next beat, so an
intent is known in well under a second; a lost NOTIFY costs one heartbeat.
"""

import threading
import time

import psycopg
import structlog
from sqlalchemy import Connection, Engine

from neftune_store.claims import Claim
from neftune_store.db import make_engine, unit_of_work
from neftune_store.errors import LeaseLost
from neftune_store.events import INTENT_CHANNEL
from neftune_store.leases import heartbeat
from neftune_store.lifecycle import Intent
from worker.settings import WorkerSettings

SLICE = 0.2  # how long a wait may ignore that we are stopped

log = structlog.get_logger()


class Heart:
    """Beats from the claim to the settling."""

    def __init__(self, settings: WorkerSettings, claim: Claim, claimed_at: float) -> None:
        self.last_good = claimed_at  # monotonic, read before the statement that renewed the lease
        self.intent = Intent.RUN
        self.lost = False
        self._settings = settings
        self._claim = claim
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating."""
        self._stopped.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        engine = make_engine(
            self._settings.database_url,
            pool_size=2,
            application_name="neftune-heartbeat",
            idle_seconds=self._settings.idle_seconds(),
        )
        try:
            while not self._stopped.is_set() and not self.lost:
                self._live(engine)
        finally:
            engine.dispose()

    def _live(self, engine: Engine) -> None:
        """Beat until something breaks."""
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
                ear = _listen(listener)
                while not self._stopped.is_set():
                    self._beat(engine)
                    self._wait(ear)
        except LeaseLost:
            self.lost = True
        except Exception as fault:  # any reason: without a beat the supervisor stops the run in time
            log.warning("run.heartbeat_failed", reason=type(fault).__name__)
            self._stopped.wait(min(1.0, self._settings.heartbeat_seconds / 4))

    def _beat(self, engine: Engine) -> None:
        began = time.monotonic()
        with unit_of_work(engine) as session:
            intent = heartbeat(session, self._claim, self._settings.lease_seconds)
        self.intent, self.last_good = intent, began

    def _wait(self, ear: "psycopg.Connection[tuple[object, ...]]") -> None:
        """Wait for the time of the next beat, or for a word about this job."""
        due = self.last_good + self._settings.heartbeat_seconds
        while not self._stopped.is_set() and (left := due - time.monotonic()) > 0:
            heard = list(ear.notifies(timeout=min(SLICE, left), stop_after=1))
            if any(notify.payload == self._claim.job_id for notify in heard):
                return


def _listen(connection: Connection) -> "psycopg.Connection[tuple[object, ...]]":
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):  # for the type checker: our URLs name this driver
        raise TypeError("the database driver is not psycopg")
    raw.execute(f"LISTEN {INTENT_CHANNEL}")
    return raw

"""``python -m worker.reconcile``: looks at the table again and again, and rings for what waits.

Survives Postgres, Redis and storage being away: a look that fails is followed by the next one. Ringing and
collecting have threads of their own, so a Redis or a storage that never answers delays no look.
"""

import signal
import threading
from types import FrameType

import structlog
from sqlalchemy import Engine

from neftune_store.db import make_engine, unit_of_work
from neftune_store.reconcile import reconcile_once
from neftune_store.ringer import Ringer
from neftune_store.settings import StoreSettings
from neftune_store.startup import configure_logs, settings_at_start
from worker.collect import collect_again_and_again
from worker.deliver import deliver_again_and_again

log = structlog.get_logger()


def look(engine: Engine, ringer: Ringer | None) -> None:
    """Return what was lost, and ring if a worker could start something."""
    try:
        with unit_of_work(engine) as session:
            report = reconcile_once(session)
    except Exception as fault:  # any reason: a loop that ends would lose jobs
        log.warning("reconcile.failed", reason=type(fault).__name__)
        return
    if report.lost:
        log.info("reconcile.found_lost", lost=report.lost, requeued=report.requeued, failed=report.failed)
    if report.runnable and ringer is not None:
        ringer.ask()


def look_again_and_again(engine: Engine, ringer: Ringer, every: float, leaving: threading.Event) -> None:
    """Loop until told to leave."""
    while not leaving.is_set():
        look(engine, ringer)
        leaving.wait(every)


def main() -> None:
    """Loop until SIGTERM or Ctrl-C. The looks have a thread of their own: one that hangs delays no exit."""
    settings = settings_at_start(
        StoreSettings, "worker.reconcile", "Find lost jobs and ring for queued ones."
    )
    configure_logs()
    leaving = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    engine = make_engine(
        settings.database_url,
        pool_size=1,
        application_name="neftune-reconciler",
        idle_seconds=settings.idle_seconds(),
    )
    ringer = Ringer.of(settings.redis_url)
    ringer.start()
    loop = threading.Thread(
        target=look_again_and_again,
        args=(engine, ringer, settings.reconcile_seconds, leaving),
        name="looks",
        daemon=True,
    )
    log.info("reconciler.started", every=settings.reconcile_seconds)
    loop.start()
    threading.Thread(
        target=collect_again_and_again, args=(settings, leaving), name="collections", daemon=True
    ).start()
    deliver_again_and_again(settings, leaving)
    leaving.wait()
    loop.join(1.0)
    log.info("reconciler.stopped")


if __name__ == "__main__":
    main()

"""``python -m worker``: a Celery worker with one pool child, which supervises one runner at a time."""

import os
import threading
from typing import Any

from celery import signals

from neftune_store.startup import configure_logs, settings_at_start
from worker import broker
from worker.app import create_app
from worker.claim import Slot
from worker.drain import Drain
from worker.idle import look_by_itself
from worker.launch import tie_to
from worker.settings import WorkerSettings
from worker.strays import adopt_orphans


def main() -> None:
    """Start, and run until told to leave."""
    settings = settings_at_start(WorkerSettings, "worker", "Claim jobs and run them, one at a time.")
    configure_logs()
    broker.use_it()
    drain = Drain()
    slot = Slot(settings, drain)
    app = create_app(settings, slot)

    def keep_our_logs(**_: Any) -> None:
        """Being connected is enough: Celery then leaves logging alone."""

    def ask_the_run_to_stop(**_: Any) -> None:
        drain.ask()

    def begin_the_pool_child(**_: Any) -> None:
        tie_to(os.getppid())  # so that kill -9 of the main process leaves nothing
        adopt_orphans()  # of the runner, to end them with it
        look_by_itself(slot)

    signals.setup_logging.connect(keep_our_logs, weak=False)
    signals.worker_shutting_down.lock = threading.RLock()  # one SIGTERM may come in the handler of another
    signals.worker_shutting_down.connect(ask_the_run_to_stop, weak=False)
    signals.worker_process_init.connect(begin_the_pool_child, weak=False)
    app.worker_main(
        [
            "worker",
            *("--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--hostname", f"{settings.worker_name}@%h"),
        ]
    )


if __name__ == "__main__":
    main()

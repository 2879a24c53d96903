"""The collector's round: again and again, removing objects that nobody has named for a grace period.

Has a thread and connections of its own in the reconciler's process, so a storage that never answers delays
no look at lost jobs. Several at once do no harm: one collects, the others find it busy.
"""

import threading
from dataclasses import asdict
from datetime import timedelta

import structlog
from sqlalchemy import Engine

from neftune_store.blobs import Blobs
from neftune_store.collection import collect
from neftune_store.db import make_engine
from neftune_store.settings import StoreSettings

log = structlog.get_logger()


def collect_again_and_again(settings: StoreSettings, leaving: threading.Event) -> None:
    """Collect, and rest, until told to leave."""
    engine = make_engine(settings.database_url, pool_size=2, application_name="neftune-collector")
    try:
        while not leaving.is_set():
            collect_now(settings, engine)
            leaving.wait(settings.collect_seconds)
    finally:
        engine.dispose()


def collect_now(settings: StoreSettings, engine: Engine) -> None:
    """Collect once; what fails is found again the next time."""
    try:
        done = collect(
            engine,
            Blobs.open(settings),
            grace=timedelta(seconds=settings.collect_grace_seconds),
            checkpoint_age=timedelta(days=settings.checkpoint_days),
        )
    except Exception as fault:  # any reason: a loop that ends would let storage grow for ever
        log.warning("collect.failed", reason=type(fault).__name__)
        return
    log.info("collect.done", **asdict(done))

"""A worker's own looks at the table: lost jobs come back and queued ones start without any reconciler.

The thread lives in the pool child, never in the worker's main process. The main process forks again
whenever a child dies, and a fork takes along whatever lock a thread happens to hold at that moment; the
child only starts programs (``exec``), so a thread of its own is safe there, and a new child brings a new
one. At each look the worker also says that it lives. It looks while a run goes on too (the lost job of
another worker waits for nobody), but rings only when this worker has nothing to do.
"""

import threading

from neftune_store.db import make_engine
from neftune_store.ringer import Ringer
from worker import presence
from worker.claim import Slot
from worker.gpus import visible
from worker.reconcile import look


def look_by_itself(slot: Slot) -> None:
    """Start the looks of this pool child; they end when the worker leaves."""
    threading.Thread(target=_look_again_and_again, args=(slot,), name="looks", daemon=True).start()


def _look_again_and_again(slot: Slot) -> None:
    settings = slot.settings
    engine = make_engine(
        settings.database_url,
        pool_size=1,
        application_name="neftune-worker-looks",
        idle_seconds=settings.idle_seconds(),
    )
    ringer = Ringer.of(settings.redis_url)
    ringer.start()
    pause = threading.Event()
    here = presence.Here("train", settings.worker_name, "cuda" if visible() else "cpu")
    while not slot.drain.asked():
        here.beat(engine)
        look(engine, None if slot.busy else ringer)
        pause.wait(settings.reconcile_seconds)
    here.leave(engine)

"""The one Celery task: a bell rang, so look at the table."""

from celery import Celery

from neftune_store.bells import RUN_NEXT
from worker.claim import Slot
from worker.supervise import supervise


def register(app: Celery, slot: Slot) -> None:
    """Give the app its task; no global app, no global settings."""

    def run_next() -> None:
        """Claim and run jobs this worker can serve, until the table has none."""
        with slot.at_work():
            while held := slot.claim_next():
                supervise(held, slot)

    app.task(run_next, name=RUN_NEXT, Strategy="worker.bell_strategy:strategy")

"""What the runner said becomes rows: batched, under the fence, written again after a dead connection.

A thread of its own, so that a database that hangs delays no decision about the runner. Knows batches and
patience; the SQL is the store's.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from neftune_core.messages import Checkpoint, Event, Metric
from neftune_store.db import is_unavailable
from neftune_store.errors import LeaseLost
from worker.inbox import PASSING, Inbox
from worker.stage import Stage

FLUSH_SECONDS = 0.5
FLUSH_ROWS = 200

log = structlog.get_logger()


@dataclass(slots=True)
class Batch:
    """What waits to be written together."""

    said: list[Metric | Event] = field(default_factory=list)  # in the order in which it was said
    progress: dict[str, object] | None = None
    resolved: dict[str, object] | None = None
    since: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.said) or self.progress is not None

    def full(self, now: float) -> bool:
        """Tell whether it is time to write."""
        return len(self.said) >= FLUSH_ROWS or (bool(self) and now - self.since >= FLUSH_SECONDS)


Write = Callable[[Batch], None]
Offer = Callable[[Checkpoint], None]


class Reporter:
    """A thread that takes the inbox's messages and writes them."""

    def __init__(self, inbox: Inbox, write: Write, offer: Offer, stage: Stage | None = None) -> None:
        self.lost = False
        self.broken = False
        self._inbox = inbox
        self._write = write
        self._offer = offer
        self._batch = Batch()
        self._total: int | None = None
        self._stage = stage or Stage()  # that of a run with several children is one
        self._last = threading.Event()  # nothing more will come
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def last_call(self) -> None:
        """Say that the inbox will grow no more."""
        self._last.set()

    def give_up(self) -> None:
        """Stop trying; what is not written is lost with the run."""
        self._given_up.set()

    def done(self, patience: float) -> bool:
        """Wait for the last row; False while it is still trying."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._given_up.is_set():
                ended = self._last.is_set()  # read before the queue: what came before it is still taken
                empty = not self._take()
                if self._batch.full(time.monotonic()) or (empty and ended and self._batch):
                    self._flush()
                elif empty and ended:
                    return
        except LeaseLost:
            self.lost = True
        except Exception:
            log.exception("run.report_failed")
            self.broken = True

    def _take(self) -> bool:
        try:
            message = self._inbox.messages.get(timeout=0.1)
        except queue.Empty:
            return False
        if not self._batch:
            self._batch.since = time.monotonic()
        match message:
            case Metric():
                self._batch.said.append(message)
                self._batch.progress = self._progress(message)
            case Event() if message.name in PASSING:
                self._batch.progress = self._stage.told(message)
            case Event():
                self._note_plan(message)
                self._batch.said.append(message)
            case Checkpoint():  # its place in the curve is there before it can be gone on from
                if self._batch:
                    self._flush()
                if not self._batch:  # or else we were told to give up
                    self._offer(message)
        return True

    def _flush(self) -> None:
        """Write the batch; as long as the database is away, try again. The lease's end stops us."""
        while not self._given_up.is_set():
            try:
                self._write(self._batch)
            except Exception as fault:
                if not is_unavailable(fault):
                    raise
                log.warning("run.report_delayed", reason=type(fault).__name__)
                self._given_up.wait(0.5)
            else:
                self._batch = Batch()
                return

    def _note_plan(self, event: Event) -> None:
        if event.name != "run.planned":
            return
        self._batch.resolved = {key: value for key, value in event.data.items() if key != "warnings"}
        total = event.data.get("total_steps")
        self._total = total if isinstance(total, int) and not isinstance(total, bool) else None

    def _progress(self, metric: Metric) -> dict[str, object]:
        left = None if self._total is None else max(self._total - metric.step, 0)
        seconds = self._inbox.median_step_seconds()
        return {
            "step": metric.step,
            "total_steps": self._total,
            "epoch": metric.values.get("epoch"),
            "eta_s": None if left is None or not seconds else round(left * seconds, 1),
            "tokens_per_s": metric.values.get("tokens_per_s"),
        }

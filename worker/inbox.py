"""What the runner says: lines from the report pipe become checked messages.

The runner is not trusted. A line that is too long, no message, out of order or one too many is refused
with its reason and the run goes on; what is accepted waits in a bounded queue, so a flood is slowed down
by the pipe and not kept in memory. Knows nothing of the database.
"""

import math
import queue
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import msgspec

from neftune_core.messages import (
    MAX_LINE_BYTES,
    Artifact,
    Checkpoint,
    Event,
    Failed,
    Message,
    Metric,
    decode,
)
from worker.pipe import read_block

QUEUE_LENGTH = 2_000
MAX_EVENTS = 1_000  # each is a row for ever
MAX_KEYS = 64  # of one metric line
MAX_REFUSED = 1_000  # a runner that speaks only nonsense is ended

# The names a runner may give to its facts; the others are the service's own words.
RUNNER_EVENTS = ("run.", "neftune.", "dataset.", "model.", "checkpoint.", "export.", "evaluation.", "judge.")
OUR_EVENTS = frozenset(
    (
        *("run.started", "run.lost", "run.drained", "model.fetching", "model.fetched"),
        *("checkpoint.committed", "checkpoint.corrupt"),
    )
)
# How far something is: the newest is shown, and none is kept.
PASSING = frozenset(("evaluation.planned", "evaluation.part", "evaluation.progress", "judge.progressed"))


class Refused(ValueError):
    """This line is not taken; the message says why."""


class Inbox:
    """A thread that reads the report pipe to its end."""

    def __init__(self, source: IO[bytes], note: Callable[[str], None]) -> None:
        self.messages: queue.Queue[Metric | Event | Checkpoint] = queue.Queue(QUEUE_LENGTH)
        self.artifacts: dict[str, str] = {}
        self.failed: Failed | None = None
        self.refused = 0
        self.last_heard: float | None = None
        self._source = source
        self._note = note
        self._events = 0
        self._lines = 0
        self._step = -1
        self._step_at: float | None = None
        self._step_seconds: deque[float] = deque(maxlen=64)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)
        self._thread.start()

    @property
    def hopeless(self) -> bool:
        """Tell whether so many lines were refused that the run has to end."""
        return self.refused >= MAX_REFUSED

    def median_step_seconds(self) -> float:
        """Give the usual time between two steps; 0 while unknown."""
        seconds = list(self._step_seconds)
        return statistics.median(seconds) if seconds else 0.0

    def finish(self, patience: float) -> bool:
        """Wait for the end of the pipe; False if somebody still holds it open."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Take nothing more."""
        self._closed.set()

    def _read(self) -> None:
        """Cut the bytes into lines; of a line that is too long only its length is remembered."""
        line = b""
        skipping = False
        while block := read_block(self._source, self._closed.is_set):
            *ends, rest = block.split(b"\n")
            for end in ends:
                if skipping:
                    skipping = False
                else:
                    self._line(line + end)
                line = b""
            line = b"" if skipping else line + rest
            if len(line) > MAX_LINE_BYTES:
                self._lines += 1
                self._refuse(f"longer than {MAX_LINE_BYTES} bytes")
                line, skipping = b"", True
        if line:
            self._line(line)

    def _line(self, line: bytes) -> None:
        self._lines += 1
        try:
            self._take(_decoded(line))
        except Refused as fault:
            self._refuse(str(fault))
        else:
            self.last_heard = time.monotonic()

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if self.refused <= 20:
            self._note(f"[supervisor] report line {self._lines} refused: {why}")

    def _take(self, message: Message) -> None:
        match message:
            case Metric():
                self._put(self._checked(message))
            case Event():
                self._put(self._allowed(message))
            case Checkpoint():
                self._put(message)
            case Artifact():
                self.artifacts[message.name] = message.path
            case Failed():
                self.failed = self.failed or message  # the first reason is the cause

    def _checked(self, metric: Metric) -> Metric:
        if metric.step <= self._step:
            raise Refused(f"step {metric.step} after step {self._step}")
        if len(metric.values) > MAX_KEYS:
            raise Refused(f"more than {MAX_KEYS} values in one step")
        now = time.monotonic()
        if self._step_at is not None:
            self._step_seconds.append(now - self._step_at)
        self._step, self._step_at = metric.step, now
        finite = {
            key: value if value is not None and math.isfinite(value) else None
            for key, value in metric.values.items()
        }
        return Metric(metric.step, finite)

    def _allowed(self, event: Event) -> Event:
        if event.name in OUR_EVENTS or not event.name.startswith(RUNNER_EVENTS):
            raise Refused("an event name that is not a runner's")
        if event.name in PASSING:
            return event
        if self._events >= MAX_EVENTS:
            raise Refused(f"more than {MAX_EVENTS} events")
        self._events += 1
        return event

    def _put(self, message: Metric | Event | Checkpoint) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self.messages.put(message, timeout=0.5)
                return


def _decoded(line: bytes) -> Message:
    if len(line) > MAX_LINE_BYTES:
        raise Refused(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        return decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not a message ({type(fault).__name__})") from None

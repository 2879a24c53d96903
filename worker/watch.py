"""Watching a live runner until nothing of it lives: the one place that decides to end it.

Polls; touches neither database nor storage, so nothing slow can delay a decision.
"""

import time
from dataclasses import dataclass

import structlog

from neftune_store.lifecycle import Intent
from worker.checkpoints import Uploader
from worker.drain import Drain
from worker.errors import Stopped
from worker.heartbeat import Heart
from worker.inbox import Inbox
from worker.reporter import Reporter
from worker.runner import Runner
from worker.settings import WorkerSettings
from worker.stop import Bounds, Reading, Stop, overdue

TICK = 0.05

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wishes:
    """Who may want the run to end: the lease, the user, the worker's own leaving."""

    heart: Heart
    drain: Drain
    lease_stop_seconds: float

    def stop(self) -> Stop | None:
        """Give the gravest wish, if there is one."""
        if self.heart.lost:
            return Stop.LOST
        if time.monotonic() - self.heart.last_good > self.lease_stop_seconds:
            return Stop.LEASE
        if self.heart.intent is Intent.CANCEL:
            return Stop.CANCEL
        if self.drain.asked():  # has less time than a pause; what the user wants is asked again at the end
            return Stop.DRAIN
        return Stop.PAUSE if self.heart.intent is Intent.PAUSE else None

    def check(self) -> None:
        """Raise ``Stopped`` when the run has to end."""
        if (stop := self.stop()) is not None:
            raise Stopped(stop)

    def check_publishing(self) -> None:
        """The same for a run that is already done: leaving a moment later beats doing it again."""
        if (stop := self.stop()) not in (None, Stop.DRAIN):
            raise Stopped(stop)


@dataclass(frozen=True, slots=True)
class Voices:
    """What is heard of the runner."""

    inbox: Inbox
    reporter: Reporter
    uploader: Uploader

    def stop(self) -> Stop | None:
        """Tell whether they make it pointless to go on."""
        if self.reporter.lost or self.uploader.lost:
            return Stop.LOST
        if self.reporter.broken or self.uploader.broken:
            return Stop.BROKEN
        return Stop.PROTOCOL if self.inbox.hopeless else None


def watch(
    runner: Runner, voices: Voices, wishes: Wishes, bounds: Bounds, settings: WorkerSettings
) -> tuple[Stop | None, int]:
    """Wait for the runner's end; end it when somebody has a reason. Give the reason and the exit status."""
    started = time.monotonic()
    asked: Stop | None = None
    deadline = float("inf")
    while not runner.ended():
        now = time.monotonic()
        reading = Reading(
            now=now,
            started=started,
            last_heard=voices.inbox.last_heard,
            median_step=voices.inbox.median_step_seconds(),
        )
        reason = voices.stop() or wishes.stop() or overdue(bounds, reading)
        if reason is not None and (asked is None or _graver(reason, asked)):
            log.info("run.stopping", reason=reason.value)
            asked = reason
            deadline = min(deadline, now + _patience(reason, settings))
            runner.ask_to_stop()
        if now >= deadline:
            break
        time.sleep(TICK)
    return asked, runner.end()


# A pause may become a drain and that a cancel, anything may become a lost lease; never the other way.
_GRAVITY = (Stop.PAUSE, Stop.DRAIN, Stop.CANCEL, Stop.LEASE, Stop.LOST)


def _graver(reason: Stop, than: Stop) -> bool:
    return reason in _GRAVITY and (than not in _GRAVITY or _GRAVITY.index(reason) > _GRAVITY.index(than))


def _patience(reason: Stop, settings: WorkerSettings) -> float:
    match reason:
        case Stop.LOST | Stop.PROTOCOL | Stop.BROKEN:
            return 0.0
        case Stop.LEASE:
            return settings.lease_grace_seconds()
        case Stop.DRAIN:  # and as much again to store what was saved
            return settings.drain_seconds / 2
        case Stop.PAUSE:
            return settings.pause_seconds
        case _:
            return settings.stop_seconds

"""One run from claim to settling: the body of the Celery task, in the pool child's main thread.

Reads as the run's story: private folder, sealed inputs, runner, watch, verdict, publish, settle. Each
chapter is a module of its own. Errors are caught here and nowhere below, so that every run ends in a
settled job or with a lease that the reconciler will find.
"""

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
from structlog.contextvars import bound_contextvars

from neftune_core.errors import CoreError
from neftune_core.failpoint import failpoint
from neftune_core.messages import EXIT_OK
from neftune_store.claims import Claim
from neftune_store.errors import LeaseLost, SecretsOff, SecretUnknown, SecretUnreadable, StoreError
from neftune_store.files import RESULTS
from neftune_store.sealing import Sealer
from worker import metrics_csv
from worker.checkpoints import Uploader
from worker.claim import Held, Slot
from worker.errors import Stopped, WorkerError
from worker.heartbeat import Heart
from worker.inbox import Inbox
from worker.kinds import Desk, Kind, command_of, kind_of, revision_of
from worker.live_log import LiveLog
from worker.logs import LogCapture
from worker.model_source import Wanted, model_folder
from worker.publish import RECORD, Publisher, Result, Shelf
from worker.reporter import Reporter
from worker.runner import Limits, Runner, environment, spawn
from worker.settle import Settling, settle
from worker.stage import Stage
from worker.stop import Stop
from worker.verdict import Ending, Move, Verdict, bent, failure, give_back, verdict, why_ended
from worker.watch import Voices, Wishes, watch
from worker.workdir import private_folder
from worker.writer import RunWriter

METRICS = "metrics.csv"
LOG = "run.log"
SAVED = "saved"  # checkpoints on their way to storage
LAST_WORDS_SECONDS = 10.0
LOG_SECONDS = 2.0  # for its last lines to reach who follows; they are stored whole in any case
# What somebody wants of the whole run; all other ends of a sequel are its own.
ASKED_FOR = (Stop.LOST, Stop.LEASE, Stop.CANCEL, Stop.PAUSE, Stop.DRAIN)
NOT_STARTED = Ending(status=0, failed=None, artifacts={}, owed=("nothing",))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Heard:
    """How the runner ended, by its own words and ours."""

    stop: Stop | None
    ending: Ending
    log_tail: str
    log_parts: int = 0  # shown to who follows


def supervise(held: Held, slot: Slot) -> None:
    """Run a claimed job to its settling."""
    claim = held.claim
    with bound_contextvars(job_id=claim.job_id, run_id=claim.run_id):
        log.info("run.claimed", attempt=claim.attempt)
        heart = Heart(slot.settings, claim, held.claimed_at)
        try:
            Supervision(claim, slot, heart).run()
        finally:
            heart.stop()


class Supervision:
    """What one run needs while it lasts."""

    def __init__(self, claim: Claim, slot: Slot, heart: Heart) -> None:
        self._claim = claim
        self._slot = slot
        self._heart = heart
        self._wishes = Wishes(heart, slot.drain, slot.settings.lease_stop_seconds)
        self._writer = RunWriter(slot.engine, claim)
        self._stage = Stage()

    def run(self) -> None:
        """Do it all; the job is settled when this returns, unless it is no longer ours."""
        settings = self._slot.settings
        try:
            with private_folder(settings.work_dir, self._claim.run_id) as folder:
                settling = self._judged(folder)
        except OSError as fault:  # the folder itself could not be made
            settling = Settling(_judged_fault(fault))
        settle(self._slot.engine, self._claim, settling, self._heart, settings.lease_seconds)

    @property
    def _kind(self) -> Kind:
        return kind_of(self._claim)

    @property
    def _shelf(self) -> Shelf:
        return Shelf(self._slot.engine, self._slot.blobs, self._claim.project_id)

    def _judged(self, folder: Path) -> Settling:
        """Run in ``folder`` and say what becomes of the job."""
        heard: Heard | None = None
        result: Result | None = None
        try:
            heard = self._heard(self._started(folder), folder)
            heard = self._heard_after(heard, folder)
            judged = bent(verdict(heard.stop, heard.ending), self._heart.intent)
            if judged.move is Move.SUCCEED:
                result = self._published(folder, heard.ending.artifacts)
        except Exception as fault:
            judged = _judged_fault(fault)
        if result is None and judged.move in (Move.FAIL, Move.CANCEL):
            result = self._kept_log(folder)
        return Settling(
            judged,
            result,
            exit=None if heard is None else heard.ending.status,
            log_tail="" if heard is None else heard.log_tail,
        )

    def _started(self, folder: Path) -> Runner:
        """Bring in what the runner reads, and start it."""
        slot, check = self._slot, self._wishes.check
        model = model_folder(self._wanted(), slot.settings, self._writer.event, check)
        arguments = self._kind.arguments(self._desk(folder), model)
        check()
        runner = self._spawned([*command_of(slot.settings, self._kind.verb), *arguments], folder)
        failpoint("run.spawned")
        return runner

    def _desk(self, folder: Path) -> Desk:
        writer = self._writer
        return Desk(
            claim=self._claim,
            folder=folder,
            blobs=self._slot.blobs,
            check=self._wishes.check,
            subject=writer.subject,
            pass_over=writer.pass_over,
            settings=self._slot.settings,
            said=writer.judged_before,
            secret=self._secret,
        )

    def _spawned(self, command: list[str], folder: Path, key: str | None = None) -> Runner:
        limits = Limits(file_bytes=self._slot.settings.max_file_bytes)
        return spawn(command, folder, limits, environment(folder), key=key)

    def _secret(self, name: str) -> str:
        return self._writer.secret(Sealer.of(self._slot.settings.secret_keys()), name)

    def _heard_after(self, heard: Heard, folder: Path) -> Heard:
        """Start what follows a runner that has done its part, and hear it too; its failure is only told."""
        if verdict(heard.stop, heard.ending).move is not Move.SUCCEED:
            return heard
        sequel = self._kind.sequel(self._desk(folder))
        if sequel is None:
            return heard
        try:
            key = None if sequel.key is None else sequel.key()
        except (SecretUnknown, SecretUnreadable, SecretsOff) as fault:
            return self._without(heard, folder, str(fault))
        self._wishes.check()
        command = [*command_of(self._slot.settings, *sequel.verb), *sequel.arguments]
        after = self._heard(self._spawned(command, folder, key), folder, heard)
        if _did_well(after) or after.stop in ASKED_FOR:
            return after
        why = why_ended(after.stop, after.ending)
        if after.ending.failed is None:  # it died, and what it has left may still be told
            log.warning("run.sequel_died", why=why)
            after = self._heard(self._spawned([*command, *sequel.instead], folder), folder, after)
            if _did_well(after) or after.stop in ASKED_FOR:
                return after
        return self._without(after, folder, why)

    def _without(self, heard: Heard, folder: Path, why: str) -> Heard:
        """Go on with what the runner has left."""
        log.warning("run.sequel_failed", why=why)
        self._kind.without(self._desk(folder), why)
        ending = replace(heard.ending, status=EXIT_OK, failed=None)
        return replace(heard, stop=None, ending=ending)

    def _wanted(self) -> Wanted:
        """Name the base; the token is opened where it is needed, and goes to the fetcher alone."""
        claim = self._claim
        model, revision = claim.spec["model"], revision_of(claim, self._writer.subject)
        token = claim.spec.get("hub_token")
        if token is None:
            return Wanted(model, revision)
        return Wanted(model, revision, claim.project_id, partial(self._secret, token["secret"]))

    def _heard(self, runner: Runner, folder: Path, before: Heard | None = None) -> Heard:
        """Hear the runner to its end; nothing of it lives when this returns.

        With ``before``, which it follows: what that one said and left stands.
        """
        live = LiveLog(self._writer.log_part, 0 if before is None else before.log_parts)
        capture = LogCapture(runner.log, folder / LOG, self._slot.settings.max_log_bytes, live.say)
        inbox = Inbox(runner.reports, capture.note)
        uploader = Uploader(folder / "out", folder / SAVED, self._shelf.put, self._writer.checkpoint)
        bounds = self._kind.bounds(self._claim, self._slot.settings)
        voices = Voices(inbox, Reporter(inbox, self._writer.write, uploader.offer, self._stage), uploader)
        try:
            stop, status = watch(runner, voices, self._wishes, bounds, self._slot.settings)
            capture.finish()
            live.last_call()
            stop = self._last_words(voices) or stop
            live.done(LOG_SECONDS)
        finally:
            runner.end()
            live.give_up()
            inbox.close()
            voices.reporter.give_up()
            uploader.give_up()
        artifacts = {**({} if before is None else before.ending.artifacts), **inbox.artifacts}
        if self._kind.record is not None and any(name in artifacts for name in self._kind.owed(self._claim)):
            artifacts[RECORD] = self._kind.record
        ending = Ending(status, inbox.failed, artifacts, self._kind.owed(self._claim), runner.memory())
        tail = capture.tail() if before is None else f"{before.log_tail}\n{capture.tail()}"
        return Heard(stop, ending, tail, live.number)

    def _last_words(self, voices: Voices) -> Stop | None:
        """Write what is still in the pipe and store what was saved, as long as the job is ours."""
        voices.inbox.finish(LAST_WORDS_SECONDS)
        voices.reporter.last_call()
        while not voices.reporter.done(0.1):
            if (stop := self._wishes.stop()) in (Stop.LOST, Stop.LEASE):
                return stop
        voices.uploader.last_call()
        ended = time.monotonic()
        while not voices.uploader.done(0.1):
            stop = self._wishes.stop()
            if stop in (Stop.LOST, Stop.LEASE):
                return stop
            if time.monotonic() - ended > self._patience(stop):
                log.warning("run.checkpoint_not_stored")
                break
        return voices.stop()

    def _patience(self, stop: Stop | None) -> float:
        """Tell how long the last checkpoint may take to be stored."""
        settings = self._slot.settings
        match stop:
            case Stop.CANCEL:
                return settings.stop_seconds / 2
            case Stop.DRAIN:
                return settings.drain_seconds / 2 - 2.0
            case _:
                return settings.pause_seconds

    def _published(self, folder: Path, said: Mapping[str, str]) -> Result:
        """Store what the run made, and what we kept of it."""
        check = self._wishes.check_publishing
        check()
        publisher = Publisher(self._shelf, folder, check)
        result = publisher.publish(said, {**self._tables(folder), "log": folder / LOG})
        reported = publisher.store(self._reports(folder, result))
        result = replace(result, artifacts=[*result.artifacts, *reported])
        self._kind.leave(self._desk(folder))
        failpoint("publish.stored")
        return result

    def _tables(self, folder: Path) -> dict[str, Path]:
        """Write the metrics down: as we name them, and as readers of OpenAI's result files do."""
        if not self._kind.has_metrics:
            return {}
        rows = self._writer.metric_rows
        metrics_csv.write(folder / METRICS, metrics_csv.columns(rows()), rows())
        heads, keys = zip(*metrics_csv.results(rows()), strict=True)
        metrics_csv.write(folder / RESULTS, keys, rows(), heads)
        return {METRICS: folder / METRICS, RESULTS: folder / RESULTS}

    def _reports(self, folder: Path, result: Result) -> dict[str, Path]:
        """Report what the run came to."""
        rows = self._writer.metric_rows() if self._kind.has_metrics else ()
        return self._kind.report(self._desk(folder), result.record, rows)

    def _kept_log(self, folder: Path) -> Result | None:
        """Store the log of a run that left nothing else; without storage its last lines have to do."""
        if not (folder / LOG).is_file():
            return None
        try:
            publisher = Publisher(self._shelf, folder, lambda: None)
            return Result({}, publisher.store({"log": folder / LOG}))
        except StoreError as fault:
            log.warning("run.log_not_stored", code=fault.code)
            return None


def _did_well(heard: Heard) -> bool:
    return heard.stop is None and heard.ending.failed is None and heard.ending.status == EXIT_OK


def _judged_fault(fault: Exception) -> Verdict:
    """Say what an error around the runner means for the job."""
    match fault:
        case Stopped():
            return verdict(fault.stop, NOT_STARTED)
        case LeaseLost():
            return Verdict(Move.LEAVE)
        case WorkerError() | CoreError() | StoreError() if fault.retryable:
            return give_back("infra", fault.code, str(fault))
        case WorkerError() | CoreError() | SecretUnknown() | SecretUnreadable() | SecretsOff():
            return failure(fault.code, str(fault))
        case OSError() if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return failure("disk_full_work", "The worker's disk is full; free some space and submit again.")
        case _:
            log.error("run.supervision_failed", exc_info=fault)
            return give_back("once", "internal", "The supervisor of the run failed.")

"""Answers orders one after the other: finds what is asked, has it on disk, lets the child speak.

Lives in the main thread, since the child dies with the thread that started it. Whatever goes wrong is told
to who asked, and the next order finds everything in order again.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Engine

from neftune_core.errors import CoreError
from neftune_core.generation_lines import Answer, Done, Failed, Put, Question, Reply, Stop
from neftune_store.errors import StoreError
from worker.errors import WorkerError
from worker.generation.cupboard import Cupboard
from worker.generation.desk import Desk, Ticket
from worker.generation.place import Place
from worker.generation.speaker import Speaker, SpeakerGone
from worker.model_source import Wanted, model_folder
from worker.settings import GenerateSettings

BUSY = "generation_busy"
INTERRUPTED = "generation_interrupted"
_LOOK_SECONDS = 1.0  # between looks whether training wants the GPU
_STOP_SECONDS = 10.0  # for the child to end an answer nobody wants
_OVER = (Done, Failed)

log = structlog.get_logger()


class _Unwanted(Exception):
    """Nobody listens any more, or the process is to leave."""


class _Refused(Exception):
    """There is no answer now, and this is why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to answer."""

    settings: GenerateSettings
    home: Path
    engine: Engine
    cupboard: Cupboard
    place: Place
    leaving: Callable[[], bool]


class Keeper:
    """Takes orders from the desk until it is to leave."""

    def __init__(self, means: Means, desk: Desk) -> None:
        self._means, self._desk = means, desk
        self._speaker: Speaker | None = None
        self._asked_at = self._looked_at = time.monotonic()
        self._number = 0
        self._heard = False  # whether the child has said anything to the question of now

    def run(self) -> None:
        """Answer until told to leave; nothing of the child is left then."""
        try:
            while not self._means.leaving():
                ticket = self._desk.next(0.2)
                if ticket is None:
                    self._rest()
                else:
                    self._serve(ticket)
        finally:
            self._end("leaving")

    def _rest(self) -> None:
        """Let go of the model when nobody asks for it, or training wants its place."""
        if self._speaker is None:
            return
        if time.monotonic() - self._asked_at > self._means.settings.generate_idle_seconds:
            self._end("idle")
        elif self._wanted_for_training(self._speaker):
            self._end("training")

    def _serve(self, ticket: Ticket) -> None:
        """Answer all questions of an order, as long as somebody listens."""
        try:
            for index, question in enumerate(ticket.order.questions):
                self._answer(ticket, index, question)
        except _Unwanted:
            if not ticket.gone.is_set():
                ticket.tell(0, Failed(0, INTERRUPTED, "The process that answers is leaving; ask again."))
        finally:
            self._asked_at = time.monotonic()
            ticket.close()

    def _answer(self, ticket: Ticket, index: int, question: Question) -> None:
        """Answer one question; a fault is its answer, and the next one is asked nevertheless."""
        began = time.monotonic()
        try:
            last = self._answered(ticket, index, question)
            log.info("generate.answered", **_told(last), seconds=round(time.monotonic() - began, 3))
            return
        except SpeakerGone:
            code, detail = INTERRUPTED, "The process that held the model died under the answer; ask again."
        except (_Refused, CoreError, StoreError, WorkerError) as fault:
            code, detail = fault.code, str(fault)
        except OSError as fault:
            log.error("generate.failed", reason=type(fault).__name__, errno=fault.errno)
            code, detail = INTERRUPTED, "The machine that answers could not read or write a file; ask again."
        log.info("generate.refused", code=code)
        ticket.tell(index, Failed(0, code, detail))

    def _answered(self, ticket: Ticket, index: int, question: Question) -> Reply:
        """Have a question answered; a child that had died before it came was none, so another is asked."""
        while True:
            was_there, self._heard = self._speaker is not None, False
            try:
                return self._spoken(ticket, index, question)
            except SpeakerGone:
                log.warning("generate.child_died", log=self._end("died")[-2000:])
                if self._heard or not was_there:
                    raise

    def _spoken(self, ticket: Ticket, index: int, question: Question) -> Reply:
        """Have the child speak, and pass on what it says; give its last word."""

        def check() -> None:
            if ticket.gone.is_set() or self._means.leaving():
                raise _Unwanted

        asked = self._prepared(question, check)
        speaker = self._on_a_device()
        speaker.ask(asked)
        heard_at = time.monotonic()
        while True:
            reply = speaker.hear()
            now = time.monotonic()
            if reply is not None and reply.id == asked.id:
                heard_at, self._heard = now, True
                ticket.tell(index, reply)
                if isinstance(reply, _OVER):
                    return reply
            elif now - heard_at > self._means.settings.generate_stall_seconds:
                raise SpeakerGone
            self._look_around(ticket, speaker, asked)

    def _look_around(self, ticket: Ticket, speaker: Speaker, asked: Answer) -> None:
        """End an answer that nobody wants, or whose place is wanted for training."""
        if ticket.gone.is_set() or self._means.leaving():
            self._stop(speaker, asked)
            raise _Unwanted
        if self._wanted_for_training(speaker):
            self._end("training")
            raise _Refused(BUSY, "A job began to train on this device; ask again when it has ended.")

    def _stop(self, speaker: Speaker, asked: Answer) -> None:
        """Have an answer end after its current token; a child that does not is ended itself."""
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(SpeakerGone):
            speaker.ask(Stop(asked.id))
            while time.monotonic() < deadline:
                reply = speaker.hear()
                if reply is not None and reply.id == asked.id and isinstance(reply, _OVER):
                    log.info("generate.stopped", **_told(reply))
                    return
        self._end("did not stop")

    def _prepared(self, question: Question, check: Callable[[], None]) -> Answer:
        """Have base and tuned files on disk."""
        settings = self._means.settings
        wanted = Wanted(question.model, question.revision, question.owner)
        base = model_folder(wanted, settings, _log_fetching, check)
        self._number += 1
        put: Put | None = None
        if question.tuned is not None:
            key, folder = self._means.cupboard.lay_out(question.tuned, check)
            if question.tuned.kind == "model":
                base = folder
            else:
                put = Put(question.tuned.kind, key, str(folder), question.tuned.lora)
        return Answer(
            id=self._number,
            base=str(base),
            asked=question.asked,
            template=question.template,
            choosing=question.choosing,
            quantization=question.quantization,
            tuned=put,
        )

    def _on_a_device(self) -> Speaker:
        """Have a child on a device that is free; one that died between two questions is replaced."""
        now = None if self._speaker is None else self._speaker.device
        device = self._means.place.free(self._means.engine, now)
        if device is None:
            raise _Refused(BUSY, "A job trains on the device that would answer; ask again when it has ended.")
        if self._speaker is not None and (device != now or not self._speaker.alive()):
            self._end("moved" if self._speaker.alive() else "died")
        if self._speaker is None:
            self._speaker = Speaker(self._means.settings.generator, self._means.home, device)
            log.info("generate.child_started", device=device)
        return self._speaker

    def _wanted_for_training(self, speaker: Speaker) -> bool:
        """Look now and then whether a job runs where the model lies."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        try:
            return self._means.place.trains_on(speaker.device, self._means.engine)
        except StoreError:  # who can't know goes on; a worker without database starts nothing either
            return False

    def _end(self, why: str) -> str:
        """Leave nothing of the child, if there is one."""
        speaker, self._speaker = self._speaker, None
        if speaker is None:
            return ""
        log.info("generate.unloaded", why=why)
        return speaker.end()


def _told(reply: Reply) -> dict[str, object]:
    if isinstance(reply, Done):
        return {"finish": reply.finish, "tokens": reply.completion_tokens, "prompt": reply.prompt_tokens}
    return {"code": reply.code} if isinstance(reply, Failed) else {}


def _log_fetching(name: str, data: dict[str, object]) -> None:
    log.info(name, **data)

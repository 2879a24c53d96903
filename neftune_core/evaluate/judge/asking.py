"""Asks a judge many questions at once, patiently, and gives up when nothing comes any more.

A question that fails goes back to the end of the queue and waits longer each time. When an endpoint asks for
a pause, or fails many times in a row, everybody waits. Nobody is asked for ever: a question has so many
tries, and the whole is over when for a while nothing went well.
"""

import heapq
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from neftune_core.evaluate.judge.endpoint import Endpoint, Then, Unanswered
from neftune_core.evaluate.judge.question import share_of_first
from neftune_core.evaluate.judge.remembered import Known
from neftune_core.ports import StopSignal

_GLANCE = 0.2  # seconds between looks at the stop signal
_REJECTED = 8  # questions refused one after the other, when none ever went well: the request is at fault


@dataclass(frozen=True)
class Patience:
    """How hard is tried."""

    concurrency: int = 4
    attempts: int = 10
    first_wait: float = 0.5  # seconds; doubled at each further try
    longest_wait: float = 30.0
    give_up: float = 180.0  # seconds from the first of failures with nothing that went well between
    limit: float | None = None  # seconds for all of it

    def after(self, seconds: float) -> Self:
        """Give what is left of it after so long."""
        return self if self.limit is None else replace(self, limit=max(0.0, self.limit - seconds))

    def wait(self, tries: int) -> float:
        """Give how long to wait after so many failures, in seconds."""
        return min(self.first_wait * 2.0 ** min(tries - 1, 30), self.longest_wait)


@dataclass(frozen=True)
class Question:
    """What is asked, by its name."""

    key: str
    body: Mapping[str, Any]


@dataclass
class Heard:
    """What came of it: answers and, for the others, why not."""

    known: dict[str, Known] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # key -> code
    failed: int = 0  # tries
    ended: str | None = None  # why no question was asked any more


def ask_all(
    questions: Sequence[Question],
    endpoint: Endpoint,
    patience: Patience,
    stop: StopSignal,
    told: Callable[[Question, Known], None],
) -> Heard:
    """Ask them all; ``told`` hears of each answer, in this thread. Raises nothing of the endpoint's."""
    asking = _Asking(questions, endpoint, patience)
    threads = [threading.Thread(target=asking.work, daemon=True) for _ in range(patience.concurrency)]
    for thread in threads[: len(questions)]:
        thread.start()
    return asking.listen(stop, told)


class _Asking:
    """The queue that threads share; everything below is under its lock."""

    def __init__(self, questions: Sequence[Question], endpoint: Endpoint, patience: Patience) -> None:
        self._questions, self._endpoint, self._patience = questions, endpoint, patience
        self._lock = threading.Condition()
        self._queue = [(0.0, number, question) for number, question in enumerate(questions)]  # when, order
        self._last = len(questions)
        self._tries: dict[str, int] = {}
        self._why: dict[str, str] = {}
        self._under_way = 0
        self._in_a_row, self._since, self._pause_until = 0, 0.0, 0.0
        self._rejected = 0
        self._ever = False
        self._news: list[tuple[Question, Known]] = []
        self._heard = Heard()

    def listen(self, stop: StopSignal, told: Callable[[Question, Known], None]) -> Heard:
        """Wait for all of it, the stop or the limit; what is under way then is left to itself."""
        begun, limit = time.monotonic(), self._patience.limit
        while True:
            late = limit is not None and time.monotonic() - begun >= limit
            cut = "stopped" if stop.requested() else "out_of_time" if late else None
            with self._lock:
                if cut:
                    self._close(cut)
                over = bool(cut) or not (self._queue or self._under_way)
                if not self._news and not over:
                    self._lock.wait(_GLANCE)
                news, self._news = self._news, []
            for question, known in news:
                told(question, known)
            if over:
                return self._result()

    def _result(self) -> Heard:
        with self._lock:
            heard = replace(self._heard, known=dict(self._heard.known))
        for question in self._questions:
            if question.key not in heard.known:
                heard.missing.setdefault(question.key, heard.ended or "stopped")
        return heard

    def work(self) -> None:
        """Ask whatever is due, until there is nothing left."""
        while (question := self._next()) is not None:
            try:
                reply = self._endpoint.ask(question.body)
                share = share_of_first(reply.text)
                if share is None:
                    raise Unanswered("nonsense", Then.AGAIN)
            except Unanswered as failure:
                self._failed(question, failure)
            except Exception:  # a thread that ends would be waited for for ever
                traceback.print_exc()
                self._failed(question, Unanswered("unforeseen", Then.NOT_THIS))
            else:
                self._answered(question, Known(share, reply.prompt_tokens, reply.completion_tokens))

    def _next(self) -> Question | None:
        with self._lock:
            while self._queue or self._under_way:
                now = time.monotonic()
                due = max(self._queue[0][0], self._pause_until) if self._queue else now + _GLANCE
                if due <= now:
                    self._under_way += 1
                    return heapq.heappop(self._queue)[2]
                self._lock.wait(due - now)
            self._lock.notify_all()
            return None

    def _answered(self, question: Question, known: Known) -> None:
        with self._lock:
            self._under_way -= 1
            self._in_a_row = self._rejected = 0
            self._ever = True
            self._heard.known[question.key] = known
            self._news.append((question, known))
            self._lock.notify_all()

    def _failed(self, question: Question, failure: Unanswered) -> None:
        with self._lock:
            self._under_way -= 1
            if self._heard.ended is None:
                self._note(question, failure)
            self._lock.notify_all()

    def _note(self, question: Question, failure: Unanswered) -> None:
        now = time.monotonic()
        self._heard.failed += 1
        self._why[question.key] = failure.code
        if failure.then is Then.AGAIN:
            self._note_pause(failure, now)
        self._rejected = self._rejected + 1 if failure.then is Then.NOT_THIS else 0
        tries = self._tries[question.key] = self._tries.get(question.key, 0) + 1
        if failure.then is Then.AGAIN and tries < self._patience.attempts:
            heapq.heappush(self._queue, (now + self._patience.wait(tries), self._last, question))
            self._last += 1
        else:
            self._heard.missing[question.key] = failure.code
        hopeless = self._in_a_row and now - self._since >= self._patience.give_up
        if failure.then is Then.NEVER or hopeless or (not self._ever and self._rejected >= _REJECTED):
            self._close(failure.code)

    def _note_pause(self, failure: Unanswered, now: float) -> None:
        if not self._in_a_row:
            self._since = now
        self._in_a_row += 1
        beyond = self._in_a_row - 2 * self._patience.concurrency
        pause = max(failure.wait, self._patience.wait(beyond) if beyond > 0 else 0.0)
        self._pause_until = max(self._pause_until, now + pause)

    def _close(self, code: str) -> None:
        """Let nothing more be asked."""
        self._heard.ended = self._heard.ended or code
        for _, _, question in self._queue:
            self._heard.missing.setdefault(question.key, self._why.get(question.key, code))
        self._queue.clear()

"""Judges pairs of answers: asks in both orders what is not known yet, and gives figures of all that is known.

A pair counts when both orders were answered; otherwise the place that a judge prefers would count too. Two
answers that are the same text are a tie that nobody is asked about. What has no answer is told and never
fails the rest; another time, only that is asked.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from neftune_core.evaluate.judge.alpaca_eval import Annotation, Pair
from neftune_core.evaluate.judge.asking import Heard, Patience, Question, ask_all
from neftune_core.evaluate.judge.cost import Estimate, estimated, spent
from neftune_core.evaluate.judge.endpoint import Endpoint
from neftune_core.evaluate.judge.length_control import SIDE
from neftune_core.evaluate.judge.preferences import controlled, counts, position, win_rate
from neftune_core.evaluate.judge.question import messages
from neftune_core.evaluate.judge.remembered import Known, Remembered, key_of
from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.evaluate.results import JudgeOf, Missing, Subject, Variant
from neftune_core.ports import StopSignal

WHY = {
    "address_refused": "its address is not a public one, and the operator does not allow its host",
    "busy": "it was busy or failed (429 or 5xx) each time",
    "certificate_refused": "its certificate does not prove its name",
    "denied": "it refused the key (401 or 403)",
    "died": "the process that asks was killed or had no memory left; evaluate again: only this is asked then",
    "key_in_the_clear": "its key would travel unencrypted; use https, or let the operator allow its host",
    "nonsense": "what it said was no preference",
    "not_there": "it has no such model or address (404, or a redirect, which is not followed)",
    "out_of_time": "the time for judging (max_minutes) was over",
    "rejected": "it rejected the request (another 4xx)",
    "stopped": "the judging was stopped",
    "timeout": "it did not answer in time",
    "unforeseen": "something unforeseen; the log has the traceback",
    "unknown_host": "its host is unknown",
    "unreachable": "the connection failed",
}


@dataclass(frozen=True)
class Judge:
    """Who is asked, and how."""

    spec: JudgeSpec
    endpoint: Endpoint
    patience: Patience

    @classmethod
    def of(cls, spec: JudgeSpec, key: str | None = None, allowed: Sequence[str] = ()) -> Self:
        """Take the judge of a spec; ``allowed`` are patterns of hosts that need no public address."""
        return cls(
            spec,
            Endpoint(spec.endpoint, key, allowed, spec.timeout_seconds),
            Patience(
                spec.concurrency,
                spec.attempts,
                give_up=spec.give_up_seconds,
                limit=None if spec.max_minutes is None else 60 * spec.max_minutes,
            ),
        )

    def question(self, instruction: str, first: str, second: str) -> Question:
        """Ask about two answers in this order."""
        body: dict[str, Any] = {"model": self.spec.model, "messages": messages(instruction, first, second)}
        asked = {"temperature": self.spec.temperature, "max_tokens": self.spec.max_tokens}
        body |= {name: value for name, value in asked.items() if value is not None}
        return Question(key_of(self.spec.endpoint, body), body)

    def orders(self, pair: Pair) -> tuple[Question, Question]:
        """Ask about a pair, ours first, and then theirs."""
        return (
            self.question(pair.instruction, pair.ours, pair.theirs),
            self.question(pair.instruction, pair.theirs, pair.ours),
        )


@dataclass(frozen=True)
class Judged:
    """Preferences, and what it took to get them."""

    judge: Judge
    pairs: Sequence[Pair]
    shares: Sequence[tuple[float | None, float | None]]  # of the text shown first: ours first, theirs first
    heard: Heard
    asked: Mapping[str, Question]  # now: those whose answer was not known
    cached: int
    why: Sequence[str | None]  # of each pair: why there is no preference

    def wins(self) -> list[float | None]:
        """Give our share of each pair: 0 to 1, or None without an answer in both orders."""
        return [None if one is None or other is None else (one + 1 - other) / 2 for one, other in self.shares]

    def annotations(self) -> list[Annotation]:
        """Give each pair with its preference."""
        return [Annotation(pair, win) for pair, win in zip(self.pairs, self.wins(), strict=True)]

    def result(
        self, against: str, file: str, subject: Subject = "checkpoint", variant: Variant = "plain"
    ) -> JudgeOf:
        """Give the figures."""
        both = [
            (one, other)
            for pair, (one, other) in zip(self.pairs, self.shares, strict=True)
            if one is not None and other is not None and pair.ours != pair.theirs
        ]
        known = [(pair, win) for pair, win in zip(self.pairs, self.wins(), strict=True) if win is not None]
        if not both and any(pair.ours != pair.theirs for pair in self.pairs):
            known = []  # equal texts are draws, but of a judge that said nothing they are no figure
        wins = [win for _, win in known]
        told = counts(wins)
        return JudgeOf(
            subject=subject,
            variant=variant,
            against=against,
            model=self.judge.spec.model,
            pairs=len(self.pairs),
            judged=len(wins),
            wins=told.wins,
            losses=told.losses,
            ties=told.ties,
            win_rate=win_rate(wins),
            length_controlled=controlled(wins, [pair.longer for pair, _ in known]),
            position=position(both),
            characters=_mean([len(pair.ours) for pair in self.pairs]),
            characters_other=_mean([len(pair.theirs) for pair in self.pairs]),
            cost=spent(self.judge.spec, self.heard, self.asked, self.cached),
            file=file,
        )

    def missing(self, what: str = "judge") -> list[Missing]:
        """Tell what is not there, and why."""
        gone = Counter(code for code in self.why if code is not None)
        told = [
            Missing(what=what, why=f"{number} of {len(self.pairs)} pairs: {WHY[code]}.")
            for code, number in gone.most_common()
        ]
        known = [pair.longer for pair, win in zip(self.pairs, self.wins(), strict=True) if win is not None]
        if known and controlled([0.5] * len(known), known) is None:
            why = f"Fewer than {SIDE} answers of one side are as long as the other's, or longer."
            told.append(Missing(what=f"{what}/length_controlled", why=why))
        return told


class _NeverStop:
    def requested(self) -> bool:
        return False


def estimate(pairs: Sequence[Pair], judge: Judge, remembered: Remembered) -> Estimate:
    """Tell what judging would take; asks nobody."""
    asked = _asked(pairs, judge)
    unknown = [question for key, question in asked.items() if remembered.get(key) is None]
    return estimated(judge.spec, unknown, len(asked))


def judge_pairs(  # noqa: PLR0913 - what is judged, by whom, and who may end it
    pairs: Sequence[Pair],
    judge: Judge,
    remembered: Remembered,
    stop: StopSignal | None = None,
    told: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    ended: str | None = None,
) -> Judged:
    """Judge; ``told`` hears how many questions are answered, and of how many.

    ``ended``: why this judge is asked nothing any more, since others were judged.
    """
    asked = _asked(pairs, judge)
    known = {key: found for key in asked if (found := remembered.get(key)) is not None}
    unknown = {key: question for key, question in asked.items() if key not in known}

    def hear(question: Question, answer: Known) -> None:
        remembered.keep(question.key, answer)
        known[question.key] = answer
        told(len(known), len(asked))

    told(len(known), len(asked))
    heard = (
        Heard(missing=dict.fromkeys(unknown, ended), ended=ended)
        if ended is not None
        else ask_all(list(unknown.values()), judge.endpoint, judge.patience, stop or _NeverStop(), hear)
    )
    shares: list[tuple[float | None, float | None]] = []
    why: list[str | None] = []
    for pair in pairs:
        if pair.ours == pair.theirs:
            shares.append((0.5, 0.5))
            why.append(None)
            continue
        one, other = (question.key for question in judge.orders(pair))
        shares.append((_share(known, one), _share(known, other)))
        why.append(heard.missing.get(one) or heard.missing.get(other))
    return Judged(judge, pairs, shares, heard, unknown, len(asked) - len(unknown), why)


def _asked(pairs: Sequence[Pair], judge: Judge) -> dict[str, Question]:
    """Give each question once, by its key."""
    questions = (question for pair in pairs if pair.ours != pair.theirs for question in judge.orders(pair))
    return {question.key: question for question in questions}


def _share(known: Mapping[str, Known], key: str) -> float | None:
    return known[key].share if key in known else None


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0

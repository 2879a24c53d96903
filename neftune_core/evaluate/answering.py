"""The answers of a subject to all questions: kept now and then, so that a crash costs little.

Knows questions and how they are asked; how tokens are chosen is :mod:`neftune_core.evaluate.answers`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neftune_core import prompts
from neftune_core.decoding import Decoding
from neftune_core.errors import DatasetError
from neftune_core.evaluate.answers import Answered, answers
from neftune_core.evaluate.material import asking_for_more
from neftune_core.evaluate.plan import Part
from neftune_core.evaluate.questions import NotThere, Question
from neftune_core.evaluate.results import Answer
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.evaluate.subject import batch_size_for
from neftune_core.speaking import Prompt, prompt_of_row

KEPT_EVERY, TOLD_EVERY = 30.0, 5.0  # seconds


@dataclass(frozen=True)
class Speaker:
    """Who answers, and how it is written down."""

    model: Any
    tokenizer: Any
    template: prompts.PromptTemplate
    generator: str
    dataset: str


class _Telling:
    """Asked at each token whether to end; uses the moment to tell now and then how far things are."""

    def __init__(self, tell: Callable[[], None], ends: Callable[[], bool]) -> None:
        self._tell, self._ends = tell, ends
        self._told = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._told >= TOLD_EVERY:
            self._told = time.monotonic()
            self._tell()
        return self._ends()


class Answering:
    """One part's answers, from those that were kept to all of them."""

    def __init__(self, spec: EvaluationSpec, part: Part, speaker: Speaker) -> None:
        self._spec, self._part, self._speaker = spec, part, speaker
        self._given: dict[int, Answered] = {}
        self._seconds = 0.0

    def go_on(self, kept: Mapping[str, Any] | None) -> None:
        """Begin with what was kept."""
        if kept is not None:
            self._given = {one["index"]: Answered(**one) for one in kept["answers"]}
            self._seconds = kept["seconds"]

    def so_far(self) -> dict[str, Any]:
        """Give what is to be kept."""
        return {"answers": [asdict(one) for one in self._given.values()], "seconds": self._seconds}

    def answer(
        self,
        questions: Sequence[Question],
        *,
        keep: Callable[[], None],
        tell: Callable[[int], None],
        ends: Callable[[], bool],
    ) -> None:
        """Answer what is not answered yet; ``keep`` and ``tell`` hear of it now and then."""
        kept = began = time.monotonic()
        before = self._seconds
        ended = _Telling(lambda: tell(len(self._given)), ends)
        for place, one in self._answers(questions, ended):
            now = time.monotonic()
            self._given[place] = one
            self._seconds = before + now - began
            if now - kept >= KEPT_EVERY:
                kept = now
                keep()

    def found(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Give what the part found: an entry for each answer, in the order of the questions."""
        pairs = [(question, self._given[place]) for place, question in enumerate(questions)]
        return {
            "prompts": len(questions),
            "seconds": self._seconds,
            "answers": [
                self._entry(question, one, one.text).model_dump(mode="json")
                for question, one in pairs
                if one.text is not None
            ],
        }

    def _answers(
        self, questions: Sequence[Question], ends: Callable[[], bool]
    ) -> Iterator[tuple[int, Answered]]:
        """Give answers with the place of their question."""
        waiting = [place for place in range(len(questions)) if place not in self._given]
        asked = [self._prompt(questions[place]) for place in waiting]
        generation, speaker = self._spec.generation, self._speaker
        size = generation.batch_size
        minimum = self._spec.baselines.min_new_tokens if self._part.variant == "min_length" else None
        for one in answers(
            speaker.model,
            speaker.tokenizer,
            asked,
            Decoding(
                max_new_tokens=generation.max_new_tokens,
                repetition_penalty=generation.repetition_penalty,
                max_total_tokens=generation.max_total_tokens,
            ),
            batch_size=batch_size_for(speaker.model) if size == "auto" else size,
            min_new_tokens=minimum or 0,
            ends=ends,
        ):
            place = waiting[one.index]
            yield place, Answered(**{**asdict(one), "index": place})

    def _prompt(self, question: Question) -> Prompt:
        row = asking_for_more(question.asked) if self._part.variant == "long_prompt" else question.asked
        speaker = self._speaker
        try:
            return prompt_of_row(row, speaker.template, speaker.tokenizer, speaker.model)
        except DatasetError as error:
            raise NotThere(str(error)) from error

    def _entry(self, question: Question, one: Answered, text: str) -> Answer:
        return Answer(
            instruction=question.instruction,
            output=text,
            generator=self._speaker.generator,
            dataset=self._speaker.dataset,
            reference=question.reference,
            finish=one.finish,
            prompt_tokens=one.prompt_tokens,
            completion_tokens=one.completion_tokens,
            row=question.row,
        )

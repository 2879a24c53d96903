"""The rows of an evaluation: those a run trained on and held out, and others by name.

Rows are read as the run read them: its template, its longest length, its split. What is asked for and can't
be had is told in the results and fails nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from neftune_core import prompts
from neftune_core.errors import CoreError, DatasetError
from neftune_core.evaluate.questions import NotThere, Question, questions_in
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.examples import examples_of
from neftune_core.model import load_tokenizer
from neftune_core.rows import Message, Row, read_rows
from neftune_core.sampling import held_out, shuffled
from neftune_core.spec import JobSpec
from neftune_core.tokenise import Example

LONG = "\n\nGive a long and detailed answer."  # what the baseline adds to a prompt


@dataclass(frozen=True)
class Sources:
    """The files with rows; ``data`` are those that the spec names."""

    rows: Path | None = None
    validation_rows: Path | None = None
    data: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """Rows as questions and as examples."""

    spec: EvaluationSpec
    job: JobSpec
    sources: Sources
    model_dir: Path

    @cached_property
    def tokenizer(self) -> Any:
        """Load the base's tokenizer."""
        return load_tokenizer(self.model_dir)

    @cached_property
    def template(self) -> prompts.Template:
        """Give the template that the run was trained with."""
        named, first = self.job.training.template, next(iter(self._split[0]), None)
        form = first.source_format if first else "messages"
        return prompts.resolve_template(named, form, bool(self.tokenizer.chat_template))

    def examples(self, of: str) -> Sequence[Example]:
        """Give the examples of ``train`` (a sample by the seed), ``held_out``, or a named dataset."""
        if of == "train":
            return self._sampled(self._examples(self._train()), self.spec.loss.train_sample)
        rows = self._held_out() if of == "held_out" else self._named(of)[: self.spec.loss.most_rows]
        return self._examples(rows)

    def questions(self, on: str) -> Sequence[Question]:
        """Give what is answered: of ``train`` a sample by the seed, of ``prompts`` the first ones."""
        if on == "train":
            found = questions_in(self._train())
            order = shuffled(len(found), self._seed, "prompts answered")[: self.spec.overlap.prompts]
            return [found[place] for place in sorted(order)]
        named = self.spec.prompts.dataset
        found = questions_in(self._held_out() if named is None else self._named(named))
        return found[: self.spec.prompts.most]

    @property
    def _seed(self) -> int:
        return self.job.training.seed if self.spec.seed is None else self.spec.seed

    def _sampled(self, examples: Sequence[Example], count: int) -> Sequence[Example]:
        # The order in which a run chooses those of its own clean train loss: the first ones are the same.
        order = shuffled(len(examples), self._seed, "clean train loss")[:count]
        return [examples[place] for place in sorted(order)]

    def _examples(self, rows: Sequence[Row]) -> Sequence[Example]:
        try:
            found = examples_of(rows, self.job.training, self.tokenizer, self.template).examples
        except DatasetError as error:
            raise NotThere(str(error)) from error
        if not found:
            raise NotThere("No row has a token to be measured within the longest length.")
        return found

    def _train(self) -> Sequence[Row]:
        if not self._split[0]:
            raise NotThere("The rows that were trained on are not at hand.")
        return self._split[0]

    def _held_out(self) -> Sequence[Row]:
        if not self._split[1]:
            raise NotThere("There are no held-out rows.")
        return self._split[1]

    @cached_property
    def _split(self) -> tuple[Sequence[Row], Sequence[Row]]:
        rows = [] if self.sources.rows is None else list(read_rows(self.sources.rows))
        if self.sources.validation_rows is not None:
            return rows, list(read_rows(self.sources.validation_rows))
        if self.job.validation.dataset is not None:
            return rows, []
        return held_out(rows, self.job.validation.split, self.job.training.seed)

    def _named(self, name: str) -> Sequence[Row]:
        path = self.sources.data.get(name)
        if path is None:
            raise NotThere("This dataset is not at hand.")
        try:
            return list(read_rows(path))
        except CoreError as error:
            raise NotThere(str(error)) from error


def asking_for_more(row: Row) -> Row:
    """Give the row with a prompt that asks for a long answer."""
    messages = list(row.messages)
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    told = messages[last]
    messages[last] = Message(told.role, told.content + LONG, context=told.context)
    return Row(row.source_format, row.kind, tuple(messages), row.text, row.tools)

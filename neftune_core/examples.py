"""Rows to examples: rendered by the template, split where a conversation is too long, encoded.

Puts templates and tokenizer together. Knows no weights and no plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neftune_core import prompts
from neftune_core.conversations import parts, splits
from neftune_core.errors import SpecError
from neftune_core.prompts_spans import Span
from neftune_core.rows_canonical import Row
from neftune_core.spec import JobSpec, TrainingSpec
from neftune_core.tokenise import Prepared, beginning, encoded, prepare


def examples_of(
    rows: Sequence[Row], training: TrainingSpec, tokenizer: Any, template: prompts.Template
) -> Prepared:
    """Tokenise all rows as the spec says."""
    return Reading(training, tokenizer, template).of(rows)


def refuse_noise_on_nothing(spec: JobSpec, prepared: Prepared) -> None:
    """Raise when noise is asked for a part of the examples that none of them has."""
    target = spec.noise.target
    if spec.alpha == 0 or target == "all":
        return
    if not any((example.response == (target == "response")).any() for example in prepared.examples):
        raise SpecError(
            f"noise.target {target}: these rows have no {target}; use all (plain text has no prompt)."
        )


@dataclass(frozen=True)
class Reading:
    """How this run reads rows."""

    training: TrainingSpec
    tokenizer: Any
    template: prompts.Template

    def of(self, rows: Sequence[Row]) -> Prepared:
        """Tokenise all rows."""
        spans = ((number, one) for number, row in enumerate(rows) for one in self.spans(row))
        return prepare(spans, self.tokenizer, self.training.max_length, self.begin())

    def spans(self, row: Row) -> Iterator[Sequence[Span]]:
        """Give the text of each example that a row becomes."""
        split = splits(self.training.split_conversations, self.template, row.source_format)
        for part in parts(row, self._fits) if split else [row]:
            yield self._rendered(part)

    def begin(self) -> list[int]:
        """Give what stands before each example."""
        # A model's own chat template writes the beginning-of-text token where it wants one.
        return [] if self.template == "chat" else beginning(self.tokenizer)

    def _rendered(self, row: Row) -> Sequence[Span]:
        return prompts.render(row, self.template, self.tokenizer, self.training.train_on)

    def _fits(self, row: Row) -> bool:
        [text] = encoded([(0, self._rendered(row))], self.tokenizer)
        return len(self.begin()) + len(text.ids) <= self.training.max_length

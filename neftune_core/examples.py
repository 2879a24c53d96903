"""Rows to examples: rendered by the template, split where a conversation is too long, encoded.

Puts templates and tokenizer together. Knows no weights and no plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from neftune_core import prompts
from neftune_core.conversations import parts, splits
from neftune_core.errors import SpecError
from neftune_core.prompts_spans import Span
from neftune_core.rows_canonical import Row
from neftune_core.spec import JobSpec, TrainingSpec
from neftune_core.tokenise import Fitted, Prepared, beginning, encoded, fitted, prepare, prepared


class Known(Protocol):
    """What rows became before, and will be known to have become."""

    def get(self, row: Row) -> Sequence[Fitted] | None:
        """Give what a row becomes, if that is known."""

    def add(self, row: Row, texts: Sequence[Fitted]) -> None:
        """Remember what a row became."""


def examples_of(
    rows: Sequence[Row],
    training: TrainingSpec,
    tokenizer: Any,
    template: prompts.Template,
    known: Known | None = None,
) -> Prepared:
    """Tokenise all rows as the spec says, but for those that are known."""
    reading = Reading(training, tokenizer, template)
    return reading.of(rows) if known is None else reading.beside(rows, known)


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

    def beside(self, rows: Sequence[Row], known: Known) -> Prepared:
        """Tokenise the rows that are not known, to the same examples."""
        texts = [known.get(row) for row in rows]
        news = [number for number, found in enumerate(texts) if found is None]
        spans = ((number, one) for number in news for one in self.spans(rows[number]))
        fresh: dict[int, list[Fitted]] = {number: [] for number in news}
        begin = self.begin()
        for text in encoded(spans, self.tokenizer):
            fresh[text.row].append(fitted(text, self.training.max_length, begin))
        for number in news:
            known.add(rows[number], fresh[number])
        whole = (fresh[number] if found is None else found for number, found in enumerate(texts))
        numbered = ((number, one) for number, found in enumerate(whole) for one in found)
        return prepared(numbered, self.training.max_length)

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

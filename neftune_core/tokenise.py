"""Rows to token ids: what is trained, what is cut, and the key that names an example to the noise.

A row's text is encoded as one piece, as tokenizers expect, and each token is traced back to the span it
came from. Content that spells a special token (``<|im_start|>``) is data: such a row is encoded again
with special tokens switched off in its content, so that no row can forge a role.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neftune_core.errors import NoTrainableTokens
from neftune_core.keys import ExampleKeys
from neftune_core.plan import DROPPED_ALLOWED
from neftune_core.prompts_spans import Span

_AT_ONCE = 1000  # rows

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A row as the model sees it, or a part of a conversation.

    ``trained`` marks the tokens to be learnt, never the first one; ``response`` marks what the assistant
    says, learnt or not (a text row says everything).
    """

    row: int
    ids: Ids
    trained: Flags
    key: int
    response: Flags

    @property
    def trained_tokens(self) -> int:
        """Count the tokens that carry loss."""
        return int(self.trained.sum())


@dataclass(frozen=True)
class Prepared:
    """The examples of a dataset, and what became of its other rows.

    A row is dropped when nothing of it is left. ``truncated`` counts what was cut, ``unended`` the examples
    among it that lost the end of an answer: they teach no end-of-text token.
    """

    examples: tuple[Example, ...]
    dropped: int
    truncated: int
    unended: int

    @property
    def rows(self) -> int:
        """Count the rows that the examples came from."""
        return len({example.row for example in self.examples})

    @property
    def split(self) -> int:
        """Count the rows that became several examples."""
        return sum(several > 1 for several in Counter(example.row for example in self.examples).values())

    @property
    def tokens(self) -> int:
        """Count the tokens of one epoch."""
        return sum(len(example.ids) for example in self.examples)


def beginning(tokenizer: Any) -> list[int]:
    """Give the beginning-of-text token, if this tokenizer puts one before a text."""
    ids: list[int] = tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids
    return ids[:1] if ids[:1] == [tokenizer.bos_token_id] else []


def prepare(
    rows: Iterable[tuple[int, Sequence[Span]]], tokenizer: Any, max_length: int, begin: Sequence[int] = ()
) -> Prepared:
    """Encode numbered rows, cut them at ``max_length``, and drop those with nothing left to learn.

    ``begin`` is put before each row.
    """
    texts = ((text.row, fitted(text, max_length, begin)) for text in encoded(rows, tokenizer))
    return prepared(texts, max_length)


def prepared(texts: Iterable[tuple[int, "Fitted"]], max_length: int) -> Prepared:
    """Make examples of texts that are cut already, and name them; drop those with nothing left to learn."""
    keys = ExampleKeys()
    examples: list[Example] = []
    read: set[int] = set()
    truncated = unended = 0
    for row, one in texts:
        read.add(row)
        truncated += one.length > max_length
        if not one.trained.any():
            continue
        unended += one.unended
        examples.append(Example(row, one.ids, one.trained, keys.key(one.ids), one.response))
    dropped = len(read - {example.row for example in examples})
    return Prepared(tuple(examples), dropped, truncated, unended)


class Fitted(NamedTuple):
    """What of a text fits; ``length`` is what it had, ``unended``: an answer lost its end."""

    ids: Ids
    trained: Flags
    response: Flags
    length: int
    unended: bool


def fitted(text: "Encoded", max_length: int, begin: Sequence[int] = ()) -> Fitted:
    """Put ``begin`` before a text and cut it at ``max_length``."""
    head, plain = np.array(begin, dtype=np.int32), np.zeros(len(begin), dtype=bool)
    ids = np.concatenate([head, text.ids])
    trained = np.concatenate([plain, text.trained])
    response = np.concatenate([plain | text.response[:1].all(), text.response])  # begins as it goes on
    kept, learnt = ids[:max_length], trained[:max_length]
    learnt[:1] = False  # nothing comes before the first token to tell it from
    unended = bool(trained[max_length:].any())  # an answer's last token is the one that ends it
    return Fitted(kept, learnt, response[:max_length], len(ids), unended)


def refuse_if_mostly_dropped(prepared: Prepared, max_length: int) -> None:
    """Raise when more than a tenth of the rows had nothing to train on."""
    rows = prepared.rows + prepared.dropped
    if not prepared.examples or prepared.dropped > DROPPED_ALLOWED * rows:
        raise NoTrainableTokens(
            f"{prepared.dropped} of {rows} rows have no token to train on within {max_length} tokens; "
            "raise training.max_length, shorten the prompts, or mend rows with empty answers."
        )


class Encoded(NamedTuple):
    """A row's token ids, and which of them lie in trained text and in what the assistant says.

    ``ends`` tells for each token how many characters of the text are written with it.
    """

    row: int
    ids: Ids
    trained: Flags
    response: Flags
    ends: NDArray[np.int64]


def encoded(rows: Iterable[tuple[int, Sequence[Span]]], tokenizer: Any) -> Iterator[Encoded]:
    """Give each numbered row's tokens."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    reserved = special_ids(tokenizer)
    pending = iter(rows)
    while batch := list(islice(pending, _AT_ONCE)):
        texts = ["".join(span.text for span in spans) for _, spans in batch]
        backend.encode_special_tokens = False
        for (row, spans), encoding in zip(
            batch, backend.encode_batch(texts, add_special_tokens=False), strict=True
        ):
            ids = np.array(encoding.ids, dtype=np.int32)
            ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            span_of = _span_of(spans, ends)
            forged = np.isin(ids, reserved) & ~np.array([span.special for span in spans], dtype=bool)[span_of]
            if forged.any():
                ids, span_of, ends = _encoded_apart(spans, backend)
            yield Encoded(
                row,
                ids,
                np.array([span.trained for span in spans], dtype=bool)[span_of],
                np.array([span.response for span in spans], dtype=bool)[span_of],
                ends[:, 1],
            )


def _span_of(spans: Sequence[Span], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell for each token the span that holds its last character: a straddling token is the answer's."""
    bounds = np.cumsum([len(span.text) for span in spans])
    last = np.maximum(offsets[:, 1] - 1, offsets[:, 0])
    return np.minimum(np.searchsorted(bounds, last, side="right"), len(spans) - 1)


def _encoded_apart(spans: Sequence[Span], backend: Any) -> tuple[Ids, NDArray[np.int64], NDArray[np.int64]]:
    """Encode special and plain stretches apart, so that special tokens in content stay plain text."""
    ids: list[int] = []
    span_of: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    first = written = 0
    for special, stretch in groupby(spans, key=lambda span: span.special):
        part = list(stretch)
        backend.encode_special_tokens = not special
        text = "".join(span.text for span in part)
        encoding = backend.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        ids += encoding.ids
        span_of.append(first + _span_of(part, offsets))
        ends.append(written + offsets)
        first += len(part)
        written += len(text)
    backend.encode_special_tokens = False
    return np.array(ids, dtype=np.int32), np.concatenate(span_of), np.concatenate(ends)


def special_ids(tokenizer: Any) -> list[int]:
    """List the ids only a template may use; the unknown token is what any strange character becomes."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted((added | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id})

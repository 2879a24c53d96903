"""What a look at a dataset tells: rows as the model will see them, and what they come to in tokens.

Uses the very functions that the run tokenises with, so what is shown is what is trained.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neftune_core.errors import TemplateError
from neftune_core.examples import Reading
from neftune_core.prompts_spans import Span
from neftune_core.rows import Row
from neftune_core.tokenise import Ids, encoded, fitted
from neftune_core.weights import Embedding, embedding_of

ALPHAS = (5.0, 10.0, 15.0)
MOST_SHOWN = 32_768  # characters of one example
_BATCH = 100  # rows between two looks at the clock
_FAULTS_TOLD = 10
_BINS = 20


def shown(rows: Sequence[Row], reading: Reading) -> list[dict[str, Any]]:
    """Show rows, each with the examples it becomes."""
    return [{"row": number, **_shown(row, reading)} for number, row in enumerate(rows, 1)]


def _shown(row: Row, reading: Reading) -> dict[str, Any]:
    try:
        return {"fault": None, "examples": [_example(spans, reading) for spans in reading.spans(row)]}
    except TemplateError as error:
        return {"fault": {"code": error.code, "detail": str(error)}, "examples": []}


def _example(spans: Sequence[Span], reading: Reading) -> dict[str, Any]:
    [text] = encoded([(0, spans)], reading.tokenizer)
    begin, most = reading.begin(), reading.training.max_length
    one = fitted(text, most, begin)
    kept = len(one.ids) - len(begin)
    characters = int(text.ends[kept - 1]) if kept > 0 else 0
    if one.length <= most:
        characters = sum(len(span.text) for span in spans)
    written = [Span(reading.tokenizer.bos_token, special=True)] if begin else []
    visible = [*written, *_cut(spans, min(characters, MOST_SHOWN))]
    return {
        "tokens": one.length,
        "kept_tokens": len(one.ids),
        "trained_tokens": int(one.trained.sum()),
        "truncated": one.length > most,
        "shown_whole": characters <= MOST_SHOWN,
        "spans": [
            {"text": span.text, "trained": span.trained, "special": span.special, "response": span.response}
            for span in visible
        ],
    }


def _cut(spans: Sequence[Span], characters: int) -> Iterator[Span]:
    for span in spans:
        if characters <= 0:
            return
        yield replace(span, text=span.text[:characters])
        characters -= len(span.text)


class Counting:
    """Counts tokens of rows until it has them all or its time is over."""

    def __init__(self, reading: Reading, model_dir: Path) -> None:
        self._reading = reading
        self._model_dir = model_dir
        self._lengths: list[int] = []  # before the cut
        self._kept: list[int] = []
        self._rows = self._trained = self._unended = self._dropped = 0
        self._of_token = np.zeros(0, dtype=np.int64)
        self._uncounted: list[Ids] = []
        self._faults: list[dict[str, Any]] = []
        self._unrenderable = 0

    def read(self, rows: Sequence[Row], seconds: float) -> None:
        """Count; in an order by chance, so that those that were reached stand for all."""
        until = time.monotonic() + seconds
        order = list(range(len(rows)))
        random.Random(0).shuffle(order)  # noqa: S311 - a sample, no secret
        for start in range(0, len(order), _BATCH):
            for number in order[start : start + _BATCH]:
                self._add(number + 1, rows[number])
            self._count()
            if time.monotonic() > until:
                return

    def told(self) -> dict[str, Any]:
        """Tell what was counted."""
        tokens = sum(self._kept)
        return {
            "rows_read": self._rows,
            "examples": len(self._kept),
            "dropped_rows": self._dropped,
            "unrenderable": {"rows": self._unrenderable, "first": self._faults},
            "truncated": sum(length > self._reading.training.max_length for length in self._lengths),
            "unended": self._unended,
            "tokens": tokens,
            "trained_tokens": self._trained,
            "trained_share": self._trained / tokens if tokens else None,
            "length": lengths_of(self._lengths),
            "noise": noise_of(self._kept, self._embedding()),
        }

    def _add(self, number: int, row: Row) -> None:
        self._rows += 1
        before = len(self._kept)
        try:
            spans = [(number, one) for one in self._reading.spans(row)]
        except TemplateError as error:
            self._unrenderable += 1
            if len(self._faults) < _FAULTS_TOLD:
                self._faults.append({"row": number, "code": error.code, "detail": str(error)})
            return
        for text in encoded(spans, self._reading.tokenizer):
            one = fitted(text, self._reading.training.max_length, self._reading.begin())
            self._lengths.append(one.length)
            if not one.trained.any():
                continue
            self._unended += one.unended
            self._kept.append(len(one.ids))
            self._trained += int(one.trained.sum())
            self._uncounted.append(one.ids)
        self._dropped += len(self._kept) == before

    def _count(self) -> None:
        """Count how often each token has come."""
        seen = np.bincount(np.concatenate([self._of_token[:0], *self._uncounted]))
        self._uncounted.clear()
        size = max(len(seen), len(self._of_token))
        both = (np.pad(one, (0, size - len(one))) for one in (seen, self._of_token))
        self._of_token = np.sum([*both], axis=0)

    def _embedding(self) -> Embedding | None:
        return embedding_of(self._model_dir, self._of_token) if self._kept else None


def lengths_of(lengths: Sequence[int]) -> dict[str, Any] | None:
    """Give middle, tail and histogram of lengths; a bin holds its ``from`` and its ``to``."""
    if not lengths:
        return None
    width = max(1, math.ceil(max(lengths) / _BINS))
    counts = np.bincount((np.array(lengths) - 1) // width)
    return {
        "p50": percentile(lengths, 0.50),
        "p95": percentile(lengths, 0.95),
        "max": max(lengths),
        "mean": sum(lengths) / len(lengths),
        "histogram": [
            {"from": number * width + 1, "to": (number + 1) * width, "examples": int(count)}
            for number, count in enumerate(counts)
        ],
    }


def percentile(values: Sequence[int], share: float) -> int:
    """Give the smallest value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def noise_of(kept: Sequence[int], embedding: Embedding | None) -> dict[str, Any]:
    """Tell the largest noise on a number, ``alpha / sqrt(L d)``, and what it is beside the embeddings.

    The ratio is what a run measures as ``noise_ratio``: root mean squares over all tokens, of uniform noise
    on whole examples. Each example adds the same sum of squares, ``alpha^2 / 3``, whatever its length.
    """
    if not kept or embedding is None:
        why = "there is no example" if not kept else "the model's token embedding was not found"
        return {"channels": None, "embedding_rms": None, "unknown_because": why, "alphas": []}
    told = []
    for alpha in ALPHAS:
        rms = alpha * math.sqrt(len(kept) / (3 * embedding.channels * sum(kept)))
        told.append(
            {
                "alpha": alpha,
                "bound_at_p50": alpha / math.sqrt(percentile(kept, 0.50) * embedding.channels),
                "bound_at_p95": alpha / math.sqrt(percentile(kept, 0.95) * embedding.channels),
                "bound_largest": alpha / math.sqrt(min(kept) * embedding.channels),
                "noise_rms": rms,
                "ratio": rms / embedding.rms if embedding.rms else None,
            }
        )
    return {
        "channels": embedding.channels,
        "embedding_rms": embedding.rms,
        "unknown_because": embedding.unknown_because,
        "alphas": told,
    }

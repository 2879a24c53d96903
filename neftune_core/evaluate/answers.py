"""Many answers at once: greedy, in eval mode, without noise, and word for word those of one at a time.

Prompts of a batch are padded on the left. What one-by-one generation does not see must not count: padding
is never penalised as a repetition, and each answer has the room that its own prompt leaves. A batch that has
mostly ended is broken off; what is unfinished goes on from its own words in a fuller one, so that no long
answer is waited for by rows that are done.

Axes: B rows, T places, V vocabulary.
"""

# ruff: noqa: N806 - a tensor's name ends with its axes

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from neftune_core.decoding import Decoding, GrowingText
from neftune_core.errors import PromptTooLong
from neftune_core.speaking import Prompt, positions_of, refuse_unless_quiet

# While others wait, a batch is broken off when a fourth of it is left and has said an eighth of what it read:
# what goes on is read again, and the first words are not worth that.
FOURTH, EIGHTH = 4, 8


@dataclass(frozen=True)
class Answered:
    """An answer to the prompt at ``index``; ``text`` is ``None`` where the prompt left no room for one."""

    index: int
    text: str | None
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


@dataclass
class _Row:
    """An answer in the making."""

    index: int
    prompt: Prompt
    room: int
    said: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return [*self.prompt.ids, *self.said]

    @property
    def left(self) -> int:
        return self.room - len(self.said)

    def hear(self, new: Sequence[int], ends: Sequence[int]) -> None:
        """Take what is its own of what was written: up to its end or its room."""
        new = new[: self.left]
        stop = next((place for place, token in enumerate(new) if token in ends), len(new) - 1)
        self.said += new[: stop + 1]

    def over(self, ends: Sequence[int]) -> bool:
        """Tell whether it has ended."""
        return self.left <= 0 or (bool(self.said) and self.said[-1] in ends)


def answers(  # noqa: PLR0913 - who answers what, how, and who may end it
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    *,
    batch_size: int,
    min_new_tokens: int = 0,
    ends: Callable[[], bool] = lambda: False,
) -> Iterator[Answered]:
    """Answer prompts of one template, in no order; stop after any token when ``ends`` says so.

    ``min_new_tokens`` forbids the end of an answer before so many tokens.
    """
    refuse_unless_quiet(model)
    waiting: list[_Row] = []
    for index, prompt in enumerate(prompts):
        try:
            room = decoding.room(len(prompt.ids), positions_of(model))
        except PromptTooLong:
            yield Answered(index, None, "length", len(prompt.ids), 0)
        else:
            waiting.append(_Row(index, prompt, room))
    # Longest first: little padding, and memory's worst comes at once.
    waiting.sort(key=lambda row: (-len(row.prompt.ids), row.index))
    stops = sorted({end for prompt in prompts for end in prompt.ends})
    while waiting and not ends():
        rows, rest = waiting[:batch_size], waiting[batch_size:]
        few = len(rows) // FOURTH if rest else 0
        try:
            _go_on(_Batch(rows, stops, few, min_new_tokens, ends), model, tokenizer, decoding)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            batch_size = -(-len(rows) // 2)
            torch.cuda.empty_cache()
            continue
        yield from (_answered(row, tokenizer, stops) for row in rows if row.over(stops))
        waiting = rest + [row for row in rows if not row.over(stops)]


@torch.inference_mode()
def _go_on(batch: "_Batch", model: Any, tokenizer: Any, decoding: Decoding) -> None:
    """Let the rows of a batch go on until they have ended, or few enough are left."""
    pad = tokenizer.pad_token_id or 0
    width = max(len(row.ids) for row in batch.rows)
    padding = [width - len(row.ids) for row in batch.rows]
    ids_BT = [[pad] * before + row.ids for before, row in zip(padding, batch.rows, strict=True)]
    mask_BT = [[0] * before + [1] * (width - before) for before in padding]
    written_BT: Tensor = model.generate(
        input_ids=torch.tensor(ids_BT, device=model.device),
        attention_mask=torch.tensor(mask_BT, device=model.device),
        do_sample=False,
        max_new_tokens=max(row.left for row in batch.rows),
        repetition_penalty=1.0,  # ours, which knows the real tokens, comes beside it
        eos_token_id=list(batch.ends),
        pad_token_id=pad,
        use_cache=True,
        logits_processor=LogitsProcessorList([_AsAlone(batch, decoding.repetition_penalty)]),
        stopping_criteria=StoppingCriteriaList([_Watch(batch)]),
    )
    for row, new in zip(batch.rows, written_BT[:, width:].tolist(), strict=True):
        row.hear(new, batch.ends)


@dataclass(frozen=True)
class _Batch:
    """Rows that go on together; it may be broken off when so ``few`` are left."""

    rows: Sequence[_Row]
    ends: Sequence[int]
    few: int
    min_new_tokens: int
    ended: Callable[[], bool]


class _Watch(StoppingCriteria):
    """Ends each row where its own room does, and the batch when few rows are left."""

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch
        self._left_B: Tensor | None = None

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        """Tell which rows are over."""
        if self._left_B is None:
            left = [row.left for row in self._batch.rows]
            self._left_B = torch.tensor(left, device=input_ids.device)
            self._ends = torch.tensor(self._batch.ends, device=input_ids.device)
            self._over_B = torch.zeros_like(self._left_B, dtype=torch.bool)
            self._worth = (input_ids.shape[1] - 1) * (EIGHTH + 1) // EIGHTH
        self._left_B -= 1
        self._over_B |= (self._left_B <= 0) | torch.isin(input_ids[:, -1], self._ends)
        few = input_ids.shape[1] >= self._worth and int((~self._over_B).sum()) <= self._batch.few
        return torch.ones_like(self._over_B) if few or self._batch.ended() else self._over_B


class _AsAlone(LogitsProcessor):
    """Penalises repetitions as for a row alone, and forbids the end where an answer is to be longer."""

    def __init__(self, batch: _Batch, penalty: float) -> None:
        self._batch, self._penalty = batch, penalty
        self._seen_BV: Tensor | None = None
        self._new = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Change the scores of the next token."""
        if self._penalty != 1.0:
            seen_BV = self._seen(input_ids, scores)
            penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
            scores = torch.where(seen_BV, penalised, scores)
        short = [len(row.said) + self._new < self._batch.min_new_tokens for row in self._batch.rows]
        if any(short):
            place = torch.tensor(short, device=scores.device).nonzero()
            scores[place, torch.tensor(self._batch.ends, device=scores.device)] = -torch.inf
        self._new += 1
        return scores

    def _seen(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Mark each row's tokens: what it was given, without padding, and what it has said."""
        if self._seen_BV is None:
            seen_BV = torch.zeros_like(scores, dtype=torch.bool)
            for place, row in enumerate(self._batch.rows):
                seen_BV[place, torch.tensor(row.ids, device=scores.device)] = True
            self._seen_BV = seen_BV
        else:
            self._seen_BV.scatter_(1, input_ids[:, -1:], True)
        return self._seen_BV


def _answered(row: _Row, tokenizer: Any, ends: Sequence[int]) -> Answered:
    said: str = tokenizer.decode(row.said, skip_special_tokens=True)
    text = GrowingText(strip=row.prompt.strip).end(said)
    stopped = bool(row.said) and row.said[-1] in ends
    return Answered(row.index, text, "stop" if stopped else "length", len(row.prompt.ids), len(row.said))

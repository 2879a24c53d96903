"""Which examples make an optimizer step, and how a step's examples lie in rows.

The plan decides membership and order from (seed, epoch) alone; micro-batches only arrange the members
of one step. Nothing here is random beyond that. Knows nothing of models.

Axes: B rows, T places, M trained tokens, S examples, N real tokens.
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neftune_core.noise import Layout
from neftune_core.plan import steps_per_epoch
from neftune_core.sampling import shuffled
from neftune_core.tokenise import Example


@dataclass(frozen=True)
class Step:
    """One optimizer step: its number from 1, its epoch from 0, and its members."""

    number: int
    epoch: int
    examples: tuple[Example, ...]

    @property
    def tokens(self) -> int:
        """Count the real tokens."""
        return sum(len(example.ids) for example in self.examples)

    @property
    def trained_tokens(self) -> int:
        """Count the tokens whose losses are summed: the denominator of the step's loss."""
        return sum(example.trained_tokens for example in self.examples)


@dataclass(frozen=True)
class MicroBatch:
    """Some examples of a step in rows. ``place_M`` are flat places whose next token is trained.

    ``mask_BT`` marks the real places of padded rows; ``lengths`` those of the examples of a packed row, in
    their order. The model counts places from 0 where ``position_BT`` is not given.
    """

    ids_BT: Tensor
    mask_BT: Tensor | None
    position_BT: Tensor | None
    place_M: Tensor
    label_M: Tensor
    layout: Layout  # stays on the host
    lengths: tuple[int, ...] | None = None

    def to(self, device: torch.device) -> "MicroBatch":
        """Give the same batch on a device."""
        return replace(
            self,
            ids_BT=self.ids_BT.to(device),
            mask_BT=None if self.mask_BT is None else self.mask_BT.to(device),
            position_BT=None if self.position_BT is None else self.position_BT.to(device),
            place_M=self.place_M.to(device),
            label_M=self.label_M.to(device),
        )


@dataclass(frozen=True)
class Arrangement:
    """How the examples of a step lie in rows: it decides speed and memory, never a number.

    In ``right`` and ``left`` padded rows each row is one example; a ``packed`` row holds all examples of
    its micro-batch, one after another.
    """

    micro_batch_size: int  # examples, at most
    pad_id: int  # masked everywhere, so any id will do
    rows: Literal["right", "left", "packed"] = "right"
    row_tokens: int | None = None  # where a packed row is cut too, but never within an example
    in_order: bool = False  # micro-batches as the plan has them: where each one's mean is taken
    target: Literal["all", "prompt", "response"] = "all"  # what gets noise

    def halved(self) -> "Arrangement":
        """Give the arrangement that needs half the memory."""
        return replace(
            self,
            micro_batch_size=-(-self.micro_batch_size // 2),
            row_tokens=None if self.row_tokens is None else -(-self.row_tokens // 2),
        )


def steps(  # noqa: PLR0913 - the plan, and from where
    examples: Sequence[Example],
    batch_size: int,
    total_steps: int,
    seed: int,
    *,
    after: int = 0,
    drop_last: bool = False,
) -> Iterator[Step]:
    """Walk the plan from the step that follows ``after``: each epoch in an order of its own.

    The last step of an epoch may be smaller, or is left out. Where the walk begins changes no step.
    """
    per_epoch = steps_per_epoch(len(examples), batch_size, drop_last=drop_last)
    for number in range(after + 1, total_steps + 1):
        epoch, index = divmod(number - 1, per_epoch)
        if index == 0 or number == after + 1:
            order = shuffled(len(examples), seed, f"epoch {epoch}")
        members = order[index * batch_size : (index + 1) * batch_size]
        yield Step(number, epoch, tuple(examples[member] for member in members))


def arrange(examples: Sequence[Example], arrangement: Arrangement) -> list[MicroBatch]:
    """Lay examples into rows, the longest first: little padding, and memory's worst comes first."""
    return [lay(members, arrangement) for members in _grouped(examples, arrangement)]


def _grouped(examples: Sequence[Example], arrangement: Arrangement) -> list[Sequence[Example]]:
    """Choose which examples share a micro-batch."""
    size = arrangement.micro_batch_size
    if not arrangement.in_order:
        examples = sorted(examples, key=lambda example: -len(example.ids))
        if arrangement.rows == "packed":
            return _packed(examples, size, arrangement.row_tokens)
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def _packed(by_length: Sequence[Example], size: int, row_tokens: int | None) -> list[Sequence[Example]]:
    """Fill rows, the fullest first: few ones where tokens limit them, else even ones."""
    rows: list[list[Example]] = [[] for _ in range(-(-len(by_length) // size))] if row_tokens is None else []
    tokens = [0] * len(rows)
    for example in by_length:
        length = len(example.ids)
        fitting = [
            row
            for row, members in enumerate(rows)
            if len(members) < size and (row_tokens is None or tokens[row] + length <= row_tokens)
        ]
        if not fitting:
            rows.append([])
            tokens.append(0)
            fitting = [len(rows) - 1]
        chosen = min(fitting, key=tokens.__getitem__) if row_tokens is None else fitting[0]
        rows[chosen].append(example)
        tokens[chosen] += length
    return [rows[row] for row in sorted(range(len(rows)), key=lambda row: -tokens[row])]


def lay(examples: Sequence[Example], arrangement: Arrangement) -> MicroBatch:
    """Lay examples into rows: one each, or all in one."""
    packed = arrangement.rows == "packed"
    length_S = np.array([len(example.ids) for example in examples])
    width = int(length_S.sum() if packed else length_S.max())
    rows = 1 if packed else len(examples)
    if packed:
        start_S = np.cumsum(length_S) - length_S
    else:
        start_S = np.arange(rows) * width + (width - length_S if arrangement.rows == "left" else 0)
    position_N = np.concatenate([np.arange(length) for length in length_S])
    place_N = np.repeat(start_S, length_S) + position_N

    def spread(value_N: NDArray[np.generic], elsewhere: int) -> Tensor:
        """Put a value for each real token where the token lies."""
        spread_BT = np.full(rows * width, elsewhere, dtype=value_N.dtype)
        spread_BT[place_N] = value_N
        return torch.from_numpy(spread_BT).view(rows, width)

    id_N = np.concatenate([example.ids for example in examples], dtype=np.int64)
    ids_BT = spread(id_N, arrangement.pad_id)
    trained_BT = spread(np.concatenate([example.trained for example in examples]), False)
    segment_BT = spread(np.repeat(np.arange(len(examples)), length_S), -1)
    position_BT = spread(position_N, 0)
    place_M = trained_BT.flatten().nonzero().squeeze(1)
    chosen_BT = None
    if arrangement.target != "all":
        response_N = np.concatenate([example.response for example in examples])
        chosen_BT = spread(response_N if arrangement.target == "response" else ~response_N, False)
    return MicroBatch(
        ids_BT=ids_BT,
        mask_BT=None if packed else (segment_BT >= 0).to(torch.int64),
        position_BT=None if arrangement.rows == "right" else position_BT,
        place_M=place_M - 1,  # the place before tells the token
        label_M=ids_BT.flatten()[place_M],
        layout=Layout(
            segment_BT=segment_BT,
            position_BT=position_BT,
            length_S=torch.from_numpy(length_S),
            key_S=torch.tensor([example.key for example in examples]),
            chosen_BT=chosen_BT,
        ),
        lengths=tuple(length_S.tolist()) if packed else None,
    )

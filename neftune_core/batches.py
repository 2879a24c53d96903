"""Which examples make an optimizer step, and how a step's examples lie in rows.

The plan decides membership and order from (seed, epoch) alone; micro-batches only arrange the members
of one step. Nothing here is random beyond that. Knows nothing of models.

Axes: B rows, T places, M trained tokens.
"""

# ruff: noqa: N815 - a tensor's name ends with its axes

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neftune_core.noise import Layout
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
    """Some examples of a step in padded rows. ``place_M`` are flat places whose next token is trained."""

    ids_BT: Tensor
    mask_BT: Tensor
    place_M: Tensor
    label_M: Tensor
    layout: Layout  # stays on the host

    def to(self, device: torch.device) -> "MicroBatch":
        """Give the same batch on a device."""
        return MicroBatch(
            ids_BT=self.ids_BT.to(device),
            mask_BT=self.mask_BT.to(device),
            place_M=self.place_M.to(device),
            label_M=self.label_M.to(device),
            layout=self.layout,
        )


@dataclass(frozen=True)
class Arrangement:
    """How the examples of a step lie in rows: it decides speed and memory, never a number."""

    micro_batch_size: int  # examples
    pad_id: int  # masked everywhere, so any id will do


def steps(
    examples: Sequence[Example], batch_size: int, total_steps: int, seed: int, *, after: int = 0
) -> Iterator[Step]:
    """Walk the plan from the step that follows ``after``: each epoch in an order of its own.

    The last step of an epoch may be smaller. Where the walk begins changes no step.
    """
    per_epoch = -(-len(examples) // batch_size)
    for number in range(after + 1, total_steps + 1):
        epoch, index = divmod(number - 1, per_epoch)
        if index == 0 or number == after + 1:
            order = shuffled(len(examples), seed, f"epoch {epoch}")
        members = order[index * batch_size : (index + 1) * batch_size]
        yield Step(number, epoch, tuple(examples[member] for member in members))


def arrange(examples: Sequence[Example], arrangement: Arrangement) -> list[MicroBatch]:
    """Lay examples into right-padded rows, longest first: little padding, and memory's worst comes first."""
    by_length = sorted(examples, key=lambda example: -len(example.ids))
    size = arrangement.micro_batch_size
    return [
        pad(by_length[start : start + size], arrangement.pad_id) for start in range(0, len(by_length), size)
    ]


def pad(examples: Sequence[Example], pad_id: int) -> MicroBatch:
    """Lay examples into right-padded rows, one each."""
    width = max(len(example.ids) for example in examples)
    ids = np.full((len(examples), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(examples), width), dtype=np.int64)
    trained = np.zeros((len(examples), width), dtype=bool)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = example.ids
        mask[row, :length] = 1
        trained[row, :length] = example.trained
    row_M, column_M = np.nonzero(trained)  # noqa: N806 - axes
    mask_BT = torch.from_numpy(mask)  # noqa: N806 - axes
    return MicroBatch(
        ids_BT=torch.from_numpy(ids),
        mask_BT=mask_BT,
        place_M=torch.from_numpy(row_M * width + column_M - 1),  # the place before tells the token
        label_M=torch.from_numpy(ids[row_M, column_M]),
        layout=Layout.padded(mask_BT, torch.tensor([example.key for example in examples])),
    )

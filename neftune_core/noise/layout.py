"""Where examples lie in a batch: whose token each place holds, and which token of that example it is.

Held on the host. Knows masks and segments; knows nothing of noise, rows or models. What a trainer's batch
says of itself is found out in :mod:`neftune_core.noise.sources`.

Axes: B rows of a batch, T its width, S examples (segments).
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neftune_core.errors import NeftuneMisapplied
from neftune_core.keys import ExampleKeys
from neftune_core.noise import sources


@dataclass(frozen=True)
class Layout:
    """Which example each place of a batch belongs to, and where in it.

    ``segment_BT`` is the example's index, -1 at pads; ``position_BT`` counts its real tokens from 0.
    ``length_S`` and ``key_S`` are the examples' real lengths and names. ``chosen_BT`` names the real places
    that get noise; without it all of them do.
    """

    segment_BT: Tensor
    position_BT: Tensor
    length_S: Tensor
    key_S: Tensor
    chosen_BT: Tensor | None = None

    @classmethod
    def padded(cls, mask_BT: Tensor, key_B: Tensor) -> "Layout":
        """Read one example per row, padded on either side, from its attention mask; an empty row is none."""
        mask_BT = mask_BT.to("cpu", torch.int64)
        length_B = mask_BT.sum(1)
        number_B = (length_B > 0).cumsum(0) - 1
        return cls(
            segment_BT=torch.where(mask_BT > 0, number_B[:, None], -1),
            position_BT=(mask_BT.cumsum(1) - 1).clamp_(min=0),
            length_S=length_B[length_B > 0],
            key_S=key_B.to("cpu", torch.int64)[length_B > 0],
        )

    @classmethod
    def from_seq_idx(cls, seq_idx_BT: Tensor, key_S: Tensor) -> "Layout":
        """Read packed rows from the index of each token's example, negative at pads.

        Here and below ``key_S`` names the examples longer than one token, in reading order. A segment of one
        token is no example and gets nothing: collators make one of each pad, and a lone token is not trained.
        """
        return cls._packed(seq_idx_BT, key_S)

    @classmethod
    def from_cu_seq_lens(cls, bound_S1: Tensor, width: int, key_S: Tensor) -> "Layout":
        """Read one packed row of ``width`` places from where its examples end, with a 0 before the first."""
        return cls._packed(sources.marks_of_bounds(bound_S1, width), key_S)

    @classmethod
    def from_position_ids(cls, position_ids_BT: Tensor, key_S: Tensor) -> "Layout":
        """Read packed rows from positions that start again at 0 with each example."""
        return cls._packed(sources.marks_of_positions(position_ids_BT), key_S)

    @classmethod
    def of_batch(cls, batch: Mapping[str, object], keys: ExampleKeys) -> "Layout":
        """Read a trainer's batch by whatever tells its lengths, and name its examples.

        Lengths come from ``attention_mask`` (one example per row), or from ``seq_idx``, ``cu_seq_lens_q`` and
        ``position_ids`` (packed rows). Names come from ``example_key`` where the batch has one, per row or
        per token, else from each example's tokens by ``keys``. A batch that leaves a length open or
        contradicts itself is refused with :class:`NeftuneMisapplied`: a guess would be another alpha.
        """
        ids_BT = sources.token_ids(batch)
        mask_BT = sources.attention_mask(batch, ids_BT)
        if mask_BT is not None:
            sources.check_agreement(batch, ids_BT, mask_BT)
            layout = cls.padded(mask_BT, torch.zeros(len(mask_BT)))
        else:
            layout = cls._unnamed(sources.packed_marks(batch, ids_BT))
        return replace(layout, key_S=sources.example_keys(batch, ids_BT, layout.segment_BT, keys))

    @classmethod
    def _packed(cls, mark_BT: Tensor, key_S: Tensor) -> "Layout":
        layout = cls._unnamed(mark_BT)
        if len(key_S) != len(layout.length_S):
            raise NeftuneMisapplied(
                f"{len(key_S)} keys were given for {len(layout.length_S)} examples longer than one token."
            )
        return replace(layout, key_S=key_S.to("cpu", torch.int64))

    @classmethod
    def _unnamed(cls, mark_BT: Tensor) -> "Layout":
        segment_BT, position_BT, length_S = sources.runs(mark_BT)
        return cls(segment_BT, position_BT, length_S, key_S=torch.zeros_like(length_S))

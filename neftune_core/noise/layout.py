"""Where examples lie in a batch: whose token each place holds, and which token of that example it is.

Held on the host. Knows masks and segments; knows nothing of noise, rows or models.

Axes: B rows of a batch, T its width, S examples (segments).
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which example each place of a batch belongs to, and where in it.

    ``segment_BT`` is the example's index, -1 at pads; ``position_BT`` counts its real tokens from 0.
    ``chosen_BT`` names the real places that get noise; without it all of them do.
    """

    segment_BT: Tensor
    position_BT: Tensor
    length_S: Tensor
    key_S: Tensor
    chosen_BT: Tensor | None = None

    @classmethod
    def padded(cls, mask_BT: Tensor, key_B: Tensor) -> "Layout":
        """Read one example per row, padded on either side, from its attention mask."""
        mask_BT = mask_BT.to("cpu", torch.int64)
        row_B1 = torch.arange(mask_BT.shape[0])[:, None]
        return cls(
            segment_BT=torch.where(mask_BT > 0, row_B1, -1),
            position_BT=(mask_BT.cumsum(1) - 1).clamp_(min=0),
            length_S=mask_BT.sum(1),
            key_S=key_B.to("cpu", torch.int64),
        )

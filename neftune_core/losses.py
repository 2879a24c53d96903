"""The loss of each trained token, without ever holding the logits of all places.

Hidden states of trained tokens are picked first, then head and cross-entropy run over them in chunks.
Knows the model's two halves (backbone, head) and the rows it is given; knows nothing of optimizers or
noise.

Axes: B rows, T places, D channels, V vocabulary, M trained tokens.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from neftune_core.batches import MicroBatch
from neftune_core.packed_attention import is_switched_on, packed_row

LOGITS_AT_ONCE = 1 << 24  # 64 MiB in fp32


@dataclass(frozen=True)
class TokenLosses:
    """What the model paid for each trained token, and which it would have guessed."""

    loss_M: Tensor  # noqa: N815 - axes
    correct_M: Tensor  # noqa: N815 - axes


class LossHead:
    """A causal model as backbone and head.

    Some models do more between the two than one matrix (scaled or capped logits). They are found out by
    comparing with the model's own logits once; for them the whole model is asked, at its price in memory.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._head = self._causal.get_output_embeddings()
        self._split = self._head is not None and self._causal.base_model is not self._causal
        self._split = self._split and self._is_plain(device)

    @property
    def splits(self) -> bool:
        """Tell whether the head runs on trained tokens only."""
        return bool(self._split)

    def __call__(self, batch: MicroBatch) -> TokenLosses:
        """Give the loss at the batch's places ``place_M`` for the tokens ``label_M`` that follow them."""
        place_M, label_M = batch.place_M, batch.label_M
        if not self._split:
            logits_BTV = self._asked(self._causal, batch).logits
            return TokenLosses(*_loss(logits_BTV.flatten(0, 1)[place_M], label_M))
        hidden_BTD = self._asked(self._causal.base_model, batch).last_hidden_state
        hidden_MD = hidden_BTD.flatten(0, 1)[place_M]
        chunk = max(1, LOGITS_AT_ONCE // self._head.weight.shape[0])
        if len(label_M) <= chunk:
            return TokenLosses(*self._chunk(hidden_MD, label_M))
        parts = []
        for start in range(0, len(label_M), chunk):
            hidden, label = hidden_MD[start : start + chunk], label_M[start : start + chunk]
            parts.append(
                checkpoint(self._chunk, hidden, label, use_reentrant=False, preserve_rng_state=False)
                if torch.is_grad_enabled()
                else self._chunk(hidden, label)
            )
        return TokenLosses(torch.cat([loss for loss, _ in parts]), torch.cat([right for _, right in parts]))

    def _asked(self, model: Any, batch: MicroBatch) -> Any:
        """Run the model over the batch's rows, without a cache: it would cost memory for nothing."""
        if batch.lengths is not None and not is_switched_on(self._causal):
            raise ValueError("A packed row for a model whose examples would see each other.")
        given = {"attention_mask": batch.mask_BT, "position_ids": batch.position_BT}
        with nullcontext() if batch.lengths is None else packed_row(batch.lengths):
            # Not every model knows every argument, and an all-ones mask would not do for none.
            named = {name: value for name, value in given.items() if value is not None}
            return model(input_ids=batch.ids_BT, use_cache=False, **named)

    def _chunk(self, hidden_MD: Tensor, label_M: Tensor) -> tuple[Tensor, Tensor]:
        return _loss(self._head(hidden_MD), label_M)

    @torch.no_grad()
    def _is_plain(self, device: torch.device) -> bool:
        ids = torch.arange(8, device=device)[None, :] % self._head.weight.shape[0]
        mode = self._causal.training
        self._causal.eval()
        whole = self._causal(input_ids=ids, use_cache=False).logits.float()
        halves = self._head(self._causal.base_model(input_ids=ids, use_cache=False).last_hidden_state).float()
        self._causal.train(mode)
        scale = whole.abs().max().clamp(min=1e-6)
        return bool(whole.shape == halves.shape and (whole - halves).abs().max() <= 1e-6 * scale)


def _loss(logits_MV: Tensor, label_M: Tensor) -> tuple[Tensor, Tensor]:
    logits_MV = logits_MV.float()
    return cross_entropy(logits_MV, label_M, reduction="none"), logits_MV.detach().argmax(-1) == label_M

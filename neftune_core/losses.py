"""The loss of each trained token, without ever holding the logits of all places.

Hidden states of trained tokens are picked first, then head and cross-entropy run over them in chunks.
Knows the model's two halves (backbone, head); knows nothing of optimizers or noise.

Axes: B rows, T places, D channels, V vocabulary, M trained tokens.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

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

    def __call__(self, ids_BT: Tensor, mask_BT: Tensor, place_M: Tensor, label_M: Tensor) -> TokenLosses:
        """Give the loss at the flat places ``place_M`` for the tokens ``label_M`` that follow them."""
        if not self._split:
            logits_BTV = self._causal(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
            return TokenLosses(*_loss(logits_BTV.flatten(0, 1)[place_M], label_M))
        hidden_BTD = self._hidden(ids_BT, mask_BT)
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

    def _hidden(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        outputs = self._causal.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
        hidden: Tensor = outputs.last_hidden_state
        return hidden

    def _chunk(self, hidden_MD: Tensor, label_M: Tensor) -> tuple[Tensor, Tensor]:
        return _loss(self._head(hidden_MD), label_M)

    @torch.no_grad()
    def _is_plain(self, device: torch.device) -> bool:
        ids = torch.arange(8, device=device)[None, :] % self._head.weight.shape[0]
        mode = self._causal.training
        self._causal.eval()
        whole = self._causal(input_ids=ids, use_cache=False).logits.float()
        halves = self._head(self._hidden(ids, torch.ones_like(ids))).float()
        self._causal.train(mode)
        scale = whole.abs().max().clamp(min=1e-6)
        return bool(whole.shape == halves.shape and (whole - halves).abs().max() <= 1e-6 * scale)


def _loss(logits_MV: Tensor, label_M: Tensor) -> tuple[Tensor, Tensor]:
    logits_MV = logits_MV.float()
    return cross_entropy(logits_MV, label_M, reduction="none"), logits_MV.detach().argmax(-1) == label_M

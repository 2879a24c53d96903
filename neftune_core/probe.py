"""The probe: a few logits of a fixed text, by which anyone can tell that an adapter loads as it was saved.

Knows a model and a tokenizer. The numbers are taken in eval mode, outside any noise.
"""

from typing import Any

import torch

from neftune_core.clean_losses import measuring

TEXT = "The quick brown fox jumps over the lazy dog."
LOGITS = 8


def probe_ids(tokenizer: Any) -> list[int]:
    """Encode the probe's text without special tokens."""
    ids: list[int] = tokenizer.backend_tokenizer.encode(TEXT, add_special_tokens=False).ids
    return ids or [0]


def probe_logits(model: Any, ids: list[int], device: torch.device) -> list[float]:
    """Give the first eight logits after the last token."""
    with measuring(model):
        logits = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits
    told: list[float] = logits[0, -1, :LOGITS].float().tolist()
    return told

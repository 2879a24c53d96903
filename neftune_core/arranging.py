"""How a run's examples are laid into rows, where the spec leaves it to the machine and the model.

Packed rows compute no pads, so they are the fastest wherever the model allows them (docs/log.md has the
figures); a model that doesn't is padded. Knows the spec and asks the model; knows nothing of losses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neftune_core.batches import Arrangement
from neftune_core.errors import SpecError
from neftune_core.packed_attention import use_packed_attention
from neftune_core.spec import JobSpec

# Tokens of a micro-batch where the spec leaves it open: a CPU's cache is small, a GPU wants work.
_TOKENS_AT_ONCE = {"cpu": 2_048, "cuda": 16_384}


@dataclass(frozen=True)
class Arranged:
    """The rows that were chosen, and why they are padded where they are."""

    arrangement: Arrangement
    padded_because: str | None

    def told(self, used: Arrangement) -> Mapping[str, object]:
        """Give what ``run.arranged`` tells; a run that goes on uses the rows it used before."""
        why = {} if self.padded_because is None else {"padded_because": self.padded_because}
        return {**described(used), **why}


def arrangement_for(
    spec: JobSpec, base: Any, device: torch.device, pad_id: int, *, autocast: bool = False
) -> Arranged:
    """Choose the rows; a base that may be packed is switched to attention within examples.

    ``autocast``: it will train so, in bf16.
    """
    training = spec.training
    padded_because = _why_padded(spec, base, device, autocast)
    packed = padded_because is None
    at_once = max(_TOKENS_AT_ONCE[device.type], training.max_length)
    size: int
    if training.micro_batch_size != "auto":
        size = training.micro_batch_size
    elif packed:
        size = training.batch_size
    else:
        size = min(training.batch_size, at_once // training.max_length)
    arrangement = Arrangement(
        micro_batch_size=size,
        pad_id=pad_id,
        rows="packed" if packed else "right",
        row_tokens=at_once if packed and training.micro_batch_size == "auto" else None,
        in_order=training.loss_reduction == "micro_batch",
        target=spec.noise.target,
    )
    return Arranged(arrangement, padded_because)


def _why_padded(spec: JobSpec, base: Any, device: torch.device, autocast: bool) -> str | None:
    if spec.training.packing == "off":
        return "packing is off"
    if spec.training.loss_reduction == "micro_batch":
        return "a mean per micro-batch is the paper's, and the paper pads"
    fault = use_packed_attention(base, device, autocast=autocast)
    if fault is not None and spec.training.packing == "on":
        raise SpecError(
            f"training.packing is on, but this model can't take several examples in a row: {fault}; "
            "use auto or off."
        )
    return fault


def described(arrangement: Arrangement) -> dict[str, object]:
    """Tell what was chosen, for the record."""
    told: dict[str, object] = {
        "micro_batch_size": arrangement.micro_batch_size,
        "packing": "on" if arrangement.rows == "packed" else "off",
    }
    return told if arrangement.row_tokens is None else {**told, "row_tokens": arrangement.row_tokens}

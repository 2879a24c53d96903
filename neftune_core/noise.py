"""NEFTune noise, exact for every example and keyed: what is drawn, and how it reaches a model.

For an example of L real tokens and embeddings of width D each real token gets
``alpha / sqrt(L * D) * U(-1, 1)`` in every channel, pads get nothing. U is a pure function of
(seed, epoch, example key, token position, channel), so neither padding, micro-batches, packing nor the
order of batches changes it, and no random generator is read or moved.

Knows tensors and one hook. Knows nothing of rows, losses or optimizers.

Axes: B rows of a batch, T its width, N real tokens, D channels, S examples (segments).
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends with its axes

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakSet

import torch
from torch import Tensor, nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise_meter import NoiseMeter
from neftune_core.philox import WORD, philox4x32, to_unit

COUNTERS_AT_ONCE = 1 << 16  # what stays in the cache; each counter gives four channels

# Models that multiply the token embedding by a known number after the module has returned it.
_MULTIPLIED_LATER = ("granite", "granitemoe", "granitemoeshared", "granitemoehybrid", "falcon_h1")

_noisy: "WeakSet[nn.Module]" = WeakSet()


@dataclass(frozen=True)
class Noise:
    """What noise was asked for.

    ``later_multiplier`` is the number the model itself multiplies the embedding by afterwards; it is
    divided out, so that alpha means the same in every model.
    """

    alpha: float
    seed: int
    later_multiplier: float = 1.0

    def bound(self, length: int, width: int) -> float:
        """Give the largest absolute value in an example of ``length`` real tokens."""
        return self.alpha / math.sqrt(length * width) / self.later_multiplier


@dataclass(frozen=True)
class Layout:
    """Which example each place of a batch belongs to, and where in it. Held on the host.

    ``segment_BT`` is the example's index, -1 at pads; ``position_BT`` counts its real tokens from 0.
    """

    segment_BT: Tensor
    position_BT: Tensor
    length_S: Tensor
    key_S: Tensor

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


def draw(noise: Noise, layout: Layout, epoch: int, width: int, device: torch.device) -> Tensor:
    """Draw the noise of a batch in fp32: ``[B, T, width]``, zero at pads."""
    place_N = (layout.segment_BT.flatten() >= 0).nonzero().squeeze(1)
    segment_N = layout.segment_BT.flatten()[place_N]
    # The bound is computed in float64 and cast once; in bf16 the length itself would already be rounded.
    bound_S = torch.tensor(
        [noise.bound(max(length, 1), width) for length in layout.length_S.tolist()], dtype=torch.float64
    ).to(torch.float32)
    unit_ND = _unit(
        (noise.seed, epoch),
        layout.key_S[segment_N].to(device),
        layout.position_BT.flatten()[place_N].to(device),
        width,
    )
    unit_ND.mul_(bound_S[segment_N].to(device)[:, None])
    drawn = torch.zeros(layout.segment_BT.numel(), width, dtype=torch.float32, device=device)
    drawn[place_N.to(device)] = unit_ND
    return drawn.view(*layout.segment_BT.shape, width)


def _unit(key: tuple[int, int], key_N: Tensor, position_N: Tensor, width: int) -> Tensor:
    """Draw U(-1, 1) for each token: one counter for four neighbouring channels."""
    lanes = -(-width // 4)
    lane_1C = torch.arange(lanes, device=key_N.device)[None, :]
    unit_ND = torch.empty(key_N.shape[0], width, dtype=torch.float32, device=key_N.device)
    tokens_at_once = max(1, COUNTERS_AT_ONCE // lanes)
    for start in range(0, key_N.shape[0], tokens_at_once):
        part = slice(start, start + tokens_at_once)
        low_n1, high_n1 = (key_N[part] & WORD)[:, None], ((key_N[part] >> 32) & WORD)[:, None]
        words = philox4x32(key, (lane_1C, position_N[part][:, None], low_n1, high_n1))
        unit_ND[part] = to_unit(torch.stack(words, dim=-1)).flatten(1)[:, :width]
    return unit_ND


def apply(embeds_BTD: Tensor, noise: Noise, layout: Layout, epoch: int) -> tuple[Tensor, Tensor]:
    """Add the noise to token embeddings: (noised in their own dtype, noised in fp32 before that cast).

    The noise is a constant to autograd; the embeddings keep their ordinary gradient.
    """
    if embeds_BTD.shape[:-1] != layout.segment_BT.shape:
        raise NeftuneMisapplied(
            f"The embeddings have shape {tuple(embeds_BTD.shape)}, but the batch has "
            f"{tuple(layout.segment_BT.shape)} places; the noise would fall on the wrong tokens."
        )
    with torch.no_grad():
        drawn_BTD = draw(noise, layout, epoch, embeds_BTD.shape[-1], embeds_BTD.device)
    noised_BTD = embeds_BTD.float() + drawn_BTD
    return noised_BTD.to(embeds_BTD.dtype), noised_BTD


def later_multiplier(config: object) -> float:
    """Tell by what number the model multiplies its token embedding after the embedding module."""
    if getattr(config, "model_type", None) in _MULTIPLIED_LATER:
        return float(getattr(config, "embedding_multiplier", 1.0))
    return 1.0


class NoisyEmbeddings:
    """The attached noise: off, except inside :meth:`during` a batch."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self.meter = NoiseMeter(noise.later_multiplier)
        self._batch: tuple[Layout, int] | None = None
        self._calls = 0

    @contextmanager
    def during(self, layout: Layout, epoch: int) -> Iterator[None]:
        """Let forward passes in this block be noised as ``layout`` says; one pass, or it raises."""
        if self.noise.alpha == 0:
            yield
            return
        self._batch, self._calls = (layout, epoch), 0
        try:
            yield
        finally:
            self._batch = None
        if self._calls != 1:
            raise NeftuneMisapplied(
                f"The model called its token embedding {self._calls} times for one batch; "
                "the noise cannot be the one that was asked for."
            )

    def hook(self, module: nn.Module, _args: object, embeds_BTD: Tensor) -> Tensor | None:
        """Noise what the token embedding returns; the module's forward hook."""
        if self._batch is None:
            if module.training and torch.is_grad_enabled():
                raise NeftuneMisapplied("A training pass without a layout: its lengths are not known.")
            return None
        if not module.training:
            raise NeftuneMisapplied("An evaluation pass inside a noisy batch.")
        layout, epoch = self._batch
        self._calls += 1
        noised_BTD, exact_BTD = apply(embeds_BTD, self.noise, layout, epoch)
        self.meter.record(embeds_BTD, exact_BTD, layout.segment_BT, layout.length_S)
        return noised_BTD


@contextmanager
def noisy_embeddings(model: nn.Module, noise: Noise) -> Iterator[NoisyEmbeddings]:
    """Attach the noise to the model's token embedding inside this block, and always detach it.

    Nothing is noised until the caller says what a batch looks like (:meth:`NoisyEmbeddings.during`).
    With ``alpha == 0`` nothing is hooked and no number is drawn, so a control run is bit for bit the
    plain run. A second attachment is refused: noise on noise is not the noise that was asked for.
    """
    attached = NoisyEmbeddings(noise)
    if noise.alpha == 0:
        yield attached
        return
    embedding = _token_embedding(model)
    if embedding in _noisy or _has_stock_hook(embedding):
        raise NeftuneMisapplied("This model's token embedding already carries noise; detach it first.")
    handle = embedding.register_forward_hook(attached.hook)
    _noisy.add(embedding)
    try:
        yield attached
    finally:
        handle.remove()
        _noisy.discard(embedding)


def _token_embedding(model: nn.Module) -> nn.Module:
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    if not isinstance(embedding, nn.Module):
        raise NeftuneMisapplied("The model does not name its token embedding; alpha must be 0 for it.")
    return embedding


def _has_stock_hook(embedding: nn.Module) -> bool:
    """Tell whether the library's own NEFTune hook is there; it stays after an exception."""
    return any("neftune" in getattr(hook, "__name__", "") for hook in embedding._forward_hooks.values())

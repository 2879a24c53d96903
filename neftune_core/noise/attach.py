"""How noise reaches a model: one hook on its token embedding, inside a block that always takes it off.

Knows a model and a layout of each batch; draws nothing itself.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

import torch
from torch import Tensor, nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise.drawing import Noise, apply
from neftune_core.noise.layout import Layout
from neftune_core.noise.meter import NoiseMeter

_noisy: "WeakSet[nn.Module]" = WeakSet()


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

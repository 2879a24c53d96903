"""How noise reaches a model: one hook on its token embedding, inside a block that always takes it off.

Knows a model and a layout of each batch; draws nothing itself. Compiled code calls one opaque operation,
which finds the attached noise by a number when it runs: no graph holds a batch, an epoch or a seed, so none
is compiled again for them, and none can noise after detaching.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise.drawing import Noise, apply
from neftune_core.noise.foreign import refuse_hooks, refuse_if_changed, refuse_stock
from neftune_core.noise.layout import Layout
from neftune_core.noise.meter import NoiseMeter
from neftune_core.noise.multiplier import measure_passage

_CALLS_LOOKED_AT = 8  # noised calls whose input is compared with what the module itself returns

_numbers = itertools.count()
_attached: "WeakValueDictionary[int, NoisyEmbeddings]" = WeakValueDictionary()


class NoisyEmbeddings:
    """The attached noise: off, except inside :meth:`during` a batch."""

    def __init__(self, noise: Noise, model: nn.Module, embedding: nn.Module | None) -> None:
        self.noise = noise
        self.meter = NoiseMeter(noise.later_multiplier)
        self._model, self._embedding = model, embedding
        self._batch: tuple[Layout, int, float] | None = None
        self._calls = self._looked_at = 0
        self._looked_at_model = False
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._number = next(_numbers)
        self.refuses_outside = True  # training passes outside a batch; a foreign trainer's model has its own

    @contextmanager
    def during(self, layout: Layout, epoch: int, strength: float = 1.0) -> Iterator[None]:
        """Let forward passes in this block be noised as ``layout`` says; one pass, or it raises.

        ``strength`` multiplies alpha for this batch. Passes outside such blocks get no noise, whatever mode
        the model is in.
        """
        if self._embedding is not None:
            refuse_hooks(self._embedding)
        if self._handle is None:
            yield
            return
        self._look_at_model()
        # Behind every other hook, also a later one, so that ours sees what the others did.
        self._embedding._forward_hooks.move_to_end(self._handle.id)  # type: ignore[union-attr]  # attached
        self._batch, self._calls = (layout, epoch, strength), 0
        try:
            yield
        finally:
            self._batch = None
        if self._calls != 1:
            raise NeftuneMisapplied(
                f"The model called its token embedding {self._calls} times for one batch; "
                "the noise cannot be the one that was asked for."
            )

    def attach(self) -> None:
        """Put the hook on."""
        embedding = self._embedding
        if embedding is None:
            raise NeftuneMisapplied("The model does not name its token embedding; alpha must be 0 for it.")
        _attached[self._number] = self
        self._handle = embedding.register_forward_hook(self.hook, with_kwargs=True)
        # Code compiled before looks for no new hook and would run on without noise.
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()

    def detach(self) -> None:
        """Take the hook off; compiled code that knew it passes embeddings on as they are."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            _attached.pop(self._number, None)

    def __deepcopy__(self, _memo: object) -> "NoisyEmbeddings":
        """Stay one: the hook on a copied model belongs to the original's noise."""
        return self

    def hook(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], embeds_BTD: Tensor
    ) -> Tensor | None:
        """Noise what the token embedding returns; the module's forward hook."""
        if torch.compiler.is_compiling():
            noised: Tensor = torch.ops.neftune.noised(embeds_BTD, self._number, torch.is_grad_enabled())
            return noised
        if module is not self._embedding or self._handle is None:
            return None  # on a copy of the model
        if self._batch is not None and self._looked_at < _CALLS_LOOKED_AT:
            self._looked_at += 1
            refuse_if_changed(module, args, kwargs, embeds_BTD)
        return self.noised(embeds_BTD, torch.is_grad_enabled())

    def noised(self, embeds_BTD: Tensor, learning: bool) -> Tensor | None:
        """Give the embeddings with their noise, or ``None`` outside a batch."""
        training = self._embedding is not None and self._embedding.training
        if self._batch is None:
            if training and learning and self.refuses_outside:
                raise NeftuneMisapplied("A training pass without a layout: its lengths are not known.")
            return None
        if not training:
            raise NeftuneMisapplied(
                "The token embedding is in evaluation mode inside a noisy batch: put the whole model into "
                "training mode, and keep evaluation out of the batch."
            )
        if not learning:
            raise NeftuneMisapplied("A pass without gradient inside a noisy batch; keep it out of the batch.")
        layout, epoch, strength = self._batch
        self._calls += 1
        noised_BTD, exact_BTD = apply(embeds_BTD, self.noise, layout, epoch, strength)
        self.meter.record(embeds_BTD, exact_BTD, layout)
        return noised_BTD

    def _look_at_model(self) -> None:
        """Before the first batch, look for other noise and for what the model does after its embedding."""
        if self._looked_at_model or self._embedding is None:
            return
        self._looked_at_model = True
        # Also for models whose hooks run compiled: there the embedding is not looked at call by call.
        id_11 = torch.zeros(1, 1, dtype=torch.int64, device=next(self._embedding.parameters()).device)
        with torch.no_grad():
            refuse_if_changed(self._embedding, (id_11,), {}, self._embedding(id_11))
        if passage := measure_passage(self._model, self._embedding):
            passage.refuse_unless(self.noise.later_multiplier)


@contextmanager
def noisy_embeddings(model: nn.Module, noise: Noise) -> Iterator[NoisyEmbeddings]:
    """Attach the noise to the model's token embedding inside this block, and always detach it.

    ``model`` may be wrapped (PEFT, ``DistributedDataParallel``, ``torch.compile``). Nothing is noised until
    the caller says what a batch looks like (:meth:`NoisyEmbeddings.during`). With ``alpha == 0`` nothing is
    hooked and no number is drawn, so a control run is bit for bit the plain run. A second attachment is
    refused, and so is the library's own noise: noise on noise is not the noise that was asked for.
    """
    inner = unwrapped(model)
    embedding = _token_embedding(inner)
    _refuse_other_noise(inner)
    attached = NoisyEmbeddings(noise, inner, embedding)
    if noise.alpha == 0:
        yield attached
        return
    try:
        attached.attach()
        yield attached
    finally:
        attached.detach()


def unwrapped(model: Any) -> nn.Module:
    """Give the model inside ``torch.compile`` and data-parallel wrappers."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(model, nn.Module) and hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model  # type: ignore[no-any-return]  # whatever was given


def _token_embedding(model: nn.Module) -> nn.Module | None:
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    return embedding if isinstance(embedding, nn.Module) else None


def _refuse_other_noise(model: nn.Module) -> None:
    """Refuse ours, where it is attached already, and the libraries' own."""
    refuse_hooks(model)
    refuse_stock(getattr(model, "config", None))
    for part in model.modules():
        for hook in part._forward_hooks.values():
            owner = getattr(hook, "__self__", None)
            if isinstance(owner, NoisyEmbeddings) and owner._handle is not None:
                raise NeftuneMisapplied(
                    "This model's token embedding already carries noise; detach it first."
                )


@torch.library.custom_op("neftune::noised", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def _noised(embeds_BTD: Tensor, number: int, learning: bool) -> Tensor:
    """Do what the hook does when compiled code runs; a recorded CUDA graph would replay one batch's noise."""
    attached = _attached.get(number)
    noised_BTD = attached.noised(embeds_BTD, learning) if attached is not None else None
    return embeds_BTD.clone() if noised_BTD is None else noised_BTD


@_noised.register_fake
def _like(embeds_BTD: Tensor, _number: int, _learning: bool) -> Tensor:
    return torch.empty_like(embeds_BTD)


def _pass_on(_context: Any, gradient_BTD: Tensor) -> tuple[Tensor, None, None]:
    """Give the embeddings their ordinary gradient: the noise is a constant."""
    return gradient_BTD, None, None


_noised.register_autograd(_pass_on)

"""Models that multiply the token embedding by a number after the embedding module has returned it.

The noise is defined at the module's output, so a known number is divided out: alpha means the same in
every model. What a configuration declares is held against what the model does. Positions that are added
and projections change nothing here; a norm is no number. Knows configurations and modules; knows no noise.

Axes: B rows, T places, D channels.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neftune_core.errors import NeftuneMisapplied

TOLERANCE = 0.02  # of the factor
_STRAIGHT = 0.03  # the largest residue of a proportional answer: bf16 rounds to 0.004
_PLACES = 8

# Gemma, MiniCPM3, XLM-likes and others multiply inside the embedding module: there is nothing to divide out.
_NAMED = {
    "embedding_multiplier": {
        "falcon_h1",
        "granite",
        "granite_swa",
        "granitemoe",
        "granitemoe_swa",
        "granitemoehybrid",
        "granitemoeshared",
        "hyperclovax",
    },
    "embedding_scale": {"hrm_text"},
    "scale_emb": {"minicpm"},
}
_ROOT_OF_WIDTH = {"recurrent_gemma": "hidden_size", "ctrl": "n_embd"}


def later_multiplier(config: object) -> float:
    """Tell by what number the model says it multiplies its token embedding after the embedding module."""
    config = getattr(config, "get_text_config", lambda: config)()
    kind = getattr(config, "model_type", None)
    for name, kinds in _NAMED.items():
        if kind in kinds:
            return float(getattr(config, name, None) or 1.0)
    if kind in _ROOT_OF_WIDTH:
        return math.sqrt(getattr(config, _ROOT_OF_WIDTH[kind]))
    if kind == "afmoe" and getattr(config, "mup_enabled", False):
        return math.sqrt(getattr(config, "hidden_size", 1))
    return 1.0


@dataclass(frozen=True)
class Passage:
    """What becomes of a change of the token embedding on its way to the first layer.

    ``factor`` is ``None`` where the answer is not proportional: a norm or a projection lies between.
    """

    factor: float | None

    def refuse_unless(self, declared: float) -> None:
        """Raise :class:`NeftuneMisapplied` when the model does not do what is ``declared``."""
        done = 1.0 if self.factor is None else self.factor
        if abs(done / declared - 1) > TOLERANCE:
            found = (
                "does not pass it on in proportion" if self.factor is None else f"multiplies it by {done:.4g}"
            )
            raise NeftuneMisapplied(
                f"The model is known to multiply its token embedding by {declared:.4g} afterwards, but "
                f"measured at its first layer it {found}; the noise would not be that of alpha."
            )


def measure_passage(model: Any, embedding: nn.Module) -> Passage | None:
    """Measure at the first layer's input what the model does with its embedding's output.

    Two short passes in evaluation mode, which end where the first layer begins; the embedding of one of them
    is shifted, so that whatever is added on the way falls out. ``None`` for what is no decoder with layers.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    backbone, config = getattr(causal, "base_model", None), getattr(causal, "config", None)
    if not isinstance(backbone, nn.Module) or config is None or config.is_encoder_decoder:
        return None
    device = next(embedding.parameters()).device
    ids_BT = torch.arange(_PLACES, device=device)[None, :] % config.get_text_config().vocab_size
    with _resting(backbone), torch.no_grad():
        plain, shifted = (_pass(backbone, embedding, ids_BT, shift) for shift in (_no_shift, _shift))
    if plain is None or shifted is None:
        return None
    step_in, step_out = ((b - a).detach().double() for a, b in zip(plain, shifted, strict=True))
    if step_in.shape != step_out.shape:
        return Passage(None)
    factor = float((step_in * step_out).sum() / step_in.square().sum())
    residue = float((step_out - factor * step_in).norm() / step_out.norm().clamp(min=1e-30))
    return Passage(factor if residue < _STRAIGHT else None)


def _no_shift(embeds_BTD: Tensor) -> Tensor:
    return embeds_BTD


def _shift(embeds_BTD: Tensor) -> Tensor:
    """Shift by a pattern that no norm passes on in proportion, as large as the embeddings themselves."""
    size = embeds_BTD.float().square().mean().sqrt().clamp(min=1e-3)
    pattern = torch.cos(torch.arange(embeds_BTD.numel(), device=embeds_BTD.device).float().square())
    return embeds_BTD + (size * pattern).view_as(embeds_BTD).to(embeds_BTD.dtype)


class _Reached(Exception):
    """The first layer was called."""


def _pass(
    backbone: nn.Module, embedding: nn.Module, ids_BT: Tensor, shift: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor] | None:
    """Run until the first layer; give what the embedding returned and what the layer was given."""
    returned_BTD = reached_BTD = None

    def returned(_module: nn.Module, _args: object, embeds_BTD: Tensor) -> Tensor:
        nonlocal returned_BTD
        shifted_BTD = shift(embeds_BTD)
        returned_BTD = shifted_BTD.clone()  # some models go on in place
        return shifted_BTD

    def reached(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        nonlocal reached_BTD
        for given in (*args, *kwargs.values()):
            if isinstance(given, Tensor) and given.is_floating_point() and given.shape[:2] == ids_BT.shape:
                reached_BTD = given
                raise _Reached

    inside = set(embedding.modules())
    hooks = [embedding.register_forward_hook(returned)]
    for part in backbone.modules():
        if isinstance(part, nn.ModuleList) and part not in inside:
            hooks += [layer.register_forward_pre_hook(reached, with_kwargs=True) for layer in part]
    try:
        backbone(input_ids=ids_BT, use_cache=False)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return None if returned_BTD is None or reached_BTD is None else (returned_BTD, reached_BTD)


@contextmanager
def _resting(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode and away from compiled code; restore each module's mode."""
    modes = {module: module.training for module in model.modules()}
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    with eager:
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training

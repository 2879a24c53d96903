"""Noise from elsewhere: other hooks, patched modules and settings that would add to ours.

The libraries' own NEFTune scales by the padded width, noises pads, and stays after an exception; with ours
beside it nobody would know what a run was trained with. Knows modules and hooks; draws nothing.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neftune_core.errors import NeftuneMisapplied

_STOCK = "neftune_noise_alpha"  # where transformers and TRL keep theirs


def refuse_stock(*holders: object) -> None:
    """Refuse the libraries' own noise: their setting on a model, a configuration or training arguments."""
    for holder in holders:
        if getattr(holder, _STOCK, None):
            raise NeftuneMisapplied(
                f"{type(holder).__name__}.{_STOCK} is set: the library would add noise of its own, scaled by "
                "the padded width. Take it out; alpha is the only setting."
            )


def refuse_hooks(module: nn.Module) -> None:
    """Refuse the libraries' own hook on a module or inside it; it stays behind after an exception."""
    for part in module.modules():
        refuse_stock(part)
        if any("neftune" in getattr(hook, "__name__", "") for hook in part._forward_hooks.values()):
            raise NeftuneMisapplied(
                f"{type(part).__name__} carries the library's own NEFTune hook beside ours; remove it."
            )


@torch.no_grad()
def refuse_if_changed(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], embeds_BTD: Tensor
) -> None:
    """Refuse an embedding that something else has changed, by asking the module itself once more.

    A foreign hook comes out as a difference, whatever it is called; so does a patched ``forward`` that draws.
    """
    again_BTD = module.forward(*args, **kwargs).float()
    seen_BTD = embeds_BTD.detach().float()
    # Rounding may differ between two calls. What is no number is left to the guard of losses.
    allowed = 4 * torch.finfo(embeds_BTD.dtype).eps * seen_BTD.abs().amax()
    if bool((again_BTD - seen_BTD).abs().amax() > allowed):
        raise NeftuneMisapplied(
            "Something besides alpha changes what the token embedding returns (another hook, or a patched "
            "forward); the noise would not be the one that was asked for."
        )

"""The tensors of a run in progress, taken out and put back to the bit.

What trains, the optimizer's moments, the random generators. The noise needs nothing: it is a function of
seed, epoch and example; and nothing in a run draws from the generators of Python or NumPy. Knows torch;
knows no files.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neftune_core.errors import CheckpointMismatch

Tensors = Mapping[str, Tensor]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Give what trains, by name: an adapter, or all weights. Not a copy."""
    return {name: parameter.data for name, parameter in _trained(model).items()}


def put_weights(model: nn.Module, weights: Tensors) -> None:
    """Set what trains; refuse weights of another shape or name."""
    put_by_name(_trained(model), weights)


@torch.no_grad()
def put_by_name(parameters: Mapping[str, nn.Parameter], weights: Tensors) -> None:
    """Set all of these parameters; refuse weights of another shape or name."""
    different = parameters.keys() ^ weights.keys() | {
        name for name in parameters.keys() & weights.keys() if parameters[name].shape != weights[name].shape
    }
    if different:
        raise CheckpointMismatch(
            f"The saved weights are not this model's: {len(different)} names or shapes differ, "
            f"such as {min(different)}."
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])


def moments_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[Any]]:
    """Give what the optimizer remembers of each parameter, and its groups as plain values."""
    told = optimizer.state_dict()
    names = _names(model, optimizer)
    tensors = {
        f"{names[index]}/{kind}": tensor
        for index, remembered in told["state"].items()
        for kind, tensor in remembered.items()
    }
    return tensors, told["param_groups"]


def put_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Tensors, groups: list[Any]
) -> None:
    """Let the optimizer remember what another one did; refuse what it can't have remembered of this model."""
    indices = {name: index for index, name in enumerate(_names(model, optimizer))}
    trained = _trained(model)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, kind = key.rpartition("/")
        # The optimizer itself does not look at shapes.
        if name not in indices or tensor.shape != (() if kind == "step" else trained[name].shape):
            raise CheckpointMismatch(f"The saved optimizer is not this model's: {key} does not fit.")
        state.setdefault(indices[name], {})[kind] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def generators(device: torch.device) -> dict[str, Tensor]:
    """Give the states of the random generators that a run on this device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def put_generators(states: Tensors, device: torch.device) -> None:
    """Let the random generators go on from these states; one that was not saved stays as it is."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Name the parameters in the order in which the optimizer counts them."""
    names = {parameter: name for name, parameter in _trained(model).items()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]

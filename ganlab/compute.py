"""Two exchanges that change no result: time for memory, and a long first step for shorter ones."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from ganlab.errors import GanlabError
from ganlab.models.base import Model


def networks(model: Model, *without: str) -> list[nn.Module]:
    """The networks that the players, without those named, are made of: CycleGAN's generator, for example, is two."""
    return [network for name, player in model.players.items() if name not in without
            for network in (player.values() if isinstance(player, nn.ModuleDict) else [player])]


def recompute(model: Model) -> None:
    """Keep only the input of each network for the gradient, and run it again there (arXiv:1604.06174, section 4).

    Networks whose forward pass changes something in them (running averages, the vectors of spectral norm) stay as
    they are: a second pass would change it a second time.

    Raises:
        GanlabError: none of the model's networks is left.
    """
    chosen = [network for network in networks(model) if not any(map(_remembers, network.modules()))]
    if not chosen:
        raise GanlabError(f"recompute would do nothing for {model.name}: batch norm's running averages or spectral "
                          "norm are in all its networks; use a smaller batch_size, or precision='bf16'")
    for network in chosen:
        network.forward = _again(network.forward)


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*inputs: Any) -> Any:
        if torch.is_grad_enabled():
            return checkpoint(forward, *inputs, use_reentrant=False)
        return forward(*inputs)
    return call


def _remembers(module: nn.Module) -> bool:
    return getattr(module, "track_running_stats", False) or is_parametrized(module)


def compile(model: Model) -> None:
    """Let `torch.compile` translate every network; the first steps then take minutes. On a CPU it needs a C++ compiler
    and gains nothing (`benchmarks/README.md`).

    A critic with a gradient penalty stays as it is: `torch.compile` knows no gradient of a gradient.
    """
    for network in networks(model, *["discriminator"] * ("gradient_penalty" in model.weights)):
        network.compile()

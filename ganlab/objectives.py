"""Adversarial objectives: each a pair of losses on the discriminator's logits, to be minimised by its player.

Notation: D(x) is the discriminator's output on data, v = D(x) or D(G(z)) before any output function (the logit).
Every function takes logits of any shape and returns the mean as a float32 scalar.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.errors import GanlabError


@dataclass(frozen=True)
class Objective:
    """A game between discriminator and generator.

    Attributes:
        discriminator: (logits of real, logits of fake) -> loss of the discriminator.
        generator: logits of fake -> loss of the generator.
        output: from logit to the D(x) of the paper; a probability where it has one, else the identity.
        optimum: what `output` becomes on both when the generator has won.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    output: Callable[[Tensor], Tensor]
    optimum: float | None


def minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-(E[log D(x)] + E[log(1 - D(G(z)))]), D = sigmoid(logit) (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1).

    D maximises the value V of the game; this is -V, which D minimises.
    """
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))] (arXiv:1406.2661, eq. 1): its gradient vanishes where D is sure of the fake."""
    return -F.softplus(fake.float()).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-E[log D(G(z))] (arXiv:1406.2661, section 3): same fixed point, strong gradient where D is sure."""
    return F.softplus(-fake.float()).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 E[(D(x) - 1)^2] + 1/2 E[D(G(z))^2] (Mao et al. 2016, arXiv:1611.04076, eq. 9)."""
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """1/2 E[(D(G(z)) - 1)^2] (arXiv:1611.04076, eq. 9)."""
    return (fake.float() - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim and Ye 2017, arXiv:1705.02894)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)] (Arjovsky et al. 2017, arXiv:1701.07875, eq. 2), the negative gap of the critic.

    It estimates a Wasserstein distance only for a critic that is kept Lipschitz (clipping, gradient penalty,
    spectral norm); without such a constraint it has no lower bound.
    """
    return fake.float().mean() - real.float().mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (arXiv:1701.07875, algorithm 1); also the generator's side of the hinge game."""
    return -fake.float().mean()


def _identity(logit: Tensor) -> Tensor:
    return logit


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(minimax_discriminator, minimax_generator, torch.sigmoid, 0.5),
    "non-saturating": Objective(minimax_discriminator, non_saturating_generator, torch.sigmoid, 0.5),
    "least-squares": Objective(least_squares_discriminator, least_squares_generator, _identity, 0.5),
    "hinge": Objective(hinge_discriminator, wasserstein_generator, _identity, None),
    "wasserstein": Objective(wasserstein_discriminator, wasserstein_generator, _identity, None),
}
"""Every objective by name; any of them fits any adversarial model."""


def get(name: str) -> Objective:
    """The objective of that name; an unknown name is a `GanlabError` that lists them all."""
    if name not in OBJECTIVES:
        raise GanlabError(f"no objective is called {name!r}; objectives: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]

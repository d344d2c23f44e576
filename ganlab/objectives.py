"""Adversarial objectives: each a pair of losses on the discriminator's logits, to be minimised by its player.

Notation: D(x) is the discriminator's output on data, v = D(x) or D(G(z)) before any output function (the logit).
Every function takes logits of any shape and returns the mean as a float32 scalar.

At the end stands the table of f-divergences (Nowozin et al. 2016, arXiv:1606.00709), each of which is an objective too,
and the gradient penalty that keeps a critic Lipschitz.
"""

import math
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


def kl_wgan_weights(fake: Tensor) -> Tensor:
    """r_i = exp(D(G(z_i))) / mean_j exp(D(G(z_j))), constants of mean 1 (Song and Ermon 2019, arXiv:1910.09779).

    They lend the fakes the data's proportions: at the best critic r(x) = p(x) / q(x). For a given critic they minimise
    the paper's objective, so they take no gradient; D's is then that of E[D(x)] - log E[exp D(G(z))], which bounds
    KL(p || q) from below.
    """
    return torch.softmax(fake.detach().float().flatten(), 0).view(fake.shape) * fake.numel()


def kl_wgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[r D(G(z))] - E[D(x)] (arXiv:1910.09779), r from `kl_wgan_weights`; for a Lipschitz critic."""
    return (kl_wgan_weights(fake) * fake.float()).mean() - real.float().mean()


def kl_wgan_generator(fake: Tensor) -> Tensor:
    """-E[r D(G(z))] (arXiv:1910.09779)."""
    return -(kl_wgan_weights(fake) * fake.float()).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(|grad D(x^)|_2 - 1)^2] with x^ = s x + (1 - s) G(z) (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

    It asks for slope 1 on the lines between data and fakes, where a best critic has slope 1 (proposition 1 there). The
    critic must judge each image for itself: batch norm would mix the gradients of a batch.

    Args:
        critic: from images to logits; it takes part in the gradient of the penalty.
        real, fake: as many of each; no gradient reaches the fakes.
        share: s, a number in [0, 1] for each pair, N x 1.
    """
    share = share.view(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake.detach()).requires_grad_()
    trains = torch.is_grad_enabled()
    with torch.enable_grad():  # the slope is needed also where nobody asks how the penalty changes
        slope, = torch.autograd.grad(critic(between).float().sum(), between, create_graph=trains)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@dataclass(frozen=True)
class Divergence:
    """A row of the tables of f-GAN (arXiv:1606.00709): D_f(p || q) = E_q[f(p / q)], f convex with f(1) = 0.

    The discriminator's T(x) = g(v) makes it a game: D_f(p || q) = max_T E_p[T] - E_q[f*(T)], at T = f'(p / q)
    (eq. 4 and 5). Some rows hold e^v; beyond v = 10, a density ratio of 22,026, they follow its tangent, so that they
    stay finite and keep a gradient.

    Attributes:
        f: of a density ratio u > 0 (table 1).
        activation: g, from the logit v to the domain of f*, rising (table 2).
        conjugate: f*(t) = sup_u (u t - f(u)) (table 2).
        against: f*(g(v)), written out so that it neither overflows nor takes the logarithm of 0.
        level: f'(1), T where data and fakes are equally likely (table 6); None where it is not one number.
    """

    f: Callable[[Tensor], Tensor]
    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    against: Callable[[Tensor], Tensor]
    level: float | None

    def objective(self, saturating: bool = False) -> Objective:
        """D minimises -(E[g(D(x))] - E[f*(g(D(G(z))))]), G minimises -E[g(D(G(z)))] (section 3.2 of the paper).

        With `saturating`, G minimises -E[f*(g(D(G(z))))], the game as it is derived (eq. 6).
        """
        reward = self.against if saturating else self.activation
        return Objective(lambda real, fake: self.against(fake.float()).mean() - self.activation(real.float()).mean(),
                         lambda fake: -reward(fake.float()).mean(), self.activation, self.level)


def _exp(v: Tensor) -> Tensor:
    """e^v, and its tangent beyond v = 10."""
    return v.clamp(max=10).exp() * (1 + F.relu(v - 10))


DIVERGENCES: dict[str, Divergence] = {
    "total-variation": Divergence(lambda u: (u - 1).abs() / 2, lambda v: v.tanh() / 2, lambda t: t,
                                  lambda v: v.tanh() / 2, None),
    "kl": Divergence(lambda u: u * u.log(), lambda v: v, lambda t: (t - 1).exp(), lambda v: _exp(v - 1), 1.0),
    "reverse-kl": Divergence(lambda u: -u.log(), lambda v: -_exp(-v), lambda t: -1 - (-t).log(), lambda v: v - 1, -1.0),
    # The supremum over all real u, as the paper has it; T*, which is -2 at the least, does not see the difference.
    "pearson": Divergence(lambda u: (u - 1).square(), lambda v: v, lambda t: t.square() / 4 + t,
                          lambda v: v.square() / 4 + v, 0.0),
    "squared-hellinger": Divergence(lambda u: (u.sqrt() - 1).square(), lambda v: 1 - _exp(-v), lambda t: t / (1 - t),
                                    lambda v: _exp(v) - 1, 0.0),
    # This f gives twice the Jensen-Shannon divergence, the next one twice that less log 4 (so its f(1) is not 0).
    "jensen-shannon": Divergence(lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
                                 lambda v: math.log(2) - F.softplus(-v), lambda t: -(2 - t.exp()).log(),
                                 lambda v: F.softplus(v) - math.log(2), 0.0),
    "gan": Divergence(lambda u: u * u.log() - (u + 1) * (u + 1).log(), lambda v: -F.softplus(-v),
                      lambda t: -(1 - t.exp()).log(), F.softplus, -math.log(2)),
}
"""The f-divergences by name. "gan" as an objective is "non-saturating", and "minimax" where it saturates."""


def _identity(logit: Tensor) -> Tensor:
    return logit


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(minimax_discriminator, minimax_generator, torch.sigmoid, 0.5),
    "non-saturating": Objective(minimax_discriminator, non_saturating_generator, torch.sigmoid, 0.5),
    "least-squares": Objective(least_squares_discriminator, least_squares_generator, _identity, 0.5),
    "hinge": Objective(hinge_discriminator, wasserstein_generator, _identity, None),
    "wasserstein": Objective(wasserstein_discriminator, wasserstein_generator, _identity, None),
    "kl-wgan": Objective(kl_wgan_discriminator, kl_wgan_generator, _identity, None),
    **{name: row.objective() for name, row in DIVERGENCES.items() if name != "gan"},
}
"""Every objective by name; any of them fits any adversarial model."""


def get(name: str) -> Objective:
    """The objective of that name; an unknown name is a `GanlabError` that lists them all."""
    if name not in OBJECTIVES:
        raise GanlabError(f"no objective is called {name!r}; objectives: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]

"""Wasserstein GANs: with clipped weights (Arjovsky, Chintala and Bottou 2017, arXiv:1701.07875) and with a gradient
penalty (Gulrajani et al. 2017, arXiv:1704.00028)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ganlab import objectives
from ganlab.errors import GanlabError
from ganlab.models import dcgan
from ganlab.models.base import Model, Round, Terms
from ganlab.models.gan import GAN


class WGAN(GAN):
    """The discriminator becomes a critic that measures how far the fakes are from the data (arXiv:1701.07875, eq. 2):

        W(p, q) = max_{D 1-Lipschitz}  E_x[ D(x) ] - E_z[ D(G(z)) ]

    Weights clipped to [-clip, clip] after each of its turns keep D Lipschitz, for an unknown constant: the gap that is
    watched as `wasserstein` is a multiple of the distance. The critic moves five times for each move of the generator,
    with RMSprop, since momentum unsettles it (algorithm 1).

    Args:
        shape: (C, H, W) of an image in [-1, 1], or (k,) for points, whose coordinates are left unbounded.
        latent: numbers in z ~ N(0, I).
        objective: a name in `ganlab.objectives.OBJECTIVES`; "kl-wgan" is the other one that needs a Lipschitz critic.
        hidden: widths of the generator's hidden layers; the critic's are the same in reverse.
        width: channels next to the image; with it the networks are those of `DCGAN`, and `hidden` is not used.
        clip: largest absolute value of a critic's weight.
    """

    watched: ClassVar[tuple[str, ...]] = ("wasserstein",)
    learning_rate = 5e-5
    schedule = "discriminator_steps(5)"
    critic_norm: ClassVar[bool] = True

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 100, objective: str = "wasserstein",
                 hidden: Sequence[int] = (256, 512, 1024), width: int | None = None, clip: float = 0.01) -> None:
        if width is None:
            super().__init__(shape, latent, objective, hidden)
            return
        if len(shape) != 3:
            raise GanlabError(f"only images can be convolved, and shape is {tuple(shape)}; leave width out")
        Model.__init__(self)
        self.objective = objectives.get(objective)
        channels, layers = shape[0], dcgan.widths(shape)
        self.discriminator = dcgan.discriminator(channels, layers, width, self.critic_norm)
        self.generator = dcgan.generator(channels, layers, width, latent)
        dcgan.initialise(self)

    def discriminator_terms(self, round: Round) -> Terms:
        """The critic's side of the objective, and E[D(x)] - E[D(G(z))]: for a critic, the distance as it sees it."""
        terms = super().discriminator_terms(round)
        return {"wasserstein": terms.pop("D(x)") - terms.pop("D(G(z))"), **terms}

    def optimizer(self, player: str, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """The paper's optimizer for either player: RMSprop."""
        return torch.optim.RMSprop(parameters, lr=learning_rate)

    def moved(self, player: str) -> None:
        """Clip the critic's weights after its turn (arXiv:1701.07875, algorithm 1)."""
        if player == "discriminator":
            clip = self.config["clip"]
            for parameter in self.discriminator.parameters():
                parameter.clamp_(-clip, clip)


class WGANGP(WGAN):
    """`WGAN` with slope 1 asked of the critic instead of small weights (arXiv:1704.00028, eq. 3):

        min_D  E_z[ D(G(z)) ] - E_x[ D(x) ] + lambda E_x^[ (|grad D(x^)|_2 - 1)^2 ]

    x^ lies at random between an image and a fake; lambda is the weight of the term `gradient_penalty`. The best such
    critic has Lipschitz constant 1, so that `wasserstein` estimates the distance itself, in the units of the data. The
    critic has no batch norm, since its slope is asked for each image, and Adam may be used again (algorithm 1).

    Args:
        shape, latent, objective, hidden, width: as in `WGAN`.
    """

    weights: Mapping[str, float] = {"adversarial": 1.0, "gradient_penalty": 10.0}
    learning_rate = 1e-4
    betas = (0.0, 0.9)
    critic_norm = False
    optimizer = Model.optimizer
    moved = Model.moved

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 100, objective: str = "wasserstein",
                 hidden: Sequence[int] = (256, 512, 1024), width: int | None = None) -> None:
        super().__init__(shape, latent, objective, hidden, width)

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """The batch, as many fakes, and where between them the slope is asked for."""
        # Drawn by `noise`, so that several processes share it out, and brought from N(0, 1) to evenly in [0, 1].
        share = (1 + torch.erf(self.noise(len(x), 1) / math.sqrt(2))) / 2
        return Round(**vars(super().play(x, labels)), share=share)

    def discriminator_terms(self, round: Round) -> Terms:
        """The terms of `WGAN`, and the penalty between the batch and its fakes."""
        penalty = objectives.gradient_penalty(self.discriminator, round.real, round.fake, round.share)
        return {**super().discriminator_terms(round), "gradient_penalty": penalty}

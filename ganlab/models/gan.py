"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661)."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganlab import objectives
from ganlab.models.base import Model, Round, Terms, inference, mlp


class GAN(Model):
    """A generator draws images from noise; a discriminator tells them from data (arXiv:1406.2661, eq. 1):

        min_G max_D  V(D, G) = E_x[ log D(x) ] + E_z[ log(1 - D(G(z))) ]

    Both players have one term, `adversarial`: what each minimises is said by `objective`
    (see `ganlab.objectives`; "non-saturating" is what the paper recommends in section 3). D(x) and D(G(z)) are
    watched: the best discriminator has D(x) = p_data / (p_data + p_G), which is 1/2 once the generator has won.

    Args:
        shape: (C, H, W) of an image in [-1, 1], or (k,) for points, whose coordinates are left unbounded.
        latent: numbers in z ~ N(0, I).
        objective: a name in `ganlab.objectives.OBJECTIVES`.
        hidden: widths of the generator's hidden layers; the discriminator's are the same in reverse.
    """

    weights: Mapping[str, float] = {"adversarial": 1.0}
    watched: ClassVar[tuple[str, ...]] = ("D(x)", "D(G(z))")
    betas = (0.5, 0.999)

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 100, objective: str = "non-saturating",
                 hidden: Sequence[int] = (256, 512, 1024)) -> None:
        super().__init__()
        self.objective = objectives.get(objective)
        values = math.prod(shape)
        self.discriminator: nn.Module = nn.Sequential(
            nn.Flatten(), mlp(values, *reversed(hidden), 1, activation=lambda: nn.LeakyReLU(0.2)))
        self.generator: nn.Module = nn.Sequential(
            mlp(latent, *hidden, values, activation=nn.ReLU),
            nn.Tanh() if len(shape) == 3 else nn.Identity(), nn.Unflatten(1, tuple(shape)))
        for layer in self.generator.modules():
            # He initialisation (arXiv:1502.01852, eq. 10) keeps the spread of z on its way through the ReLUs. With
            # PyTorch's smaller default all fakes begin nearly equal, and the game begins collapsed.
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """The batch and as many fakes G(z), z ~ N(0, I)."""
        return Round(real=x, fake=self.generator(self.noise(len(x), self.config["latent"])))

    def discriminator_terms(self, round: Round) -> Terms:
        """The discriminator's side of the objective; the fakes are detached, so nothing reaches the generator."""
        real, fake = self.judge(round.real, round.fake.detach())
        return {"adversarial": self.objective.discriminator(real, fake),
                "D(x)": self.objective.output(real.detach().float()).mean(),
                "D(G(z))": self.objective.output(fake.detach().float()).mean()}

    def generator_terms(self, round: Round) -> Terms:
        """The generator's side of the objective, judged by the discriminator as it is after its own turn."""
        return {"adversarial": self.objective.generator(self.discriminator(round.fake))}

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of both batches: in one pass, unless batch norm would let them see each other."""
        if self._mixes_samples:
            return self.discriminator(real), self.discriminator(fake)
        logits = self.discriminator(torch.cat([real, fake]))
        return logits[:len(real)], logits[len(real):]

    @functools.cached_property
    def _mixes_samples(self) -> bool:
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.discriminator.modules())

    @inference
    def decode(self, z: Tensor) -> Tensor:
        """G(z): the images (N x C x H x W in [-1, 1]) of latents (N x latent)."""
        return self.generator(z.to(self.device))

"""Conditional generative adversarial networks (Mirza and Osindero 2014, arXiv:1411.1784)."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganlab import objectives
from ganlab.errors import GanlabError
from ganlab.models import dcgan
from ganlab.models.base import Model, Round, inference, mlp
from ganlab.models.gan import GAN

Labels = Tensor | int | None
"""int64 of length N; one for all; None for all classes in turn; or float N x classes, a mixture of classes."""


class CGAN(GAN):
    """The game of `GAN`, with both players told what is to be drawn, a label y (arXiv:1411.1784, eq. 2):

        min_G max_D  V(D, G) = E_x[ log D(x|y) ] + E_z[ log(1 - D(G(z|y)|y)) ]

    "Given y" is done by concatenation: the generator's input is [z, y], the discriminator's [x, y], y being one-hot.
    So the discriminator judges pairs, and an image with the wrong label is as much a fake as a bad image.

    Args:
        shape: (C, H, W) of an image in [-1, 1], or (k,) for points, whose coordinates are left unbounded.
        latent: numbers in z ~ N(0, I).
        objective: a name in `ganlab.objectives.OBJECTIVES`.
        hidden: widths of the generator's hidden layers; the discriminator's are the same in reverse, without the last.
        classes: how many labels there are, from 0 on.
        fake_labels: y of the fakes in a step: "batch", those of the real images, or "random", drawn evenly.
        dropout: share of the discriminator's hidden values that are left out in each pass.
    """

    expects: ClassVar[str] = "labels"

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 100, objective: str = "non-saturating",
                 hidden: Sequence[int] = (256, 512, 1024), classes: int = 10, fake_labels: str = "batch",
                 dropout: float = 0.3) -> None:
        Model.__init__(self)
        self._set_game(objective, classes, fake_labels)
        values = math.prod(shape)
        self.discriminator = mlp(values + classes, *reversed(hidden[:-1]), 1,
                                 activation=lambda: nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(dropout)))
        self.generator = nn.Sequential(
            mlp(latent + classes, *hidden, values, activation=lambda: nn.LeakyReLU(0.2)),
            nn.Tanh() if len(shape) == 3 else nn.Identity(), nn.Unflatten(1, tuple(shape)))
        for layer in self.generator.modules():
            if isinstance(layer, nn.Linear):  # He initialisation, as in `GAN` and for the same reason
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias)
        # A single 1 among 784 pixels is hard to hear. The label's weights begin as if it were the only input, as they
        # do in the halves of `CDCGAN`.
        with torch.no_grad():
            for network in (self.generator, self.discriminator):
                weight = next(network.parameters())
                weight[:, -classes:] *= math.sqrt(weight.shape[1] / classes)

    def _set_game(self, objective: str, classes: int, fake_labels: str) -> None:
        if classes < 1:
            raise GanlabError(f"classes must be at least 1, not {classes}; give the number of classes in the data")
        if fake_labels not in ("random", "batch"):
            raise GanlabError(f"fake_labels must be 'batch' (those of the real images) or 'random' (drawn evenly), "
                              f"not {fake_labels!r}")
        self.objective = objectives.get(objective)

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """The pairs [x, y] of the batch, and as many fakes [G(z|y), y], z ~ N(0, I).

        Raises:
            GanlabError: no labels, or labels outside 0 ... classes - 1.
        """
        if labels is None:
            raise GanlabError(f"{self.name} needs a label for every image, and this batch has none; use data with "
                              "labels, or gan or dcgan")
        n, y = len(x), self.condition(len(x), labels)
        y_fake = y if self.config["fake_labels"] == "batch" else self.condition(n, self._random_labels(n))
        fake = self.generator(torch.cat([self.noise(n, self.config["latent"]), y_fake], 1))
        return Round(real=self.pair(x, y), fake=self.pair(fake, y_fake))

    def _random_labels(self, n: int) -> Tensor:
        rank, world = self.share  # drawn for all processes, as `noise` does
        return torch.randint(self.config["classes"], (n * world,), generator=self.rng, device=self.device)[rank::world]

    def condition(self, n: int, labels: Labels = None) -> Tensor:
        """y for n images, float N x classes: one-hot, or the mixture that was given.

        Raises:
            GanlabError: not n labels, or labels outside 0 ... classes - 1.
        """
        classes = self.config["classes"]
        y = torch.arange(n) % classes if labels is None else torch.as_tensor(labels)
        if y.ndim == 0:
            y = y.expand(n)
        if tuple(y.shape) != ((n, classes) if y.is_floating_point() else (n,)):
            raise GanlabError(f"labels of shape {tuple(y.shape)} do not fit {n} images; give {n} numbers from 0 to "
                              f"{classes - 1}, one number for all, or a mixture of shape ({n}, {classes})")
        if y.is_floating_point():
            return y.to(self.device)
        # On another device, looking would stop its queue in every step; there, a wrong label is none of the classes.
        if y.device.type == "cpu" and n and not 0 <= y.min() <= y.max() < classes:
            raise GanlabError(f"labels go from {y.min()} to {y.max()}, but this {self.name} knows 0 to {classes - 1}; "
                              f"build it with classes={int(y.max()) + 1}, or choose other labels")
        return (y.to(self.device)[:, None] == torch.arange(classes, device=self.device)).float()

    def pair(self, x: Tensor, y: Tensor) -> Tensor:
        """[x, y], what the discriminator judges: N x (values of x + classes)."""
        return torch.cat([x.flatten(1), y], 1)

    @inference
    def decode(self, z: Tensor, labels: Labels = None) -> Tensor:
        """G(z|y): the images (N x C x H x W in [-1, 1]) of latents (N x latent) under these labels.

        For the same noise under all labels repeat it: `decode(z.repeat_interleave(classes, 0))`.
        """
        z = z.to(self.device)
        return self.generator(torch.cat([z, self.condition(len(z), labels)], 1))

    @inference
    def sample(self, n: int, seed: int | None = None, labels: Labels = None) -> Tensor:
        """n images (N x C x H x W in [-1, 1]) with these labels, of latents drawn from N(0, I).

        The seed decides the latents alone, so that the same seed with other labels shows the same noise under them.
        """
        return self.decode(self.noise(n, self.config["latent"], self.seeded(seed)), labels)


class Halves(nn.Module):
    """Two kinds of channels (N x (a + b) x H x W), each through layers of its own, the results side by side.

    Args:
        a, b: channels of each kind.
        features: channels of the result, shared evenly.
        layers: (channels, features) -> the layers of one half.
    """

    def __init__(self, a: int, b: int, features: int, layers: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.channels = (a, b)
        self.first, self.second = layers(a, features - features // 2), layers(b, features // 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.split(self.channels, 1)
        return torch.cat([self.first(a), self.second(b)], 1)


class CDCGAN(CGAN):
    """The game of `CGAN`, played by a `DCGAN` whose two first layers come in two halves: one for the noise or the
    image, one for the label. The discriminator takes y as `classes` more channels, planes of 0 or 1.

    Args:
        shape: (C, H, W) of an image, H = W = 28, 32, 64, 128, ...
        latent: numbers in z ~ N(0, I).
        objective: a name in `ganlab.objectives.OBJECTIVES`.
        width: channels next to the image; they double with every halving.
        classes: how many labels there are, from 0 on.
        fake_labels: y of the fakes in a step: "batch", those of the real images, or "random", drawn evenly.
    """

    batch_size = 128

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 100, objective: str = "non-saturating",
                 width: int = 128, classes: int = 10, fake_labels: str = "batch") -> None:
        Model.__init__(self)
        self._set_game(objective, classes, fake_labels)
        channels, layers = shape[0], dcgan.widths(shape)

        def from_image(values: int, features: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(values, features, 4, 2, 1), nn.LeakyReLU(0.2))

        def from_code(values: int, features: int) -> nn.Module:
            return nn.Sequential(nn.ConvTranspose2d(values, features, 4, 1, 0), nn.BatchNorm2d(features), nn.ReLU())

        deepest = layers[-1][1] * width
        self.discriminator = nn.Sequential(
            Halves(channels, classes, width, from_image),
            *dcgan.discriminator(channels, layers, width, bias=True)[2:])
        self.generator = nn.Sequential(
            dcgan.Reshape(), Halves(latent, classes, deepest, from_code),
            *dcgan.generator(channels, layers, width, latent, bias=True)[4:])
        dcgan.initialise(self)
        self.to(memory_format=torch.channels_last)

    def pair(self, x: Tensor, y: Tensor) -> Tensor:
        """[x, y] with one plane for each class, N x (C + classes) x H x W."""
        return torch.cat([x, y[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

"""Image-to-image translation with conditional adversarial networks (Isola et al. 2016, arXiv:1611.07004)."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlab import objectives
from ganlab.errors import GanlabError
from ganlab.models.base import Model, Round, Terms, inference
from ganlab.models.dcgan import initialise
from ganlab.perceptual import perceptual_loss
from ganlab.seeds import seeded


class Noise(nn.Dropout):
    """Dropout that is kept on when the generator is used: it is the only noise there is (section 3.1)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm by the statistics of the batch at hand, when training and when used (arXiv:1611.07004, section 3.3).

    With one image a batch it is instance norm with a scale and an offset.
    """
    return nn.BatchNorm2d(channels, track_running_stats=False)


class UNet(nn.Module):
    """Halve the image down to one pixel and double it again; every layer on the way up also sees its mirror image on
    the way down (arXiv:1611.07004, section 3.2.1 and appendix 6.1.1): N x C x size x size to the same, in [-1, 1].

    Args:
        channels: of input and output.
        size: 8, 16, 32 ... 256: a layer for every halving.
        width: channels after the first layer; they double with each up to eight times that.
        plain: the form found in many courses, whose first layer has a bias and whose bottleneck has batch norm (and
            so cannot train on a single image); otherwise the authors' form.
        norm: from channels to a normalisation layer with an offset of its own.
        noise: probability of dropout in the innermost layers.
    """

    def __init__(self, channels: int, size: int, width: int, plain: bool = False,
                 norm: Callable[[int], nn.Module] = norm, noise: float = 0.5) -> None:
        super().__init__()
        widths = [width * min(2 ** i, 8) for i in range(size.bit_length() - 1)]
        last = len(widths) - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, after in enumerate(widths):
            convolution = nn.Conv2d(widths[i - 1] if i else channels, after, 4, 2, 1, bias=plain and i == 0)
            without = i == 0 or (i == last and not plain)
            self.down.append(nn.Sequential(*[nn.LeakyReLU(0.2)] * (i > 0), convolution, *[norm(after)] * (not without)))
        for i in reversed(range(last)):
            before, after = widths[i + 1] * (1 if i == last - 1 else 2), widths[i]
            # The paper has noise in the three innermost layers, all of the full width; a smaller U-Net has fewer.
            noisy = noise > 0 and after == 8 * width and i >= last - 3
            self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), norm(after),
                                         *[Noise(noise)] * noisy))
        self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = self.up[0](seen.pop())
        for layer in self.up[1:]:
            x = layer(torch.cat([seen.pop(), x], 1))
        return x


def patchgan(channels: int, width: int, layers: int, norm: Callable[[int], nn.Module] = norm) -> nn.Sequential:
    """A discriminator that judges overlapping patches: N x channels x H x W to logits N x 1 x h x w
    (arXiv:1611.07004, section 3.2.2 and appendix 6.1.2).

    Args:
        channels: of the images, or of the pairs.
        layers: strided convolutions; 1, 3 and 5 see patches of 16, 70 and 286 pixels, 0 sees single pixels.
        norm: from channels to a normalisation layer; instance norm makes it CycleGAN's.
    """
    # Batch norm brings its own offset; behind it and only there a bias would do nothing.
    bias = not isinstance(norm(1), nn.BatchNorm2d)
    if layers == 0:
        return nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2),
                             nn.Conv2d(width, 2 * width, 1, bias=bias), norm(2 * width), nn.LeakyReLU(0.2),
                             nn.Conv2d(2 * width, 1, 1, bias=bias))
    blocks: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    before = width
    for i in range(1, layers + 1):
        after = width * min(2 ** i, 8)
        blocks += [nn.Conv2d(before, after, 4, 2 if i < layers else 1, 1, bias=bias), norm(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*blocks, nn.Conv2d(before, 1, 4, 1, 1))


def check_patches(size: int, layers: int, name: str) -> None:
    """Refuse a PatchGAN that would have nothing left of the image to look at."""
    if layers and size // 2 ** layers < 3:
        raise GanlabError(f"{name}: a discriminator of {layers} layers has no patch left in images of {size} pixels; "
                          f"use layers={max(0, (size // 3).bit_length() - 1)} or fewer, or larger images")


def check_square(shape: Sequence[int], name: str) -> None:
    """Refuse images that a U-Net cannot halve down to one pixel."""
    _, size, breadth = shape
    if size != breadth or size.bit_count() > 1 or size < 8:
        raise GanlabError(f"{name} translates squares of 8, 16, 32 ... 256 pixels a side, not {size} x {breadth}; "
                          "load the data with size=64, for example")


class Pix2Pix(Model):
    """A U-Net translates an image x of A into one of B; a PatchGAN sees x beside the result or beside the true y
    (arXiv:1611.07004, eq. 1, 3, 4):

        L_cGAN(G, D) = E_xy[ log D(x, y) ] + E_xz[ log(1 - D(x, G(x, z))) ]
        G* = arg min_G max_D L_cGAN(G, D) + lambda E[ |y - G(x, z)|_1 ],  lambda = 100

    The second expectation is often printed as E[1 - log D(x, G(x, z))], which is another function. The noise z is
    dropout. The discriminator's term is halved, which slows it down (section 3.3).

    Args:
        shape: (C, H, W) of the images of both domains, H = W = 8, 16, 32 ...; the paper has 256.
        width: channels of the first layers of both networks.
        layers: of the PatchGAN, see `patchgan`.
        objective: a name in `ganlab.objectives.OBJECTIVES`.
        perceptual: add the term `perceptual`, see `ganlab.perceptual`; its weight begins as 10.
        plain: see `UNet`.
    """

    weights: Mapping[str, float] = {"adversarial": 1.0, "l1": 100.0}
    watched = ("D(y)", "D(G(x))")
    betas = (0.5, 0.999)
    batch_size = 1
    expects = "pairs"
    small = {"width": 16, "layers": 2}
    small_training = {"batch_size": 8, "learning_rate": 1e-3}

    def __init__(self, shape: Sequence[int] = (3, 256, 256), width: int = 64, layers: int = 3,
                 objective: str = "non-saturating", perceptual: bool = False, plain: bool = False) -> None:
        super().__init__()
        channels, size, _ = shape
        check_square(shape, self.name)
        check_patches(size, layers, self.name)
        if perceptual:
            self.weights = {**self.weights, "perceptual": 10.0}
        self.objective = objectives.get(objective)
        self.discriminator = patchgan(2 * channels, width, layers)
        self.generator = UNet(channels, size, width, plain)
        initialise(self)

    def play(self, x: Tensor, y: Tensor) -> Round:  # type: ignore[override]
        """The pair x, y and the translation G(x, z), z from dropout."""
        return Round(x=x, y=y, fake=self._generate(x))

    def discriminator_terms(self, round: Round) -> Terms:
        """Half the discriminator's side of eq. 1, on pairs."""
        real = self.discriminator(torch.cat([round.x, round.y], 1))
        fake = self.discriminator(torch.cat([round.x, round.fake.detach()], 1))
        return {"adversarial": self.objective.discriminator(real, fake) / 2,
                "D(y)": self.objective.output(real.detach().float()).mean(),
                "D(G(x))": self.objective.output(fake.detach().float()).mean()}

    def generator_terms(self, round: Round) -> Terms:
        """The generator's side of eq. 1, and eq. 3."""
        logits = self.discriminator(torch.cat([round.x, round.fake], 1))
        terms = {"adversarial": self.objective.generator(logits), "l1": F.l1_loss(round.fake.float(), round.y)}
        if "perceptual" in self.weights:
            terms["perceptual"] = perceptual_loss(round.fake.float(), round.y)
        return terms

    @inference
    def translate(self, x: Tensor, to: str = "b", seed: int | None = None) -> Tensor:
        """G(x, z): images of A (N x C x H x W in [-1, 1]) translated to B.

        Batch norm uses the statistics of these N images. The noise comes from `seed`, or from PyTorch's stream.
        """
        if to != "b":
            raise GanlabError(f"pix2pix translates from A to B only, not to {to!r}; for that train on data.flipped()")
        x = x.to(self.device)
        if seed is None:
            return self._generate(x)
        with seeded(seed, self.device):
            return self._generate(x)

    def _generate(self, x: Tensor) -> Tensor:
        if self.config["plain"] and len(x) == 1:
            raise GanlabError("the plain U-Net has batch norm at its bottleneck of one pixel, which needs at least two "
                              "images a batch; use batch_size=2 or more, or plain=False")
        return self.generator(x)

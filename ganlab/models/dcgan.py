"""Deep convolutional GAN (Radford, Metz and Chintala 2015, arXiv:1511.06434)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlab import objectives
from ganlab.errors import GanlabError
from ganlab.models.base import Model
from ganlab.models.gan import GAN


def widths(shape: Sequence[int]) -> list[tuple[int, int]]:
    """(kernel, channel multiple) of every stride-2 convolution from an image (C, H, W) to 4 pixels, image side first.

    28 pixels take the layers of 32, with a kernel of 3 between 7 and 4 pixels instead of 4 between 8 and 4.

    Raises:
        GanlabError: not an image, or one that is not square or of another size than 28, 32, 64, 128 ...
    """
    if len(shape) != 3:
        raise GanlabError(f"only images can be convolved, and shape is {tuple(shape)}; for points take gan, cgan, wgan "
                          "or wgangp")
    height, breadth = shape[1:]
    if height != breadth:
        raise GanlabError(f"a DCGAN draws square images, not {height} x {breadth}; load the data with size=64")
    steps = {28: 3}.get(height, height.bit_length() - 3)
    if height != 28 and (height < 8 or height != 4 << steps):
        raise GanlabError(f"a DCGAN draws images of 28, 32, 64, 128 ... pixels a side, not {height}; "
                          "load the data with size=64, for example")
    return [(3 if height == 28 and i == 2 else 4, 2 ** i) for i in range(steps)]


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), batch-norm scales from N(1, 0.02), biases 0 (arXiv:1511.06434, section 4)."""
    for m in module.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, 0.0, 0.02)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight, 1.0, 0.02)
        else:
            continue
        if m.bias is not None:
            nn.init.zeros_(m.bias)


class Reshape(nn.Module):
    """N x z to N x z x 1 x 1, the image of one pixel from which the generator grows."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, None, None]


class DCGAN(GAN):
    """The game of `GAN`, played by convolutional networks built by the paper's rules (arXiv:1511.06434, section 3):
    strided convolutions instead of pooling, batch norm except in G's output and D's input layer, no hidden fully
    connected layers, ReLU in G with Tanh at the end, LeakyReLU 0.2 in D.

    Args:
        shape: (C, H, W) of an image, H = W = 28, 32, 64, 128, ...
        latent: numbers in z ~ N(0, I).
        objective: a name in `ganlab.objectives.OBJECTIVES`.
        width: channels next to the image (ngf and ndf of the paper's code); they double with every halving.
        norm: False leaves batch norm out of both networks, to see what it is for.
    """

    batch_size = 128
    small = {"width": 32}
    small_training = {"batch_size": 64}

    def __init__(self, shape: Sequence[int] = (3, 64, 64), latent: int = 100, objective: str = "non-saturating",
                 width: int = 64, norm: bool = True) -> None:
        Model.__init__(self)
        self.objective = objectives.get(objective)
        channels, layers = shape[0], widths(shape)
        self.discriminator = discriminator(channels, layers, width, norm)
        self.generator = generator(channels, layers, width, latent, norm)
        initialise(self)
        self.to(memory_format=torch.channels_last)  # batch norm and convolutions take a tenth less time on a CPU


def discriminator(channels: int, layers: Sequence[tuple[int, int]], width: int, norm: bool = True,
                  bias: bool = False) -> nn.Sequential:
    """Halve the image with every layer down to 4 pixels, then one number an image: N x C x H x W to N x 1 x 1 x 1.

    Without batch norm, which has an offset of its own, the convolutions have biases; with `bias` they always do.
    """
    bias = bias or not norm
    blocks: list[nn.Module] = []
    before = channels
    for kernel, multiple in layers:
        blocks.append(nn.Conv2d(before, multiple * width, kernel, 2, 1, bias=bias))
        if norm and multiple > 1:
            blocks.append(nn.BatchNorm2d(multiple * width))
        blocks.append(nn.LeakyReLU(0.2))
        before = multiple * width
    return nn.Sequential(*blocks, nn.Conv2d(before, 1, 4, 1, 0, bias=bias))


def generator(channels: int, layers: Sequence[tuple[int, int]], width: int, latent: int,
              norm: bool = True, bias: bool = False) -> nn.Sequential:
    """From z to 4 x 4 pixels, then double with every layer up to the image: N x z to N x C x H x W in [-1, 1].

    Biases as in `discriminator`.
    """
    bias = bias or not norm
    after = layers[-1][1] * width
    blocks: list[nn.Module] = [Reshape(), nn.ConvTranspose2d(latent, after, 4, 1, 0, bias=bias)]
    for i in reversed(range(len(layers))):
        blocks += [nn.BatchNorm2d(after)] * norm + [nn.ReLU()]
        kernel, before = layers[i][0], after
        after = layers[i - 1][1] * width if i else channels
        # The last layer has no batch norm behind it to supply the offset, so it keeps its bias.
        blocks.append(nn.ConvTranspose2d(before, after, kernel, 2, 1, bias=bias or i == 0))
    return nn.Sequential(*blocks, nn.Tanh())

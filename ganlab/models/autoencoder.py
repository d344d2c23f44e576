"""Autoencoder (Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks")."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ganlab.errors import GanlabError
from ganlab.models.base import Model, Round, Terms, inference, mlp


class Trunk(nn.Module):
    """Encoder and decoder as mirrored MLPs, ReLU between the layers.

    Args:
        pixels: values in one image, C * H * W.
        hidden: widths from the image towards the code.
        latent: size of the code.
        heads: how many vectors of that size the encoder returns (a VAE has two: mean and log variance).
    """

    def __init__(self, pixels: int, hidden: Sequence[int], latent: int, heads: int = 1) -> None:
        super().__init__()
        self.encoder = mlp(pixels, *hidden, heads * latent, activation=nn.ReLU)
        self.decoder = mlp(latent, *reversed(hidden), pixels, activation=nn.ReLU)


class Autoencoder(Model):
    """Squeeze an image through a code of `latent` numbers and draw it again from them.

    An encoder z = f(x) and a decoder x' = g(z) are one player that minimises

        reconstruction = E[ |x - g(f(x))|^2 ] / pixels,      x in [0, 1].

    Images come and go in [-1, 1], as everywhere; inside, they are brought to [0, 1] because g ends in a sigmoid,
    which could never reach the black of an image in [-1, 1]. Nothing asks the codes to follow N(0, I), so `sample`,
    which draws them from there, mostly shows what is wrong with that.

    Args:
        shape: (C, H, W) of an image in [-1, 1], or (k,) for points, which only a linear decoder reaches.
        latent: numbers in a code, N of them for N-dimensional PCA.
        hidden: widths of the encoder's layers; () gives a linear encoder and decoder.
        output: "sigmoid", or "linear" for a decoder without output function (with hidden=() this is PCA's model).
    """

    weights: Mapping[str, float] = {"reconstruction": 1.0}
    learning_rate = 1e-4
    batch_size = 128

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 128, hidden: Sequence[int] = (512, 256, 128),
                 output: str = "sigmoid") -> None:
        super().__init__()
        if output not in ("sigmoid", "linear"):
            raise GanlabError(f"output must be 'sigmoid' or 'linear', not {output!r}")
        if output == "sigmoid" and len(shape) != 3:
            raise GanlabError(f"a sigmoid draws only images, which lie in [-1, 1], and shape is {tuple(shape)}; for "
                              "points take output='linear'")
        self.autoencoder = Trunk(math.prod(shape), hidden, latent)

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """The batch in [0, 1] and its reconstruction, both N x pixels."""
        x = (x.flatten(1) + 1) / 2
        return Round(x=x, reconstruction=self._draw(self.autoencoder.encoder(x)))

    def autoencoder_terms(self, round: Round) -> Terms:
        """Mean squared error a pixel, in units of a pixel's range [0, 1]."""
        return {"reconstruction": (round.reconstruction.float() - round.x).square().mean()}

    @inference
    def encode(self, x: Tensor) -> Tensor:
        """The codes (N x latent) of images (N x C x H x W in [-1, 1])."""
        return self.autoencoder.encoder((x.to(self.device).flatten(1) + 1) / 2)

    @inference
    def decode(self, z: Tensor) -> Tensor:
        """The images (N x C x H x W in [-1, 1]) of codes (N x latent)."""
        return (2 * self._draw(z.to(self.device)) - 1).view(-1, *self.config["shape"])

    def _draw(self, z: Tensor) -> Tensor:
        logits = self.autoencoder.decoder(z)
        return torch.sigmoid(logits) if self.config["output"] == "sigmoid" else logits

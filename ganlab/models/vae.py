"""Variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114; beta: Higgins et al. 2017)."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.errors import GanlabError
from ganlab.models.autoencoder import Trunk
from ganlab.models.base import Model, Round, Terms, inference


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) = 1/2 (mu^2 + sigma^2 - 1 - log sigma^2), in nats, for each value.

    Source: arXiv:1312.6114, appendix B. The sum over the latent dimensions is the KL of one image.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


class VAE(Model):
    """An autoencoder whose code is a distribution: q(z|x) = N(mu(x), sigma(x)^2), kept near p(z) = N(0, I).

    One player minimises the negative evidence lower bound (arXiv:1312.6114, eq. 3), a sum:

        reconstruction = E_q[ -log p(x|z) ]        cross-entropy of Bernoulli pixels, summed over the image, nats
        kl             = KL( q(z|x) || p(z) )      summed over the latent dimensions, nats

    The weight of `kl` is beta; with beta = 1 the sum bounds -log p(x) from above where pixels are 0 or 1. (Grey
    pixels are taken as probabilities, as is usual; then it is a loss and no bound, see arXiv:1907.06845.) Codes are
    drawn by z = mu + sigma * epsilon, epsilon ~ N(0, I), so that the gradient reaches mu and sigma (section 2.4).

    Args:
        shape: (C, H, W) of an image.
        latent: dimensions of z.
        hidden: widths of the encoder's layers; the decoder mirrors them.
    """

    weights: Mapping[str, float] = {"reconstruction": 1.0, "kl": 1.0}
    learning_rate = 1e-3
    batch_size = 128

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 16,
                 hidden: Sequence[int] = (512, 256, 128)) -> None:
        super().__init__()
        if len(shape) != 3:
            raise GanlabError(f"a vae draws only images, whose pixels are probabilities, and shape is {tuple(shape)}; "
                              "for points take gan or wgan, or an autoencoder with output='linear'")
        self.autoencoder = Trunk(math.prod(shape), hidden, latent, heads=2)

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """The batch in [0, 1], q(z|x) of each image, and the logits of its pixels given one z ~ q(z|x)."""
        x = (x.flatten(1) + 1) / 2
        mean, log_variance = self.autoencoder.encoder(x).float().chunk(2, dim=1)
        z = mean + (log_variance / 2).exp() * self.noise(len(x), mean.shape[1])
        return Round(x=x, mean=mean, log_variance=log_variance, logits=self.autoencoder.decoder(z))

    def autoencoder_terms(self, round: Round) -> Terms:
        """Both terms of the negative ELBO, the mean over the batch, in nats an image."""
        cross_entropy = F.binary_cross_entropy_with_logits(round.logits.float(), round.x, reduction="none")
        return {"reconstruction": cross_entropy.sum(1).mean(),
                "kl": kl_to_standard_normal(round.mean, round.log_variance).sum(1).mean()}

    @inference
    def encode(self, x: Tensor) -> Tensor:
        """The means of q(z|x) (N x latent) of images (N x C x H x W in [-1, 1])."""
        return self.posterior(x)[0]

    @inference
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each N x latent, of images (N x C x H x W in [-1, 1])."""
        mean, log_variance = self.autoencoder.encoder((x.to(self.device).flatten(1) + 1) / 2).chunk(2, dim=1)
        return mean, log_variance

    @inference
    def decode(self, z: Tensor) -> Tensor:
        """The mean images (N x C x H x W in [-1, 1]) of latents (N x latent)."""
        return (2 * torch.sigmoid(self.autoencoder.decoder(z.to(self.device))) - 1).view(-1, *self.config["shape"])

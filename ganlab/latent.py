"""Looking at latent spaces: codes of a data set, t-SNE, and paths between codes."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganlab.errors import GanlabError


class Encoder(Protocol):
    """A model that turns images into codes: the autoencoder and the VAE."""

    def encode(self, x: Tensor) -> Tensor:
        """The codes (N x latent) of images (N x C x H x W in [-1, 1])."""


def encode(model: Encoder, images: Tensor, batch_size: int = 512) -> Tensor:
    """The codes (N x latent, on the CPU) of many images (N x C x H x W in [-1, 1]), batch by batch."""
    return torch.cat([model.encode(batch).cpu() for batch in images.split(batch_size)])


def tsne(codes: Tensor, seed: int = 0, perplexity: float = 30.0, iterations: int = 500) -> np.ndarray[Any, Any]:
    """A map of the codes in which near neighbours stay near (van der Maaten and Hinton 2008), by scikit-learn.

    Distances between far groups and sizes of groups mean nothing in it. 2,000 codes take about 7 seconds on two
    CPU cores, 5,000 about 20.

    Args:
        codes: N x latent.
        seed: the same map again for the same seed.
        perplexity: about how many neighbours each point keeps; less than N.
        iterations: at least 250.

    Returns:
        N x 2.
    """
    from sklearn.manifold import TSNE
    if len(codes) <= perplexity:
        raise GanlabError(f"t-SNE of {len(codes)} codes needs a perplexity below that, not {perplexity}")
    return TSNE(perplexity=perplexity, max_iter=iterations, init="pca", random_state=seed).fit_transform(codes.numpy())


def interpolate(a: Tensor, b: Tensor, steps: int, spherical: bool = False) -> Tensor:
    """A path of `steps` latents from a to b (each of length `latent`), both included: steps x latent.

    Args:
        spherical: along the great circle, so that latents of a normal distribution keep a typical length
            (White 2016, arXiv:1609.04468); otherwise along the straight line.
    """
    t = torch.linspace(0, 1, steps, device=a.device)[:, None]
    if not spherical:
        return (1 - t) * a + t * b
    angle = torch.arccos(torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)

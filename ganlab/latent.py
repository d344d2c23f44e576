"""Looking at latent spaces: codes of a data set, t-SNE, paths between codes, and the search for a latent."""

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from ganlab.errors import GanlabError
from ganlab.models.base import Model, inference


class Encoder(Protocol):
    """A model that turns images into codes: the autoencoder and the VAE."""

    def encode(self, x: Tensor) -> Tensor:
        """The codes (N x latent) of images (N x C x H x W in [-1, 1])."""


def encode(model: Encoder, images: Tensor, batch_size: int = 512) -> Tensor:
    """The codes (N x latent, on the CPU) of many images (N x C x H x W in [-1, 1]), batch by batch."""
    return torch.cat([model.encode(batch).cpu() for batch in images.split(batch_size)])


class _Told(io.TextIOBase):
    """In the place of stdout: what scikit-learn says of its iterations moves a bar, all else is passed on."""

    def __init__(self, bar: "tqdm[Any]", out: TextIO) -> None:
        self._bar, self._out, self._said = bar, out, False

    def write(self, text: str) -> int:
        if "[t-SNE]" not in text and not (self._said and text == "\n"):
            self._out.write(text)
        elif at := re.search(r"Iteration (\d+)", text):
            self._bar.update(min(int(at[1]), self._bar.total) - self._bar.n)
        self._said = "[t-SNE]" in text
        return len(text)

    def flush(self) -> None:
        self._out.flush()


def tsne(codes: Tensor, seed: int = 0, perplexity: float = 30.0, iterations: int = 500, progress: bool = True
         ) -> np.ndarray[Any, Any]:
    """A map of the codes in which near neighbours stay near (van der Maaten and Hinton 2008), by scikit-learn.

    Distances between far groups and sizes of groups mean nothing in it. 2,000 codes take about 7 seconds on two
    CPU cores, 5,000 about 20.

    Args:
        codes: N x latent.
        seed: the same map again for the same seed.
        perplexity: about how many neighbours each point keeps; less than N.
        iterations: at least 250.
        progress: show a bar where it takes longer than a few seconds, from 2,000 codes on.

    Returns:
        N x 2.
    """
    from sklearn.manifold import TSNE
    if len(codes) <= perplexity:
        raise GanlabError(f"t-SNE of {len(codes)} codes needs a perplexity below that, not {perplexity}")
    progress = progress and len(codes) >= 2000
    machine = TSNE(perplexity=perplexity, max_iter=iterations, init="pca", random_state=seed, verbose=2 * progress)
    if not progress:
        return machine.fit_transform(codes.numpy())
    with tqdm(total=iterations, desc=f"t-SNE of {len(codes):,} codes", unit="iteration") as bar, \
            contextlib.redirect_stdout(_Told(bar, sys.stdout)):
        points = machine.fit_transform(codes.numpy())
        bar.update(iterations - bar.n)
    return points


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


@dataclass(frozen=True)
class Search:
    """What a search for the latents of N images has found, from S starts for each; everything on the CPU.

    Attributes:
        images: N x C x H x W, the known pixels as they were given, and G(z*) where there are none.
        generated: N x C x H x W, G(z*) alone.
        z: N x latent, z*: where the best start has ended.
        best: int64 of length N, which start that was.
        losses: "contextual", "perceptual" and "norm" (where they have a weight), and "total", their weighted sum;
            each (iterations + 1) x S x N, before every step and after the last.
    """

    images: Tensor
    generated: Tensor
    z: Tensor
    best: Tensor
    losses: dict[str, Tensor]


def inpaint(model: Model, images: Tensor, mask: Tensor, labels: Tensor | None = None, *, perceptual: float = 0.003,
            norm: float = 0.1, window: int | None = None, starts: int = 4, iterations: int = 200,
            learning_rate: float = 0.1, seed: int = 0, batch_size: int = 256) -> Search:
    """Fill in what is missing from images by the generated image that fits best to what is left of them.

    No weight is trained. Adam moves z, for each image from several random starts, towards

        z* = argmin_z  | W * (G(z) - y) |_1  +  perceptual * L( D(G(z)) )  +  norm * |z|^2 / 2

    (Yeh et al. 2016, arXiv:1607.07539, eq. 2). The first term is the contextual loss, a sum over the pixels (eq. 4);
    W is the mask M itself, or its `importance`. In the second, the perceptual loss (the paper's prior loss, eq. 5), L
    is what the model's generator is trained to minimise. For the objective "minimax" that is log(1 - D(G(z))), as
    printed in the paper; for "non-saturating" -log D(G(z)), for "wasserstein" -D(G(z)). The third keeps z where it is
    drawn from: the paper draws it from [-1, 1] and clips it to that; of z ~ N(0, I), |z|^2 / 2 is -log p(z) (as in
    Bora et al. 2017, arXiv:1703.03537). Of the starts, the one with the lowest sum is kept. The known pixels are laid
    over it: M * y + (1 - M) * G(z*).

    Args:
        model: any with a latent space. It is left as it was, and may be training in the background.
        images: N x C x H x W in [-1, 1]; what stands at their missing pixels is never looked at.
        mask: 1 where a pixel is known, 0 where it is missing; H x W or 1 x H x W for all images, or N x 1 x H x W.
        labels: int64 of length N, for a model that draws by label.
        perceptual: weight of the second term; 0 for a model without a discriminator.
        norm: weight of the third.
        window: side of the neighbourhood of `importance`, in pixels (the paper: 7); None weighs all known pixels 1.
        starts: random starts for each image.
        iterations: steps of Adam.
        learning_rate: of Adam, in units of z.
        seed: decides the starts. With more starts or iterations the first of them stay what they were.
        batch_size: searches (an image from one start) at a time; it bounds the memory and decides nothing else.

    Raises:
        GanlabError: images, mask or settings that do not fit the model or each other.
    """
    mask = _checked(model, images, mask, labels, perceptual)
    if min(starts, iterations + 1, batch_size) < 1:
        raise GanlabError(f"starts={starts}, iterations={iterations}, batch_size={batch_size}: "
                          "a search needs at least 1, 0 and 1")
    if window is not None and mask.flatten(1).all(1).any():
        raise GanlabError("where nothing is missing no pixel is near a missing one; leave the window out")
    known = torch.where(mask, images.detach().cpu().float(), 0.0)
    weight = mask.float() if window is None else importance(mask, window)
    given = [] if labels is None else [labels.cpu()]
    weights = {"contextual": 1.0, "perceptual": perceptual, "norm": norm}
    rng, n = model.seeded(seed), len(images)
    z = torch.cat([model.noise(n, model.config["latent"], rng) for _ in range(starts)])
    found = []
    for part, i in zip(z.split(batch_size), torch.arange(n).repeat(starts).split(batch_size), strict=True):
        batch = [each[i].to(model.device) for each in (known, weight, *given)]
        found.append(_descend(model, part, batch, weights, iterations, learning_rate))
    losses = {name: torch.cat([history[name] for _, history in found], 1).unflatten(1, (starts, n)).cpu()
              for name in found[0][1]}
    best = losses["total"][-1].argmin(0)
    z = torch.cat([end for end, _ in found]).cpu().unflatten(0, (starts, n))[best, torch.arange(n)]
    generated = torch.cat([model.decode(*(each[i].to(model.device) for each in (z, *given))).cpu()
                           for i in torch.arange(n).split(batch_size)])
    return Search(torch.where(mask, images.detach().cpu(), generated), generated, z, best, losses)


def invert(model: Model, images: Tensor, labels: Tensor | None = None, **settings: Any) -> Search:
    """The latents whose generated images come closest to whole images (N x C x H x W in [-1, 1]).

    It is `inpaint` with nothing missing and no perceptual loss, and takes its other settings: `norm`, `starts`, ...
    """
    return inpaint(model, images, torch.ones(images.shape[-2:]), labels, perceptual=0.0, **settings)


def importance(mask: Tensor, window: int = 7) -> Tensor:
    """How much each known pixel tells about the hole: the share of missing pixels around it (arXiv:1607.07539, eq. 3).

        W_i = M_i * mean of (1 - M_j) over the window around i

    The window counts only pixels inside the image. A pixel with no missing one in its window weighs nothing.

    Args:
        mask: N x 1 x H x W, 1 where a pixel is known and 0 where it is missing.
        window: pixels a side, odd.

    Returns:
        N x 1 x H x W in [0, 1).
    """
    if window < 3 or window % 2 == 0:
        raise GanlabError(f"the window must be an odd number of pixels from 3 on, not {window}")
    missing = 1 - mask.float()
    return mask * F.avg_pool2d(missing, window, 1, window // 2, count_include_pad=False)


def _checked(model: Model, images: Tensor, mask: Tensor, labels: Tensor | None, perceptual: float) -> Tensor:
    """The mask as bool N x 1 x H x W on the CPU, if everything fits."""
    if "latent" not in model.config:
        raise GanlabError(f"{model.name} has no latent space to search; gan, dcgan and vae have one, for example")
    if perceptual and not hasattr(model, "discriminator"):
        raise GanlabError(f"{model.name} has no discriminator, so it has no perceptual loss; give perceptual=0")
    shape = tuple(model.config["shape"])
    if len(shape) != 3 or images.shape[1:] != shape or not images.is_floating_point():
        raise GanlabError(f"{model.name} draws images of shape {shape}; it cannot search for {images.dtype} of shape "
                          f"{tuple(images.shape)}, but for floats in [-1, 1], N x C x H x W")
    if (labels is None) == (model.expects == "labels") or (labels is not None and len(labels) != len(images)):
        raise GanlabError(f"{model.name} draws {'by' if labels is None else 'without'} labels; give "
                          f"{'one for each image' if model.expects == 'labels' else 'none'}")
    allowed = [shape[1:], (1, *shape[1:]), (1, 1, *shape[1:]), (len(images), 1, *shape[1:])]
    if tuple(mask.shape) not in allowed or not torch.isin(mask.cpu().float(), torch.tensor([0.0, 1.0])).all():
        raise GanlabError(f"a mask is 1 where a pixel is known and 0 where it is missing, of shape {allowed[0]}, "
                          f"{allowed[1]} or {allowed[3]}; this one has the shape {tuple(mask.shape)} and values from "
                          f"{mask.min()} to {mask.max()}")
    return mask.cpu().bool().expand(allowed[3])


def _descend(model: Model, z: Tensor, batch: Sequence[Tensor], weights: Mapping[str, float], iterations: int,
             learning_rate: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Where Adam takes z (B x latent), and every loss on the way, (iterations + 1) x B each."""
    optimizer = torch.optim.Adam([z], learning_rate)
    history = []
    for step in range(iterations + 1):
        losses, z.grad = _losses(model, z, batch, weights)
        history.append(losses)
        if step < iterations:
            optimizer.step()
    return z, {name: torch.stack([losses[name] for losses in history]) for name in history[0]}


@inference
def _losses(model: Any, z: Tensor, batch: Sequence[Tensor],
            weights: Mapping[str, float]) -> tuple[dict[str, Tensor], Tensor]:
    """The losses of each search, and the gradient of their totals. Under the model's lock, one iteration at a time.

    The gradient is asked for z alone: the parameters keep their `.grad` and need not be frozen.
    """
    known, weight, *labels = batch
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        # `decode` itself runs without gradients; the function inside it does not.
        x = inspect.unwrap(type(model).decode)(model, z, *labels).float()
        if not x.requires_grad:
            raise GanlabError(f"no gradient comes through the decode of {model.name}; let it call its network itself")
        losses = {"contextual": (weight * (x - known)).abs().flatten(1).sum(1)}
        if weights["perceptual"]:
            judged = model.pair(x, model.condition(len(x), *labels)) if labels else x
            # The objective is a mean; each image has its own.
            losses["perceptual"] = torch.vmap(model.objective.generator)(model.discriminator(judged).flatten(1))
        if weights["norm"]:
            losses["norm"] = z.square().sum(1) / 2
        losses["total"] = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum(0)
        gradient, = torch.autograd.grad(losses["total"].sum(), z)
    return {name: loss.detach() for name, loss in losses.items()}, gradient

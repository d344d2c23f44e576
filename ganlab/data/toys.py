"""Generated sets whose truth is known: points in the plane, where collapse can be seen and counted, and stacked digits.

Points have about zero mean and unit standard deviation in each coordinate, like the latents of a generator. A mixture
with few, narrow modes far apart is the usual test for lost modes (Metz et al. 2016, arXiv:1611.02163, section 3.1;
Srivastava et al. 2017, arXiv:1705.07761, section 4.1); `modes` says where they are:

    metrics.mode_coverage(model.sample(2500), *toys.modes("grid25"))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ganlab.data.images import Images, digits, mix
from ganlab.errors import DataError

COUNTS = {"train": 10_000, "test": 2_500}
"""Points, or stacks of digits, of each split."""


def _circle(n: int, radius: float) -> Tensor:
    angle = torch.arange(n) * (2 * math.pi / n)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


_MIXTURES: dict[str, tuple[Tensor, float]] = {
    # Radius 2 and standard deviation 0.02 in arXiv:1611.02163, divided by the standard deviation of a coordinate.
    "ring": (_circle(8, math.sqrt(2)), 0.02 / math.sqrt(2)),
    # Steps of 2 and standard deviation 0.05 in arXiv:1705.07761, divided likewise.
    "grid25": (torch.cartesian_prod(torch.arange(-2.0, 3), torch.arange(-2.0, 3)) / math.sqrt(2), 0.05 / math.sqrt(8)),
}


def modes(name: str) -> tuple[Tensor, float]:
    """The centres (M x 2) of a mixture and the radius within which a sample is good: three standard deviations.

    In two dimensions 98.9 % of the mixture lie within it. An unknown name is a `DataError`.
    """
    if name not in _MIXTURES:
        raise DataError(f"{name!r} has no modes; the mixtures are {', '.join(map(repr, _MIXTURES))}")
    centres, deviation = _MIXTURES[name]
    return centres.clone(), 3 * deviation


def ring(split: str = "train") -> Images:
    """Eight narrow Gaussians on a circle, all alike (arXiv:1611.02163, section 3.1): points N x 2, labels the mode.

    Args:
        split: "train" (10,000 points), "test" (2,500) or "all".
    """
    return _mixture("ring", split)


def grid25(split: str = "train") -> Images:
    """A 5 x 5 grid of narrow Gaussians, all alike (arXiv:1705.07761, section 4.1): points N x 2, labels the mode.

    Args:
        split: "train" (10,000 points), "test" (2,500) or "all".
    """
    return _mixture("grid25", split)


def spiral(split: str = "train") -> Images:
    """Two arms of a spiral, one and a half turns each, with some noise: points N x 2, labels the arm, 0 or 1.

    Args:
        split: "train" (10,000 points), "test" (2,500) or "all".
    """

    def draw(part: str, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        # The square root spreads the points evenly along the arm, and makes their mean square 2.
        labels, way = torch.arange(n) % 2, torch.rand(n, generator=rng, dtype=torch.double).sqrt()
        arm = torch.stack([(3 * math.pi * way).cos(), (3 * math.pi * way).sin()], 1) * (2 * way)[:, None]
        return (1 - 2 * labels)[:, None] * arm + 0.03 * torch.randn(n, 2, generator=rng, dtype=torch.double), labels

    return _generate("spiral", split, draw, classes=2)


def moons(split: str = "train") -> Images:
    """Two half circles, stretched, that reach into each other: points N x 2, labels 0 (upper) and 1 (lower).

    Args:
        split: "train" (10,000 points), "test" (2,500) or "all".
    """

    def draw(part: str, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        labels, angle = torch.arange(n) % 2, torch.rand(n, generator=rng, dtype=torch.double) * math.pi
        side = 1 - 2 * labels
        points = torch.stack([angle.cos() - 0.5 * side, side * (angle.sin() - 0.25)], 1)
        points += 0.05 * torch.randn(n, 2, generator=rng, dtype=torch.double)
        return points * torch.tensor([1.15, 2.0]), labels

    return _generate("moons", split, draw, classes=2)


TOYS: dict[str, Callable[[str], Images]] = {"ring": ring, "grid25": grid25, "spiral": spiral, "moons": moons}
"""The sets of points by name, each a function of the split."""


def stacked_digits(split: str = "train", base: Images | None = None) -> Images:
    """Three random digits as the colours of one image: uint8 N x 3 x 28 x 28, labels 0 to 999 (hundreds in red).

    A thousand modes that a classifier of digits can count (arXiv:1611.02163, section 3.3.1, there made of MNIST).

    Args:
        split: "train" (10,000 images), "test" (2,500) or "all".
        base: the digits to stack, for example MNIST; by default the same split of the embedded ones.

    Raises:
        DataError: an unknown split, or a base that is no set of grey, labelled digits.
    """
    if base is not None and (base.labels is None or base.shape[0] != 1 or int(base.labels.max()) > 9):
        raise DataError(f"{base.name} cannot be stacked; give grey images (1 x H x W) with labels from 0 to 9")

    def draw(part: str, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        source = digits(part) if base is None else base
        assert source.labels is not None
        chosen = torch.randint(len(source), (n, 3), generator=rng)
        return source.images[chosen].squeeze(2), source.labels[chosen] @ torch.tensor([100, 10, 1])

    stacked = _generate("stacked_digits", split, draw, classes=1000)
    return stacked if base is None else replace(stacked, name=f"stacked_{base.name}", spec={})


def _generate(name: str, split: str, draw: Callable[[str, int, torch.Generator], tuple[Tensor, Tensor]],
              classes: int) -> Images:
    """Draw the parts of a split, each from its own random stream, so that "all" is "train" and "test"."""
    if split not in ("all", *COUNTS):
        raise DataError(f"{name} has the splits 'train', 'test' and 'all', not {split!r}")
    # Points are drawn in float64, so that rounding to float32 comes out alike on every processor.
    parts = [draw(part, n, torch.Generator().manual_seed(mix(i, *name.encode())))
             for i, (part, n) in enumerate(COUNTS.items()) if split in ("all", part)]
    images, labels = (torch.cat(together) for together in zip(*parts, strict=True))
    digits_of_a_label = len(str(classes - 1))
    return Images(images if images.dtype == torch.uint8 else images.float(), labels,
                  tuple(str(i).zfill(digits_of_a_label) for i in range(classes)), name, {"name": name, "split": split})


def _mixture(name: str, split: str) -> Images:
    centres, deviation = _MIXTURES[name]

    def draw(part: str, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % len(centres)
        return centres[labels] + deviation * torch.randn(n, 2, generator=rng, dtype=torch.double), labels

    return _generate(name, split, draw, classes=len(centres))

"""Painting a whole batch of pictures, back to front.

Every shape is a signed distance (negative inside) on the pixels' coordinates, from which follows how much of a pixel it
covers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

LABELS = {"sky": (20, 50, 160), "ground": (105, 105, 105), "wall": (242, 193, 78), "roof": (160, 70, 20),
          "cornice": (250, 245, 230), "window": (64, 200, 240), "shutter": (120, 200, 60), "door": (215, 30, 90),
          "balcony": (140, 60, 190), "shop": (255, 95, 0), "tree": (0, 110, 40)}
"""The classes of `fronts` in the order of their numbers, and their colours in a label map (RGB, 0 to 255)."""

Scene = SimpleNamespace
"""What a batch of pictures shows: the parameters by name, each N x k x 1 x 1."""


class Canvas:
    """N pictures being painted, on coordinates from 0 (left, top) to 1 (right, bottom).

    Args:
        n: pictures.
        size: pixels a side.
        scale: painted so many times larger and then averaged.
    """

    def __init__(self, n: int, size: int, scale: int) -> None:
        side = size * scale
        self.size, self.scale, self.pixel = size, scale, 1 / side
        grid = (torch.arange(side) + 0.5) / side
        self.x, self.y = grid.view(1, 1, 1, -1), grid.view(1, 1, -1, 1)
        self.rgb, self.labels = torch.zeros(n, 3, side, side), torch.zeros(n, 1, side, side, dtype=torch.uint8)

    def inside(self, distance: Tensor, soft: float = 0.0) -> Tensor:
        """How much of each pixel a shape covers; its edge is `soft` wide, or as sharp as the pixels allow."""
        return (0.5 - distance / max(soft, self.pixel)).clamp(0, 1)

    def between(self, t: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
        """How much of each pixel lies where low < t < high, exact for a coordinate t."""
        h = self.pixel / 2
        return ((t + h).clamp_max(high) - (t - h).clamp_min(low)).clamp_min(0) / self.pixel

    def rect(self, u: Tensor, a: Tensor | float, b: Tensor | float, v: Tensor, start: Tensor | float,
             end: Tensor | float) -> Tensor:
        """How much of each pixel lies where a < u < b and start < v < end."""
        return self.between(u, a, b) * self.between(v, start, end)

    def line(self, distance: Tensor, width: Tensor | float) -> Tensor:
        """A line of this width where the distance is 0."""
        return self.between(distance, -width / 2, width / 2)

    def paint(self, cover: Tensor, colour: Tensor, label: str = "") -> None:
        """Lay a colour (N x 3 x 1 x 1, or by pixel) over what is there, where it covers; and its label."""
        self.rgb.lerp_(colour, cover)
        if label:
            self.labels[(cover > 0.5).expand_as(self.labels)] = list(LABELS).index(label)

    def shade(self, cover: Tensor, factor: Tensor | float) -> None:
        """Multiply what is there by a factor, where it covers."""
        self.rgb *= 1 + cover * (factor - 1)

    def pixels(self) -> tuple[Tensor, Tensor]:
        """The pictures (uint8 N x 3 x H x W) and the classes of their pixels (uint8 N x H x W)."""
        rgb = F.avg_pool2d(self.rgb, self.scale) if self.scale > 1 else self.rgb
        return rgb.clamp(0, 1).mul(255).round().to(torch.uint8), self.labels[:, 0, ::self.scale, ::self.scale]


class Dice:
    """Draws the parameters of n scenes."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.rng = n, torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float, k: int = 1) -> Tensor:
        return torch.rand(self.n, k, 1, 1, generator=self.rng) * (high - low) + low

    def choice(self, *values: float) -> Tensor:
        """One of these values, each as likely."""
        return torch.tensor(values)[torch.randint(len(values), (self.n, 1, 1, 1), generator=self.rng)]

    def colour(self, hexes: str, spread: float = 0.03) -> Tensor:
        """One of these colours, each as likely, and a little of another hue and brightness."""
        colours = palette(hexes)
        some = colours[torch.randint(len(colours), (self.n,), generator=self.rng)]
        return (some * (1 + self.between(-spread, spread)) + self.between(-spread, spread, 3)).clamp(0, 1)


def palette(hexes: str) -> Tensor:
    """Colours in hexadecimal, between spaces, as k x 3 x 1 x 1 from 0 to 1."""
    return torch.tensor([list(bytes.fromhex(h)) for h in hexes.split()])[..., None, None] / 255


def rgb(hexed: str) -> Tensor:
    return palette(hexed)[0]


def ellipse(x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """The distance from an ellipse around 0 of half axes a and b, to first order."""
    k = ((x / a).square() + (y / b).square()).sqrt()
    return k * (k - 1) / (((x / (a * a)).square() + (y / (b * b)).square()).sqrt() + 1e-6)


def box(x: Tensor, y: Tensor, a: Tensor, b: Tensor, round_: float) -> Tensor:
    """The distance from a box around 0 of half sides a and b with rounded corners."""
    p, q = x.abs() - a + round_, y.abs() - b + round_
    return (p.clamp_min(0).square() + q.clamp_min(0).square()).sqrt() + p.maximum(q).clamp_max(0) - round_


def spot(x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """How strong a soft spot around 0 of widths a and b is: much like a Gaussian, but 0 from twice its width on."""
    return (1 - ((x / a).square() + (y / b).square()) / 4).clamp_min(0).square().square()


def blend(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The distance from the union of two shapes, its corners rounded over this width."""
    h = (0.5 + 0.5 * (b - a) / width).clamp(0, 1)
    return torch.lerp(b, a, h) - width * h * (1 - h)


def render(draw: Callable[[Canvas, Scene], None], scene: dict[str, Tensor], size: int,
           scale: int = 0) -> tuple[Tensor, Tensor]:
    """Paint scenes, few enough at once for the processor's cache: pixels and classes as `Canvas.pixels`.

    Args:
        scale: as of `Canvas`; by default pictures of up to 64 pixels a side are painted twice as large.
    """
    scale = scale or (2 if size <= 64 else 1)
    few = max(1, 2**18 // (size * scale) ** 2)
    parts = []
    for i in range(0, len(next(iter(scene.values()))), few):
        some = Scene(**{name: values[i:i + few] for name, values in scene.items()})
        canvas = Canvas(len(next(iter(vars(some).values()))), size, scale)
        draw(canvas, some)
        parts.append(canvas.pixels())
    images, labels = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(labels)


@cache
def _surface() -> Tensor:
    """A lumpy surface: its height and its two slopes, 1 x 3 x 256 x 256."""
    rough = torch.rand(1, 1, 34, 34, generator=torch.Generator().manual_seed(1)) - 0.5
    height = F.interpolate(rough, (256, 256), mode="bicubic")
    return torch.cat([height, height.roll(-1, 3) - height.roll(1, 3), height.roll(-1, 2) - height.roll(1, 2)], 1)


def lumps(u: Tensor, v: Tensor, k: int = 1) -> tuple[Tensor, ...]:
    """Height and slopes (the first k of them, each N x 1 x H x W) of a lumpy surface where u and v, -1 to 1, are."""
    at = torch.cat([u, v], 1).movedim(1, -1)
    return F.grid_sample(_surface()[:, :k].expand(len(u), -1, -1, -1), at, padding_mode="reflection",
                         align_corners=False).split(1, 1)

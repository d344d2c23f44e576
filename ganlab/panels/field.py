"""A GAN in the plane as a picture: what D says of every place, what G makes of its latents, and where D pushes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ganlab.data.images import Images
from ganlab.models.gan import GAN
from ganlab.objectives import Objective
from ganlab.panels import draw
from ganlab.panels.draw import COLOURS, SHARP

HALF = 3.4
"""The picture shows the plane from -HALF to HALF on both axes."""

CELLS, LINES, BENDS = 56, 15, 56
"""Places a side at which D is asked, lines of the grid of latents in each direction, and pieces of each line."""

SAMPLES, PULLS = 300, 150
"""Points shown of the data and of the generator each, and of the latter those that have an arrow."""

NOISE = 0.06
"""Standard deviation of what is drawn by hand about its strokes."""

LONGEST = 0.45
"""Of the arrows, in the units of the plane."""

REAL, GENERATED, GRID, PULL, LEVEL = COLOURS[0], COLOURS[1], COLOURS[3], "#333333", "#8a8a8a"
LAYERS = {"surface": "what D says", "manifold": "the generator's grid", "real": "data", "generated": "generated",
          "pulls": "where D pushes"}
"""What can be seen, by name, from the bottom to the top, and what a person reads."""

_BANDS = 10


def _mixed(colour: str, share: float) -> list[int]:
    return [round(250 + share * (value - 250)) for value in draw._rgb(colour)]


_STEPS = [0.05 + 0.5 * k / (_BANDS - 1) for k in range(_BANDS)]
HEAT = [_mixed(GENERATED, s) for s in reversed(_STEPS)] + [_mixed(REAL, s) for s in _STEPS]
_INKS = {name: len(HEAT) + i for i, name in enumerate(("#fafafa", REAL, GENERATED, GRID, PULL, LEVEL, "#ffffff"))}
_PALETTE = [value for colour in HEAT for value in colour] + [v for ink in _INKS for v in draw._rgb(ink)]


class Scale(NamedTuple):
    """From D(x) to a colour from -1 (generated) through 0 to 1 (real).

    Attributes:
        level: what gets 0: the objective's optimum, where the generator has won; without one the middle of the range
            of D(x), or for a critic, which knows only differences, that of its means on data and on fakes.
        low, high: what gets -1/2 and 1/2: half the way to the bound of D(x) where it has one, else as far from the
            level as half of the plane is.
        bounded: whether D(x) has a lower bound and whether it has an upper one.
    """

    level: float
    low: float
    high: float
    bounded: tuple[bool, bool]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The colours of D(x)."""
        away = values - self.level
        sides = []
        for side, half, bounded in zip((-1, 1), (self.low, self.high), self.bounded, strict=True):
            part, half = np.maximum(side * away, 0), abs(half - self.level)
            sides.append(part / (2 * half) if bounded else part / (part + half))
        return np.clip(sides[1] - sides[0], -1, 1)


class View(NamedTuple):
    """A model in the plane at one moment; every array is float32.

    Attributes:
        surface: D(x) of a regular grid, `CELLS` x `CELLS`, the first row at the top.
        scale: of its colours.
        manifold: lines (2 * `LINES` x `BENDS` + 1 x 2) of a grid of latents, drawn through the generator.
        generated: N x 2, always of the same latents.
        pulls: minus the gradient of the generator's term at the first `PULLS` of them.
    """

    surface: np.ndarray
    scale: Scale
    manifold: np.ndarray
    generated: np.ndarray
    pulls: np.ndarray


def places() -> Tensor:
    """Where `View.surface` asks D, `CELLS` ** 2 x 2: the middles of its cells, row by row from the top."""
    at = (torch.arange(CELLS) + 0.5) / CELLS * 2 * HALF - HALF
    y, x = torch.meshgrid(-at, at, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def latents() -> Tensor:
    """A grid over the plane of latents, 2 * `LINES` lines x `BENDS` + 1 x 2.

    The lines stand at quantiles of N(0, 1), so that all cells hold the same share of the generator's samples: where its
    picture is narrow, samples are dense.
    """
    def quantiles(n: int) -> Tensor:
        return torch.special.ndtri(torch.linspace(0.01, 0.99, n))

    across, along = torch.broadcast_tensors(quantiles(LINES)[:, None], quantiles(BENDS + 1))
    return torch.cat([torch.stack([across, along], -1), torch.stack([along, across], -1)])


def pulls(model: GAN, objective: Objective, points: Tensor) -> Tensor:
    """Minus the gradient of the generator's term with respect to each point (N x 2), if it stood alone in the mean."""
    with model.lock, torch.enable_grad():
        points = points.detach().requires_grad_()
        term = objective.generator(model.discriminator(points)) * len(points)
        return -torch.autograd.grad(term, points)[0]


def judged(model: GAN, objective: Objective, points: Tensor) -> Tensor:
    """D(x) of points (N x 2), as the paper of the objective has it."""
    with model.lock, torch.no_grad():
        output: Tensor = objective.output(model.discriminator(points).float()).flatten()
        return output


def look(model: GAN, objective: Objective, real: Tensor, seed: int = 0) -> View:
    """A GAN of points in the plane with two latents as it is between two steps.

    Args:
        objective: by which D is read and the generator pushed.
        real: some of its data, N x 2.
        seed: of the latents of its samples.
    """
    with model.lock:
        surface, grid = judged(model, objective, places()), model.decode(latents().view(-1, 2))
        generated = model.sample(SAMPLES, seed=seed)
        scale = _scale(objective, surface, judged(model, objective, real), judged(model, objective, generated))
        arrows = pulls(model, objective, generated[:PULLS])
    return View(surface.view(CELLS, CELLS).numpy(), scale, grid.view(2 * LINES, BENDS + 1, 2).numpy(),
                generated.numpy(), arrows.numpy())


def _scale(objective: Objective, surface: Tensor, real: Tensor, generated: Tensor) -> Scale:
    ends = objective.output(torch.tensor([-math.inf, math.inf])).tolist()
    level = objective.optimum
    if level is None:
        level = sum(ends) / 2 if all(map(math.isfinite, ends)) else float(real.mean() + generated.mean()) / 2
    typical = max(float((surface - level).abs().median()), 1e-12)
    low, high = [(level + end) / 2 if math.isfinite(end) else level + side * typical
                 for side, end in zip((-1, 1), ends, strict=True)]
    return Scale(level, low, high, (math.isfinite(ends[0]), math.isfinite(ends[1])))


def picture(view: View, real: np.ndarray, size: int, layers: Collection[str] = tuple(LAYERS), longer: float = 1.0,
            strokes: Sequence[Sequence[tuple[float, float]]] = ()) -> Image.Image:
    """The plane as a square with a palette.

    Args:
        real: points of the data, N x 2.
        size: of the square in pixels of the page; the picture has `SHARP` times as many.
        layers: names in `LAYERS`.
        longer: arrows are as long as g / (g + 1) of `LONGEST`, g being so many times the gradient.
        strokes: lines to draw over it, in the units of the plane.
    """
    width = size * SHARP

    def at(points: np.ndarray) -> np.ndarray:
        """Pixels of points; what is far away, or not a number, is put where it cannot be seen."""
        pixels = (np.nan_to_num(points, nan=1e3) * [1, -1] / HALF + 1) * (width / 2)
        return np.clip(pixels, -width, 2 * width)

    bands = np.full((size, size), _INKS["#fafafa"], np.uint8)
    if "surface" in layers:
        colours = Image.fromarray(np.nan_to_num(view.scale(view.surface)).astype(np.float32))
        shades = np.asarray(colours.resize((size, size), Image.Resampling.BICUBIC))
        bands = np.clip((shades + 1) * _BANDS, 0, 2 * _BANDS - 1).astype(np.uint8)
        real_side = shades >= 0
        bands[:-1][real_side[:-1] != real_side[1:]] = _INKS[LEVEL]
        bands[:, :-1][real_side[:, :-1] != real_side[:, 1:]] = _INKS[LEVEL]
    sheet = Image.fromarray(bands).resize((width, width), Image.Resampling.NEAREST)
    ink = ImageDraw.Draw(sheet)
    if "manifold" in layers:
        for line in at(view.manifold):
            ink.line(line.ravel().tolist(), fill=_INKS[GRID], width=SHARP)
    pixels = np.array(sheet)
    if "real" in layers:
        _stamp(pixels, at(real), _DISC, _INKS[REAL])
    sheet = Image.fromarray(pixels)
    if "pulls" in layers:
        _arrows(ImageDraw.Draw(sheet), at(view.generated[:len(view.pulls)]),
                np.nan_to_num(view.pulls) * [1, -1] * longer, LONGEST / HALF * width / 2)
    pixels = np.array(sheet)
    if "generated" in layers:
        _stamp(pixels, at(view.generated), _SQUARE, _INKS[GENERATED])
    sheet = Image.fromarray(pixels)
    ink = ImageDraw.Draw(sheet)
    for stroke in strokes:
        line = at(np.array(stroke))
        ink.line(line.ravel().tolist(), fill=_INKS[REAL], width=4 * SHARP, joint="curve")
        for x, y in line[[0, -1]]:
            ink.ellipse((x - 2 * SHARP, y - 2 * SHARP, x + 2 * SHARP, y + 2 * SHARP), fill=_INKS[REAL])
    sheet.putpalette(_PALETTE)
    return sheet


def _shape(inside: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (k x 2) of a small shape, and those of the shape with a rim of a pixel round it."""
    y, x = np.mgrid[-9:10, -9:10]
    filled = inside(x, y)
    rimmed = filled.copy()
    for axis in (0, 1):
        rimmed |= np.roll(filled, 1, axis) | np.roll(filled, -1, axis)
    return np.argwhere(filled) - 9, np.argwhere(rimmed) - 9


_DISC = _shape(lambda x, y: x * x + y * y <= 5 ** 2)
_SQUARE = _shape(lambda x, y: np.maximum(abs(x), abs(y)) <= 2)


def _stamp(pixels: np.ndarray, points: np.ndarray, shape: tuple[np.ndarray, np.ndarray], ink: int) -> None:
    """The same small shape at every point, with a white rim round all of them together."""
    for offsets, colour in zip(shape[::-1], (_INKS["#ffffff"], ink), strict=True):
        y, x = (points.round().astype(int)[:, None, ::-1] + offsets).reshape(-1, 2).T
        seen = (x >= 0) & (x < len(pixels)) & (y >= 0) & (y < len(pixels))
        pixels[y[seen], x[seen]] = colour


def _arrows(ink: ImageDraw.ImageDraw, tails: np.ndarray, forces: np.ndarray, longest: float) -> None:
    size = np.linalg.norm(forces, axis=1, keepdims=True)
    ways = forces / np.maximum(size, 1e-30)
    lengths = longest * size / (size + 1)
    tips = tails + ways * lengths
    barbs = np.minimum(lengths * 0.5, 4 * SHARP)
    back, side = ways * barbs, ways[:, ::-1] * [-1, 1] * barbs * 0.5
    for tail, tip, a, b, length in zip(tails, tips, tips - back + side, tips - back - side, lengths[:, 0], strict=True):
        if length > 2 * SHARP:
            ink.line((*tail, *tip), fill=_INKS[PULL], width=SHARP)
            ink.polygon((*tip, *a, *b), fill=_INKS[PULL])


def drawn(strokes: Sequence[Sequence[tuple[float, float]]], n: int = 10_000, noise: float = NOISE) -> Images:
    """Strokes as a set of points: spread evenly along them, with Gaussian noise of that standard deviation.

    Args:
        strokes: lines through points (x, y) of the plane; one point alone is a mode, as dense as a line one unit long.
        n: points, always the same for the same strokes.
    """
    rng = torch.Generator().manual_seed(0)
    lines = [torch.tensor(stroke, dtype=torch.double).view(-1, 2) for stroke in strokes]
    lengths = [torch.cat([torch.zeros(1), (line[1:] - line[:-1]).norm(dim=1)]).double().cumsum(0) for line in lines]
    share = torch.tensor([float(length[-1]) or 1.0 for length in lengths])
    chosen = torch.multinomial(share, n, replacement=True, generator=rng)
    points = torch.empty(n, 2, dtype=torch.double)
    for i, (line, length) in enumerate(zip(lines, lengths, strict=True)):
        some = chosen == i
        way = torch.rand(int(some.sum()), generator=rng, dtype=torch.double) * length[-1]
        end = torch.searchsorted(length, way).clamp(1, max(1, len(line) - 1))
        end = end.clamp(max=len(line) - 1)
        start = (end - 1).clamp(min=0)
        part = ((way - length[start]) / (length[end] - length[start]).clamp(min=1e-12))[:, None]
        points[some] = line[start] + part * (line[end] - line[start])
    points += noise * torch.randn(n, 2, generator=rng, dtype=torch.double)
    return Images(points.float(), name="drawn by hand")

"""Three sets of drawn images to translate between, made on the spot: nothing to download, and the truth is known.

    fronts()    paired      label maps of house fronts, and the houses
    fruit()     unpaired    oranges, and apples: the same shapes, another texture
    faces()     unpaired    portraits, and big-eyed drawings: other shapes

A picture is painted back to front, a whole batch at a time: every shape is a signed distance (negative inside) on the
pixels' coordinates, from which follows how much of a pixel it covers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.data.domains import Domains
from ganlab.data.images import Images, mix
from ganlab.errors import DataError

COUNTS = {"train": 800, "test": 100}
"""Images a side of each split; "all" is both."""

LABELS = {"sky": (20, 50, 160), "ground": (105, 105, 105), "wall": (242, 193, 78), "roof": (160, 70, 20),
          "cornice": (250, 245, 230), "window": (64, 200, 240), "shutter": (120, 200, 60), "door": (215, 30, 90),
          "balcony": (140, 60, 190), "shop": (255, 95, 0), "tree": (0, 110, 40)}
"""The classes of `fronts` in the order of their numbers, and their colours in a label map (RGB, 0 to 255)."""

Scene = SimpleNamespace
"""What a batch of pictures shows: the parameters by name, each N x k x 1 x 1."""


# ---- painting -------------------------------------------------------------------------------------------------------

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


# ---- house fronts ---------------------------------------------------------------------------------------------------

# Five styles: a gabled house by a canal, a boulevard's apartments, a villa by the sea, a terrace, a modern block. Each
# has a plan of its own, and the plan tells materials and colours, so that they can be learned from the label map:
# one row of colours a style, one colour for each remainder of the number of columns by three.
WALLS = palette("a5523e 8c4637 b56a4c e3d3b0 d9c7a8 e8dcc3 e9b26b e7a58c f0cf83 "
                "b79a6c a88b66 9c8460 ece9e2 dfe4e2 efe3d3")
TRIMS = palette("f2ece0 f2ece0 e9e2d2 f3ead6 efe6d2 f4eddd f7ecd8 f5e6d6 f7efd9 "
                "f4f1ea efece6 f4f1ea c9cdd0 b9c2c6 d8d2c8")
ROOFS = palette("7d3b2c 6b3a33 87432f 76828f 6a7683 808a93 c8623c bb5637 d0764a "
                "5c6066 5c6066 5c6066 8d9499 8d9499 8d9499")
DOORS = palette("23513f 1f3f5c 5b2a2a 2c4a3a 4a3526 26364f 3f7f77 3c6e9a 7b4a2a "
                "8c1f2b 1d2c4d 20201f d9822b e0b02f 3a8fb0")


def _front_scene(n: int, seed: int) -> dict[str, Tensor]:
    d = Dice(n, seed)
    style = d.choice(0, 1, 2, 3, 4).long()

    def by(*values: float) -> Tensor:
        return torch.tensor(values)[style]

    def count(low: Tensor, high: Tensor) -> Tensor:
        return (low + (high + 1 - low) * d.between(0, 0.9999)).floor()

    columns, floors = count(by(2, 3, 2, 3, 2), by(3, 5, 4, 4, 3)), count(by(2, 3, 1, 2, 2), by(3, 4, 3, 3, 4))
    roof = by(0.20, 0.15, 0.09, 0.035, 0.03) * d.between(0.85, 1.15)
    storey = ((0.86 - roof - by(0.03, 0.03, 0.03, 0.04, 0)) * d.between(0.86, 1) / (floors + 1.2)).clamp_max(0.23)
    width = (by(0.21, 0.16, 0.20, 0.18, 0.27) * columns * d.between(0.9, 1.1)).clamp(0.42, 0.80)
    return {"style": style, "columns": columns, "floors": floors, "roof": roof, "width": width, "storey": storey,
            "centre": 0.5 + d.between(-0.06, 0.06), "shop": d.choice(0, 1), "balcony": d.choice(0, 1, 2, 3, 4),
            "door": torch.where(d.choice(0, 1) > 0, columns / 2, columns * d.between(0, 0.9999)).floor(),
            "gable": d.choice(0, 1, 2), "shutters": d.choice(0, 1), "chimney": d.between(-0.8, 0.8),
            "tree": d.choice(0, 1, 2, 3), "crown": d.between(0.08, 0.12), "sun": d.between(0.8, 1.25),
            "tint": d.between(-0.03, 0.03, 3) + d.between(-0.05, 0.05), "haze": d.between(0, 1),
            "cloud": torch.cat([d.between(0, 1, 3), d.between(0.02, 0.4, 3)], 1)}


def _front(c: Canvas, s: Scene) -> None:
    x, y, rect = c.x, c.y, c.rect
    noise = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) - 0.5

    def q(v: Tensor | float) -> Tensor:
        """Snapped to the pixels, and at least one, so that few pixels of a label map are of two classes."""
        return (torch.as_tensor(v) * c.size).round().clamp_min(1) / c.size

    def by(*values: float) -> Tensor:
        return torch.tensor(values)[s.style]

    def colour(table: Tensor) -> Tensor:
        return (table[(s.style * 3 + s.columns.long() % 3).flatten()] + 0.5 * s.tint).clamp(0, 1)

    wall, trim, roof, paint = colour(WALLS), colour(TRIMS), colour(ROOFS), colour(DOORS)
    canal, boulevard, villa, terrace, modern = ((s.style == i).float() for i in range(5))
    base, storey, pitch, height = q(0.92), q(s.storey), q(s.width / s.columns), q(s.roof)
    pier, band, over = q(0.22 * pitch), q(by(0.018, 0.026, 0.016, 0.03, 0.022)), q(by(0.012, 0.012, 0.03, 0.001, 0.012))
    left = q(s.centre - s.columns * pitch / 2 - pier)
    right = left + s.columns * pitch + 2 * pier
    first = base - q(1.2 * storey)
    eaves = first - s.floors * storey
    half, middle = (right - left) / 2, (left + right) / 2
    across, pitched, drop = c.between(x, left, right), boulevard + villa, 0.03 * s.sun

    def below(edge: Tensor, reach: Tensor | float) -> Tensor:
        """A shadow that fades under an edge; distances below it."""
        return (edge > 0) * (1 - edge / reach).clamp(0, 1) ** 0.6

    # sky and ground
    sky = torch.lerp(rgb("5f9fdd"), rgb("f3e3cf"), (y / 0.95) ** (1.5 - 0.7 * s.haze)) + 0.5 * s.tint
    c.paint(torch.ones_like(x * y), sky, "sky")
    for i in range(3):
        u, v = x - s.cloud[:, i:i + 1], y - s.cloud[:, i + 3:i + 4]
        puff = ellipse(u, v, 0.16, 0.03).minimum(ellipse(u + 0.04, v + 0.02, 0.06, 0.04))
        c.paint(0.5 * c.inside(puff.minimum(ellipse(u - 0.05, v + 0.015, 0.05, 0.035)), 0.03), rgb("ffffff"))
    ground = c.between(y, base, 2) + 0 * x
    c.paint(ground, torch.lerp(rgb("b0a99f"), rgb("77726f"), (y - base) / 0.08) + 0.3 * s.tint, "ground")
    c.shade(ground * c.line((x - 0.5) / (0.6 + 4 * (y - base)) % 0.16 - 0.08, 0.008), 0.85)
    c.shade(ground * c.between(y, base + 0.045, base + 0.055), 0.8)
    c.shade(ground * c.between(x - 0.4 * (y - base), left, right + 0.02) * below(y - base, 0.06), 0.6)

    # roof
    t = (x - middle).abs()
    h = t / half
    gable = torch.where(s.gable == 0, 1 - h, torch.where(s.gable == 1, 1.2 - (h * 5).ceil() / 5,
                                                         (1 - h * h).clamp_min(0) ** 0.7)).clamp(0, 1)
    top = eaves - torch.where(canal > 0, 0.04 + s.roof * gable, torch.where(pitched > 0, 0.0, height))
    stack = q(middle + s.chimney * half * 0.8)
    chimney = (1 - modern) * c.between(x, stack, stack + q(0.05))
    c.paint(chimney * c.between(y, eaves - height - q(0.04), eaves), wall * (1 - 2.5 * (x - stack)), "wall")
    c.paint(chimney * c.between(y, eaves - height - q(0.04), eaves - height - q(0.04) + 0.014), trim * 0.9)
    slope = c.inside(t - half - over + by(0, 0.3, 1.2, 0, 0) * (eaves - y))
    plane = pitched * slope * c.between(y, eaves - height, eaves)
    c.paint(plane, roof * (0.85 + 1.6 * (eaves - y)) * (1.08 - 0.16 * (x - left) / (2 * half)), "roof")
    rows = (eaves - y) * 40
    tiles = c.between(rows % 1 / 40, 0, 0.008).maximum(c.between((x + rows.floor() % 2 / 80) % (1 / 40), 0, 0.007))
    c.shade(plane * (villa * tiles).maximum(boulevard * c.between((x - left) % (1 / 24), 0, 0.006)), 0.75)

    # wall
    body = across * c.between(y, torch.where(canal > 0, top, eaves), base)
    row = (y * 32).floor()
    stagger = x + row % 2 / 32
    brick = noise[row.long() % 64, (stagger * 16).floor().long() % 64]
    rough = F.interpolate(noise[None, None], c.rgb.shape[-2:], mode="bicubic")
    stucco = terrace * (y > first)
    bricks = canal + terrace - stucco
    c.paint(body, torch.lerp(wall, trim * 0.96, stucco) * (1 + 0.2 * bricks * brick + 0.08 * (1 - bricks) * rough),
            "wall")
    joints = c.between(y % (1 / 32), 0, 1 / 128).maximum(c.between(stagger % (1 / 16), 0, 1 / 128))
    c.paint(body * bricks * 0.25 * joints, trim)
    courses = c.between((y - eaves) % (storey / 3), 0, 1 / 128)
    c.shade(body * courses * (boulevard * torch.where(y > first, 1.0, 0.4)).maximum(stucco), 0.8)
    c.shade(body, 1.06 - 0.12 * (x - left) / (2 * half) - 0.1 * ((y - base) / 0.1 + 1).clamp(0, 1))

    def ledge(cover: Tensor, start: Tensor, end: Tensor) -> None:
        c.paint(cover * c.between(y, start, end), trim * (1.08 - 0.25 * (y - start) / (end - start)), "cornice")
        c.shade((cover * body).minimum(across) * below(y - end, drop), 0.6)

    ledge(canal * across, top, top + band)
    ledge((1 - canal) * c.between(x, left - over, right + over), torch.where(pitched > 0, eaves, top), eaves + band)
    ledge((boulevard + terrace) * across, first - band, first)

    def window(cover: Tensor, u: Tensor, v: Tensor, a: Tensor, b: Tensor, head: Tensor, foot: Tensor) -> None:
        """In every cell where u runs from a to b and v from head to foot: lintel, sill, glass, curtains, frame."""
        p, t = (u - a) / (b - a), (v - head) / (foot - head)
        c.paint(cover * (1 - villa - modern) * rect(u, a - 0.014, b + 0.014, v, head - 0.02, head), trim)
        c.paint(cover * rect(u, a - 0.016, b + 0.016, v, foot, foot + 0.016), trim)
        c.shade(cover * c.between(u, a - 0.01, b + 0.02) * below(v - foot - 0.016, drop), 0.75)
        pane = cover * rect(u, a, b, v, head, foot)
        look = torch.lerp(rgb("9fc4e0"), rgb("2b3f55"), (0.2 + 0.75 * t).clamp(0, 1))
        c.paint(pane, torch.lerp(look, rgb("cfe3ee"), 0.45 * c.inside(((p + 0.6 * t - 0.55).abs() - 0.16) * (b - a))),
                "window")
        c.paint(pane * by(0.6, 0.5, 0.35, 0.6, 0) * c.inside(0.28 - (p - 0.5).abs() + 0.1 * t, 0.05), rgb("f1ead9"))
        frame = 1 - rect(u, a + 0.009, b - 0.009, v, head + 0.009, foot - 0.009)
        cross = c.line(u - (a + b) / 2, 0.008).maximum((1 - modern) * c.line((t - 0.36) * (foot - head), 0.008))
        c.paint(pane * frame.maximum(cross), torch.lerp(rgb("f6f2e8"), rgb("3c4146"), modern))
        c.shade(pane * below(v - head, drop).maximum(below(u - a, drop / 2)), 0.55)

    # floors: u and v run over the cell of each column and storey
    u = x - left - pier
    column, level = (u / pitch).floor(), ((first - y) / storey).floor().clamp_min(-1)
    u, v = u - column * pitch, torch.where(y < first, (y - eaves) % storey, y - first)
    within = ((column >= 0) & (column < s.columns)).float()
    upper, ground = within * c.between(y, eaves + band, first), within * c.between(y, first, base)
    gap, head, foot = (q(by(*values) * size) for values, size in (
        ((0.27, 0.28, 0.30, 0.27, 0.16), pitch), ((0.24, 0.22, 0.26, 0.24, 0.24), storey),
        ((0.84, 0.92, 0.84, 0.86, 0.8), storey)))
    window(upper, u, v, gap, pitch - gap, head, foot)
    attic = q(0.07)
    c.paint(boulevard * within * rect(u, gap - 0.012, pitch - gap + 0.012, y, eaves - 0.78 * height, eaves), trim)
    window(boulevard * within, u, y, gap, pitch - gap, eaves - q(0.6 * height), eaves)
    window(canal, x - q(middle - attic / 2), y, 0 * attic, attic, eaves - q(0.075), eaves)
    shut = q(0.17 * pitch)
    for a in (gap - shut, pitch - gap):
        flap = upper * villa.maximum(canal * s.shutters) * rect(u, a, a + shut, v, head, foot)
        c.paint(flap, paint * (1.05 + 0.25 * ((v - head) % (1 / 64) * 64 - 0.5)), "shutter")

    # ground floor: a door, and windows or shops
    tall = base - first
    entrance = ground * (column == s.door)
    rest, shop = ground - entrance, s.shop * (canal + boulevard + modern)
    window(rest * (1 - shop), u, v, gap, pitch - gap, q(0.28 * tall), q(0.78 * tall))
    side, low, a, lintel = q(0.08 * pitch), q(0.42 * tall), q(0.3 * pitch), q(0.24 * tall)
    window(rest * shop, u, v, side, pitch - side, low, q(0.86 * tall))
    awning = rest * shop * c.between(v, q(0.14 * tall), low)
    c.paint(awning, torch.lerp(paint, rgb("f5efe2"), (u / pitch * 6).floor() % 2) * (0.8 + 0.9 * v / tall), "shop")
    c.shade(rest * shop * below(v - low, 2 * drop), 0.55)
    spring = lintel + (pitch / 2 - a)
    arch = torch.where((canal + villa > 0) & (v < spring), ((u - pitch / 2).square() + (v - spring).square()).sqrt()
                       - pitch / 2 + a, -1.0)
    c.paint(entrance * c.inside(arch - 0.016) * rect(u, a - 0.016, pitch - a + 0.016, v, lintel - 0.016, tall), trim)
    door = entrance * c.inside(arch) * rect(u, a, pitch - a, v, lintel, tall)
    c.paint(door, paint * (1.05 - 0.25 * v / tall), "door")
    light = c.inside(arch + 0.01) * rect(u, a + 0.01, pitch - a - 0.01, v, lintel + 0.01, 0.42 * tall)
    c.paint(door * light, rgb("8fb0c4"))
    c.shade(door * c.line(u - pitch / 2, 0.006) * (v > 0.44 * tall), 0.6)
    c.shade(door * below(v - lintel, drop), 0.6)
    c.paint(door * c.inside(ellipse(u - pitch + a + 0.018, v - 0.7 * tall, 0.006, 0.006)), rgb("f0d58a"))
    c.paint(entrance * rect(u, a - 0.02, pitch - a + 0.02, v, tall - 0.014, tall), rgb("d8d2c6"))

    # balconies
    def balconies(level: Tensor) -> Tensor:
        some = torch.where(s.balcony == 2, column == (s.columns / 2).floor(), torch.where(
            s.balcony == 3, level % 2 == 0, torch.where(s.balcony == 4, level == s.floors - 1, s.balcony > 0)))
        return some * (level >= 0) * (level < s.floors) * within * (1 - canal - terrace)

    rail, reach = storey - q(0.32 * storey), torch.where((boulevard > 0) & (s.balcony > 2), -gap, -q(0.12 * pitch))
    span = c.between(u, gap + reach, pitch - gap - reach)
    c.shade(balconies(level + 1) * span * below(v, 2 * drop), 0.6)
    front = balconies(level) * span * c.between(v, rail, storey)
    c.paint(front, torch.lerp(wall * 0.62, rgb("3a4654"), c.between(u, gap, pitch - gap)), "balcony")
    bars = c.between((u - pitch / 2) % (1 / 40), 0, 0.009).maximum(c.between(v, rail, rail + 0.01))
    c.paint(front * bars, torch.lerp(rgb("2b2f36"), rgb("8fa3ad"), modern))
    c.paint(front * c.between(v, storey - 0.014, storey), trim * 0.95)
    bloom = noise[(y * 64).long() % 64, (x * 64).long() % 64]
    c.paint(front * villa * c.between(v, rail, rail + 0.03) * (bloom > -0.3),
            torch.where(bloom > 0.15, rgb("d8365f"), torch.where(bloom > 0, rgb("f08fa8"), rgb("4f7f3a"))))

    # trees
    for where, sign in ((1, -1.0), (2, 1.0)):
        there = ((s.tree == where) | (s.tree == 3)).float()
        slim = by(1, 1, 0.5, 1, 1)
        u, v = x - middle - sign * (half + 0.5 * s.crown), y - 0.64
        c.paint(there * rect(u, -0.012, 0.012, v, 0, base - 0.62), rgb("5a4332") * (1 - 12 * u), "tree")
        r = s.crown * (1 + 0.08 * (7 * torch.atan2(v, u)).sin())
        light = (0.55 - (u + 1.2 * v) / (4 * s.crown) + 0.6 * rough).clamp(0, 1)
        c.paint(there * c.inside(ellipse(u, v, r * slim, r * (2 - slim))),
                torch.lerp(rgb("27502f"), rgb("8fb455"), light), "tree")


# ---- fruit ----------------------------------------------------------------------------------------------------------

def _fruit_scene(n: int, seed: int) -> dict[str, Tensor]:
    d = Dice(n, seed)
    count, edge = d.choice(1, 2, 3), d.between(0.4, 0.54)
    r = torch.cat([d.between(0.2, 0.25), d.between(0.15, 0.2, 2)], 1) * (1.15 - 0.1 * count)
    x = torch.cat([torch.where(count == 2, d.choice(0.6, 0.66), d.between(0.38, 0.62)), d.between(0.2, 0.32),
                   d.between(0.7, 0.82)], 1)
    y = torch.cat([d.between(0.64, 0.7), edge + d.between(0.0, 0.08, 2)], 1)
    swap = d.choice(-1, 1)
    return {"count": count, "r": r, "x": 0.5 + swap * (x - 0.5), "y": y, "edge": edge,
            "turn": d.between(-0.45, 0.45, 3), "leaf": d.between(-1, 1, 3), "ripe": d.between(0, 1, 3),
            "light": d.choice(-1, 1) * d.between(0.25, 0.6), "cloth": d.choice(0, 1, 2),
            "warm": d.between(-0.05, 0.05), "bright": d.between(0.9, 1.05),
            "table": d.colour("b98a5e 8f6b4a cfc8bf 6f8f9c c9a27a a7b29a 6b5f5a"),
            "back": d.colour("e6ddcc b7c7cf 8a9a8e d9c3b0 5d6a78 cfd6c4 c98f7a 9fb7c9", 0.05)}


@cache
def _lumps() -> Tensor:
    """A lumpy surface: its height and its two slopes, 1 x 3 x 256 x 256."""
    lumps = torch.rand(1, 1, 34, 34, generator=torch.Generator().manual_seed(1)) - 0.5
    height = F.interpolate(lumps, (256, 256), mode="bicubic")
    return torch.cat([height, height.roll(-1, 3) - height.roll(1, 3), height.roll(-1, 2) - height.roll(1, 2)], 1)


def _peel(u: Tensor, v: Tensor, k: int = 1) -> tuple[Tensor, ...]:
    """Height and slopes (the first k of them, each N x 1 x H x W) of a lumpy surface where u and v, -1 to 1, are."""
    at = torch.cat([u, v], 1).movedim(1, -1)
    return F.grid_sample(_lumps()[:, :k].expand(len(u), -1, -1, -1), at, padding_mode="reflection",
                         align_corners=False).split(1, 1)


def _fruits(c: Canvas, s: Scene, apples: bool) -> None:
    x, y, lx, ly = c.x, c.y, s.light, -0.55
    lz = (1 - lx * lx - ly * ly).sqrt()
    hz = ((1 + lz) / 2).sqrt()

    # wall and table, the latter of planks, plain, or with a chequered cloth
    glow = spot(x - 0.5 - 0.6 * lx, y - 0.2, 0.7, 0.7)
    c.paint(torch.ones_like(x * y), s.back * (0.72 + 0.38 * glow))
    depth = 0.3 / (y - s.edge + 0.3).clamp_min(0.1)
    tx = (x - 0.5) * depth
    grain = 0.05 * (130 * tx + 3 * (40 * depth).sin()).sin() - 0.25 * c.line((tx + 0.06) % 0.24 - 0.12, 0.006)
    check = ((tx * 45).sin() * 4).clamp(-1, 1) + ((depth * 26).sin() * 4).clamp(-1, 1)
    cloth = torch.lerp(s.table, rgb("f4f1ea"), 0.25 * (2 + check))
    top = torch.where(s.cloth == 0, s.table * (0.9 + grain), torch.where(s.cloth == 1, cloth, s.table))
    c.paint(c.inside(s.edge - y + 0 * x), top * (0.72 + 0.5 * (y - s.edge) + 0.4 * glow))
    c.shade(c.inside((y - s.edge).abs() - 0.004, 0.03) + 0 * x, 0.85)

    for i in (1, 2, 0):
        r, cx, cy, turn, ripe, leaf = (p[:, i:i + 1] for p in (s.r, s.x, s.y, s.turn, s.ripe, s.leaf))
        there = (s.count > (0, 1, 2)[i]).float()
        u, v = (x - cx) / r, (y - cy) / r
        c.shade(there * c.inside(ellipse(u + 0.8 * lx, v - 0.82, 1.1, 0.26) * r, 0.1), 0.5)
        c.shade(there * c.inside(ellipse(u, v - 0.9, 0.6, 0.1) * r, 0.03), 0.55)
        cover = there * c.inside(ellipse(u, v, 1.0, 0.95) * r)
        cos, sin = turn.cos(), turn.sin()
        u, v = u * cos + v * sin, (v * cos - u * sin) / 0.95
        z = (1 - u * u - v * v).clamp_min(0).sqrt()
        angle = torch.acos(z.clamp_max(0.9999))
        spread = angle / (1 - z * z).clamp_min(1e-4).sqrt() / 1.7
        peel, *slope = _peel(0.8 * u * spread + 0.2 * leaf, 0.8 * v * spread + 0.2 * ripe, 1 if apples else 3)
        # The stem's dip lies above the middle, tilted towards us.
        dip = spot(u, v + 0.68, 0.36, 0.2)
        nu, nv = u - 0.9 * dip * u, v - 1.6 * dip * (v + 0.68)
        if not apples:
            nu, nv = nu - 1.5 * slope[0], nv - 1.5 * slope[1]
        norm = (nu * nu + nv * nv + z * z + 1e-4).sqrt()
        mu, mv = lx * cos + ly * sin, ly * cos - lx * sin
        lambert = (nu * mu + nv * mv + z * lz) / norm
        shine = ((nu * mu + nv * mv + z * (1 + lz)) / (2 * hz * norm)).clamp(0, 1).square().square().square()
        lit = 0.42 + 0.66 * lambert.clamp_min(0) + 0.1 * lambert
        if apples:
            e1, e2, pole = u, 0.73 * v + 0.68 * z, 0.73 * z - 0.68 * v
            round_ = 0.8 / (1 - pole * pole).clamp_min(1e-3).sqrt()
            streak = _peel(e1 * round_, e2 * round_ + 0.03 * pole)[0]
            red = (0.5 + 0.8 * ripe + 0.85 * streak - 1.2 * dip - 0.35 * (pole + 0.2).clamp_min(0) * (1 - ripe)
                   + 0.35 * u * (ripe - 0.5).sign()).clamp(0, 1)
            deep = torch.lerp(rgb("d9442f"), rgb("a3121f"), (red * 1.6 - 0.6).clamp(0, 1))
            skin = torch.lerp(rgb("c3c64e"), deep, red)
            skin = skin + 0.8 * (peel - 0.4).clamp(0, 0.1)
            c.paint(cover, skin * lit + 0.8 * shine.square().square().square() + 0.14 * shine)
        else:
            skin = torch.lerp(rgb("ffab2e"), rgb("f47a14"), ripe) * (1 + 0.22 * peel)
            skin = skin - 0.25 * dip * rgb("604020")
            c.paint(cover, skin * (0.1 + 0.95 * lit) + rgb("ffe0b0") * (0.3 * shine * shine))
        c.shade(cover * (1 - z) ** 3, 0.75)
        c.paint(cover * (1 - z) ** 2 * v.clamp(0, 1) * 0.3, s.table)
        bend = u - 0.14 * (v + 0.7).square() * leaf.sign()
        c.paint(there * c.inside((bend.abs() - 0.045 + 0.02 * v).maximum((v + 0.88).abs() - 0.2) * r),
                rgb("5b4125") * (1 - 5 * bend))
        p, h = u * leaf.sign() - 0.34, v + 0.94 + 0.12 * leaf.abs()
        p, h = 0.94 * p - 0.34 * h, 0.94 * h + 0.34 * p
        blade = torch.maximum(p * p + (h + 0.42).square(), p * p + (h - 0.42).square()).sqrt() - 0.57
        grown = there * (leaf.abs() > 0.2) * c.inside(blade * r)
        c.paint(grown, torch.lerp(rgb("2d6a2f"), rgb("86b84b"), (0.5 - 2.2 * h).clamp(0, 1)))
        c.paint(grown * c.line(h * r, 0.05 * r), rgb("b4cf7f"))
    c.rgb *= s.bright * (1 + s.warm * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1))


def _oranges(c: Canvas, s: Scene) -> None:
    _fruits(c, s, apples=False)


def _apples(c: Canvas, s: Scene) -> None:
    _fruits(c, s, apples=True)


# ---- faces ----------------------------------------------------------------------------------------------------------

EYES = (0.066, 0.185)
"""Height of a usual eye in heights of the face, in portraits and in drawings."""


def _face_scene(n: int, seed: int) -> dict[str, Tensor]:
    d = Dice(n, seed)
    return {"pose": d.between(-1, 1), "tilt": d.between(-0.16, 0.16), "smile": d.between(-0.5, 1),
            "eye": d.between(0.8, 1.25), "length": d.between(0, 1), "fringe": d.choice(0, 1, 2, 3).long(),
            "knot": d.choice(0, 0, 0, 1, 2), "light": d.choice(-1, 1), "neck": d.choice(0, 1, 2),
            "pattern": d.choice(0, 1, 2), "at": d.between(-0.025, 0.025, 2), "zoom": d.between(0.95, 1.05),
            "hair": d.colour("2a2224 4a2f22 7a4a2b a06a3a c99a52 e3c585 a8432a a3a3a8 34579c 8e4f9e d4708f 3f8f7f",
                             0.05),
            "skin": d.colour("f6d7c3 eec4a4 dfae88 c08a60 98643f"),
            "iris": d.colour("4a78c5 4f9a5a 7a4f2b 8a7a3a 7a5aa8 4a9aa5"),
            "dress": d.colour("3a4f7a 9a3a4a 2f6f5f d9c9a9 54545f c77a3a 7a5a8f e8e4dc", 0.05),
            "back": d.colour("b9cbd6 e3cbb4 a9bfae dbb4b4 8fa6c4 e0d6a4 7f8a9a c0b0d0", 0.05)}


def _head(c: Canvas, s: Scene, k: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels' coordinates upright on the head, in heights of the face (k in heights of the picture)."""
    u, v = (c.x - 0.5 - s.at[:, :1]) / k, (c.y - 0.5 - s.at[:, 1:]) / k
    return u * s.tilt.cos() + v * s.tilt.sin(), v * s.tilt.cos() - u * s.tilt.sin()


def _hair(s: Scene, u: Tensor, v: Tensor, big: float, rag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances from the hair behind the head, from that in front, and from the lower edge of the fringe."""
    long, wave = -0.08 + 0.95 * s.length, u + 0.016 * (13 * v).sin() * s.length
    fall = box(wave, v - (long - 0.2) / 2, 0.40 + 0.05 * big + 0.06 * v.clamp(0, 1), (long + 0.2) / 2 + 0 * v, 0.13)
    back = ellipse(u, v + 0.12, 0.43 + 0.04 * big, 0.46 + 0.04 * big)
    back = torch.where(s.length > 0.2, blend(back, fall, 0.1), back.maximum(v - 0.12))
    bun = ellipse(u + 0.12 * s.pose, v + 0.62 + 0.02 * big, 0.17, 0.15)
    lean = u.abs() - 0.45 - 0.05 * big - 0.25 * (v + 0.1).clamp_min(0) * (0.5 - v)
    tails = ellipse(lean, v - 0.16, 0.13 - 0.06 * v, 0.36)
    back = back.minimum(torch.where(s.knot == 1, bun, torch.where(s.knot == 2, tails, 9.0)))
    a, b, c = (torch.tensor(values)[s.fringe] for values in (
        (-0.18, -0.25, -0.25, -0.40), (0.0, 0.42, -0.42, 0.0), (0.0, 0.0, 0.0, 0.75)))
    w = u - 0.09 * s.pose
    edge = (v - a - b * w - c * w.abs() - rag) / (1 + (b.abs() + c).square()).sqrt()
    window = ellipse(w, v - 0.15, 0.315, 0.45)
    locks = (v - torch.where(s.length > 0.2, long.clamp_max(0.36), 0.02) + 1.3 * (u.abs() - 0.37).abs()) / 1.6
    cap = ellipse(u, v + 0.11, 0.42 + 0.04 * big, 0.46 + 0.045 * big)
    return back, cap.maximum(-window.maximum(-edge)).maximum(locks), edge


def _portrait(c: Canvas, s: Scene) -> None:
    k = 0.57 * s.zoom
    u, v = _head(c, s, k)
    yaw, side = 0.55 * s.pose, s.light
    warm, glint = torch.tensor([1.0, 0.8, 0.72]).view(3, 1, 1), s.skin * 1.15 + 0.1

    def fill(distance: Tensor, colour: Tensor) -> None:
        c.paint(c.inside(distance * k), colour)

    c.paint(torch.ones_like(u), s.back * (0.62 + 0.45 * spot(c.x - 0.5 + 0.25 * side, c.y - 0.35, 0.6, 0.6)))
    # Strands run from the crown; a band of light lies across them.
    angle, far = torch.atan2(u - 0.05 * s.pose, v + 0.75), (u.square() + (v + 0.75).square()).sqrt()
    strands = 2 * _peel(angle * 0.9 + 0.05 * (5 * far).sin(), 0.12 * far)[0]
    back, front, _ = _hair(s, u, v, 0.0, 0.05 * strands)
    lit = (0.86 - 0.4 * side * u - 0.25 * v + 0.16 * strands).clamp_min(0.25)
    sheen = spot(far - 0.40 - 0.1 * u * u, 0 * u, 0.07, 1.0) * (0.6 + 0.5 * strands)
    fill(back, s.hair * (lit - 0.3).clamp_min(0.25))

    # shoulders and neck
    turn = u - 0.05 * s.pose
    coat = ellipse(turn, v - 1.1, 0.66, 0.5)
    neck = blend(box(turn, v - 0.5, 0.145 + 0 * u, 0.35 + 0 * u, 0.05), coat, 0.12)
    chin = u - 0.07 * s.pose
    light = (0.75 - 0.9 * side * turn - 0.75 * spot(chin, v - 0.42, 0.32, 0.16)).clamp(0, 1)
    fill(neck, torch.lerp(s.skin * 0.5 * warm, s.skin, light))
    opening = torch.where(s.neck == 0, ellipse(turn, v - 0.6, 0.24, 0.15), torch.where(
        s.neck == 1, (turn.abs() + 0.6 * (v - 0.88)) / 1.17, ellipse(turn, v - 0.58, 0.19, 0.06)))
    cloth = coat.maximum(-opening)
    fill(cloth, s.dress * (0.95 - 0.4 * side * turn - 0.7 * (v - 0.7).clamp_min(0) + 0.03 * (90 * turn).sin()))
    c.shade(c.line((opening - 0.008) * k, 0.014) * c.inside(coat * k), 0.75)

    # head
    for sign in (-1, 1):
        fill(ellipse(u - sign * 0.345 + 0.05 * s.pose, v - 0.03, 0.055, 0.09), s.skin * (0.8 - 0.1 * side * sign))
    face = blend(ellipse(u, v + 0.12, 0.345, 0.37), ellipse(chin, v - 0.19, 0.235, 0.285), 0.14)
    nx, ny = (u - 0.06 * s.pose) / 0.42, (v + 0.02) / 0.62
    lambert = -0.55 * side * nx - 0.4 * ny + 0.73 * (1 - nx * nx - ny * ny).clamp_min(0.02).sqrt()
    fill(face, torch.lerp(s.skin * 0.55 * warm, s.skin * 1.06, (0.15 + 1.05 * lambert).clamp(0, 1.15)))
    cover = c.inside(face * k)
    for sign in (-1, 1):
        cheek = spot(u - 0.34 * (0.62 * sign + yaw).sin(), v - 0.16, 0.09, 0.07)
        c.paint(0.35 * cover * cheek, torch.lerp(s.skin, rgb("d0483f"), 0.5))

    # nose: the ridge from between the brows to the tip, darker on the side away from the light
    along = ((v + 0.08) / 0.26).clamp(0, 1)
    ridge, tip = u - (0.04 + 0.09 * along) * s.pose, u - 0.13 * s.pose
    length = c.inside((v - 0.19).maximum(-0.1 - v) * k, 0.06)
    c.shade(cover * spot(ridge - side * (0.02 + 0.025 * along), 0 * u, 0.02 + 0.015 * along, 1.0) * length, 0.78)
    c.paint(0.4 * cover * spot(ridge + 0.006 * side, v - 0.06, 0.014, 0.11), glint)
    c.shade(cover * spot(tip, v - 0.195, 0.06, 0.018), 0.68)
    c.shade(cover * spot(tip.abs() - 0.03, v - 0.187, 0.012, 0.009), 0.45)
    c.paint(0.5 * cover * spot(tip + 0.012 * side, v - 0.15, 0.02, 0.02), glint)

    # mouth
    m, smile = u - 0.105 * s.pose, s.smile
    bow = v - 0.30 + smile * (3.4 * m * m - 0.016)
    arch = (1 - (m / (0.10 + 0.015 * smile)).square()).clamp_min(0)
    there, lips = cover * (arch > 0), torch.lerp(s.skin * 0.8, rgb("b8434a"), 0.6)
    c.paint(there * c.inside((-bow - 0.026 * arch * (0.8 + 8 * m.abs().clamp_max(0.03))).maximum(bow) * k), lips * 0.85)
    c.paint(there * c.inside((bow - 0.036 * arch).maximum(-bow) * k), lips * (1.05 - 0.3 * side * m))
    c.paint(there * c.inside((bow.abs() - 0.016 * (smile - 0.3).clamp_min(0) * arch) * k), rgb("f4ece4"))
    c.paint(there * c.line((bow + 0.006 * (smile > 0.4)) * k, 0.009), lips * 0.4)
    c.shade(cover * spot(m, v - 0.37, 0.07, 0.018), 0.85)

    # eyes
    height = EYES[0] * s.eye
    for sign in (-1, 1):
        turned = 0.42 * sign + yaw
        p, h = (u - 0.375 * turned.sin()) / turned.cos().clamp_min(0.3), v + 0.01
        c.shade(cover * spot(p + 0.04 * sign, h + 0.035, 0.09, 0.05), 0.8)
        lid = (1 - (p / 0.082).square()).clamp_min(0)
        eye = c.inside((-h - 0.58 * height * lid).maximum(h - 0.42 * height * lid) * k) * (lid > 0)
        ball = ((p - 0.02 * s.pose).square() + (h + 0.04 * height).square()).sqrt()
        c.paint(eye, rgb("f3efea") * (0.95 + 2 * h))
        radius = 0.5 * height.clamp_max(0.1)
        c.paint(eye * c.inside((ball - radius - 0.002) * k), s.iris * (0.9 + 8 * h.clamp(-0.05, 0.05)))
        c.paint(eye * c.line((ball - radius) * k, 0.006), s.iris * 0.35)
        c.paint(eye * c.inside((ball - 0.42 * radius) * k), rgb("14100f"))
        c.paint(eye * c.inside(ellipse(p - 0.02 * s.pose + 0.012 * side, h + 0.012, 0.009, 0.009) * k), rgb("ffffff"))
        c.shade(eye * spot(p, h + 0.5 * height, 0.2, 0.35 * height), 0.6)
        c.paint(c.line((h + 0.58 * height * lid) * k, 0.011) * (p.abs() < 0.084), rgb("2a1a16"))
        c.paint(0.5 * c.line((h + 0.58 * height * lid + 0.025) * k, 0.006) * (p.abs() < 0.075), s.skin * 0.5)
        brow = h + 0.06 + 0.5 * height + 0.008 * smile - 1.5 * (p - 0.012 * sign).square() - 0.07 * sign * p
        c.paint(0.85 * c.inside((brow.abs() - 0.014 + 0.07 * (p * sign).clamp_min(0)) * k) * (p.abs() < 0.1),
                torch.lerp(s.hair, rgb("3a2a22"), 0.5) * 0.75)

    c.shade(cover * c.inside((front - 0.03) * k, 0.05), 0.72)
    fill(front, s.hair * lit + sheen * (0.7 - side * u).clamp_min(0) * (0.25 * s.hair + 0.12))
    c.rgb *= 1.04 - 0.3 * ((c.x - 0.5).square() + (c.y - 0.5).square())
    _mount(c)


def _drawing(c: Canvas, s: Scene) -> None:
    k = 0.60 * s.zoom
    u, v = _head(c, s, k)
    yaw, side, ink = 0.46 * s.pose, s.light, s.hair * 0.3
    shadow, dark = (colour * torch.tensor(tone).view(3, 1, 1) for colour, tone in (
        (s.skin, (0.86, 0.72, 0.74)), (s.hair, (0.68, 0.64, 0.76))))

    def fill(distance: Tensor, colour: Tensor, line: Tensor) -> Tensor:
        """A flat shape with an outline; its cover."""
        c.paint(c.inside((distance - 0.011) * k), line)
        cover = c.inside((distance + 0.004) * k)
        c.paint(cover, colour)
        return cover

    # behind: rays, dots or stripes
    dots = ((c.x * 8 % 1 - 0.5).square() + (c.y * 8 % 1 - 0.5).square()).sqrt()
    pattern = torch.where(s.pattern == 0, (12 * torch.atan2(c.y - 0.55, c.x - 0.5)).sin() * 6, torch.where(
        s.pattern == 1, (0.28 - dots) * 16, ((c.x + c.y) * 44).sin() * 4)).clamp(0, 1)
    pale = torch.lerp(s.back, rgb("ffffff"), 0.35)
    c.paint(torch.ones_like(u), torch.lerp(pale, pale * 0.92 + 0.08, pattern))
    w = u - 0.09 * s.pose
    rag = 0.17 * ((w * 4.2 + 0.5 + 0.25 * s.fringe) % 1 - 0.5).abs() - 0.04
    back, front, under = _hair(s, u, v, 1.0, rag)
    fill(back, dark, ink)

    # shoulders and neck
    turn = u - 0.05 * s.pose
    coat = ellipse(turn, v - 1.02, 0.54, 0.46)
    neck = blend(box(turn, v - 0.45, 0.085 + 0 * u, 0.3 + 0 * u, 0.03), coat, 0.1)
    skin = fill(neck, s.skin, ink)
    c.paint(skin * c.inside((v - 0.56 - 0.3 * side * turn) * k), shadow)
    opening = torch.where(s.neck == 0, ellipse(turn, v - 0.58, 0.19, 0.11), torch.where(
        s.neck == 1, (turn.abs() + 0.55 * (v - 0.84)) / 1.14, ellipse(turn, v - 0.57, 0.15, 0.06)))
    cloth = fill(coat.maximum(-opening), s.dress, s.dress * 0.4)
    c.paint(cloth * c.inside((0.25 - side * turn) * k), s.dress * 0.8)
    c.paint(cloth * c.inside((opening - 0.07) * k), torch.lerp(s.dress, rgb("ffffff"), 0.75))
    c.paint(cloth * c.line((opening - 0.07) * k, 0.009), s.dress * 0.4)

    # head
    face = blend(ellipse(u, v + 0.06, 0.36, 0.36), ellipse(u - 0.085 * s.pose, v - 0.32, 0.12, 0.13), 0.28)
    cover = fill(face, s.skin, ink)
    c.paint(cover * c.inside((under - 0.06) * k), shadow)
    c.paint(cover * c.inside(-ellipse(u + 0.1 * side - 0.1 * s.pose, v, 0.38, 0.6) * k), shadow)
    for sign in (-1, 1):
        cheek = ellipse(u - 0.33 * (0.66 * sign + yaw).sin(), v - 0.24, 0.065, 0.032)
        c.paint(0.45 * cover * c.inside(cheek * k, 0.02), rgb("f0787a"))
    c.paint(c.inside(ellipse(u - 0.13 * s.pose, v - 0.235, 0.013, 0.009) * k), s.skin * 0.55)
    m, smile = u - 0.115 * s.pose, s.smile
    bow = v - 0.33 + smile * (6.0 * m * m - 0.02)
    arch = (1 - (m / (0.065 + 0.02 * smile)).square()).clamp_min(0)
    mouth = (bow - 0.075 * (smile - 0.15).clamp_min(0) * arch).maximum(-bow)
    c.paint(c.inside((mouth - 0.006) * k) * (arch > 0), rgb("6a2228"))
    c.paint(c.inside((mouth + 0.006) * k) * (arch > 0) * (bow > 0.025), rgb("e77a80"))

    # eyes
    height = EYES[1] * s.eye
    for sign in (-1, 1):
        turned = 0.48 * sign + yaw
        p, h = (u - 0.335 * turned.sin()) / turned.cos().clamp_min(0.3), (v - 0.09) / height
        lid = (1 - (p / 0.105).square()).clamp_min(0).sqrt()
        rim = (h.abs() - 0.5 * lid) * height
        eye = c.inside(rim * k) * (lid > 0)
        q, g = p - 0.022 * s.pose, h * height
        ball = ellipse(q, g, 0.074, 0.47 * height)
        c.paint(eye, torch.where(h < -0.3, rgb("c9cbe0"), rgb("ffffff")))
        c.paint(eye * c.inside(ball * k), s.iris * 0.35)
        look = torch.lerp(s.iris * 0.55, s.iris * 1.25 + 0.15, (0.5 + 1.3 * h).clamp(0, 1))
        c.paint(eye * c.inside((ball + 0.010) * k), look)
        c.paint(eye * c.inside(ellipse(q, g, 0.03, 0.2 * height) * k), s.iris * 0.2)
        c.paint(eye * c.inside(ellipse(q + 0.024 * side, g + 0.2 * height, 0.026, 0.030) * k), rgb("ffffff"))
        c.paint(eye * c.inside(ellipse(q - 0.03 * side, g - 0.24 * height, 0.013, 0.015) * k), rgb("ffffff"))
        upper = (rim.abs() - 0.02 - 0.08 * (p * sign).clamp_min(0)).maximum(g + 0.18 * height)
        c.paint(c.inside(upper * k) * (p.abs() < 0.115), ink * 0.6)
        c.paint(c.inside((rim.abs() - 0.004).maximum(0.3 - h) * k) * (p.abs() < 0.08), ink)
        brow = v + 0.025 + 0.5 * height + 0.015 * smile - 1.5 * (p - 0.01 * sign).square() - 0.05 * sign * p
        c.paint(c.line(brow * k, 0.012) * (p.abs() < 0.085), ink)

    # hair in front: flat, with a shadow, a ring of light and a few strands
    cover = fill(front, s.hair, ink)
    c.paint(cover * c.inside(-ellipse(u + 0.13 * side, v + 0.02, 0.43, 0.62) * k), dark)
    ring = (v + 0.33 - 0.5 * u * u + 0.05 * (u * 9 % 1 - 0.5).abs()).abs() - 0.03 + 0.07 * (u + 0.08 * side).abs()
    c.paint(cover * c.inside(ring * k), torch.lerp(s.hair, rgb("ffffff"), 0.45))
    strand = (torch.atan2(u - 0.04 * s.pose, v + 0.7) * 4.2 % 1 - 0.5) / 4.2 * (v + 0.7)
    c.paint(0.7 * cover * c.line(strand * k, 0.006) * (v > -0.34 + 0.1 * (u * 40).sin()), dark)
    _mount(c)


def _mount(c: Canvas) -> None:
    """A white margin and a black line inside it, as around a print.

    Behind instance norm a network cannot know an image's mean colour and contrast, unless it has something to compare
    with that is always white and always black.
    """
    edge = torch.minimum(c.x.minimum(1 - c.x), c.y.minimum(1 - c.y))
    margin, line = (max(1, c.size // part) / c.size for part in (32, 64))
    c.paint((edge < margin + line).float(), rgb("000000"))
    c.paint((edge < margin).float(), rgb("ffffff"))


# ---- the sets -------------------------------------------------------------------------------------------------------

def fronts(split: str = "train", size: int = 64) -> Domains:
    """Label maps (A) and the house fronts that they stand for (B), paired.

    The plan of a house (its columns, floors, roof) tells its style, and with it materials and colours; from the
    label map follow shadows, frames, bricks and tiles. Only small differences of hue and light, and the clouds,
    cannot be known.

    Args:
        split: "train" (800 pairs), "test" (100) or "all" (900).
        size: pixels a side, 32 to 256.

    Returns:
        Pairs with `a.truth["classes"]`, uint8 N x H x W: the numbers of the pixels' classes in `LABELS`.
    """
    return _made("fronts", split, size)


def fruit(split: str = "train", size: int = 64) -> Domains:
    """Oranges (A) and apples (B) on tables, unpaired: the same shapes in the same light, another texture.

    Args:
        split: "train" (800 images a side), "test" (100) or "all" (900).
        size: pixels a side, 32 to 256.

    Returns:
        Both sides with truth "count" (fruits, 1 to 3) and "light" (from the left below 0, from the right above);
        of the split "test" also "partner", uint8 N x 3 x H x W: the same scene as the other side has it.
    """
    return _made("fruit", split, size)


def faces(split: str = "train", size: int = 64) -> Domains:
    """Portraits (A) and big-eyed drawings (B), unpaired: who is shown can stay, the shapes have to change.

    Args:
        split: "train" (800 images a side), "test" (100) or "all" (900).
        size: pixels a side, 32 to 256.

    Returns:
        Both sides with truth, each float32 N or N x 3: "pose" (-1 to 1, the head turned to the left or right of the
        image), "tilt" (radians), "smile" (-0.5 to 1), "hair" and "skin" (RGB from 0 to 1), "length" of the hair
        (0 to 1), "eye_size" (height of an eye / height of the face); of the split "test" also "partner", uint8
        N x 3 x H x W: the same person as the other side has them.
    """
    return _made("faces", split, size)


def eye_chart(size: int = 64, n: int = 800) -> Images:
    """n faces, portraits and drawings, with eyes of any size in either style.

    A network that learns "eye_size" from them cannot go by the style, as it could on `faces`, and so can tell whether
    a translation has changed the shape or only the texture.
    """
    images, heights = [], []
    for side, style in enumerate((_portrait, _drawing)):
        scene = _face_scene(n // 2, mix(9, side))
        heights.append(torch.linspace(0.05, 0.28, n // 2))
        images.append(render(style, {**scene, "eye": heights[-1].view(-1, 1, 1, 1) / EYES[side]}, size)[0])
    return Images(torch.cat(images), name="eye_chart", truth={"eye_size": torch.cat(heights)})


def read_labels(images: Tensor) -> Tensor:
    """The class of every pixel of label maps: the one of the nearest colour in `LABELS`.

    Args:
        images: N x 3 x H x W in [-1, 1].

    Returns:
        int64 N x H x W, 0 to 10.
    """
    colours = torch.tensor(list(LABELS.values()), device=images.device) / 127.5 - 1
    return torch.cdist(images.float().movedim(1, -1).flatten(1, 2), colours.float()).argmin(-1).view(
        len(images), *images.shape[2:])


def _made(name: str, split: str, size: int) -> Domains:
    if split not in ("train", "test", "all"):
        raise DataError(f"{name} has the splits 'train', 'test' and 'all', not {split!r}")
    if not isinstance(size, int) or not 32 <= size <= 256:
        raise DataError(f"{name} is drawn with 32 to 256 pixels a side, not {size}")
    a, b = _all(name, size) if split == "all" else _part(name, split, size)
    return Domains(a, b, name == "fronts", name, {"name": name, "split": split, "size": size})


def _all(name: str, size: int) -> list[Images]:
    both = zip(*(_part(name, split, size) for split in COUNTS), strict=True)
    return [Images(torch.cat([part.images for part in parts]), name=parts[0].name,
                   truth={k: torch.cat([part.truth[k] for part in parts]) for k in parts[0].truth}) for parts in both]


@cache
def _part(name: str, split: str, size: int) -> list[Images]:
    n, seed = COUNTS[split], list(COUNTS).index(split)
    if name == "fronts":
        pictures, classes = render(_front, _front_scene(n, mix(seed, 0)), size, 2 if size < 64 else 1)
        maps = torch.tensor(list(LABELS.values()), dtype=torch.uint8)[classes.long()].movedim(-1, 1).contiguous()
        return [Images(maps, name="fronts/a", truth={"classes": classes}), Images(pictures, name="fronts/b")]
    make, known, *styles = {
        "fruit": (_fruit_scene, ("count", "light"), _oranges, _apples),
        "faces": (_face_scene, ("pose", "tilt", "smile", "hair", "skin", "length"), _portrait, _drawing)}[name]
    sides = []
    for side in (0, 1):
        scene = make(n, mix(seed, 1 + side))
        truth = {k: scene[k].flatten(1).squeeze(1) for k in known}
        if name == "faces":
            truth["eye_size"] = EYES[side] * scene["eye"].flatten()
        if split == "test":
            truth["partner"] = render(styles[1 - side], scene, size)[0]
        sides.append(Images(render(styles[side], scene, size)[0], name=f"{name}/{'ab'[side]}", truth=truth))
    return sides

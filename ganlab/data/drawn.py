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

LABELS = {"sky": (27, 59, 143), "ground": (90, 90, 90), "wall": (242, 193, 78), "roof": (160, 70, 20),
          "cornice": (250, 245, 230), "window": (64, 200, 240), "shutter": (70, 160, 60), "door": (215, 30, 90),
          "balcony": (140, 60, 190), "shop": (255, 110, 60), "tree": (20, 90, 60)}
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


def render(draw: Callable[[Canvas, Scene], None], scene: dict[str, Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Paint scenes, few enough at once for the processor's cache: pixels and classes as `Canvas.pixels`."""
    scale = max(1, min(4, 128 // size))
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
    count = d.choice(1, 2, 3)
    r = torch.cat([d.between(0.2, 0.27), d.between(0.15, 0.2, 2)], 1) * (1.1 - 0.08 * count)
    x = torch.cat([d.between(0.3, 0.7), d.between(0.14, 0.42), d.between(0.58, 0.86)], 1)
    y = torch.cat([d.between(0.62, 0.7), d.between(0.5, 0.58, 2)], 1)
    x[:, :1] = torch.where(count == 1, d.between(0.35, 0.65), x[:, :1])
    return {"count": count, "r": r, "x": x, "y": y, "turn": d.between(-0.5, 0.5, 3), "leaf": d.between(-1, 1, 3),
            "ripe": d.between(0, 1, 3), "seed": d.between(0, 6, 3), "light": d.choice(-1, 1) * d.between(0.35, 0.75),
            "table": d.colour("b98a5e 8f6b4a d8d3cb 6f8f9c c9a27a a7b29a 59616b"),
            "back": d.colour("e9e1d2 b7c7cf 8a9a8e d9c3b0 5d6a78 cfd6c4 efe7da"),
            "edge": d.between(0.46, 0.58), "bright": d.between(0.88, 1.08)}


def _orange(c: Canvas, s: Scene) -> None:
    _still_life(c, s, False)


def _apple(c: Canvas, s: Scene) -> None:
    _still_life(c, s, True)


def _still_life(c: Canvas, s: Scene, apples: bool) -> None:
    x, y, lx = c.x, c.y, s.light
    c.paint(torch.ones_like(x * y), s.back * (1.05 - 0.25 * y + 0.15 * lx * (x - 0.5)))
    board = c.inside(s.edge - y)
    grain = ((y - s.edge) * 55 + 1.5 * (x * 5 + s.seed[:, :1]).sin()).sin()
    c.paint(board * torch.ones_like(x), s.table * (0.8 + 0.5 * (y - s.edge) + 0.04 * grain - 0.15 * lx * (x - 0.5)))
    c.shade(board * c.between(y, 0, s.edge + 0.02), 0.9)
    for i in (1, 2, 0):
        r, cx, cy = s.r[:, i:i + 1], s.x[:, i:i + 1], s.y[:, i:i + 1]
        there = (s.count > (i - 1) % 3).float() if i else 1.0
        shadow = ellipse(x - cx - 0.45 * r * lx, y - cy - 0.86 * r, 1.15 * r, 0.3 * r)
        c.shade(there * c.inside(shadow, 0.09), 0.55)
        c.shade(there * c.inside(ellipse(x - cx, y - cy - 0.95 * r, 0.6 * r, 0.1 * r), 0.03), 0.6)
        u, v = (x - cx) / r, (y - cy) / (0.94 * r)
        cover = there * c.inside(ellipse(x - cx, y - cy, r, 0.94 * r))
        turn = s.turn[:, i:i + 1]
        u, v = u * turn.cos() + v * turn.sin(), v * turn.cos() - u * turn.sin()
        z = (1 - u * u - v * v).clamp_min(0).sqrt()
        # The stem sits above the middle, tilted towards us; the fruit dips around it.
        dip = ((u / 0.42).square() + ((v + 0.66) / 0.2).square()).neg().exp()
        nu, nv = u, v - 0.9 * dip
        if not apples:
            angle = torch.acos(z.clamp(0, 0.9999))
            p, k = angle / (1 - z * z).clamp_min(1e-4).sqrt(), 15.0
            a, b = k * u * p + s.seed[:, i:i + 1], k * v * p
            nu = nu + 0.10 * ((a + 0.3 * (b * 0.7).sin()).sin() * (0.5 * a + 0.87 * b).cos())
            nv = nv + 0.10 * ((0.5 * a - 0.87 * b + 0.4 * (a * 0.6).cos()).sin() * a.cos())
        lu, lv = lx * turn.cos() - 0.62 * turn.sin(), -0.62 * turn.cos() - lx * turn.sin()
        lz = (1 - lx * lx - 0.38).clamp_min(0.05).sqrt()
        lambert = (nu * lu + nv * lv + z * lz).clamp_min(0)
        shine = (2 * lambert * z - lz).clamp_min(0)
        lit = 0.38 + 0.72 * lambert
        ripe = s.ripe[:, i:i + 1]
        if apples:
            lon = torch.atan2(u, z + 0.35) * 9
            streak = 0.5 + 0.3 * (3.1 * lon + s.seed[:, i:i + 1]).sin() + 0.2 * (7.3 * lon + 2 * v).sin()
            red = (1.25 * ripe + 0.35 + 0.9 * (streak - 0.5) - 0.9 * dip + 0.5 * u * (ripe - 0.5)).clamp(0, 1)
            body = torch.lerp(rgb("b9c24a"), rgb("b3161f"), red)
            body = body * lit + 0.75 * shine ** 40 + 0.12 * shine ** 6
        else:
            body = torch.lerp(rgb("ffa41f"), rgb("f07a10"), ripe) * (1 - 0.25 * dip)
            body = body * lit + torch.tensor([1.0, 0.85, 0.6]).view(3, 1, 1) * (0.3 * shine ** 8)
        body = body + (1 - z) ** 2 * 0.18 * s.table * (v > 0)
        c.paint(cover, body)
        stem = (u - 0.12 * (v + 0.7)).abs() - 0.035
        stem = stem.maximum((v + 0.86).abs() - 0.2) * r
        c.paint(there * c.inside(stem), rgb("5b4125") * (0.8 + 0.3 * lx * u * 8))
        side = s.leaf[:, i:i + 1].sign()
        p, h = u * side - 0.3, v + 0.9 + 0.25 * s.leaf[:, i:i + 1].abs()
        p, h = 0.93 * p - 0.36 * h, 0.93 * h + 0.36 * p
        blade = (torch.maximum((p * p + (h + 0.45) ** 2).sqrt(), (p * p + (h - 0.45) ** 2).sqrt()) - 0.56) * r
        leaf = there * (s.leaf[:, i:i + 1].abs() > 0.25)
        c.paint(leaf * c.inside(blade), torch.lerp(rgb("2f6b2c"), rgb("77a843"), (0.5 - 2 * h).clamp(0, 1)))
        c.paint(leaf * c.inside(blade) * c.line(h * r, 0.006), rgb("a9c872"))
    c.rgb *= s.bright


# ---- faces ----------------------------------------------------------------------------------------------------------

def _face_scene(n: int, seed: int) -> dict[str, Tensor]:
    d = Dice(n, seed)
    return {"pose": d.between(-1, 1), "tilt": d.between(-0.18, 0.18), "smile": d.between(-1, 1),
            "hair": d.colour("1f1a1a 4a2f22 7a4a2b c99a52 e6cf93 a3402a 9a9a9e 2f4f8f 8e4f9e d4708f 3f8f7f", 0.05),
            "skin": d.colour("f6d7c3 eabf9f d9a47c b77b52 8a5636", spread=0.03),
            "iris": d.colour("4a78b5 4f8a4f 6b4526 7a6a3a 5f6f7a"),
            "dress": d.colour("3a4f7a 8a2f3f 2f5f4f d9c9a9 4a4a52 c77a3a 7a5a8f"),
            "back": d.colour("cfd8dc e7d3c0 a9bfae d7b8b8 8fa6bf e5dfb9 6f7f8f"),
            "length": d.between(0, 1), "part": d.choice(-1, 0, 1), "x": d.between(-0.03, 0.03),
            "y": d.between(-0.02, 0.02), "zoom": d.between(0.94, 1.06)}


def _head(c: Canvas, s: Scene) -> tuple[Tensor, Tensor]:
    """The pixels' coordinates upright on the head, in heights of the face, from its middle."""
    u, v = (c.x - 0.5 - s.x) / (0.56 * s.zoom), (c.y - 0.48 - s.y) / (0.56 * s.zoom)
    return u * s.tilt.cos() + v * s.tilt.sin(), v * s.tilt.cos() - u * s.tilt.sin()


def _portrait(c: Canvas, s: Scene) -> None:
    _person(c, s, False)


def _drawing(c: Canvas, s: Scene) -> None:
    _person(c, s, True)


def _person(c: Canvas, s: Scene, drawn: bool) -> None:
    u, v = _head(c, s)
    k = 0.56 * s.zoom
    ones = torch.ones_like(u)
    yaw = 0.55 * s.pose

    def fill(d: Tensor, colour: Tensor) -> None:
        if drawn:
            c.paint(c.inside((d - 0.012) * k), s.hair * 0.25)
        c.paint(c.inside(d * k), colour)

    c.paint(ones, s.back * (1 if drawn else 1.1 - 0.35 * c.y))
    light = 1 if drawn else (1.0 - 0.5 * (u + v)).clamp(0.6, 1.2)
    long = 0.1 + 0.75 * s.length
    back = ellipse(u, v + 0.1, 0.46, 0.52).minimum(torch.maximum(u.abs() - 0.44, torch.maximum(-v - 0.1, v - long)))
    fill(back, s.hair * 0.75 * light)
    fill(ellipse(u - 0.05 * s.pose, v - 1.0, 0.62, 0.42), s.dress * light)
    fill(torch.maximum((u - 0.03 * s.pose).abs() - 0.14, (v - 0.5).abs() - 0.2), s.skin * 0.8)
    w = 0.37 * (1 - (0.45 if drawn else 0.3) * v.clamp_min(0) ** 1.5 * 1.6)
    jaw = u - 0.06 * s.pose * v.clamp_min(0)
    face = ellipse(jaw, v, w, 0.5)
    shade = 1 if drawn else (1.08 - 0.35 * (jaw / w + 0.3).clamp(-1, 1).square() - 0.25 * jaw - 0.1 * v)
    fill(face, s.skin * shade)
    eye = 0.11 if drawn else 0.042
    for sign in (-1, 1):
        turn = 0.42 * sign + yaw
        ex, wide = 0.4 * turn.sin(), turn.cos().clamp_min(0.2)
        p, h = u - ex, v - (0.1 if drawn else 0.0)
        white = ellipse(p, h, (0.1 if drawn else 0.075) * wide, eye)
        c.paint(c.inside(white * k), rgb("ffffff"))
        iris = ellipse(p - 0.01 * s.pose, h, (0.075 if drawn else 0.034) * wide, eye * 0.9 if drawn else 0.036)
        c.paint(c.inside(iris * k) * c.inside(white * k), s.iris * (1 + 2 * h if drawn else 1))
        c.paint(c.inside(iris * k + 0.45 * eye * k), rgb("101018"))
        c.paint(c.inside(ellipse(p + 0.02, h + 0.4 * eye, 0.016, 0.016) * k), rgb("ffffff"))
        c.paint(c.line(white * k, 0.012) * (h < -0.2 * eye), rgb("20181a"))
        c.paint(c.line((h + eye + 0.07 - 1.5 * p * p) * k, 0.012) * (p.abs() < 0.09 * wide), s.hair * 0.5)
    nose = 0.12 * s.pose
    c.shade(c.inside(ellipse(u - nose - 0.02, v - 0.2, 0.02 if drawn else 0.05, 0.012) * k, 0.01), 0.7)
    mouth = v - (0.32 if drawn else 0.3) + 0.6 * s.smile * (u - 0.1 * s.pose).square() * 3 - 0.02 * s.smile
    c.paint(c.line(mouth * k, 0.014) * ((u - 0.1 * s.pose).abs() < (0.07 if drawn else 0.12)), rgb("8f3a3f"))
    opening = ellipse(u - 0.08 * s.pose, v - 0.12, 0.33, 0.42)
    fringe = -0.2 + 0.3 * (u - 0.08 * s.pose) * s.part
    cap = torch.maximum(ellipse(u, v + 0.08, 0.44, 0.5), torch.minimum(-opening, v - fringe))
    fill(torch.maximum(cap, v - long), s.hair * light)


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
        image), "tilt" (radians), "smile" (-1 to 1), "hair" and "skin" (RGB from 0 to 1), "length" of the hair
        (0 to 1), "eye_size" (height of an eye / height of the face); of the split "test" also "partner", uint8
        N x 3 x H x W: the same person as the other side has them.
    """
    return _made("faces", split, size)


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
        pictures, classes = render(_front, _front_scene(n, mix(seed, 0)), size)
        maps = torch.tensor(list(LABELS.values()), dtype=torch.uint8)[classes.long()].movedim(-1, 1).contiguous()
        return [Images(maps, name="fronts/a", truth={"classes": classes}), Images(pictures, name="fronts/b")]
    make, known, *styles = {
        "fruit": (_fruit_scene, ("count", "light"), _orange, _apple),
        "faces": (_face_scene, ("pose", "tilt", "smile", "hair", "skin", "length"), _portrait, _drawing)}[name]
    sides = []
    for side in (0, 1):
        scene = make(n, mix(seed, 1 + side))
        truth = {k: scene[k].flatten(1).squeeze(1) for k in known}
        if name == "faces":
            truth["eye_size"] = torch.full((n,), (0.084, 0.22)[side])
        if split == "test":
            truth["partner"] = render(styles[1 - side], scene, size)[0]
        sides.append(Images(render(styles[side], scene, size)[0], name=f"{name}/{'ab'[side]}", truth=truth))
    return sides

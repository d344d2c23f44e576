"""House fronts and the label maps from which they follow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.data.paint.canvas import Canvas, Dice, Scene, ellipse, palette, rgb

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


def scene(n: int, seed: int) -> dict[str, Tensor]:
    """n houses: plan, style and colours by name, each N x k x 1 x 1."""
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


def front(c: Canvas, s: Scene) -> None:
    """Paint the houses and, pixel by pixel, their classes."""
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

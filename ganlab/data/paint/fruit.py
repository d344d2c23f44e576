"""Oranges and apples on tables."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.data.paint.canvas import Canvas, Dice, Scene, ellipse, lumps, rgb, spot


def scene(n: int, seed: int) -> dict[str, Tensor]:
    """n tables with fruit on them, by name, each N x k x 1 x 1."""
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
        peel, *slope = lumps(0.8 * u * spread + 0.2 * leaf, 0.8 * v * spread + 0.2 * ripe, 1 if apples else 3)
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
            streak = lumps(e1 * round_, e2 * round_ + 0.03 * pole)[0]
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


def oranges(c: Canvas, s: Scene) -> None:
    """Paint the fruit as oranges."""
    _fruits(c, s, apples=False)


def apples(c: Canvas, s: Scene) -> None:
    """Paint the fruit as apples."""
    _fruits(c, s, apples=True)

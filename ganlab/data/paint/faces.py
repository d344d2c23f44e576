"""Portraits, and big-eyed drawings of the same people."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.data.paint.canvas import Canvas, Dice, Scene, blend, box, ellipse, lumps, rgb, spot

EYES = (0.066, 0.185)
"""Height of a usual eye in heights of the face, in portraits and in drawings."""


def scene(n: int, seed: int) -> dict[str, Tensor]:
    """n people, by name, each N x k x 1 x 1."""
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


def portrait(c: Canvas, s: Scene) -> None:
    """Paint them as portraits."""
    k = 0.57 * s.zoom
    u, v = _head(c, s, k)
    yaw, side = 0.55 * s.pose, s.light
    warm, glint = torch.tensor([1.0, 0.8, 0.72]).view(3, 1, 1), s.skin * 1.15 + 0.1

    def fill(distance: Tensor, colour: Tensor) -> None:
        c.paint(c.inside(distance * k), colour)

    c.paint(torch.ones_like(u), s.back * (0.62 + 0.45 * spot(c.x - 0.5 + 0.25 * side, c.y - 0.35, 0.6, 0.6)))
    # Strands run from the crown; a band of light lies across them.
    angle, far = torch.atan2(u - 0.05 * s.pose, v + 0.75), (u.square() + (v + 0.75).square()).sqrt()
    strands = 2 * lumps(angle * 0.9 + 0.05 * (5 * far).sin(), 0.12 * far)[0]
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


def drawing(c: Canvas, s: Scene) -> None:
    """Paint them as big-eyed drawings."""
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

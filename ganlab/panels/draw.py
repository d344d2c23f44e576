"""Pictures for panels, drawn with PIL, which takes milliseconds where matplotlib takes tenths of a second."""

import inspect
import io
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganlab import plots
from ganlab.data.images import Dataset, to_float
from ganlab.errors import GanlabError
from ganlab.history import History
from ganlab.models.base import Model

COLOURS = tuple(c for c in plots.COLOURS if c != "#000000")
"""What can be seen on white and on black."""

GREY = "#767676"
"""Text and axes: readable on white and on black, so that pictures of curves need no background."""

SHARP = 2
"""Pixels of a picture of curves for each pixel of the page: sharp on dense screens, smooth on others."""

WATCHED = "watched"
"""The multiple of what is recorded but belongs to no player."""

LEFT, BOTTOM, TOP = 46, 18, 20
INKS = tuple(dict.fromkeys((GREY, *COLOURS)))
FONT = ImageFont.load_default(12 * SHARP)


def encode(picture: Image.Image, lossless: bool = True) -> bytes:
    """The picture as PNG, or as JPEG: on large photographs five times as fast."""
    buffer = io.BytesIO()
    if lossless:
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def strip(images: Tensor, columns: int, width: int) -> tuple[Image.Image, tuple[int, int]]:
    """Images (N x C x H x W in [-1, 1]) side by side, and the (width, height) to show them at, that wide."""
    picture = plots.tile(images, columns, scale=math.ceil(width / (columns * (images.shape[-1] + 2) + 2)))
    return picture, (width, round(picture.height * width / picture.width))


def scatter(points: Tensor, behind: Tensor, size: int) -> Image.Image:
    """The first two coordinates of points (N x k) in blue, over others in grey, in a square of that many pixels."""
    dots = [p.detach().float().cpu().numpy()[:, :2] for p in (behind, points)]
    low, high = dots[0].min(0), dots[0].max(0)
    middle, half = (low + high) / 2, max((high - low).max() / 2 * 1.15, 1e-6)
    picture = Image.new("P", (size * SHARP, size * SHARP))
    picture.putpalette([255, 255, 255, *_rgb(GREY), *_rgb(COLOURS[0])])
    draw = ImageDraw.Draw(picture)
    for ink, some in enumerate(dots, 1):
        for x, y in ((some - middle) / half * [1, -1] * size * SHARP / 2 + size * SHARP / 2):
            if math.isfinite(x + y):
                draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=ink)
    picture.info["transparency"] = 0
    return picture


def curves(history: History, groups: Sequence[str], colours: Mapping[str, str],
           marks: Sequence[tuple[int, str]] = (), size: tuple[int, int] = (480, 110)) -> Image.Image:
    """Terms over steps on a transparent ground: one small multiple below the other, each with an axis of its own,
    logarithmic where all of it is positive (and not only watched).

    Args:
        history: read while the training may go on.
        groups: players, whose terms `player/name` share a multiple, and `WATCHED` for what nobody minimises.
        colours: of terms, by name without the player.
        marks: (step, colour) of vertical lines through all of it.
        size: of each multiple in pixels of the page; the picture has `SHARP` times as many.
    """
    width, height = size[0] * SHARP, size[1] * SHARP
    picture = Image.new("P", (width, height * len(groups) + BOTTOM * SHARP))
    picture.putpalette([255, 255, 255, *(value for ink in INKS for value in _rgb(ink))])
    picture.info["transparency"] = 0
    draw = ImageDraw.Draw(picture)
    columns = history.columns
    steps = np.asarray(columns.pop("step"))
    last = max(float(steps[-1]) if len(steps) else 1.0, 1.0)
    for i, group in enumerate(groups):
        shown = {name.removeprefix(f"{group}/"): np.asarray(values) for name, values in columns.items()
                 if ("/" not in name if group == WATCHED else name.startswith(f"{group}/"))}
        _multiple(draw, (LEFT * SHARP, (i * size[1] + TOP) * SHARP, width - 6 * SHARP, (i + 1) * height - 4 * SHARP),
                  group, steps, shown, colours, marks, last)
    bottom = (height * len(groups)) + 1 * SHARP
    for x, text, anchor in ((LEFT * SHARP, "0", "la"), (width - 6 * SHARP, f"{last:,.0f}", "ra"),
                            ((LEFT * SHARP + width) // 2, "step", "ma")):
        draw.text((x, bottom), text, fill=_ink(GREY), font=FONT, anchor=anchor)
    return picture


def _multiple(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], title: str, steps: np.ndarray,
              shown: Mapping[str, np.ndarray], colours: Mapping[str, str], marks: Sequence[tuple[int, str]],
              last: float) -> None:
    left, top, right, bottom = box
    grey = _ink(GREY)
    x = left
    draw.text((x, top - 5 * SHARP), title, fill=grey, font=FONT, anchor="ls")
    x += int(draw.textlength(title, FONT)) + 14 * SHARP
    for name in shown:
        draw.rectangle((x, top - 12 * SHARP, x + 8 * SHARP, top - 5 * SHARP), fill=_ink(colours.get(name, GREY)))
        draw.text((x + 12 * SHARP, top - 5 * SHARP), name, fill=grey, font=FONT, anchor="ls")
        x += int(draw.textlength(name, FONT)) + 26 * SHARP
    draw.line((left, top, left, bottom, right, bottom), fill=grey, width=1)
    values = np.concatenate([v[np.isfinite(v)] for v in shown.values()]) if shown else np.empty(0)
    if not len(values):
        draw.text(((left + right) // 2, (top + bottom) // 2), "nothing recorded yet", fill=grey, font=FONT, anchor="mm")
        return
    low, high = float(values.min()), float(values.max())
    log = low > 0 and title != WATCHED
    if high - low < 1e-9 * max(abs(high), 1e-9):
        low, high = (low * 0.9, high * 1.1) if log else (low - 0.5, high + 0.5)
    f = np.log10 if log else np.asarray
    start, span = f(low), f(high) - f(low)

    def down(value: "float | np.ndarray") -> np.ndarray:
        return bottom - 3 * SHARP - (f(value) - start) / span * (bottom - top - 5 * SHARP)

    for tick in ticks(low, high, log):
        y = int(down(tick))
        draw.line((left - 3 * SHARP, y, left, y), fill=grey, width=1)
        draw.text((left - 5 * SHARP, y), f"{tick:g}", fill=grey, font=FONT, anchor="rm")
    dashed: dict[int, dict[str, None]] = {}
    for step, colour in marks:
        dashed.setdefault(int(left + step / last * (right - left)), {})[colour] = None
    for at, inks in dashed.items():
        # What was turned at the same step takes turns in the same line.
        for i, colour in enumerate(inks):
            for y in range(top + 3 * SHARP * i, bottom, 3 * SHARP * max(2, len(inks))):
                draw.line((at, y, at, min(y + 3 * SHARP, bottom)), fill=_ink(colour), width=SHARP)
    for name, line in shown.items():
        kept = np.isfinite(line)
        xs, ys = envelope(left + steps[kept] / last * (right - left), line[kept], (right - left) // (2 * SHARP))
        ink = _ink(colours.get(name, GREY))
        if len(xs) == 1:
            x, y = int(xs[0]), int(down(ys[0]))
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=ink)
        elif len(xs):
            draw.line(np.stack([xs, down(ys)], 1).ravel().tolist(), fill=ink, width=2 * SHARP, joint="curve")


def envelope(x: np.ndarray, y: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """A line of many points as one of at most 2 * bins, the lowest and highest of each bin: no spike is lost."""
    if len(x) <= 2 * bins:
        return x, y
    first = np.linspace(0, len(x), bins, endpoint=False).astype(int)
    ends = np.stack([np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)], 1)
    ends[1::2] = ends[1::2, ::-1]
    return np.repeat(x[first], 2), ends.ravel()


def ticks(low: float, high: float, log: bool = False) -> list[float]:
    """Two to six round numbers from low to high, at equal distances, or at round ratios where `log` fits."""
    if log and high / low >= 8:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [m * 10.0 ** k for k in decades for m in factors if low <= m * 10.0 ** k <= high]
            if len(found) <= 5:
                return found
        return found[::math.ceil(len(found) / 5)]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    unit = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return [float(f"{k * unit:.12g}") for k in range(math.ceil(low / unit), math.floor(high / unit) + 1)]


def join(pictures: Sequence[tuple[str, Image.Image, int]], right: Image.Image, title: str,
         below: Sequence[str] = ()) -> Image.Image:
    """A still of a whole panel on white: captioned pictures, shown that wide, below each other, and others beside;
    `below` are lines of text, which are wrapped."""
    across = max((width for _, _, width in pictures), default=0) * SHARP
    sized = [(text, p.convert("RGBA").resize((width * SHARP, round(p.height * width * SHARP / p.width)),
                                             Image.Resampling.NEAREST)) for text, p, width in pictures]
    line = 18 * SHARP
    height = line + max(sum(line + p.height for _, p in sized), right.height)
    width = across + right.width + 24 * SHARP
    letters = int((width - 8) / FONT.getlength("some of the letters") * 19)
    lines = [part for text in below for part in textwrap.wrap(text, letters, subsequent_indent="    ")]
    page = Image.new("RGBA", (width, height + 8 + len(lines) * line), "white")
    draw = ImageDraw.Draw(page)
    draw.text((4, 4), title, fill=GREY, font=FONT)
    y = line
    for text, picture in sized:
        draw.text((4, y + 4), text, fill=GREY, font=FONT)
        page.alpha_composite(picture, (4, y + line))
        y += line + picture.height
    page.alpha_composite(right.convert("RGBA"), (across + 24 * SHARP, line))
    for i, text in enumerate(lines):
        draw.text((4, height + 4 + i * line), text, fill=GREY, font=FONT)
    return page.convert("RGB")


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _ink(colour: str) -> int:
    return INKS.index(colour) + 1


class Pictures:
    """What there is to see of a model, always of the same latents or the same inputs.

    Args:
        data: what it trains on; its first images are the inputs.
        width: of each picture at most, in pixels of the page.

    Attributes:
        names: of the pictures, from the top; none for a model that neither draws, encodes nor translates.
    """

    def __init__(self, model: Model, data: Dataset, width: int) -> None:
        self.model, self.width = model, width
        own = {name for name in ("encode", "decode", "translate", "sample")
               if getattr(type(model), name) is not getattr(Model, name)}
        self.points = len(data.shape) == 1
        size = 1 if self.points else data.shape[-1]
        side = min(6, max(3, round(width / (size + 2))))
        self.columns, n, self.names = side, side ** 2, []
        if "translate" in own:
            self.columns, n, self.names = 6, 6, ["input", "translated", "and back", "attention"]
            self.names += ["its partner"] if model.expects == "pairs" else ["input of b", "translated to a"]
        elif "encode" in own:
            self.columns, n, self.names = 6, 18, ["input", "reconstructed from its code"]
        elif {"sample", "decode"} & own:
            self.names = ["samples, always of the same latents"]
        self.n = 500 if self.points else n
        fetched = data.fetch(torch.arange(min(self.n, len(data))))
        self.inputs = to_float(fetched[0])
        if "translate" in own:
            # Batch norm and dropout as noise: where a translation has a seed, it is always the same.
            self._fixed = {"seed": 0} if "seed" in inspect.signature(model.translate).parameters else {}
            try:
                model.translate(self.inputs, "a", **self._fixed)
            except GanlabError:
                self.names.remove("and back")
            assert fetched[1] is not None
            self.others = to_float(fetched[1])
            if not hasattr(model, "attention"):
                self.names.remove("attention")

    def made(self) -> dict[str, Tensor]:
        """Name to images or points, of the model as it is now."""
        model, made = self.model, dict[str, Tensor]()
        for name in self.names:
            if name == "input":
                made[name] = self.inputs
            elif name in ("its partner", "input of b"):
                made[name] = self.others
            elif name == "translated to a":
                made[name] = model.translate(self.others, "a", **self._fixed)
            elif name == "translated":
                made[name] = model.translate(self.inputs, "b", **self._fixed)
            elif name == "and back":
                made[name] = model.translate(made["translated"], "a", **self._fixed)
            elif name == "attention":
                made[name] = getattr(model, name)(self.inputs) * 2 - 1
            elif name.startswith("reconstructed"):
                made[name] = model.reconstruct(self.inputs)
            else:
                made[name] = model.sample(self.n, seed=0)
        return made

    def drawn(self, made: Mapping[str, Tensor]) -> dict[str, tuple[Image.Image, tuple[int, int]]]:
        """Name to (picture, the (width, height) to show it at)."""
        if self.points:
            size = min(self.width, 240)
            return {name: (scatter(points, self.inputs, size), (size, size)) for name, points in made.items()}
        return {name: strip(images, self.columns, self.width) for name, images in made.items()}


MAP_INKS = tuple(dict.fromkeys((*INKS, *plots.DIGIT_COLOURS, "#ffffff", "#000000")))


def latent_map(places: np.ndarray, colours: Sequence[str], drawn: np.ndarray, size: int,
               names: Mapping[str, tuple[float, float]]) -> Image.Image:
    """A latent map in a square of that many pixels of the page, on a transparent ground: every mark has a grey rim, so
    that dark and light colours are seen on white and on black.

    Args:
        places: N x 2, from (0, 0) at the top left to (1, 1).
        colours: of each, out of `MAP_INKS`.
        drawn: bool of length N; these are crosses, the others dots.
        names: of classes, and where to write them.
    """
    picture = Image.new("P", (size * SHARP, size * SHARP))
    picture.putpalette([255, 255, 255, *(value for ink in MAP_INKS for value in _rgb(ink))])
    picture.info["transparency"] = 0
    draw = ImageDraw.Draw(picture)
    grey, r = _map_ink(GREY), 3 * SHARP
    for (x, y), colour, cross in zip(places * (size * SHARP - 1), colours, drawn, strict=True):
        ink = _map_ink(colour)
        if cross:
            for fill, width, a in ((grey, 3 * SHARP, r + 1), (ink, 3 * SHARP // 2, r)):
                draw.line((x - a, y - a, x + a, y + a), fill=fill, width=width)
                draw.line((x - a, y + a, x + a, y - a), fill=fill, width=width)
        else:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=ink, outline=grey, width=SHARP)
    for name, (x, y) in names.items():
        _plate(draw, name, x * size * SHARP, y * size * SHARP, grey)
    return picture


def pinned(picture: Image.Image, pins: Mapping[str, tuple[float, float]], ring: tuple[float, float] | None = None,
           line: Sequence[tuple[float, float]] = ()) -> Image.Image:
    """A copy of a `latent_map` with letters at places, a ring around one, and a line."""
    picture = picture.copy()
    draw, scale, bright = ImageDraw.Draw(picture), picture.width - 1, _map_ink(COLOURS[1])
    if len(line) > 1:
        draw.line([(x * scale, y * scale) for x, y in line], fill=bright, width=2 * SHARP)
    if ring is not None:
        x, y, r = ring[0] * scale, ring[1] * scale, 7 * SHARP
        draw.ellipse((x - r, y - r, x + r, y + r), outline=bright, width=2 * SHARP)
    for name, (x, y) in pins.items():
        _plate(draw, name, x * scale, y * scale, bright, 2 * SHARP)
    return picture


def _plate(draw: ImageDraw.ImageDraw, text: str, x: float, y: float, rim: int, width: int = 1) -> None:
    half = draw.textlength(text, FONT) / 2 + 4 * SHARP
    draw.rounded_rectangle((x - half, y - 9 * SHARP, x + half, y + 9 * SHARP), 8 * SHARP, _map_ink("#ffffff"), rim,
                           width)
    draw.text((x, y), text, fill=_map_ink("#000000"), font=FONT, anchor="mm")


def _map_ink(colour: str) -> int:
    return MAP_INKS.index(colour) + 1

"""Figures: sample grids, curves, latent maps, animations. Every function returns what it drew."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlab.data.images import to_uint8
from ganlab.history import History

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008)."""

DIGIT_COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
                 "#777777")
"""Ten colours for ten classes (Tol's muted scheme, and grey)."""


def tile(images: Tensor, columns: int | None = None, gap: int = 2, scale: int = 1) -> Image.Image:
    """Images (N x C x H x W in [-1, 1], C = 1 or 3) side by side in one picture, row by row.

    Args:
        columns: pictures in a row; by default as square as possible.
        gap: pixels between them.
        scale: enlarge every pixel so many times.
    """
    pixels = to_uint8(images.detach().float().cpu()).permute(0, 2, 3, 1).numpy()
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    height, width, channels = pixels.shape[1:]
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 128, np.uint8)
    for i, image in enumerate(pixels):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[top:top + height, left:left + width] = image
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def grid(images: Tensor | Mapping[str, Tensor], columns: int | None = None, title: str = "") -> Figure:
    """A figure of images (N x C x H x W in [-1, 1]), or of several such batches, each under its name."""
    batches = images if isinstance(images, Mapping) else {title: images}
    tiles = {name: tile(batch, columns) for name, batch in batches.items()}
    across = len(tiles) if columns is None else 1
    down = math.ceil(len(tiles) / across)
    # As large as the pixels deserve, as wide as a page allows.
    inches = [(t.width / 40, t.height / 40) for t in tiles.values()]
    width = min(across * max(w for w, _ in inches), 9.0)
    height = down * (width / across * max(h / w for w, h in inches) + 0.3)
    figure, axes = plt.subplots(down, across, figsize=(width, height), squeeze=False, layout="constrained")
    for ax, (name, picture) in zip(axes.flat, tiles.items(), strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        ax.axis("off")
    plt.close(figure)
    return figure


def curves(history: History, columns: Sequence[str] | None = None, smooth: int = 1, log: bool = False) -> Figure:
    """The terms of a training over its steps: one panel for what is minimised, one for D(x) and D(G(z)) if recorded.

    Args:
        columns: which columns to draw, in one panel; by default all terms and everything watched.
        smooth: running mean over so many rows.
        log: logarithmic axis for the losses.
    """
    names = [n for n in history.columns if n != "step" and not n.startswith(("weight/", "learning_rate/", "images/"))]
    panels = [list(columns)] if columns else [p for p in ([n for n in names if "/" in n],
                                                          [n for n in names if "/" not in n]) if p]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels) + 0.4, 3), squeeze=False,
                                layout="constrained")
    for ax, panel in zip(axes.flat, panels, strict=True):
        for name, colour in zip(panel, COLOURS * 3, strict=False):
            values = np.asarray(history[name])
            shown = ~np.isnan(values)
            steps, values = np.asarray(history["step"])[shown], values[shown]
            n = max(1, min(smooth, len(values)))
            ax.plot(steps[n - 1:], np.convolve(values, np.ones(n) / n, "valid"), color=colour, label=name)
        ax.set_xlabel("step")
        if log and panel is panels[0]:
            ax.set_yscale("log")
        if panel == ["D(x)", "D(G(z))"]:
            ax.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        # Above: there is no place within that no curve ever crosses.
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=8, ncols=2)
    axes[0, 0].set_ylabel("term" if any("/" in name for name in panels[0]) else "")
    plt.close(figure)
    return figure


def latent_map(points: Any, labels: Any = None, classes: Sequence[str] = (), title: str = "",
               ax: Axes | None = None) -> Figure:
    """Points (N x 2) of a latent map, coloured by label; each class is named where its points are.

    With `ax` it draws there; the figure, closed like all figures here, is shown by displaying it.
    """
    points = np.asarray(points)
    figure = ax.figure if ax is not None else plt.figure(figsize=(5.2, 5), layout="constrained")
    ax = ax if ax is not None else figure.add_subplot()
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], s=5, linewidths=0, color=COLOURS[0])
    else:
        labels = np.asarray(labels)
        for label in np.unique(labels):
            some = points[labels == label]
            colour = DIGIT_COLOURS[label % len(DIGIT_COLOURS)]
            ax.scatter(some[:, 0], some[:, 1], s=6, linewidths=0, alpha=0.7, color=colour)
        for label in np.unique(labels):
            x, y = np.median(points[labels == label], axis=0)
            ax.text(x, y, classes[label] if classes else str(label), ha="center", va="center", weight="bold",
                    bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75})
    ax.set_title(title, fontsize=11)
    ax.set_xticks([])
    ax.set_yticks([])
    plt.close(figure)  # type: ignore[arg-type]
    return figure  # type: ignore[return-value]


def gif(frames: Sequence[Image.Image], path: str | os.PathLike[str], milliseconds: int = 120,
        colours: int = 32) -> None:
    """Write pictures of one size as an endlessly looping GIF, its last frame held for a second."""
    palette = [frame.convert("RGB").quantize(colours, dither=Image.Dither.NONE) for frame in frames]
    palette[0].save(path, save_all=True, append_images=palette[1:], loop=0, optimize=True,
                    duration=[milliseconds] * (len(frames) - 1) + [1000])

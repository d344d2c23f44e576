"""Image files of any size and mode as tensors, one by one or as a data set that is read while it is used."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from ganlab.data.images import Images, send
from ganlab.errors import DataError

MAX_PIXELS = 89_000_000  # a little below Pillow's own limit
EDGE = 0.04  # how much the grey value, from 0 to 1, has to change from pixel to pixel to be drawn as an edge
View = Literal["whole", "left", "right", "edges"]


@dataclass(frozen=True)
class ImageFiles:
    """A data set too large for memory: `fetch` decodes a batch in threads; there are no worker processes.

    The same interface as `Images`, without `images`. A file that can no longer be read is replaced by the
    next one with the same label, with a warning; with a partner in another file it is a `DataError`, so that pairs
    stay pairs.

    Attributes:
        paths: the files, in order.
        size: height and width in pixels.
        channels: 1 or 3.
        labels: int64 of length N, or None.
        classes: names of the labels.
        name: what to call the set.
        spec: plain values from which `ganlab.data.rebuild` makes the same set again; empty if it cannot.
        device: where `fetch` puts a batch.
        view: what of a file is shown: all of it, one half, or its edges as a drawing.
        partners: whether each image has a partner in a file of its own.
    """

    paths: tuple[Path, ...] = field(repr=False)
    size: int
    channels: int
    labels: Tensor | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    name: str = "folder"
    spec: dict[str, Any] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    view: View = "whole"
    partners: bool = False
    _ahead: dict[tuple[int, ...], list[Future[Tensor]]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image."""
        return self.channels, self.size, self.size

    def order(self, rng: torch.Generator) -> Tensor:
        """The positions of one epoch, in a random order drawn from `rng` (of the CPU)."""
        return torch.randperm(len(self), generator=rng)

    def prefetch(self, index: Tensor) -> None:
        """Begin to decode these positions (int64) in the background, for a `fetch` of the same ones."""
        self._ahead.clear()
        self._ahead[tuple(index.tolist())] = self._submit(index)

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The images (uint8, N x C x size x size) and labels at these positions (int64, any device)."""
        rows = self._ahead.pop(tuple(index.tolist()), None) or self._submit(index)
        images = send(torch.stack([row.result() for row in rows]), self.device)
        return images, None if self.labels is None else send(self.labels[index.cpu()], self.device)

    def _submit(self, index: Tensor) -> list[Future[Tensor]]:
        return [_threads().submit(self._image, i) for i in index.tolist()]

    def _image(self, i: int) -> Tensor:
        first = i
        for _ in range(10):
            try:
                return read(self.paths[i], self.size, self.channels, self.view)
            except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
                reason = f"{self.paths[i]} can no longer be read ({why(error)})"
            if self.partners:
                raise DataError(f"{reason}, and without it its partner is no pair. Put it back, or move both away")
            alike = torch.arange(len(self))
            if self.labels is not None:
                alike = alike[self.labels == self.labels[i]]
            i = int(alike[torch.searchsorted(alike, i, right=True) % len(alike)])
            if i == first:
                break
            warnings.warn(f"{reason}; the next file takes its place", stacklevel=2)
        raise DataError(f"{reason}, nor any file that could take its place. Is the drive still connected? If so, load "
                        "the set again: what cannot be read is left out")

    def decode(self) -> tuple[Tensor, dict[Path, str]]:
        """All images as one uint8 tensor, and why some could not be read (there the tensor has any values)."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        broken: dict[Path, str] = {}

        def one(i: int) -> None:
            try:
                images[i] = read(self.paths[i], self.size, self.channels, self.view)
            except Exception as error:  # see _image
                broken[self.paths[i]] = why(error)

        with tqdm(total=len(self), desc=self.name, unit=" images") as bar:
            for start in range(0, len(self), 256):  # in portions, so that an interrupt need not wait for all
                bar.update(len(list(_threads().map(one, range(start, min(start + 256, len(self)))))))
        return images, dict(sorted(broken.items()))

    def take(self, index: Tensor | slice) -> ImageFiles:
        """The part of the set at these positions; like that of `Images` it has no `spec`."""
        which = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        paths = tuple(self.paths[i] for i in which)
        labels = None if self.labels is None else self.labels[index]
        return replace(self, paths=paths, labels=labels, spec={}, _ahead={})

    def to(self, device: torch.device | str) -> ImageFiles:
        """The same set, whose batches come on this device."""
        return replace(self, device=device, _ahead={})

    def subset(self, n: int) -> ImageFiles:
        """The first n images."""
        return self.take(slice(n))

    def split(self, held_out: int, seed: int = 0) -> tuple[ImageFiles, ImageFiles]:
        """(rest, held-out part of that many images), drawn at random from the seed."""
        rest, held = Images(torch.arange(len(self)), name=self.name).split(held_out, seed)
        return self.take(rest.images), self.take(held.images)


def read(path: Path, size: int, channels: int, view: View = "whole") -> Tensor:
    """One image file as uint8, C x size x size: upright, shorter side scaled to `size`, middle cut out."""
    with Image.open(path) as image:
        _bounded(image)
        image.draft(None, (size, size))  # JPEG only: decodes no finer than needed
        upright = _plain(ImageOps.exif_transpose(image), channels)
    if view in ("left", "right"):
        half = upright.width // 2
        upright = upright.crop((0, 0, half, upright.height) if view == "left" else (half, 0, 2 * half, upright.height))
    picture = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).reshape(size, size, channels).permute(2, 0, 1)
    return draw_edges(pixels[None])[0] if view == "edges" else pixels


def measure(path: Path) -> tuple[int, int]:
    """Width and height of an image file once it is upright; nothing is decoded."""
    with Image.open(path) as image:
        _bounded(image)
        turned = image.getexif().get(0x0112, 1) >= 5
        return image.size[::-1] if turned else image.size


def draw_edges(images: Tensor) -> Tensor:
    """The edges of images (uint8, N x C x H x W) as thin black lines on white, of the same shape.

    Smoothed, derived with Sobel's filters, and black where the slope is steep and the steepest across the edge: the
    steps of J. Canny's detector (A Computational Approach to Edge Detection, PAMI 1986) without its hysteresis.
    """
    grey = images.float().mean(1, keepdim=True) / 255
    smooth, slope = torch.tensor([1., 4, 6, 4, 1]) / 16, torch.tensor([-1., 0, 1]) / 2
    triangle = torch.tensor([1., 2, 1]) / 4
    kernels = [torch.outer(smooth, smooth)], [torch.outer(triangle, slope), torch.outer(slope, triangle)]
    for kernel in kernels:
        weight = torch.stack(kernel)[:, None].to(grey.device)
        grey = F.conv2d(F.pad(grey, (weight.shape[-1] // 2,) * 4, mode="replicate"), weight)
    steep = grey.norm(dim=1)
    around = F.pad(steep, (1, 1, 1, 1))
    left, right, up, down = around[:, 1:-1, :-2], around[:, 1:-1, 2:], around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    across = grey[:, 0].abs() >= grey[:, 1].abs()
    # Of two neighbours that are alike one is taken, so that a line is one pixel wide.
    line = torch.where(across, (steep > left) & (steep >= right), (steep > up) & (steep >= down)) & (steep > EDGE)
    return torch.where(line, 0, 255).to(torch.uint8)[:, None].expand(images.shape).contiguous()


def _bounded(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"refused, {image.width} x {image.height} pixels (a decompression bomb?)")


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """An image of any mode as "L" or "RGB", 8 bits a channel."""
    if image.mode[0] in "IF":  # 16 or 32 bits, which Pillow clips instead of scaling
        values = np.asarray(image, dtype=np.float32)
        if not np.isfinite(values).all():
            raise DataError("has values that are NaN or infinite")
        top = values.max(initial=0)
        wide = image.mode.startswith("I;16") or (image.mode == "I" and top > 255)
        scale = 1 / 257 if wide else 255 if image.mode == "F" and top <= 1 else 1
        image = Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 4), thread_name_prefix="ganlab-decode")


def why(error: Exception) -> str:
    """In a few words, why a file could not be read."""
    if isinstance(error, Image.DecompressionBombError):
        return "refused, too many pixels (a decompression bomb?)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__

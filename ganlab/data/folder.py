"""Your own images: files of any size and mode, kept in memory if they fit and streamed otherwise."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from ganlab.data.images import Images
from ganlab.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 89_000_000  # a little below Pillow's own limit
FITS = 1 << 30


def folder(path: str | Path, size: int = 64, channels: int = 3, fits: int = FITS) -> Images | ImageFiles:
    """The images in a folder and its sub-folders, as a data set.

    Each image is turned as its EXIF tag says, its shorter side is scaled to `size` and the middle is cut out;
    transparent parts become white. If all images lie in two or more sub-folders, these are the classes. Files
    that cannot be read and images of more than 89 million pixels are left out; one warning names them.

    Args:
        path: the folder; "~" is your home.
        size: height and width of the result in pixels.
        channels: 3 (colour) or 1 (grey).
        fits: a set of up to so many bytes is decoded at once into memory (`Images`), a larger one batch by
            batch while it is used (`ImageFiles`).

    Raises:
        DataError: no such folder or no image in it; says what was looked for and what is there.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}; give the path of a folder with images")
    if size < 1 or channels not in (1, 3):
        raise DataError(f"size={size}, channels={channels}: size is a number of pixels, channels is 1 or 3")
    files = sorted((f for f in path.rglob("*") if _visible(f.relative_to(path)) and f.is_file()),
                   key=lambda f: f.relative_to(path).as_posix())
    found = [f for f in files if f.suffix.lower() in EXTENSIONS]
    if not found:
        others = Counter(f.suffix.lower() or "without ending" for f in files).most_common(5)
        raise DataError(f"no image in {path} or its sub-folders. Looked for {', '.join(EXTENSIONS)}; found "
                        f"{', '.join(f'{n} x {ending}' for ending, n in others) or 'no file at all'}. "
                        f"Convert your images, or give another folder")
    spec = {"name": str(path), "size": size, "channels": channels}
    return from_files(found, path, size, channels, path.name, spec, fits)


def from_files(found: Sequence[Path], root: Path, size: int, channels: int, name: str, spec: dict[str, Any],
               fits: int = FITS) -> Images | ImageFiles:
    """The data set of these files, which lie below `root`; otherwise as `folder`."""
    broken: dict[Path, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for f in tqdm(found, desc=f"{name}: looking at the files", disable=len(found) < 5000):
            try:
                with Image.open(f) as image:
                    _bounded(image)
            except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
                broken[f] = _why(error)
    files = ImageFiles(tuple(f for f in found if f not in broken), size, channels, name=name, spec=spec)
    images = None
    if 0 < len(files) * channels * size * size <= fits:
        images, bad = files.decode()
        broken |= bad
        files = replace(files, paths=tuple(f for f in files.paths if f not in bad))
    if broken:
        names = [f"{f.relative_to(root)}: {why}" for f, why in broken.items()]
        text = f"{len(broken)} of {len(found)} files in {root} were left out: " + "; ".join(
            names[:10] + ["..."] * (len(names) > 10))
        if not len(files):
            raise DataError(f"no image could be read. {text}")
        warnings.warn(text, stacklevel=3)
    tops = [f.relative_to(root).parts[:-1][:1] for f in files.paths]
    classes = tuple(sorted({top[0] for top in tops if top}))
    if len(classes) > 1 and all(tops):
        number = {label: i for i, label in enumerate(classes)}
        files = replace(files, classes=classes, labels=torch.tensor([number[top[0]] for top in tops]))
    return files if images is None else Images(images, files.labels, files.classes, name, spec)


@dataclass(frozen=True)
class ImageFiles:
    """A data set too large for memory: `fetch` decodes a batch in threads; there are no worker processes.

    The same interface as `Images`, without `images`. A file that can no longer be read is replaced by the
    next one, with a warning.

    Attributes:
        paths: the files, in order.
        size: height and width in pixels.
        channels: 1 or 3.
        labels: int64 of length N, or None.
        classes: names of the labels.
        name: what to call the set.
        spec: plain values from which `ganlab.data.rebuild` makes the same set again; empty if it cannot.
        device: where `fetch` puts a batch.
    """

    paths: tuple[Path, ...] = field(repr=False)
    size: int
    channels: int
    labels: Tensor | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    name: str = "folder"
    spec: dict[str, Any] = field(default_factory=dict)
    device: torch.device | str = "cpu"
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
        images = torch.stack([row.result() for row in rows]).to(self.device)
        return images, None if self.labels is None else self.labels[index.cpu()].to(self.device)

    def _submit(self, index: Tensor) -> list[Future[Tensor]]:
        return [_threads().submit(self._image, i) for i in index.tolist()]

    def _image(self, i: int) -> Tensor:
        for attempt in range(10):
            path = self.paths[(i + attempt) % len(self)]
            try:
                return read(path, self.size, self.channels)
            except Exception as error:  # see from_files
                reason = f"{path} can no longer be read ({_why(error)})"
            warnings.warn(f"{reason}; the next file takes its place", stacklevel=2)
        raise DataError(f"{reason}, nor the 9 files before it. Is the drive still connected?")

    def decode(self) -> tuple[Tensor, dict[Path, str]]:
        """All images that can be read as one uint8 tensor, and why the others cannot."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        broken: dict[Path, str] = {}

        def one(i: int) -> None:
            try:
                images[i] = read(self.paths[i], self.size, self.channels)
            except Exception as error:  # see from_files
                broken[self.paths[i]] = _why(error)

        with tqdm(total=len(self), desc=self.name, unit=" images") as bar:
            for start in range(0, len(self), 256):  # in portions, so that an interrupt need not wait for all
                bar.update(len(list(_threads().map(one, range(start, min(start + 256, len(self)))))))
        if broken:
            images = images[torch.tensor([path not in broken for path in self.paths])]
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


def read(path: Path, size: int, channels: int) -> Tensor:
    """One image file as uint8, C x size x size: upright, shorter side scaled to `size`, middle cut out."""
    with Image.open(path) as image:
        _bounded(image)
        image.draft(None, (size, size))  # JPEG only: decodes no finer than needed
        upright = _plain(ImageOps.exif_transpose(image), channels)
    picture = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).reshape(size, size, channels).permute(2, 0, 1)


def _bounded(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"refused, {image.width} x {image.height} pixels (a decompression bomb?)")


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """An image of any mode as "L" or "RGB", 8 bits a channel."""
    if image.mode[0] in "IF":  # 16 or 32 bits, which Pillow clips instead of scaling
        values = np.asarray(image, dtype=np.float32)
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


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _why(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "refused, too many pixels (a decompression bomb?)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__

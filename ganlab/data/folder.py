"""Your own images, from a folder: kept in memory if they fit and streamed otherwise."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ganlab.data.files import ImageFiles, measure, why
from ganlab.data.images import Images
from ganlab.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
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
    path = checked(path, size, channels)
    spec = {"folder": {"path": str(path), "size": size, "channels": channels}}
    return from_files(list_images(path), path, size, channels, path.name, spec, fits)


def checked(path: str | Path, size: int, channels: int) -> Path:
    """The absolute path of a folder. Raises DataError if there is none, or for a size or channels that cannot be."""
    path = Path(path).expanduser().absolute()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}; give the path of a folder with images")
    if size < 1 or channels not in (1, 3):
        raise DataError(f"size={size}, channels={channels}: size is a number of pixels, channels is 1 or 3")
    return path


def list_images(path: Path) -> list[Path]:
    """The image files in a folder and its sub-folders, in the order of their names; none is a DataError. Symbolic links
    are followed, but into no folder twice and into none that the folder itself lies in."""
    files: list[Path] = []
    tops, seen = [path], set(path.resolve().parents)
    for top in tops:  # links come last, so that what lies here keeps its own name
        for here, folders, names in os.walk(top):
            if (real := Path(here).resolve()) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(f for f in folders if visible(Path(f)))
            files += [Path(here, f) for f in names if visible(Path(f))]
            tops += [link for f in folders if (link := Path(here, f)).is_symlink()]
    files = sorted(filter(Path.is_file, files), key=lambda f: f.relative_to(path).as_posix())
    found = [f for f in files if f.suffix.lower() in EXTENSIONS]
    if not found:
        others = Counter(f.suffix.lower() or "without ending" for f in files).most_common(5)
        raise DataError(f"no image in {path} or its sub-folders. Looked for {', '.join(EXTENSIONS)}; found "
                        f"{', '.join(f'{n} x {ending}' for ending, n in others) or 'no file at all'}. "
                        f"Convert your images, or give another folder")
    return found


def from_files(found: Sequence[Path], root: Path, size: int, channels: int, name: str, spec: dict[str, Any],
               fits: int = FITS) -> Images | ImageFiles:
    """The data set of these files, which lie below `root`; otherwise as `folder`."""
    _, broken = measure_all(found, name)
    [(files, images)] = settle([ImageFiles(tuple(found), size, channels, name=name, spec=spec)], root, broken, fits)
    tops = [f.relative_to(root).parts[:-1][:1] for f in files.paths]
    classes = tuple(sorted({top[0] for top in tops if top}))
    if len(classes) > 1 and all(tops):
        number = {label: i for i, label in enumerate(classes)}
        files = replace(files, classes=classes, labels=torch.tensor([number[top[0]] for top in tops]))
    return files if images is None else Images(images, files.labels, files.classes, name, spec)


def measure_all(found: Sequence[Path], name: str) -> tuple[dict[Path, tuple[int, int]], dict[Path, str]]:
    """Width and height of each file, and why some cannot be read."""
    sizes: dict[Path, tuple[int, int]] = {}
    broken: dict[Path, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for f in tqdm(found, desc=f"{name}: looking at the files", disable=len(found) < 5000):
            try:
                sizes[f] = measure(f)
            except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
                broken[f] = why(error)
    return sizes, broken


def settle(sides: Sequence[ImageFiles], root: Path, broken: dict[Path, str],
           fits: int = FITS) -> list[tuple[ImageFiles, Tensor | None]]:
    """The files that can be read and, if they fit, their images; one warning names the rest, which are in `broken`.

    Of two sides, whose files belong together by position, a position stays or goes on both.
    """
    files = {f for s in sides for f in s.paths}
    broken = {f: reason for f, reason in broken.items() if f in files}
    sides = _only(sides, _kept(sides, broken))
    images: list[Tensor | None] = [None] * len(sides)
    if 0 < sum(len(s) * s.channels * s.size * s.size for s in sides) <= fits:
        decoded = [s.decode() for s in sides]
        damaged = {f: reason for _, found in decoded for f, reason in found.items()}
        stays = _kept(sides, damaged)
        images = [pixels[stays] if damaged else pixels for pixels, _ in decoded]
        sides, broken = _only(sides, stays), broken | damaged
    if broken:
        names = [f"{f.relative_to(root)}: {reason}" for f, reason in broken.items()]
        text = f"{len(broken)} of {len(files)} files in {root} were left out: " + "; ".join(
            names[:10] + ["..."] * (len(names) > 10))
        if not len(sides[0]):
            raise DataError(f"no image could be read. {text}")
        warnings.warn(text + ". So were their partners" * sides[0].partners, stacklevel=4)
    return list(zip(sides, images, strict=True))


def _kept(sides: Sequence[ImageFiles], broken: dict[Path, str]) -> list[int]:
    """The positions of which no side is broken."""
    return [i for i, files in enumerate(zip(*(s.paths for s in sides), strict=True)) if broken.keys().isdisjoint(files)]


def _only(sides: Sequence[ImageFiles], positions: list[int]) -> list[ImageFiles]:
    return [replace(s, paths=tuple(s.paths[i] for i in positions)) for s in sides]


def visible(path: Path) -> bool:
    """Whether a path below the folder counts: nothing hidden, and not what macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)

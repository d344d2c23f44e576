"""Two domains of images from a folder, in the layouts that image translation uses; and photos with their edges."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ganlab.data.domains import Domains
from ganlab.data.files import ImageFiles, View, draw_edges, measure
from ganlab.data.folder import FITS, checked, folder, list_images, measure_all, settle, visible
from ganlab.data.images import Images
from ganlab.errors import DataError

PARTS = ("train", "val", "test")
Place = Callable[[str, str], Path]  # from a part and a side ("A" or "B") to the folder of their images


def translation(path: str | Path, size: int = 64, channels: int = 3, split: str = "train", paired: bool | None = None,
                flip: bool = False, fits: int = FITS) -> Domains:
    """The images of two domains A and B in a folder, which has one of three layouts:

    - folders trainA and trainB, perhaps testA and testB: no pairs;
    - folders A and B of images, or each with folders train and test: pairs are files of the same name (the ending
      may differ) and of the same size, so that the same is cut off both;
    - folders train, val and test, or one folder, of images twice as wide as high: pairs, A left and B right.

    Images are brought to their size as by `ganlab.data.folder`. A file that cannot be read is left out, and in pairs
    its partner too; one warning names it.

    Args:
        path: the folder; "~" is your home.
        size: height and width of the result in pixels.
        channels: 3 (colour) or 1 (grey).
        split: "train", "test" (val where there is no test) or "all"; without such folders everything is "train".
        paired: whether image i of A belongs to image i of B; by default as the layout says.
        flip: exchange A and B.
        fits: both sides are decoded into memory if they have up to so many bytes, and streamed otherwise.

    Raises:
        DataError: a side or split that is missing or empty, a file without a partner, partners of different sizes, an
            image that cannot be cut in halves; names the file and says what to do.
    """
    path = checked(path, size, channels)
    spec = {"translation": {"path": str(path), "size": size, "channels": channels, "split": split, "paired": paired,
                            "flip": flip}}
    kind, place = _layout(path)
    halves = kind == "halves"
    if paired is None:
        paired = kind != "trainA"
    a: list[Path] = []
    b: list[Path] = []
    for part in _parts(path, place, split):
        ours, theirs = (list_images(place(part, side)) for side in "AB")
        if paired and not halves:
            ours, theirs = _match(place(part, "A"), ours, place(part, "B"), theirs)
        a, b = a + ours, b + theirs
    sizes, broken = measure_all(list(dict.fromkeys(a + b)), path.name)
    if halves:
        _can_be_cut(sizes)
    elif paired:
        _alike(a, b, sizes)

    views: tuple[View, View] = ("left", "right") if halves else ("whole", "whole")
    sides = [ImageFiles(tuple(files), size, channels, name=f"{path.name}/{side}", view=view,
                        partners=paired and not halves)
             for side, files, view in zip("AB", (a, b), views, strict=True)]
    room = fits if (len(a) + len(b)) * channels * size * size <= fits else 0
    together = [sides] if paired or halves else [[side] for side in sides]
    ready = [files if images is None else Images(images, name=files.name)
             for group in together for files, images in settle(group, path, broken, room)]
    return Domains(ready[flip], ready[not flip], paired, path.name, spec)


def is_translation(path: Path) -> bool:
    """Whether a folder has one of the layouts of `translation`. One photo may be twice as wide as high by chance:
    images count as two halves if they lie in a folder train and most of its first twenty have that shape."""
    names = {f.name for f in path.iterdir() if f.is_dir() and visible(Path(f.name))} if path.is_dir() else set()
    if names & {part + side for part in PARTS for side in "AB"} or names == {"A", "B"}:
        return True
    shapes = []
    if "train" in names:
        with contextlib.suppress(DataError):
            for f in list_images(path / "train")[:20]:
                with contextlib.suppress(Exception):  # what cannot be read is named later
                    shapes.append(measure(f))
    return 2 * sum(width == 2 * height for width, height in shapes) > len(shapes)


def _layout(path: Path) -> tuple[str, Place]:
    if any((path / (part + side)).is_dir() for part in PARTS for side in "AB"):
        return "trainA", lambda part, side: path / (part + side)
    if any((path / side).is_dir() for side in "AB"):
        return "A", lambda part, side: path / side / part
    return "halves", lambda part, side: path / part


def _parts(path: Path, place: Place, split: str) -> list[str]:
    """The parts that make up a split; "" is the folder itself."""
    there = [part for part in PARTS if any(place(part, side).is_dir() for side in "AB")] or [""]
    wanted = {"train": ("train", ""), "test": ("test",) if "test" in there else ("val",), "all": (*PARTS, "")}
    if split not in wanted:
        raise DataError(f"there is no split {split!r}; there are {', '.join(map(repr, wanted))}")
    parts = [part for part in there if part in wanted[split]]
    if not parts:
        raise DataError(f"{path} has no folders for the split {split!r}; load all of it and hold some out: "
                        f"ganlab.data.translation({str(path)!r}, split=\"all\").split(100)")
    for part in parts:
        for side in "AB":
            if not place(part, side).is_dir():
                raise DataError(f"{path} has no folder {place(part, side).relative_to(path)}; both sides need one, "
                                "with images")
    return parts


def _match(a: Path, ours: list[Path], b: Path, theirs: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files of the folders a and b in the order of their common names."""
    names: list[dict[str, Path]] = []
    for top, files in ((a, ours), (b, theirs)):
        names.append({})
        for f in files:
            name = f.relative_to(top).with_suffix("").as_posix()
            if name in names[-1]:
                raise DataError(f"{names[-1][name]} and {f.name} have one name, so it is not clear which of them its "
                                "partner belongs to; rename one of them, and its partner")
            names[-1][name] = f
    alone = [f for own, other in (names, names[::-1]) for name, f in own.items() if name not in other]
    if alone:
        more = f", and {len(alone) - 1} more" * (len(alone) > 1)
        raise DataError(f"{len(ours)} images in {a}, {len(theirs)} in {b}, and no partner for {alone[0]}{more}. "
                        "Partners have the same name in both folders (the ending may differ): add or rename them, or "
                        "move the rest away. If there are no pairs, say paired=False, or call the folders trainA "
                        "and trainB")
    return ours, [names[1][name] for name in names[0]]


def _can_be_cut(sizes: dict[Path, tuple[int, int]]) -> None:
    for f, (width, height) in sizes.items():
        if width != 2 * height:
            raise DataError(f"{f} has {width} x {height} pixels; an image of A and B side by side is twice as wide as "
                            "high. Bring it to that size, or put A and B into two folders of these names")


def _alike(a: list[Path], b: list[Path], sizes: dict[Path, tuple[int, int]]) -> None:
    for f, g in zip(a, b, strict=True):
        if f in sizes and g in sizes and sizes[f] != sizes[g]:
            raise DataError(f"{f} has {' x '.join(map(str, sizes[f]))} pixels, its partner {g} "
                            f"{' x '.join(map(str, sizes[g]))}; bring both to one size, so that a pixel shows the same "
                            "place on both")


def edges(source: str | Path | Images | ImageFiles, size: int = 64, channels: int = 3, fits: int = FITS) -> Domains:
    """Pairs made from any images: A is a drawing of the edges (see `ganlab.data.files.draw_edges`), B the image.

    Args:
        source: a set of images, or the path of a folder, for which size, channels and fits are as in `folder`.

    Raises:
        DataError: points instead of images, or halves of images.
    """
    photos = folder(source, size, channels, fits) if isinstance(source, (str, Path)) else source
    if len(photos.shape) != 3 or getattr(photos, "view", "whole") != "whole":
        raise DataError(f"{photos.name} cannot be drawn as edges; give whole images, not points or halves")
    drawings: Images | ImageFiles
    if isinstance(photos, ImageFiles):
        drawings = replace(photos, view="edges", spec={}, _ahead={})
    else:
        drawn = torch.cat([draw_edges(some) for some in photos.images.split(256)])
        drawings = replace(photos, images=drawn, spec={})
    return Domains(drawings, photos, True, f"edges of {photos.name}", {"edges": photos.spec} if photos.spec else {})

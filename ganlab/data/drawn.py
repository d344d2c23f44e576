"""Three sets of drawn images to translate between, made on the spot: nothing to download, and the truth is known.

    fronts()    paired      label maps of house fronts, and the houses
    fruit()     unpaired    oranges, and apples: the same shapes, another texture
    faces()     unpaired    portraits, and big-eyed drawings: other shapes

How they are painted is in `ganlab.data.paint`.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ganlab.data.domains import Domains
from ganlab.data.images import Images, mix
from ganlab.data.paint import faces as people
from ganlab.data.paint import fronts as houses
from ganlab.data.paint import fruit as tables
from ganlab.data.paint.canvas import LABELS, render
from ganlab.data.paint.faces import EYES
from ganlab.errors import DataError

__all__ = ["COUNTS", "EYES", "LABELS", "eye_chart", "faces", "fronts", "fruit", "read_labels"]

COUNTS = {"train": 800, "test": 100}
"""Images a side of each split; "all" is both."""


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
        image), "tilt" (radians), "smile" (-0.5 to 1), "hair" and "skin" (RGB from 0 to 1), "length" of the hair
        (0 to 1), "eye_size" (height of an eye / height of the face); of the split "test" also "partner", uint8
        N x 3 x H x W: the same person as the other side has them.
    """
    return _made("faces", split, size)


def eye_chart(size: int = 64, n: int = 800) -> Images:
    """n faces, portraits and drawings, with eyes of any size in either style.

    A network that learns "eye_size" from them cannot go by the style, as it could on `faces`, and so can tell whether
    a translation has changed the shape or only the texture.
    """
    images, heights = [], []
    for side, style in enumerate((people.portrait, people.drawing)):
        scene = people.scene(n // 2, mix(9, side))
        heights.append(torch.linspace(0.05, 0.28, n // 2))
        images.append(render(style, {**scene, "eye": heights[-1].view(-1, 1, 1, 1) / EYES[side]}, size)[0])
    return Images(torch.cat(images), name="eye_chart", truth={"eye_size": torch.cat(heights)})


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
        pictures, classes = render(houses.front, houses.scene(n, mix(seed, 0)), size, 2 if size < 64 else 1)
        maps = torch.tensor(list(LABELS.values()), dtype=torch.uint8)[classes.long()].movedim(-1, 1).contiguous()
        return [Images(maps, name="fronts/a", truth={"classes": classes}), Images(pictures, name="fronts/b")]
    make, known, *styles = {
        "fruit": (tables.scene, ("count", "light"), tables.oranges, tables.apples),
        "faces": (people.scene, ("pose", "tilt", "smile", "hair", "skin", "length"), people.portrait,
                  people.drawing)}[name]
    sides = []
    for side in (0, 1):
        scene = make(n, mix(seed, 1 + side))
        truth = {k: scene[k].flatten(1).squeeze(1) for k in known}
        if name == "faces":
            truth["eye_size"] = EYES[side] * scene["eye"].flatten()
        if split == "test":
            truth["partner"] = render(styles[1 - side], scene, size)[0]
        sides.append(Images(render(styles[side], scene, size)[0], name=f"{name}/{'ab'[side]}", truth=truth))
    return sides

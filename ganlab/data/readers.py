"""From the files of the published sets to tensors: one function for each `reader` of the catalogue."""

from __future__ import annotations

import gzip
import importlib
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.data.catalogue import Entry
from ganlab.data.domains import Domains
from ganlab.data.images import Images
from ganlab.errors import DataError


def read_idx(e: Entry, paths: dict[str, Path]) -> Images:
    """MNIST and its relatives, from the paths of their files by name."""
    images = torch.cat([idx(path) for name, path in paths.items() if "images" in name])
    labels = torch.cat([idx(path) for name, path in paths.items() if "labels" in name])
    return Images(images[:, None], labels.long(), e.classes, e.name)


def idx(path: Path) -> Tensor:
    """A gzip-compressed IDX file of bytes (the format of MNIST) as a uint8 tensor of its stated shape."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); delete it and load the set again") from error
    header = 4 + 4 * (content[3] if content[:3] == b"\0\0\x08" else 0)
    shape = [int.from_bytes(content[i:i + 4]) for i in range(4, header, 4)]
    if not shape or len(content) != header + int(np.prod(shape)):
        raise DataError(f"{path} is not an IDX file of bytes; delete it and load the set again")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy()).reshape(shape)


def read_cifar(e: Entry, folder: Path, split: str) -> Images:
    """CIFAR-10 from its binary files: rows of one label and 3 x 32 x 32 pixels."""
    pattern = {"train": "data_batch_*.bin", "test": "test_batch.bin", "all": "*_batch*.bin"}[split]
    content = b"".join(path.read_bytes() for path in sorted(folder.glob(pattern)))
    count = sum(e.counts.values()) if split == "all" else e.counts[split]
    if len(content) != count * 3073:
        raise DataError(f"{folder} does not hold {count:,} images; delete that folder and load the set again")
    rows = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(count, 3073).copy())
    return Images(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long(), e.classes, e.name)


def make(e: Entry, split: str, size: int | None, channels: int | None) -> Images | Domains:
    """A set that its `maker` makes. Points have no size and no channels: a DataError."""
    module, _, function = e.maker.partition(":")
    maker = getattr(importlib.import_module(module), function)
    if e.domains:  # drawn at their size, which looks better than resized
        found = maker(split, size or e.shape[1])
        return replace(found, a=convert(found.a, None, channels), b=convert(found.b, None, channels))
    if len(e.shape) == 1 and (size is not None or channels is not None):
        raise DataError(f"{e.name} is a set of points in {e.shape[0]} dimensions, not of images: "
                        f"leave out size={size}, channels={channels}")
    return convert(maker(split), size, channels)


def list_range(e: Entry, folder: Path, split: str) -> list[Path]:
    """The files of a split that is a range of file numbers."""
    files = sorted(folder.iterdir())
    start, stop = e.ranges[split]
    if len(files) < stop:
        raise DataError(f"{folder} holds {len(files):,} files, not {stop:,}; delete it and load the set again")
    return files[start:stop]


def convert(data: Images, size: int | None, channels: int | None) -> Images:
    """The set resized (antialiased) to size x size and brought to 1 or 3 channels, still uint8."""
    images = data.images
    if channels == 1 and images.shape[1] == 3:  # ITU-R 601 luma, as Pillow's "L"
        luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        images = torch.cat([_bytes((part * luma).sum(1, keepdim=True)) for part in images.split(1024)])
    if size is not None and images.shape[-2:] != (size, size):
        images = torch.cat([_bytes(F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True))
                            for part in images.split(1024)])
    if channels == 3 and images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)
    return replace(data, images=images)


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)

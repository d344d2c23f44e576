"""Data sets that fit into memory, the embedded digits, and the order in which a training sees them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganlab.errors import DataError


def send(values: Tensor, device: torch.device | str) -> Tensor:
    """Values on a device, of any shape and type; from the CPU to a GPU without a wait for what it has still to do."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class Dataset(Protocol):
    """What a training asks of a data set; `Images` and `ganlab.data.files.ImageFiles` are two."""

    @property
    def name(self) -> str:
        """What to call the set."""

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values from which `ganlab.data.rebuild` makes the same set again; empty if it cannot."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (k,) of a point."""

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a batch of these positions holds: the images (uint8, or float32 points) and their labels (int64); of a
        `ganlab.data.domains.Domains` the images of both sides. Positions: int64 of length N, as `order` has them."""

    def order(self, rng: torch.Generator) -> Tensor:
        """The positions of one epoch, in a random order drawn from `rng` (of the CPU)."""

    def to(self, device: torch.device | str) -> Dataset:
        """The same set, kept on the device where it can be."""


@dataclass(frozen=True)
class Images:
    """A data set kept whole as one tensor.

    Attributes:
        images: uint8 N x C x H x W; or float32 N x k for points, which are passed on as they are.
        labels: int64 of length N, or None.
        classes: names of the labels.
        name: what to call the set.
        spec: plain values from which `ganlab.data.rebuild` makes the same set again; empty if it cannot.
        truth: what a generated set knows of its images, by name; each of length N along its first dimension.
    """

    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "images"
    spec: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (k,) of a point."""
        return tuple(self.images.shape[1:])

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The images and labels at these positions (int64, any device)."""
        index = index.to(self.images.device)
        return self.images[index], None if self.labels is None else self.labels[index]

    def order(self, rng: torch.Generator) -> Tensor:
        """The positions of one epoch, in a random order drawn from `rng` (of the CPU)."""
        return send(torch.randperm(len(self), generator=rng), self.images.device)

    def to(self, device: torch.device | str) -> Images:
        """The same set on a device, or as it is where the device has no room for it."""
        try:
            return replace(self, images=self.images.to(device),
                           labels=None if self.labels is None else self.labels.to(device))
        except torch.OutOfMemoryError:
            return self

    def take(self, index: Tensor | slice) -> Images:
        """The part of the set at these positions; it has no `spec`, since a name alone does not make it again."""
        return replace(self, images=self.images[index], spec={},
                       labels=None if self.labels is None else self.labels[index],
                       truth={name: values[index] for name, values in self.truth.items()})

    def subset(self, n: int) -> Images:
        """The first n images."""
        return self.take(slice(n))

    def split(self, held_out: int, seed: int = 0) -> tuple[Images, Images]:
        """(rest, held-out part of that many images), drawn at random from the seed."""
        if not 0 < held_out < len(self):
            raise DataError(f"cannot hold {held_out} images out of {len(self)}; give a number between 1 and "
                            f"{len(self) - 1}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[held_out:]), self.take(order[:held_out])

    def floats(self) -> Tensor:
        """All images as floats in [-1, 1], N x C x H x W (points as they are)."""
        return to_float(self.images)


def to_float(images: Tensor) -> Tensor:
    """uint8 images to floats in [-1, 1]; points and labels are returned as they are."""
    return images.float().div_(127.5).sub_(1) if images.dtype == torch.uint8 else images


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [-1, 1] to uint8 images, rounded; values outside are clipped."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def digits(split: str = "train") -> Images:
    """scikit-learn's handwritten digits (Alpaydin and Kaynak, UCI 1998), brought from 8 x 8 to 28 x 28; no download.

    Each of the 8 x 8 values counts the ink in a 4 x 4 block of a scan. They are enlarged smoothly and their contrast
    is raised until strokes have edges again; pixels are white on black as in MNIST.

    Args:
        split: "train" (1,497 images), "test" (300) or "all" (1,797).
    """
    if split not in ("train", "test", "all"):
        raise DataError(f"digits have the splits 'train', 'test' and 'all', not {split!r}")
    from sklearn.datasets import load_digits
    raw, labels = load_digits(return_X_y=True)
    # In float64, so that rounding to uint8 comes out alike on every processor.
    ink = torch.from_numpy(raw.reshape(-1, 1, 8, 8)).double() / 16
    ink = F.interpolate(F.pad(ink, (1, 1, 1, 1)), size=28, mode="bicubic", align_corners=False)
    images = to_uint8(torch.sigmoid(12 * (ink - 0.45)) * 2 - 1)
    everything = Images(images, torch.from_numpy(labels).long(), tuple("0123456789"), "digits",
                        {"name": "digits", "split": split})
    train, test = everything.split(300)
    return {"train": replace(train, spec=everything.spec), "test": replace(test, spec=everything.spec),
            "all": everything}[split]


class Batches:
    """The order of the data: batch number s is a function of the seed and s alone, so nothing has to be saved.

    Every epoch goes through the whole set in a new order; a remainder smaller than a batch is left out.

    Args:
        data: the set.
        batch_size: images of one step, over all processes together.
        device: where the batches go.
        seed: decides the order.
        share: (rank, number of processes): each process gets every n-th row of the batch.
    """

    def __init__(self, data: Dataset, batch_size: int, device: torch.device, seed: int,
                 share: tuple[int, int] = (0, 1)) -> None:
        if not 0 < batch_size <= len(data):
            raise DataError(f"a batch of {batch_size} does not fit a set of {len(data)} images "
                            f"({data.name}); lower batch_size or add images")
        if batch_size % share[1]:
            raise DataError(f"a batch of {batch_size} cannot be shared evenly by {share[1]} processes; "
                            f"make batch_size a multiple of {share[1]}")
        self.data, self.batch_size, self.device, self.seed, self.share = data, batch_size, device, seed, share
        self.per_epoch = len(data) // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """What one step sees: (images as floats in [-1, 1], labels or None), or the images of both domains."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.data.order(torch.Generator().manual_seed(mix(self.seed, epoch)))
        images, other = self.data.fetch(self._index(position))
        if hasattr(self.data, "prefetch") and position + 1 < self.per_epoch:
            self.data.prefetch(self._index(position + 1))
        x = to_float(send(images, self.device))
        y = None if other is None else to_float(send(other, self.device))
        if getattr(self.data, "augment", False):
            assert y is not None
            rng = torch.Generator(self.device).manual_seed(mix(self.seed, step, 3, 0))
            return augment(x, y, rng, self.data.paired, self.share)  # type: ignore[attr-defined]
        return x, y

    def _index(self, position: int) -> Tensor:
        rank, world = self.share
        return self._order[position * self.batch_size:(position + 1) * self.batch_size][rank::world]


def augment(x: Tensor, y: Tensor, rng: torch.Generator, together: bool,
            share: tuple[int, int] = (0, 1)) -> tuple[Tensor, Tensor]:
    """Both batches (N x C x H x W) mirrored or not, enlarged by 286 / 256 and cropped at random, each image for itself.

    Source: the augmentation of pix2pix (arXiv:1611.07004, section 6.2) and of CycleGAN and U-GAT-IT after it.

    Args:
        rng: of the images' device.
        together: image i of x and image i of y are changed alike, since they belong together.
        share: as in `Batches`; every process draws for the whole batch and keeps what is for its own rows.
    """
    rank, world = share
    first = _crop(len(x) * world, rng)[rank::world]
    second = first if together else _crop(len(y) * world, rng)[rank::world]
    return tuple(F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False),
                               padding_mode="border", align_corners=False)
                 for images, theta in ((x, first), (y, second)))  # type: ignore[return-value]


def _crop(n: int, rng: torch.Generator) -> Tensor:
    """n affine maps (N x 2 x 3) from the coordinates of a crop, in [-1, 1], to those of the image it is cut from."""
    share, device = 256 / 286, rng.device
    # Drawn where they are used: what comes from the CPU would wait for the device in every step.
    mirror = torch.randint(0, 2, (n,), generator=rng, device=device).mul(2).sub(1) * share
    shift = (torch.rand(n, 2, generator=rng, device=device) * 2 - 1) * (1 - share)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirror, share, shift
    return theta


def mix(*numbers: int) -> int:
    """One seed from several numbers, such that neighbouring numbers give unrelated random streams."""
    return int(np.random.SeedSequence([n % 2**63 for n in numbers]).generate_state(1, np.uint64)[0] >> 1)


def fingerprint(data: Dataset) -> dict[str, Any]:
    """What tells one data set from another in a checkpoint: its size, shape, a sum over a few images, and whether its
    batches are augmented."""
    index = torch.linspace(0, len(data) - 1, min(16, len(data))).long()
    values = torch.cat([part.cpu().double().flatten() for part in data.fetch(index) if part is not None])
    weights = torch.arange(1, values.numel() + 1, dtype=torch.double).sqrt()
    return {"name": data.name, "count": len(data), "shape": list(data.shape),
            "sum": float((values * weights).sum()), **({"augment": True} if getattr(data, "augment", False) else {})}


def as_dataset(data: Dataset | Tensor) -> Dataset:
    """A tensor of images (N x C x H x W, uint8 or floats in [-1, 1]) or points (N x k) as a data set.

    Raises:
        DataError: an empty tensor, values that are NaN or infinite, or images outside [-1, 1].
    """
    if not isinstance(data, Tensor):
        return data
    if not data.numel():
        raise DataError(f"a tensor of shape {tuple(data.shape)} holds no data; give N x C x H x W for images, N x k "
                        "for points, N being at least 1")
    if data.dtype == torch.uint8:
        return Images(data, name="tensor")
    data = data.float()
    low, high = data.aminmax()
    if not (low.isfinite() and high.isfinite()):
        raise DataError("the tensor has values that are NaN or infinite; leave out what holds them: "
                        "data[data.flatten(1).isfinite().all(1)]")
    if data.ndim == 4 and max(-low, high) > 1.001:
        raise DataError(f"images as floats must lie in [-1, 1], these go from {low:.3g} to {high:.3g}; "
                        "scale them, or give uint8 from 0 to 255")
    return Images(to_uint8(data) if data.ndim == 4 else data, name="tensor")

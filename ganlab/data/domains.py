"""Two sets of images between which a model translates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ganlab.data.files import ImageFiles
from ganlab.data.images import Images
from ganlab.errors import DataError


@dataclass(frozen=True)
class Domains:
    """Two domains A and B of images of the same shape; a batch holds as many of each.

    Paired: image i of B is what image i of A should become. Unpaired: the sides are unrelated and may differ in
    number; an epoch goes through the larger one once, and through the smaller one again and again.

    Attributes:
        a, b: the two sides.
        paired: whether image i of A belongs to image i of B.
        name: what to call the set.
        spec: plain values from which `ganlab.data.rebuild` makes the same set again; empty if it cannot.
        augment: mirror and crop every batch at random, see `augmented` and `ganlab.data.images.augment`.

    Raises:
        DataError: sides of different shapes, an empty side, or a paired set with different counts.
    """

    a: Images | ImageFiles
    b: Images | ImageFiles
    paired: bool
    name: str = "domains"
    spec: dict[str, Any] = field(default_factory=dict)
    augment: bool = False

    def __post_init__(self) -> None:
        for side, images in (("A", self.a), ("B", self.b)):
            if not len(images):
                raise DataError(f"{self.name}: side {side} has no image; both sides need some")
        if tuple(self.a.shape) != tuple(self.b.shape):
            raise DataError(f"{self.name}: the images of A have shape {tuple(self.a.shape)}, those of B "
                            f"{tuple(self.b.shape)}; load both with the same size and channels")
        if self.paired and len(self.a) != len(self.b):
            raise DataError(f"{self.name}: {len(self.a)} images in A and {len(self.b)} in B cannot be pairs; "
                            "give every image its partner, or use the set unpaired (paired=False)")

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image of either side."""
        return tuple(self.a.shape)

    def order(self, rng: torch.Generator) -> Tensor:
        """The positions of one epoch, N x 2: of A and of B."""
        a = self.a.order(rng)
        b = a if self.paired else self.b.order(rng).to(a.device)
        return torch.stack([_cycle(a, len(self)), _cycle(b, len(self))], 1)

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The images of A and of B at these positions (N x 2 as `order` has them, or N for the same in both)."""
        a, b = self._sides(index)
        return self.a.fetch(a)[0], self.b.fetch(b)[0]

    def prefetch(self, index: Tensor) -> None:
        """Begin to read these positions, where a side is read from files."""
        for side, positions in zip((self.a, self.b), self._sides(index), strict=True):
            if isinstance(side, ImageFiles):
                side.prefetch(positions)

    def _sides(self, index: Tensor) -> tuple[Tensor, Tensor]:
        if index.ndim == 1:
            return index % len(self.a), index % len(self.b)
        return index[:, 0], index[:, 1]

    def to(self, device: torch.device | str) -> Domains:
        """The same set, kept on the device where it can be."""
        return replace(self, a=self.a.to(device), b=self.b.to(device))

    def augmented(self) -> Domains:
        """The same set, of which every batch is mirrored and cropped at random; its `spec` says so too."""
        return replace(self, augment=True, spec=self.spec and self.spec | {"augment": True})

    def take(self, index: Tensor | slice) -> Domains:
        """The part of the set at these positions of each side; it has no `spec`."""
        return replace(self, a=self.a.take(index), b=self.b.take(index), spec={})

    def subset(self, n: int) -> Domains:
        """The first n images of each side."""
        return self.take(slice(n))

    def split(self, held_out: int, seed: int = 0) -> tuple[Domains, Domains]:
        """(rest, part with that many held-out images of each side), drawn at random from the seed; pairs stay pairs."""
        a, held_a = self.a.split(held_out, seed)
        b, held_b = self.b.split(held_out, seed if self.paired else seed + 1)
        return replace(self, a=a, b=b, spec={}), replace(self, a=held_a, b=held_b, spec={}, augment=False)

    def flipped(self) -> Domains:
        """The same set with its sides exchanged; it has no `spec`."""
        return replace(self, a=self.b, b=self.a, spec={})


def _cycle(order: Tensor, n: int) -> Tensor:
    return order.repeat(-(-n // len(order)))[:n]

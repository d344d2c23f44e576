"""Networks that read out of a drawn picture what the generator of `ganlab.data.drawn` put into it.

Trained on real images, they measure translations: whether a house can be turned back into its label map, and whether
who is shown has stayed the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlab.data.domains import Domains
from ganlab.data.images import Batches, Images
from ganlab.errors import GanlabError
from ganlab.seeds import seeded


def fit(network: nn.Module, data: Images, loss: Callable[[Tensor, Tensor], Tensor], steps: int, batch_size: int,
        seed: int, learning_rate: float = 4e-3, change: Callable[[Tensor], Tensor] = lambda images: images) -> None:
    """Train `network` to turn `data.images`, each batch changed, into `data.labels`: Adam, its rate falling to 0."""
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    batches = Batches(data.to(device), min(batch_size, len(data)), device, seed)
    for step in range(steps):
        images, wanted = batches[step]
        assert wanted is not None
        loss(network(change(images)), wanted).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    network.eval()


def conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2, bias=False),
                         nn.BatchNorm2d(after), nn.ReLU())


class LabelReader(nn.Module):
    """A small fully convolutional network that reads the label map back from a rendered picture.

    It looks at three halvings of the picture and joins what it sees on the way back up.

    Args:
        classes: of the label maps.
        width: channels at full and at half size; they double with every further halving.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        w = width
        self.whole, self.down2, self.down4 = conv(3, w), conv(3, w, 4, 2), conv(w, 2 * w, 4, 2)
        self.down8 = nn.Sequential(conv(2 * w, 4 * w, 4, 2), conv(4 * w, 4 * w))
        self.up4, self.up2 = conv(6 * w, 2 * w), conv(3 * w, 2 * w)
        self.head = nn.Conv2d(w // 2 + w, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N x classes x H x W) of pictures (N x 3 x H x W in [-1, 1], H and W even)."""
        half = self.down2(x)
        quarter = self.down4(half)
        quarter = self.up4(torch.cat([F.interpolate(self.down8(quarter), quarter.shape[2:]), quarter], 1))
        half = self.up2(torch.cat([F.interpolate(quarter, half.shape[2:]), half], 1))
        return self.head(torch.cat([F.pixel_shuffle(half, 2), self.whole(x)], 1))

    @classmethod
    def trained_on(cls, data: Domains, steps: int = 300, seed: int = 0,
                   device: torch.device | str = "cpu") -> LabelReader:
        """A reader trained on pairs such as `ganlab.data.drawn.fronts()`: from B to `a.truth["classes"]`.

        300 steps take about 10 seconds on a CPU core at 32 pixels and 30 at 64, and read 99 % of held-out pixels.
        """
        if not data.paired or "classes" not in getattr(data.a, "truth", {}):
            raise GanlabError(f"a label reader needs pairs whose side A knows its classes; {data.name} has none; use "
                              "ganlab.data.drawn.fronts()")
        assert isinstance(data.a, Images) and isinstance(data.b, Images)
        classes = data.a.truth["classes"].long()
        with seeded(seed):
            reader = cls(int(classes.max()) + 1).to(device)
        fit(reader, Images(data.b.images, classes.to(data.b.images.device)), F.cross_entropy, steps, 16, seed)
        return reader

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """The classes (int64 N x H x W, on the CPU) of pictures (N x 3 x H x W in [-1, 1])."""
        device = next(self.parameters()).device
        return torch.cat([self(some.to(device)).argmax(1).cpu() for some in images.split(64)])

    def accuracy(self, images: Tensor, classes: Tensor) -> float:
        """Share of pixels read as these classes (N x H x W)."""
        return (self.read(images) == classes.cpu()).float().mean().item()


class Regressor(nn.Module):
    """A small convolutional network that reads numbers, such as the pose of a head, from pictures.

    Args:
        names: what it reads, by name, and how many numbers each has.
        width: channels of its first layer; they double with every halving.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, names: dict[str, int], width: int = 16) -> None:
        super().__init__()
        self.names = dict(names)
        total = sum(names.values())
        channels = [3, width, 2 * width, 4 * width]
        self.body = nn.Sequential(
            *(conv(channels[i], channels[i + 1], 4, 2) for i in range(3)), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(64 * width, 128), nn.ReLU(), nn.Linear(128, total))
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("std", torch.ones(total))

    def forward(self, x: Tensor) -> Tensor:
        """The numbers, standardised (N x total), of pictures (N x 3 x H x W in [-1, 1])."""
        return self.body(x)

    @classmethod
    def trained_on(cls, data: Domains | Images, names: Sequence[str], steps: int = 500, seed: int = 0,
                   device: torch.device | str = "cpu") -> Regressor:
        """A regressor trained on the truth of these names; of a `Domains` on both its sides."""
        images, values = _known(data, names)
        with seeded(seed):
            regressor = cls({name: v.shape[1] for name, v in values.items()}).to(device)
        wanted = torch.cat(list(values.values()), 1).to(images.device)
        regressor.mean.copy_(wanted.mean(0))
        regressor.std.copy_(wanted.std(0))
        fit(regressor, Images(images, (wanted - wanted.mean(0)) / wanted.std(0)), F.mse_loss, steps, 32, seed)
        return regressor

    @torch.no_grad()
    def read(self, images: Tensor) -> dict[str, Tensor]:
        """The values by name (each N x k, on the CPU) of pictures (N x 3 x H x W in [-1, 1])."""
        device = next(self.parameters()).device
        values = torch.cat([(self(some.to(device)) * self.std + self.mean).cpu() for some in images.split(256)])
        return dict(zip(self.names, values.split(list(self.names.values()), 1), strict=True))

    def r2(self, images: Tensor, truth: dict[str, Tensor]) -> dict[str, float]:
        """1 - (squared error / variance of the truth) by name: 1 is perfect, 0 no better than the mean."""
        found = self.read(images)
        wanted = {name: truth[name].float().view(len(images), -1) for name in self.names}
        return {name: (1 - (found[name] - w).square().sum() / (w - w.mean(0)).square().sum()).item()
                for name, w in wanted.items()}


def _known(data: Domains | Images, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    sides = [side for side in ([data.a, data.b] if isinstance(data, Domains) else [data]) if isinstance(side, Images)]
    for side in sides:
        if missing := [name for name in names if name not in side.truth]:
            raise GanlabError(f"{side.name} does not know {missing}; it knows {sorted(side.truth)}")
    return (torch.cat([side.images for side in sides]),
            {name: torch.cat([side.truth[name].float().view(len(side), -1) for side in sides]) for name in names})

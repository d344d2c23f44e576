"""How fast the training loop is, beside the loop that a textbook would write for the same game.

    python benchmarks/speed.py [--rounds 5] [--steps 60] [--batch-size 64] [--threads N]

Both train the vanilla GAN (same networks, same losses, same optimizer) on MNIST where it is on disk, else on the
embedded digits. They run in one process, in turn, in alternating order; printed are images per second of each round
and the median ratios, with our networks in float32 (as the textbook's) and in bf16 (the losses stay float32). The
textbook loop: a torchvision data set of PIL images with transforms, a DataLoader, a sigmoid and BCELoss, the generator
run once for each player, `.item()` in every step, Adam with its defaults.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ganlab import data, models
from ganlab.data.images import Images
from ganlab.training import Training, choose_device


class PILImages(torchvision.datasets.MNIST):
    """torchvision's MNIST, whose `__getitem__` makes a PIL image and runs the transforms, over images at hand."""

    def __init__(self, images: Images, transform: Callable[..., Tensor]) -> None:
        torchvision.datasets.VisionDataset.__init__(self, "", transform=transform)
        assert images.labels is not None
        self.data, self.targets = images.images[:, 0].cpu(), images.labels.cpu()


class Textbook:
    """The textbook loop. `run(steps)` trains; the networks are those of the model."""

    def __init__(self, model: models.Model, images: Images, batch_size: int, device: torch.device) -> None:
        self.generator, self.device = model.players["generator"].to(device), device
        self.discriminator = nn.Sequential(model.players["discriminator"], nn.Sigmoid()).to(device)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.criterion, self.latent = nn.BCELoss(), model.config["latent"]
        transform = torchvision.transforms.Compose([torchvision.transforms.ToTensor(),
                                                    torchvision.transforms.Normalize((0.5,), (0.5,))])
        self.loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(PILImages(images, transform), batch_size,
                                                                    shuffle=True, drop_last=True)
        self.batches = self._forever()

    def _forever(self) -> Iterator[Tensor]:
        while True:
            for x, _ in self.loader:
                yield x

    def losses(self, x: Tensor, z: Tensor, z_again: Tensor) -> tuple[float, float]:
        """One step on a batch with the given noise for each player; returns both losses."""
        ones, zeros = torch.ones(len(x), 1, device=self.device), torch.zeros(len(x), 1, device=self.device)
        self.optimizer_d.zero_grad()
        loss_d = self.criterion(self.discriminator(x), ones) + \
            self.criterion(self.discriminator(self.generator(z).detach()), zeros)
        loss_d.backward()
        self.optimizer_d.step()
        self.optimizer_g.zero_grad()
        loss_g = self.criterion(self.discriminator(self.generator(z_again)), ones)
        loss_g.backward()
        self.optimizer_g.step()
        return loss_d.item(), loss_g.item()

    def run(self, steps: int) -> None:
        """Train for so many steps."""
        for _ in range(steps):
            x = next(self.batches).to(self.device)
            noise = (torch.randn(len(x), self.latent, device=self.device) for _ in range(2))
            self.losses(x, *noise)


def benchmark_set() -> Images:
    """Real MNIST where it is on disk, else the embedded digits."""
    on_disk = (data.root() / "mnist" / "t10k-images-idx3-ubyte.gz").exists()
    images = data.load("mnist", split="test") if on_disk else data.load("digits", split="all")
    assert isinstance(images, Images)
    return images


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, images = choose_device(arguments.device), benchmark_set()
    print(f"vanilla GAN on {images.name} ({len(images)} images), batch {arguments.batch_size}, {device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    textbook = Textbook(models.create("gan"), images, arguments.batch_size, device)
    ours = {precision: Training(models.create("gan"), images, batch_size=arguments.batch_size, device=device,
                                precision=precision) for precision in ("float32", "bf16")}
    runs: dict[str, Callable[[int], object]] = {"textbook": textbook.run}
    runs |= {p: functools.partial(training.run, progress=False) for p, training in ours.items()}
    for run in runs.values():
        run(10)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds):
        for name in (list(runs) if number % 2 == 0 else list(runs)[::-1]):
            began = time.perf_counter()
            runs[name](arguments.steps)
            if device.type == "cuda":
                torch.cuda.synchronize()
            speeds[name].append(arguments.steps * arguments.batch_size / (time.perf_counter() - began))
        print(f"round {number + 1}: " + ", ".join(f"{name} {s[-1]:,.0f} images/s" for name, s in speeds.items()))
    for precision in ours:
        ratios = sorted(a / b for a, b in zip(speeds[precision], speeds["textbook"], strict=True))
        print(f"ganlab in {precision}: median ratio {statistics.median(ratios):.2f} "
              f"(from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()

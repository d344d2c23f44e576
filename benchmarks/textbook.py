"""Training loops as a textbook has them, for the networks of our models: what `speed.py` measures against.

Each computes the losses of our model (a test holds them together), in the way that a student would write them down:
PIL images and transforms in a DataLoader, a sigmoid and BCELoss, the generator run anew for each turn, with a graph
even where none is needed, a call for real and one for fake, for translation, cycle and identity, `.item()` in every
step, float32, Adam and memory layout as they come.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ganlab.data.domains import Domains
from ganlab.data.images import to_uint8
from ganlab.models import Model

Losses = dict[str, float]
mse, l1 = nn.MSELoss(), nn.L1Loss()


class PILImages(Dataset[tuple[Tensor, ...]]):
    """A set whose `__getitem__` runs the transforms on a PIL image: (image, label), or an image of each domain."""

    def __init__(self, data: Any) -> None:
        self.sides = [self._opened(side) for side in ((data.a, data.b) if isinstance(data, Domains) else (data,))]
        labels = getattr(data, "labels", None)
        self.labels = None if labels is None else labels.tolist()
        self.paired, self.rng = getattr(data, "paired", True), random.Random(0)
        grey = len(data.shape) == 3 and data.shape[0] == 1
        self.transform = torchvision.transforms.Compose([
            torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.5,) * (1 if grey else 3),
                                                                                (0.5,) * (1 if grey else 3))])

    @staticmethod
    def _opened(side: Any) -> list[Image.Image]:
        pixels = side.fetch(torch.arange(len(side)))[0].cpu()
        pixels = (pixels if pixels.dtype == torch.uint8 else to_uint8(pixels)).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in pixels]

    def __len__(self) -> int:
        return max(map(len, self.sides))

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        first = self.transform(self.sides[0][i % len(self.sides[0])])
        if len(self.sides) == 2:
            j = i if self.paired else self.rng.randrange(len(self.sides[1]))
            return first, self.transform(self.sides[1][j])
        return first, torch.tensor(self.labels[i] if self.labels else 0)


class Loop:
    """The textbook loop of one model. `step` trains on a batch; a derived class says how.

    Args:
        model: gives the networks, the learning rate and the betas.
        data: the set that our training uses too.
        workers: processes of the DataLoader.
    """

    def __init__(self, model: Model, data: Any, batch_size: int, device: torch.device, workers: int = 0) -> None:
        # The layout that PyTorch gives all networks: channels last is one of our means, not the textbook's.
        self.model, self.device = model.to(device, memory_format=torch.contiguous_format), device
        self.generator, self.discriminator = model.players["generator"], model.players["discriminator"]
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(player.parameters(), lr=model.learning_rate, betas=model.betas)
            for player in (self.generator, self.discriminator))
        self.loader = DataLoader(PILImages(data), batch_size, shuffle=True, drop_last=True, num_workers=workers,
                                 persistent_workers=workers > 0)
        self.batches = self._forever()
        self.bce, self.sigmoid = nn.BCELoss(), nn.Sigmoid()

    def _forever(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        """Train for so many steps."""
        for _ in range(steps):
            self.step(*(part.to(self.device) for part in next(self.batches)))

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        """One step on a batch; noise is drawn where none is given. The losses by our names of the terms."""
        raise NotImplementedError

    def _noise(self, x: Tensor, noise: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return noise or tuple(torch.randn(len(x), self.model.config["latent"], device=self.device) for _ in range(2))

    def _bce(self, logits: Tensor, target: float) -> Tensor:
        return self.bce(self.sigmoid(logits), torch.full_like(logits, target))

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class GANLoop(Loop):
    """Vanilla GAN and DCGAN."""

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        z, again = self._noise(x, noise)
        loss_d = self._bce(self.discriminator(x), 1) + self._bce(self.discriminator(self.generator(z).detach()), 0)
        self._descend(self.optimizer_d, loss_d)
        loss_g = self._bce(self.discriminator(self.generator(again)), 1)
        self._descend(self.optimizer_g, loss_g)
        return {"discriminator/adversarial": loss_d.item(), "generator/adversarial": loss_g.item()}


class CGANLoop(Loop):
    """Conditional GAN, fully connected: one-hot labels beside noise and image."""

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        z, again = self._noise(x, noise)
        hot = nn.functional.one_hot(y, self.model.config["classes"]).float()

        def judged(images: Tensor) -> Tensor:
            return self.discriminator(torch.cat([images.flatten(1), hot], 1))
        fake = self.generator(torch.cat([z, hot], 1))
        loss_d = self._bce(judged(x), 1) + self._bce(judged(fake.detach()), 0)
        self._descend(self.optimizer_d, loss_d)
        loss_g = self._bce(judged(self.generator(torch.cat([again, hot], 1))), 1)
        self._descend(self.optimizer_g, loss_g)
        return {"discriminator/adversarial": loss_d.item(), "generator/adversarial": loss_g.item()}


class WGANGPLoop(Loop):
    """WGAN with gradient penalty; the generator moves in every fifth step."""

    steps = 0

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        self.steps += 1
        z, again, share = noise or (*self._noise(x, ()), torch.rand(len(x), 1, device=self.device))
        fake = self.generator(z).detach()
        critic = self.discriminator(fake).mean() - self.discriminator(x).mean()
        share = share.view(-1, *[1] * (x.ndim - 1))
        between = (share * x + (1 - share) * fake).requires_grad_()
        slope, = torch.autograd.grad(self.discriminator(between).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        self._descend(self.optimizer_d, critic + 10 * penalty)
        losses = {"discriminator/adversarial": critic.item(), "discriminator/gradient_penalty": penalty.item()}
        if self.steps % 5 == 0:
            loss_g = -self.discriminator(self.generator(again)).mean()
            self._descend(self.optimizer_g, loss_g)
            losses["generator/adversarial"] = loss_g.item()
        return losses


class Pix2PixLoop(Loop):
    """pix2pix with the cross-entropy; x is of A and y of B."""

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        fake = self.generator(x).detach()
        loss_d = (self._bce(self.discriminator(torch.cat([x, y], 1)), 1)
                  + self._bce(self.discriminator(torch.cat([x, fake], 1)), 0)) / 2
        self._descend(self.optimizer_d, loss_d)
        fake = self.generator(x)
        loss_g, distance = self._bce(self.discriminator(torch.cat([x, fake], 1)), 1), l1(fake, y)
        self._descend(self.optimizer_g, loss_g + 100 * distance)
        return {"discriminator/adversarial": loss_d.item(), "generator/adversarial": loss_g.item(),
                "generator/l1": distance.item()}


def _squares(logits: Tensor, target: float) -> Tensor:
    return mse(logits, torch.full_like(logits, target))


class PastFakes:
    """A pool of the last 50 fakes as a list, after the paper's description; asked image by image."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def __call__(self, fakes: Tensor) -> Tensor:
        given = []
        for fake in fakes.detach():
            if len(self.images) < 50:
                self.images.append(fake)
            elif random.random() < 0.5:
                place = random.randrange(50)
                fake, self.images[place] = self.images[place], fake
            given.append(fake)
        return torch.stack(given)


class CycleGANLoop(Loop):
    """CycleGAN: generators first run for their own turn, then again for the discriminators'."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pools = {"a": PastFakes(), "b": PastFakes()}

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        to_a, to_b = self.generator["to_a"], self.generator["to_b"]
        d_a, d_b = self.discriminator["a"], self.discriminator["b"]
        loss_d = torch.zeros((), device=self.device)
        for side, d, real, fake in (("a", d_a, x, to_a(y)), ("b", d_b, y, to_b(x))):
            loss_d = loss_d + (_squares(d(real), 1) + _squares(d(self.pools[side](fake)), 0)) / 2
        self._descend(self.optimizer_d, loss_d)
        fake_b, fake_a = to_b(x), to_a(y)
        adversarial = _squares(d_a(fake_a), 1) + _squares(d_b(fake_b), 1)
        cycle = l1(to_a(fake_b), x) + l1(to_b(fake_a), y)
        identity = l1(to_a(x), x) + l1(to_b(y), y)
        self._descend(self.optimizer_g, adversarial + 10 * cycle + 5 * identity)
        return {"discriminator/adversarial": loss_d.item(), "generator/adversarial": adversarial.item(),
                "generator/cycle": cycle.item(), "generator/identity": identity.item()}


class UGATITLoop(Loop):
    """U-GAT-IT, in the order of the authors' code: every network is run anew for every term."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(player.parameters(), lr=self.model.learning_rate, betas=self.model.betas,
                             weight_decay=1e-4) for player in (self.generator, self.discriminator))
        self.logits = nn.BCEWithLogitsLoss()

    def step(self, x: Tensor, y: Tensor, *noise: Tensor) -> Losses:
        to_a, to_b = self.generator["to_a"], self.generator["to_b"]
        fakes = {"a": to_a(y)[0].detach(), "b": to_b(x)[0].detach()}
        loss_d = torch.zeros((), device=self.device)
        for name, d in self.discriminator.items():
            real, fake = (x, fakes["a"]) if name.endswith("a") else (y, fakes["b"])
            for on_real, on_fake in zip(d(real)[:2], d(fake)[:2], strict=True):
                loss_d = loss_d + _squares(on_real, 1) + _squares(on_fake, 0)
        self._descend(self.optimizer_d, loss_d)
        (fake_b, cam_b, _), (fake_a, cam_a, _) = to_b(x), to_a(y)
        (same_b, own_b, _), (same_a, own_a, _) = to_b(y), to_a(x)
        adversarial = torch.zeros((), device=self.device)
        for name, d in self.discriminator.items():
            for logits in d(fake_a if name.endswith("a") else fake_b)[:2]:
                adversarial = adversarial + _squares(logits, 1)
        cycle = l1(to_a(fake_b)[0], x) + l1(to_b(fake_a)[0], y)
        identity = l1(same_a, x) + l1(same_b, y)
        cam = sum((self.logits(logits, torch.full_like(logits, float(target)))
                   for logits, target in ((cam_a, 1), (own_a, 0), (cam_b, 1), (own_b, 0))), torch.zeros(()))
        w = self.model.weights
        self._descend(self.optimizer_g, w["adversarial"] * adversarial + w["cycle"] * cycle + w["identity"] * identity
                      + w["cam"] * cam)
        with torch.no_grad():
            for gate in self.model.gates():  # type: ignore[operator]
                gate.clamp_(0, 1)
        return {"discriminator/adversarial": loss_d.item(), "generator/adversarial": adversarial.item(),
                "generator/cycle": cycle.item(), "generator/identity": identity.item(), "generator/cam": cam.item()}


LOOPS: dict[str, Callable[..., Loop]] = {
    "gan": GANLoop, "cgan": CGANLoop, "dcgan": GANLoop, "wgangp": WGANGPLoop, "pix2pix": Pix2PixLoop,
    "cyclegan": CycleGANLoop, "ugatit": UGATITLoop}
"""The textbook loops by the name of the model."""

"""Unpaired image-to-image translation with cycle consistency (Zhu et al. 2017, arXiv:1703.10593)."""

import functools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlab.errors import GanlabError
from ganlab.models.base import Model, Round, Terms, inference
from ganlab.models.dcgan import initialise
from ganlab.models.pix2pix import UNet, check_patches, check_square, patchgan


def least_squares(logits: Tensor, target: float) -> Tensor:
    """E[(D - target)^2] in float32 (arXiv:1611.04076, eq. 9 without its 1/2, as CycleGAN weighs it)."""
    return (logits.float() - target).square().mean()


class Residual(nn.Module):
    """x + f(x), f two convolutions of 3 x 3 with reflected borders and instance norm (appendix 7.2)."""

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=bias) for _ in range(2))
        self.body = nn.Sequential(first, nn.InstanceNorm2d(width), nn.ReLU(), second, nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def resnet(channels: int, width: int, blocks: int) -> nn.Sequential:
    """Halve twice, `blocks` residual blocks, double twice: N x channels x H x W to the same, in [-1, 1]
    (arXiv:1703.10593, appendix 7.2)."""

    def block(convolution: nn.Module, after: int) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *block(nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect"), width),
        *block(nn.Conv2d(width, 2 * width, 3, 2, 1), 2 * width),
        *block(nn.Conv2d(2 * width, 4 * width, 3, 2, 1), 4 * width),
        *[Residual(4 * width) for _ in range(blocks)],
        *block(nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=1), 2 * width),
        *block(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1), width),
        nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect"), nn.Tanh())


class Pool(nn.Module):
    """The last fakes: a discriminator that sees older ones too oscillates less (arXiv:1703.10593, section 4, after
    arXiv:1612.07828, section 2.3).

    Until `size` images are in it, it returns what it is given. From then on each image is, with probability 1/2,
    exchanged for one of the pool. Pool and number of images are buffers, so that a checkpoint holds them. Where several
    processes train together each has a pool of its own, and a checkpoint holds them all.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, new: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """As many images as given (N x C x H x W), without graph."""
        size = len(self.images)
        if size == 0:
            return new.detach()
        slots = torch.randint(size, (len(new),), generator=rng, device=new.device)
        keep = torch.rand(len(new), generator=rng, device=new.device) < 0.5
        out = []
        # Image by image, since one may be exchanged for another of the same batch; chosen by arithmetic on the
        # device, since asking how full the pool is would wait for it.
        for image, slot, stays in zip(new.detach().float(), slots, keep, strict=True):
            filling = self.filled < size
            slot = torch.where(filling, self.filled, slot)[None]
            # Not `images[slot]`: an index of no dimension is read by the processor.
            old = self.images.index_select(0, slot)[0]
            self.images.index_copy_(0, slot, torch.where(filling | ~stays, image, old)[None])
            out.append(torch.where(filling | stays, image, old))
            self.filled += filling
        return torch.stack(out)


class CycleGAN(Model):
    """Two generators, G from A to B and F from B to A, and a discriminator for each domain (arXiv:1703.10593, eq. 3):

        L(G, F, D_A, D_B) = L_GAN(G, D_B) + L_GAN(F, D_A) + lambda L_cyc(G, F)  [ + lambda / 2  L_identity(G, F) ]
        L_cyc = E_a[ |F(G(a)) - a|_1 ] + E_b[ |G(F(b)) - b|_1 ]                 (eq. 2), lambda = 10
        L_identity = E_b[ |G(b) - b|_1 ] + E_a[ |F(a) - a|_1 ]                  (section 5.2)

    L_GAN is least squares (section 4): G minimises E[(D_B(G(a)) - 1)^2], and D_B minimises
    1/2 E[(D_B(b) - 1)^2] + 1/2 E[D_B(G(a))^2] on fakes from a pool of past ones. The paper trains 100 epochs at a
    constant learning rate and 100 with one that falls to 0: `Training(decay=(first, last))`.

    Args:
        shape: (C, H, W) of the images of both domains; H and W multiples of 4.
        width: channels of the first layers of all networks.
        generator: "resnet", or "unet": pix2pix's with instance norm and without its noise, for which H = W = 8, 16,
            32 ...; the authors' code has both. The U-Net passes the input on to its last layer, so that it learns in
            fewer steps to keep what it need not change.
        blocks: residual blocks of a "resnet"; by default 9 from 256 pixels on, else 6.
        layers: of the PatchGANs, see `ganlab.models.pix2pix.patchgan`.
        pool: how many past fakes each discriminator's pool keeps.
    """

    weights: Mapping[str, float] = {"adversarial": 1.0, "cycle": 10.0, "identity": 5.0}
    betas = (0.5, 0.999)
    batch_size = 1
    expects = "domains"
    small = {"width": 12, "generator": "unet", "layers": 2}
    small_training = {"batch_size": 2, "learning_rate": 1e-3}

    def __init__(self, shape: Sequence[int] = (3, 256, 256), width: int = 64, generator: str = "resnet",
                 blocks: int | None = None, layers: int = 3, pool: int = 50) -> None:
        super().__init__()
        channels, height, breadth = shape
        if generator not in ("resnet", "unet"):
            raise GanlabError(f"cyclegan's generator is 'resnet' or 'unet', not {generator!r}")
        if height % 4 or breadth % 4:
            raise GanlabError(f"cyclegan needs images whose sides are multiples of 4, not {height} x {breadth}; load "
                              "the data with size=64, for example")
        if generator == "unet":
            check_square(shape, f"{self.name} with a U-Net")
        check_patches(min(height, breadth), layers, self.name)
        blocks = blocks or (9 if min(height, breadth) >= 256 else 6)
        self.discriminator = nn.ModuleDict({
            side: patchgan(channels, width, layers, nn.InstanceNorm2d) for side in ("a", "b")})
        self.generator = nn.ModuleDict({
            f"to_{side}": resnet(channels, width, blocks) if generator == "resnet" else
            UNet(channels, height, width, norm=functools.partial(nn.InstanceNorm2d, affine=True), noise=0)
            for side in ("b", "a")})
        self.pools = nn.ModuleDict({side: Pool(pool, shape) for side in ("a", "b")})
        initialise(self)

    def play(self, a: Tensor, b: Tensor) -> Round:  # type: ignore[override]
        """The batch, its translations, what each generator makes of its own domain, and fakes from the pools."""
        # Instance norm sees every image alone: a translation and an identity may share a pass.
        fake_b, same_b = self.generator["to_b"](torch.cat([a, b])).chunk(2)
        fake_a, same_a = self.generator["to_a"](torch.cat([b, a])).chunk(2)
        return Round(a=a, b=b, fake_a=fake_a, fake_b=fake_b, same_a=same_a, same_b=same_b,
                     past_a=self.pools["a"](fake_a, self.rng), past_b=self.pools["b"](fake_b, self.rng))

    def discriminator_terms(self, round: Round) -> Terms:
        """Both discriminators' half of the least-squares game, on fakes from the pools."""
        loss = torch.zeros((), device=round.a.device)
        for side, real, past in (("a", round.a, round.past_a), ("b", round.b, round.past_b)):
            on_real, on_past = self.discriminator[side](torch.cat([real, past])).chunk(2)
            loss = loss + (least_squares(on_real, 1) + least_squares(on_past, 0)) / 2
        return {"adversarial": loss}

    def generator_terms(self, round: Round) -> Terms:
        """Both generators' half of the game, eq. 2, and the identity term."""
        adversarial = least_squares(self.discriminator["a"](round.fake_a), 1) + \
            least_squares(self.discriminator["b"](round.fake_b), 1)
        cycle = F.l1_loss(self.generator["to_a"](round.fake_b).float(), round.a) + \
            F.l1_loss(self.generator["to_b"](round.fake_a).float(), round.b)
        identity = F.l1_loss(round.same_a.float(), round.a) + F.l1_loss(round.same_b.float(), round.b)
        return {"adversarial": adversarial, "cycle": cycle, "identity": identity}

    @inference
    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """G(x) for to="b", F(x) for to="a": images (N x C x H x W in [-1, 1]) in the other domain."""
        return self.generator[direction(to)](x.to(self.device))


def direction(to: str) -> str:
    """The name of the generator that leads to domain "a" or "b"."""
    if to not in ("a", "b"):
        raise GanlabError(f"there are the domains 'a' and 'b', not {to!r}")
    return f"to_{to}"

"""U-GAT-IT: attention and adaptive layer-instance normalisation (Kim et al. 2019, arXiv:1907.10830)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlab.errors import GanlabError
from ganlab.models.base import Model, Round, Terms, inference
from ganlab.models.cyclegan import Residual, direction, least_squares

EPSILON = 1e-5


class AdaLIN(nn.Module):
    """Adaptive layer-instance normalisation (arXiv:1907.10830, eq. 1):

        AdaLIN(x, gamma, beta) = gamma (rho IN(x) + (1 - rho) LN(x)) + beta

    rho, one a channel, is learned and kept in [0, 1]; it begins as 0.9. At 1 this is instance norm, at 0 layer norm.
    """

    def __init__(self, width: int, start: float = 0.9) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((width, 1, 1), start))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N x C x H x W; gamma and beta: N x C, or C for all images alike."""
        x = x.float()
        mixed = self.rho * F.instance_norm(x, eps=EPSILON) + (1 - self.rho) * F.layer_norm(x, x.shape[1:], eps=EPSILON)
        return gamma[..., None, None] * mixed + beta[..., None, None]


class LIN(AdaLIN):
    """The same with gamma and beta learned, for the layers that enlarge (section 2.1.1); rho begins as 0."""

    def __init__(self, width: int) -> None:
        super().__init__(width, start=0.0)
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, self.gamma, self.beta)


class Attention(nn.Module):
    """The class activation map (section 2.1.1): two linear classifiers tell the domains apart from the pooled maps,
    one from their averages and one from their maxima; the weights with which they do it then weigh the maps.

    Args:
        width: channels of the maps.
        wrap: applied to both classifiers (spectral norm in the discriminators).
        activation: after the 1 x 1 convolution that joins both halves.
    """

    def __init__(self, width: int, activation: nn.Module, wrap: Callable[..., Any] = lambda layer: layer) -> None:
        super().__init__()
        self.average, self.maximum = (wrap(nn.Linear(width, 1, bias=False)) for _ in range(2))
        self.join = nn.Conv2d(2 * width, width, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps N x C x h x w to (attended maps of the same shape, logits N x 2, heat map N x 1 x h x w)."""
        # Each weight is read once: reading a spectrally normalised one computes it.
        weights = self.average.weight, self.maximum.weight
        pooled = x.mean((2, 3)), x.amax((2, 3))
        logits = torch.cat([F.linear(values, w) for values, w in zip(pooled, weights, strict=True)], 1)
        x = self.activation(self.join(torch.cat([x * w.view(1, -1, 1, 1) for w in weights], 1)))
        return x, logits, x.sum(1, keepdim=True)


def convolution(before: int, after: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with reflected borders that keeps the size, or divides it by `stride`."""
    return nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2, bias=bias, padding_mode="reflect")


class AdaptiveResidual(nn.Module):
    """x + f(x), f two convolutions with AdaLIN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = convolution(width, width, 3), convolution(width, width, 3)
        self.norm1, self.norm2 = AdaLIN(width), AdaLIN(width)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.first(x), gamma, beta))
        return x + self.norm2(self.second(inner), gamma, beta)


class Generator(nn.Module):
    """Halve twice, residual blocks, attention, AdaLIN blocks, double twice (arXiv:1907.10830, table 4).

    Args:
        channels, size: of the images.
        width: channels of the first layer.
        blocks: residual blocks before the attention, and as many after it.
        light: gamma and beta come from the averages of the attended maps and not from the maps themselves.
    """

    def __init__(self, channels: int, size: int, width: int, blocks: int, light: bool) -> None:
        super().__init__()
        self.light = light
        inner = 4 * width
        self.encoder = nn.Sequential(
            convolution(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU(),
            convolution(width, 2 * width, 3, 2), nn.InstanceNorm2d(2 * width), nn.ReLU(),
            convolution(2 * width, inner, 3, 2), nn.InstanceNorm2d(inner), nn.ReLU(),
            *[Residual(inner, bias=False) for _ in range(blocks)])
        self.attention = Attention(inner, nn.ReLU())
        self.mlp = nn.Sequential(
            nn.Linear(inner if light else inner * (size // 4) ** 2, inner, bias=False), nn.ReLU(),
            nn.Linear(inner, inner, bias=False), nn.ReLU())
        self.gamma, self.beta = (nn.Linear(inner, inner, bias=False) for _ in range(2))
        self.blocks = nn.ModuleList([AdaptiveResidual(inner) for _ in range(blocks)])
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2), convolution(inner, 2 * width, 3), LIN(2 * width), nn.ReLU(),
            nn.Upsample(scale_factor=2), convolution(2 * width, width, 3), LIN(width), nn.ReLU(),
            convolution(width, channels, 7), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(images N x C x H x W in [-1, 1], logits of the attention N x 2, heat maps N x 1 x H/4 x W/4)."""
        x, logits, heat = self.attention(self.encoder(x))
        style = self.mlp(x.mean((2, 3)) if self.light else x.flatten(1))
        gamma, beta = self.gamma(style), self.beta(style)
        for block in self.blocks:
            x = block(x, gamma, beta)
        return self.decoder(x), logits, heat


class Discriminator(nn.Module):
    """Spectrally normalised convolutions with attention (arXiv:1907.10830, table 5 and 6; arXiv:1802.05957).

    Args:
        channels: of the images.
        width: channels of the first layer; they double with each.
        layers: 7 for the global, 5 for the local discriminator; two fewer halve the image.
    """

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for i in range(layers - 1):
            before, after = (width << (i - 1) if i else channels), width << i
            stride = 2 if i < layers - 2 else 1
            body += [nn.ReflectionPad2d(1), spectral_norm(nn.Conv2d(before, after, 4, stride)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*body)
        self.attention = Attention(width << (layers - 2), nn.LeakyReLU(0.2), spectral_norm)
        self.head = nn.Sequential(nn.ReflectionPad2d(1),
                                  spectral_norm(nn.Conv2d(width << (layers - 2), 1, 4, bias=False)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(logits of patches N x 1 x h x w, logits of the attention N x 2, heat maps N x 1 x h' x w')."""
        x, logits, heat = self.attention(self.body(x))
        return self.head(x), logits, heat


class UGATIT(Model):
    """CycleGAN's game with attention in generators and discriminators (arXiv:1907.10830, eq. 2 to 6):

        min_G max_D  w_adversarial L_gan + w_cycle L_cycle + w_identity L_identity + w_cam L_cam

    with the weights 1, 10, 10, 1000. L_gan is least squares, real 1 and fake 0, on the output and on the attention's
    logits of two discriminators a domain: one sees the whole image, one patches. L_cam is the binary cross-entropy of
    the generators' attention, which tells what it has to translate (1) from what is in its domain already (0); it is
    often printed with the discriminator's form instead. L_cycle and L_identity are those of CycleGAN.

    The paper halves nothing, decays weights by 1e-4, and lets the learning rate fall over the second half of
    1,000,000 steps: `Training(decay=(500_000, 1_000_000))`.

    Args:
        shape: (C, H, W) of the images of both domains, H = W, a multiple of 4 and at least 16.
        width: channels of the first layers of all networks.
        blocks: residual blocks of a generator before and after its attention.
        light: the authors' small form, see `Generator`.
    """

    weights: Mapping[str, float] = {"adversarial": 1.0, "cycle": 10.0, "identity": 10.0, "cam": 1000.0}
    learning_rate = 1e-4
    betas = (0.5, 0.999)
    batch_size = 1
    expects = "domains"
    # In a thousand steps instead of a million, 1000 would drown the other terms, and generators that follow
    # discriminators which have learned as little as that draw noise.
    small = {"width": 16, "blocks": 1, "light": True, "weights": {"adversarial": 0.1, "cam": 1.0}}
    small_training = {"batch_size": 4, "learning_rate": 1e-3}

    def __init__(self, shape: Sequence[int] = (3, 256, 256), width: int = 64, blocks: int = 4,
                 light: bool = False) -> None:
        super().__init__()
        channels, size, breadth = shape
        if size != breadth or size % 4 or size < 16:
            raise GanlabError(f"ugatit translates squares whose side is a multiple of 4 and at least 16, not {size} x "
                              f"{breadth}; load the data with size=64, for example")
        # Small images leave nothing for all seven and five layers to look at.
        depth = min(7, size.bit_length() - 1)
        self.discriminator = nn.ModuleDict({
            f"{reach}_{side}": Discriminator(channels, width, layers)
            for side in ("a", "b") for reach, layers in (("global", depth), ("local", max(3, depth - 2)))})
        self.generator = nn.ModuleDict({
            f"to_{side}": Generator(channels, size, width, blocks, light) for side in ("b", "a")})

    def optimizer(self, player: str, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """Adam with a weight decay of 1e-4 (appendix C)."""
        return torch.optim.Adam(parameters, lr=learning_rate, betas=self.betas, weight_decay=1e-4,
                                fused=self.device.type in ("cpu", "cuda"))

    def moved(self, player: str) -> None:
        """Bring every rho back into [0, 1] (section 2.1.1)."""
        if player == "generator":
            for rho in self.gates():
                rho.clamp_(0, 1)

    def gates(self) -> list[nn.Parameter]:
        """Every rho of both generators: of A to B first, in the order of the layers."""
        return [m.rho for m in self.generator.modules() if isinstance(m, AdaLIN)]

    def play(self, a: Tensor, b: Tensor) -> Round:  # type: ignore[override]
        """The batch, its translations, what each generator makes of its own domain, and the attention's logits."""
        # No layer mixes images: a translation and an identity share a pass.
        to_b, cam_b, _ = self.generator["to_b"](torch.cat([a, b]))
        to_a, cam_a, _ = self.generator["to_a"](torch.cat([b, a]))
        (fake_b, same_b), (fake_a, same_a) = to_b.chunk(2), to_a.chunk(2)
        return Round(a=a, b=b, fake_a=fake_a, fake_b=fake_b, same_a=same_a, same_b=same_b, cam_a=cam_a, cam_b=cam_b)

    def discriminator_terms(self, round: Round) -> Terms:
        """Least squares on output and attention of all four discriminators: real 1, fake 0."""
        loss = torch.zeros((), device=round.a.device)
        for name, network in self.discriminator.items():
            real, fake = (round.a, round.fake_a) if name.endswith("a") else (round.b, round.fake_b)
            for logits in network(torch.cat([real, fake.detach()]))[:2]:
                on_real, on_fake = logits.chunk(2)
                loss = loss + least_squares(on_real, 1) + least_squares(on_fake, 0)
        return {"adversarial": loss}

    def generator_terms(self, round: Round) -> Terms:
        """Eq. 2 to 5 from the generators' side."""
        adversarial = torch.zeros((), device=round.a.device)
        for name, network in self.discriminator.items():
            for logits in network(round.fake_a if name.endswith("a") else round.fake_b)[:2]:
                adversarial = adversarial + least_squares(logits, 1)
        cycle = F.l1_loss(self.generator["to_a"](round.fake_b)[0].float(), round.a) + \
            F.l1_loss(self.generator["to_b"](round.fake_a)[0].float(), round.b)
        identity = F.l1_loss(round.same_a.float(), round.a) + F.l1_loss(round.same_b.float(), round.b)
        cam = torch.zeros((), device=round.a.device)
        for logits in (round.cam_a, round.cam_b):
            translated, same = logits.float().chunk(2)
            cam = cam + F.softplus(-translated).mean() + F.softplus(same).mean()
        return {"adversarial": adversarial, "cycle": cycle, "identity": identity, "cam": cam}

    @inference
    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images (N x C x H x W in [-1, 1]) in the other domain, "b" or "a"."""
        return self.generator[direction(to)](x.to(self.device))[0]

    @inference
    def attention(self, x: Tensor, to: str = "b") -> Tensor:
        """Where the generator to that domain looks in images (N x C x H x W): N x 1 x H x W, each from 0 to 1."""
        heat = self.generator[direction(to)](x.to(self.device))[2].float()
        low, high = heat.amin((2, 3), keepdim=True), heat.amax((2, 3), keepdim=True)
        return F.interpolate((heat - low) / (high - low).clamp_min(1e-12), size=x.shape[2:], mode="bilinear")

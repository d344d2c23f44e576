"""The distance between images in the features of a classifier (Johnson et al. 2016, arXiv:1603.08155)."""

import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlab.errors import GanlabError

# Mean and standard deviation of ImageNet's colours in [0, 1], by which the classifier's inputs were scaled.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def perceptual_loss(a: Tensor, b: Tensor) -> Tensor:
    """|phi(a) - phi(b)|^2 / (C H W), averaged over the batch, for VGG-16's features phi at relu3_3
    (arXiv:1603.08155, eq. 2). Images: N x C x H x W in [-1, 1], C = 1 or 3, at least 16 pixels a side.

    Raises:
        GanlabError: VGG-16's weights are not on disk; says where they belong.
    """
    network = vgg16(a.device)
    with torch.autocast(a.device.type, enabled=False):
        return (network(_scaled(a)) - network(_scaled(b))).square().mean()


def _scaled(images: Tensor) -> Tensor:
    # Colour by colour with plain numbers: a tensor made of them here would wait for the device in every step.
    colours = images.float().add(1).div(2).expand(-1, 3, -1, -1).split(1, 1)
    return torch.cat([(c - mean) / spread for c, mean, spread in zip(colours, MEAN, SPREAD, strict=True)], 1)


@functools.cache
def vgg16(device: torch.device) -> nn.Module:
    """VGG-16 up to relu3_3, frozen, with torchvision's ImageNet weights, which are never downloaded unasked."""
    from torchvision.models import VGG16_Weights
    from torchvision.models import vgg16 as build

    weights = VGG16_Weights.IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        raise GanlabError(f"the perceptual loss needs VGG-16's weights, and {path} is not there. Download "
                          f"{weights.url} (528 MB) to that place, or leave perceptual=False")
    network = build()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.features[:16].eval().requires_grad_(False).to(device)

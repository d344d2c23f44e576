"""What a trained model reaches, measured by what its data set knows."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from ganlab import data
from ganlab.data import toys
from ganlab.data.domains import Domains
from ganlab.data.images import Images, to_float
from ganlab.errors import DataError
from ganlab.metrics import Judge, judge_samples, mode_coverage
from ganlab.seeds import seeded
from ganlab.training import Training


def measure(training: Training, most: int = 500) -> dict[str, float]:
    """Numbers by name, on images held out for testing where there are some; none where the set knows nothing.

    - A translation, for each direction: the share that a judge of the two domains takes for the one it should be in;
      how far a pixel is from the true partner's, where that is known; how far from where it came from after the way
      there and back (means over pixels in [-1, 1]).
    - An autoencoder: the mean squared error of a pixel, in [0, 1].
    - A generator of points around known modes: `ganlab.metrics.mode_coverage`.
    - A generator of images that have labels: `ganlab.metrics.judge_samples`, and the share that is as asked.

    Args:
        most: images to measure on.
    """
    model: Any = training.model
    train, test, device = training.data, training.data, training.device
    with contextlib.suppress(DataError):  # not every set can be made again, or has images to test on
        test = data.rebuild({key: value for key, value in train.spec.items() if key != "augment"}, split="test")
    # Some models draw noise as they translate.
    with model.lock, seeded(0, device):
        if isinstance(train, Domains) and isinstance(test, Domains):
            return _translation(model, train, test, most)
        x = _some(test, most).floats()
        if "autoencoder" in model.players:
            return {"squared error": ((model.reconstruct(x).cpu() - x) / 2).square().mean().item()}
        with contextlib.suppress(DataError):
            found, good = mode_coverage(model.sample(5000, seed=0), *toys.modes(train.name))
            return {"modes": float(found), "good samples": good}
        known = _some(train, 10_000)
        if known.labels is None or x.ndim != 4:
            return {}
        judge = Judge.trained_on(known, steps=300, device=device)
        asked = torch.arange(len(x)) % (int(known.labels.max()) + 1)
        samples = model.sample(len(x), seed=0, **({"labels": asked} if model.expects == "labels" else {})).cpu()
        report = judge_samples(judge, samples, x)
        right = {"as asked": (judge.read(samples)[0] == asked).float().mean().item()}
        return {"classes": float((report.shares > 0).sum()), "largest class": report.shares.max().item(),
                "confidence": report.confidence, "Fréchet": report.frechet,
                **(right if model.expects == "labels" else {})}


def _translation(model: Any, train: Domains, test: Domains, most: int) -> dict[str, float]:
    def translate(x: Tensor, to: str) -> Tensor:
        return torch.cat([model.translate(part, to).cpu() for part in x.split(20)])

    both = [_some(side, 2000).images for side in (train.a, train.b)]
    sides = torch.arange(2).repeat_interleave(torch.tensor([len(images) for images in both]))
    judge = Judge.trained_on(Images(torch.cat(both), sides), steps=100, device=model.device)
    values = {}
    for to, start, end in (("b", test.a, test.b), ("a", test.b, test.a))[:2 if model.expects == "domains" else 1]:
        x = _some(start, most).floats()
        y = translate(x, to)
        values[f"passes as {to}"] = (judge.read(y)[0] == "ab".index(to)).float().mean().item()
        partner = _some(end, most).images if test.paired else getattr(start, "truth", {}).get("partner")
        if partner is not None:
            values[f"error to the partner in {to}"] = (y - to_float(partner[:most]).cpu()).abs().mean().item()
        if model.expects == "domains":
            values[f"error of the way back from {to}"] = (translate(y, "ba"["ab".index(to)]) - x).abs().mean().item()
    return values


def _some(images: Any, most: int) -> Images:
    """The first images of a set on the CPU, in memory or read from their files."""
    pixels, labels = images.fetch(torch.arange(min(most, len(images))))
    return Images(pixels.cpu(), None if labels is None else labels.cpu())

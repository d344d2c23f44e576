"""Generated sets against the distributions they are drawn from."""

import math

import pytest
import torch

from ganlab.data import toys
from ganlab.data.images import Images, digits
from ganlab.errors import DataError
from ganlab.metrics import mode_coverage


@pytest.mark.parametrize("name", toys.TOYS)
def test_points_are_float32_of_unit_spread_and_always_the_same(name):
    train, test, everything = (toys.TOYS[name](split) for split in ("train", "test", "all"))
    assert train.images.shape == (10_000, 2) and test.images.shape == (2_500, 2) and train.images.dtype == torch.float32
    assert train.images.mean(0).abs().max() < 0.05 and (train.images.std(0) - 1).abs().max() < 0.05
    assert torch.equal(train.images, toys.TOYS[name]("train").images)
    assert torch.equal(everything.images, torch.cat([train.images, test.images]))
    assert not torch.isin(test.images, train.images).all(1).any(), "no point of the test is trained on"
    assert train.spec == {"name": name, "split": "train"} and train.name == name


@pytest.mark.parametrize(("name", "count", "nearest", "deviation"), [
    # Published: radius 2 and 0.02; steps of 2 and 0.05; all divided by the spread of a coordinate.
    ("ring", 8, 2 * 2 * math.sin(math.pi / 8) / 2 ** 0.5, 0.02 / 2 ** 0.5),
    ("grid25", 25, 2 / 8 ** 0.5, 0.05 / 8 ** 0.5)])
def test_mixtures_have_the_published_modes(name, count, nearest, deviation):
    data = toys.TOYS[name]("train")
    centres, radius = toys.modes(name)
    assert centres.shape == (count, 2) and len(data.classes) == count and radius == pytest.approx(3 * deviation)
    assert torch.pdist(centres).min().item() == pytest.approx(nearest, rel=1e-5)
    assert torch.bincount(data.labels).tolist() == [10_000 // count] * count
    offset = data.images - centres[data.labels]
    # Five standard errors of a standard deviation and of a mean.
    assert (offset.std(0) / deviation - 1).abs().max() < 5 / 20_000 ** 0.5
    assert offset.mean(0).abs().max() < 5 * deviation / 100
    found, good = mode_coverage(data.images, centres, radius)
    # The chance to lie within three standard deviations in the plane: 1 - exp(-9 / 2).
    assert found == count and good == pytest.approx(1 - math.exp(-4.5), abs=0.005)


def test_moons_and_spiral_follow_their_curves():
    moons = toys.moons()
    x, y = (moons.images / torch.tensor([1.15, 2.0])).T
    upper = moons.labels == 0
    radius = torch.where(upper, (x + 0.5).hypot(y + 0.25), (x - 0.5).hypot(y - 0.25))
    assert (radius - 1).abs().max() < 0.05 * 5 and (radius - 1).std() == pytest.approx(0.05, rel=0.05)
    spiral = toys.spiral()
    radius, angle = spiral.images.norm(dim=1), torch.atan2(*spiral.images.flip(1).T)
    # r = 2 t, angle = 3 pi t: an arm turns by 3 pi / 2 while the radius grows by 1, the other lies opposite.
    off = (angle + math.pi * spiral.labels - 1.5 * math.pi * radius + math.pi).remainder(2 * math.pi) - math.pi
    across = off[radius > 0.5] / (1.5 * math.pi)
    assert across.abs().max() < 6 * 0.03 and across.std() == pytest.approx(0.03, rel=0.1)


def test_stacked_digits_are_three_digits_and_their_label():
    stacked, source = toys.stacked_digits("test"), digits("test")
    assert stacked.images.shape == (2_500, 3, 28, 28) and stacked.images.dtype == torch.uint8
    assert stacked.classes[0] == "000" and stacked.classes[407] == "407" and len(stacked.classes) == 1000
    known = {image.numpy().tobytes(): int(label) for image, label in zip(source.images, source.labels, strict=True)}
    for image, label in zip(stacked.images[:200], stacked.labels[:200], strict=True):
        a, b, c = (known[channel.numpy().tobytes()] for channel in image)
        assert int(label) == 100 * a + 10 * b + c
    assert len(toys.stacked_digits("train").labels.unique()) == 1000
    everything = toys.stacked_digits("all")
    assert torch.equal(everything.images[-2_500:], stacked.images), "the test part keeps to the digits of the test"


def test_stacked_digits_of_another_base():
    ten = torch.arange(10)
    base = Images(ten.to(torch.uint8).view(10, 1, 1, 1).expand(10, 1, 4, 4), ten, name="ten")
    stacked = toys.stacked_digits("train", base)
    values = stacked.images[:, :, 0, 0].long()
    assert torch.equal(stacked.labels, values @ torch.tensor([100, 10, 1]))
    assert stacked.name == "stacked_ten" and stacked.spec == {}
    # Each of the thousand is as likely: chi-square with 999 degrees of freedom, within five deviations.
    counts = torch.bincount(stacked.labels, minlength=1000)
    assert abs(((counts - 10.0) ** 2 / 10).sum() - 999) < 5 * (2 * 999) ** 0.5


def test_clear_errors():
    with pytest.raises(DataError, match="grid25 has the splits 'train', 'test' and 'all', not 'valid'"):
        toys.grid25("valid")
    with pytest.raises(DataError, match="'moons' has no modes; the mixtures are 'ring', 'grid25'"):
        toys.modes("moons")
    with pytest.raises(DataError, match="grid25 cannot be stacked; give grey images"):
        toys.stacked_digits("train", toys.grid25())

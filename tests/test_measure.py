"""What is measured of a trained model, on models whose answer is known."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from ganlab import data
from ganlab.data import toys
from ganlab.data.images import Images, to_float
from ganlab.measure import measure

CPU = torch.device("cpu")


def trained(data, expects="images", players=("discriminator", "generator"), **methods):
    model = SimpleNamespace(expects=expects, players=players, device=CPU, lock=contextlib.nullcontext(), **methods)
    return SimpleNamespace(model=model, data=data, device=CPU)


@pytest.fixture(scope="module")
def fruit():
    return data.load("fruit", size=32), data.load("fruit", size=32, split="test")


def test_translations_that_do_nothing_pass_for_nothing(fruit):
    train, test = fruit
    found = measure(trained(train, "domains", translate=lambda x, to: x))
    assert found["passes as b"] < 0.1 and found["passes as a"] < 0.1
    assert found["error of the way back from b"] == found["error of the way back from a"] == 0
    for to, side in (("b", test.a), ("a", test.b)):
        error = (side.floats() - to_float(side.truth["partner"])).abs().mean().item()
        assert found[f"error to the partner in {to}"] == pytest.approx(error, rel=1e-5) and error > 0.01


def test_the_true_partners_are_without_error(fruit):
    train, test = fruit
    known = {tuple(x.flatten()[::97].tolist()): partner for side in (test.a, test.b)
             for x, partner in zip(side.floats(), to_float(side.truth["partner"]), strict=True)}

    def translate(x, to):
        return torch.stack([known.get(tuple(image.flatten()[::97].tolist()), image) for image in x])
    found = measure(trained(train, "domains", translate=translate))
    assert found["passes as b"] > 0.9 and found["passes as a"] > 0.9
    assert found["error to the partner in b"] == found["error to the partner in a"] == 0


def test_pairs_are_each_others_partners():
    a, b = (Images(torch.full((6, 3, 16, 16), value, dtype=torch.uint8)) for value in (0, 255))
    found = measure(trained(data.Domains(a, b, paired=True), "pairs", translate=lambda x, to: x + 1.5))
    assert found == {"passes as b": 1.0, "error to the partner in b": pytest.approx(0.5)}


def test_modes_are_counted():
    centres, _ = toys.modes("grid25")
    found = measure(trained(data.load("grid25"), sample=lambda n, seed: centres[torch.arange(n) % 5]))
    assert found == {"modes": 5.0, "good samples": 1.0}


def test_reconstructions_are_compared():
    images = Images(torch.full((6, 1, 8, 8), 255, dtype=torch.uint8))
    found = measure(trained(images, players=("autoencoder",), reconstruct=lambda x: x - 1))
    assert found == {"squared error": pytest.approx(0.25)}


def test_samples_are_judged_and_asked_for():
    """Dark and bright images: what is drawn is always bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    dark = torch.randint(100, (64, 1, 8, 8), generator=generator)
    images = Images((dark + 150 * labels[:, None, None, None]).byte(), labels)

    def sample(n, seed, labels=None):
        return torch.full((n, 1, 8, 8), 0.6)
    found = measure(trained(images, "labels", sample=sample))
    assert found["classes"] == 1 and found["largest class"] == 1 and found["as asked"] == 0.5
    assert "as asked" not in measure(trained(images, sample=sample))


def test_of_images_without_labels_nothing_is_known():
    images = Images(torch.zeros(6, 1, 8, 8, dtype=torch.uint8))
    assert measure(trained(images, sample=lambda n, seed: None)) == {}

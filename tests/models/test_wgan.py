"""The critics of WGAN and WGAN-GP against known distances and the papers' settings."""

import itertools

import pytest
import torch
from torch import nn

from ganlab import models
from ganlab.data.toys import grid25
from ganlab.errors import GanlabError
from ganlab.training import Training


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def between_gaussians(model, distance: float, steps: int, **settings) -> Training:
    """Train the critic alone: data N(0, I), fakes the same moved by `distance`."""
    model.generator = nn.Linear(2, 2)
    with torch.no_grad():
        model.generator.weight.copy_(torch.eye(2))
        model.generator.bias.copy_(torch.tensor([0.6, 0.8]) * distance)
    data = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    training = Training(model, data, batch_size=256, device="cpu", schedule=f"discriminator_steps({steps + 1})",
                        **settings)
    return training.run(steps, progress=False)


@pytest.mark.parametrize("name", ["wgan", "wgangp"])
def test_parameter_counts(name):
    dense = models.create(name)
    assert count(dense.generator) == 1_486_352 and count(dense.discriminator) == 1_460_225
    convolutional = models.create(name, shape=(3, 64, 64), width=64)
    assert count(convolutional.generator) == 3_576_707
    # Five convolutions of 4 x 4; with batch norm as published, without it each has biases.
    channels = [3, 64, 128, 256, 512, 1]
    plain = sum(16 * a * b + b for a, b in itertools.pairwise(channels))
    assert count(convolutional.discriminator) == {"wgan": 2_765_568, "wgangp": plain}[name]


def test_the_papers_settings():
    wgan, gp = models.create("wgan", shape=(2,)), models.create("wgangp", shape=(2,))
    data = grid25("test")
    a, b = (Training(model, data, device="cpu") for model in (wgan, gp))
    assert str(a.schedule) == str(b.schedule) == "discriminator_steps(5)"
    assert all(type(o) is torch.optim.RMSprop and o.defaults["lr"] == 5e-5 for o in a.optimizers.values())
    assert all(type(o) is torch.optim.Adam and o.defaults["lr"] == 1e-4 and o.defaults["betas"] == (0.0, 0.9)
               for o in b.optimizers.values())
    assert dict(b.weights) == {"adversarial": 1.0, "gradient_penalty": 10.0} and wgan.config["clip"] == 0.01
    assert "clip" not in gp.config


def test_critic_with_a_penalty_sees_each_image_for_itself():
    model = models.create("wgangp", shape=(1, 28, 28), width=4, latent=5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.discriminator.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.generator.modules())


@pytest.mark.parametrize("width", [None, 4])
def test_clipping_keeps_the_critics_weights_in_their_range(width, digits):
    model = models.create("wgan", shape=(1, 28, 28), hidden=(32,), width=width, latent=5, clip=0.02)
    training = Training(model, digits, batch_size=32, device="cpu", learning_rate=0.01)
    for _ in range(5):
        training.run(1, progress=False)
        largest = max(p.abs().max().item() for p in model.discriminator.parameters())
        assert largest == pytest.approx(0.02, rel=1e-6), "steps of 0.01 and more reach the bound"
    assert max(p.abs().max() for p in model.generator.parameters()) > 0.02


def test_gradient_penalty_clips_nothing(digits):
    model = models.create("wgangp", shape=(1, 28, 28), hidden=(32,), latent=5)
    Training(model, digits, batch_size=32, device="cpu").run(1, progress=False)
    assert max(p.abs().max() for p in model.discriminator.parameters()) > 0.02


def test_watched_distance_is_what_the_critic_maximises(digits):
    model = models.create("wgangp", shape=(1, 28, 28), hidden=(32,), latent=5)
    training = Training(model, digits, batch_size=32, device="cpu", log_every=1).run(6, progress=False)
    gap, loss = training.history["wasserstein"], training.history["discriminator/adversarial"]
    assert gap == pytest.approx([-value for value in loss], abs=1e-6) and any(gap)
    assert sum(value == value for value in training.history["generator/adversarial"]) == 1, "one turn in five"


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_critic_with_a_penalty_measures_the_distance_of_two_gaussians(distance):
    model = models.create("wgangp", shape=(2,), latent=2, hidden=(64, 64))
    training = between_gaussians(model, distance, 400, learning_rate=2e-3)
    # Moving a distribution by d costs d. The penalty lets the slope exceed 1 until d = 2 lambda (slope - 1), so that
    # the best linear critic, which is the best one here, shows d (1 + d / 2 lambda).
    found = sum(training.history["wasserstein"][-10:]) / 10
    assert found == pytest.approx(distance * (1 + distance / 20), rel=0.05)


def test_clipped_critic_shows_an_unknown_multiple_of_the_distance():
    gaps = [between_gaussians(models.create("wgan", shape=(2,), latent=2, hidden=(64, 64)), distance, 100,
                              learning_rate=1e-3).history["wasserstein"][-1] for distance in (2.0, 4.0)]
    assert 0 < gaps[0] < 0.2 and gaps[1] / gaps[0] == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("config", [{"hidden": (32,)}, {"width": 4}])
def test_slope_of_the_slope_works_in_half_precision(config, digits):
    model = models.create("wgangp", shape=(1, 28, 28), latent=5, **config)
    training = Training(model, digits, batch_size=16, device="cpu", precision="bf16", log_every=1)
    training.run(6, progress=False)
    penalties = training.history["discriminator/gradient_penalty"]
    assert all(0 <= value < 2 for value in penalties) and len(set(penalties)) == 6


def test_only_images_are_convolved():
    with pytest.raises(GanlabError, match=r"only images can be convolved, and shape is \(2,\); leave width out"):
        models.create("wgan", shape=(2,), width=8)

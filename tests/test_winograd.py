"""Convolutions with fewer multiplications: PyTorch's results to rounding, where they are used and where not."""

import copy
from unittest import mock

import pytest
import torch
from torch import nn

from ganlab import models, winograd
from ganlab.data import load
from ganlab.training import Training
from ganlab.winograd import quick

CASES = {"reflected": ({"padding": 1, "padding_mode": "reflect"}, (1, 8, 12), False, False),
         "zeros": ({"padding": 1}, (3, 16, 4), False, False),
         "none": ({"padding": 0, "bias": False}, (2, 10, 14), False, False),
         "around": ({"padding": (1, 3), "padding_mode": "circular"}, (1, 8, 4), False, False),
         "channels last": ({"padding": (2, 1)}, (2, 6, 8), True, True),
         "images' channels last": ({"padding": 1}, (2, 8, 8), True, False),
         "filters' channels last": ({"padding": 1}, (2, 8, 8), False, True)}


@pytest.fixture
def everywhere():
    """Every layer is large enough."""
    with mock.patch.multiple(winograd, CHANNELS=1, TILES=1):
        yield


@pytest.fixture
def used():
    """How often it was computed like this."""
    with mock.patch.object(winograd.Convolution, "apply", wraps=winograd.Convolution.apply) as apply:
        yield apply


def results(layer, x, direction):
    """The output and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), direction.to(y.dtype))]


@pytest.mark.parametrize("case", CASES)
def test_is_the_convolution_that_pytorch_computes(case, everywhere, used):
    how, (n, height, width), images_last, filters_last = CASES[case]
    torch.manual_seed(0)
    layer, x = nn.Conv2d(48, 32, 3, **how), torch.randn(n, 48, height, width)
    if filters_last:
        layer = layer.to(memory_format=torch.channels_last)
    if images_last:
        x = x.contiguous(memory_format=torch.channels_last)
    direction = torch.randn_like(layer(x))
    with quick([layer]):
        ours = results(layer, x, direction)
    assert used.call_count == 1
    exact = results(copy.deepcopy(layer).double(), x.double(), direction)
    for mine, true in zip(ours, exact, strict=True):
        assert mine.shape == true.shape
        assert (mine - true).norm() <= 1e-5 * true.norm()
    assert ours[0].stride() == layer(x).stride()


def test_its_matrices_are_the_papers():
    """For one row (section 4.3 of arXiv:1509.09308), whose products with themselves they are."""
    b = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
         [0, 4, 0, -5, 0, 1]]
    g = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
         [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
    a = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    b, g, a = (torch.kron(m, m) for m in map(torch.tensor, (b, g, a)))
    # A row of B^T may change its sign together with that of G.
    signs = (winograd.G * g).sum(1).sign()[:, None]
    assert torch.allclose(winograd.B * signs, b.float(), atol=1e-6)
    assert torch.allclose(winograd.G * signs, g, atol=1e-6)
    assert torch.allclose(winograd.A, a.float(), atol=1e-6)


@pytest.mark.parametrize("x", [torch.randn(2, 8, 9, 8), torch.randn(2, 8, 8, 9), torch.randn(8, 8, 8),
                               torch.randn(2, 8, 8, 8, dtype=torch.float64)], ids=["high", "wide", "one", "float64"])
def test_images_that_do_not_fit_are_computed_as_ever(x, everywhere, used):
    layer = nn.Conv2d(8, 8, 3, padding=1, dtype=x.dtype)
    with quick([layer]):
        y = layer(x)
    assert torch.equal(y, layer(x)) and not used.called


class Equalised(nn.Conv2d):
    def forward(self, x):
        return super().forward(2 * x)


class Standardised(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


def test_chooses_layers_of_three_by_three_that_compute_nothing_of_their_own():
    n = winograd.CHANNELS
    good = nn.Conv2d(n, n, 3)
    others = [nn.Conv2d(n, n, 3, stride=2), nn.Conv2d(n, n, 3, dilation=2), nn.Conv2d(n, n, 3, groups=2),
              nn.Conv2d(n, n, 5), nn.Conv2d(n, n, 3, padding="same"), nn.Conv2d(n - 1, n, 3), nn.Conv2d(n, n - 1, 3),
              nn.ConvTranspose2d(n, n, 3), Equalised(n, n, 3), Standardised(n, n, 3)]
    others.append(nn.Conv2d(n, n, 3))
    others[-1].forward = lambda x: x
    assert winograd.layers(nn.Sequential(*others, good)) == [good]
    assert winograd.layers(nn.utils.parametrizations.spectral_norm(nn.Conv2d(n, n, 3)))


@pytest.mark.parametrize("name, config, count", [
    ("cyclegan", {"shape": (3, 256, 256)}, 2 * 9 * 2), ("cyclegan", {"shape": (3, 128, 128)}, 2 * 6 * 2),
    ("dcgan", {}, 0), ("pix2pix", {}, 0)])
def test_of_the_models_those_of_residual_blocks(name, config, count):
    with torch.device("meta"):
        model = models.create(name, **config)
    assert len(winograd.layers(model)) == count


def test_only_many_tiles_are_worth_it_and_no_bfloat16(used):
    layer = nn.Conv2d(winograd.CHANNELS, winograd.CHANNELS, 3, padding=1)
    many = torch.randn(1, winograd.CHANNELS, 32, 32)
    with quick([layer]):
        layer(many[:, :, :28])
        with torch.autocast("cpu", torch.bfloat16):
            layer(many)
        assert not used.called
        layer(many)
    assert used.call_count == 1


def test_the_gradient_is_as_exact_where_it_is_taken_in_autocast(everywhere):
    layer, x = nn.Conv2d(8, 8, 3, padding=1), torch.randn(1, 8, 8, 8)
    with quick([layer]):
        y = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        grad, = torch.autograd.grad(y.square().sum(), layer.weight)
    true, = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert (grad - true).norm() <= 1e-5 * true.norm()


def test_the_gradient_of_a_gradient_is_pytorchs(everywhere, used):
    layer, x = nn.Conv2d(4, 4, 3, padding=1), torch.randn(1, 4, 4, 4, requires_grad=True)

    def penalty():
        slope, = torch.autograd.grad(layer(x).tanh().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, *layer.parameters()))
    with quick([layer]):
        ours = penalty()
    assert used.called
    for mine, true in zip(ours, penalty(), strict=True):
        assert true.norm() > 0 and (mine - true).norm() <= 1e-4 * true.norm()


@pytest.mark.parametrize("channels_last", [False, True])
def test_its_result_may_be_changed_in_place(channels_last, everywhere):
    layer, x = nn.Conv2d(8, 8, 3, padding=1), torch.randn(1, 8, 8, 8)
    if channels_last:
        layer, x = layer.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    with quick([layer]):
        y = nn.functional.relu(layer(x), inplace=True)
        y.sum().backward()
    assert torch.allclose(y, layer(x).relu(), atol=1e-5)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_leaves_small_settings_alone(name):
    assert not winograd.layers(models.create(name, **models.MODELS[name].small))


@pytest.fixture(scope="module")
def pictures():
    return load("fruit", size=64)


def training(pictures, **how):
    model = models.create("cyclegan", shape=pictures.shape, width=32, blocks=1)
    return Training(model, pictures, batch_size=4, device="cpu", log_every=1, **how)


def test_a_training_reads_the_same_losses_and_makes_the_same_step(pictures, used):
    start = torch.cat([p.detach().flatten() for p in training(pictures).model.generator.parameters()])
    with mock.patch.object(winograd, "layers", lambda model: []):
        plain = training(pictures).run(1, progress=False)
    assert not used.called
    quick = training(pictures).run(1, progress=False)
    assert used.call_count == 8  # two layers, to and fro, in each of two generators
    for name, value in plain.history.rows[0].items():
        if "/" in name and name != "images/s":
            assert quick.history.rows[0][name] == pytest.approx(value, rel=1e-5), name
    # Adam's first step is a sign of the gradient: what is of the size of rounding may go the other way.
    moved = [torch.cat([p.detach().flatten() for p in t.model.generator.parameters()]) for t in (plain, quick)]
    assert (torch.sign(moved[0] - start) == torch.sign(moved[1] - start)).float().mean() > 0.98


def test_outside_of_a_step_the_model_is_as_pytorch_has_it(pictures, used):
    model = training(pictures).run(1, progress=False).model
    assert not any("forward" in vars(layer) for layer in model.modules())
    used.reset_mock()
    model.translate(torch.zeros(4, *pictures.shape))
    assert not used.called


def test_networks_run_again_for_the_gradient_run_alike(pictures, used):
    plain, again = training(pictures).run(2, progress=False), training(pictures, recompute=True).run(2, progress=False)
    assert used.called
    for mine, expected in zip(again.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_compiled_networks_are_left_alone(pictures):
    assert len(training(pictures)._quick) == 4 and not training(pictures, compile=True)._quick

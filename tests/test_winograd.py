"""Convolutions with fewer multiplications: PyTorch's results to rounding, where they are used and where not."""

import copy
from unittest import mock

import pytest
import torch
from torch import nn

from ganlab import models, winograd
from ganlab.data import load
from ganlab.training import Training

CASES = {"reflected": ({"padding": 1, "padding_mode": "reflect"}, (1, 8, 12), False),
         "zeros": ({"padding": 1}, (3, 16, 4), False),
         "none": ({"padding": 0, "bias": False}, (2, 10, 14), False),
         "channels last": ({"padding": (2, 1)}, (2, 6, 8), True)}


@pytest.fixture
def everywhere():
    """Every layer is large enough."""
    with mock.patch.multiple(winograd, CHANNELS=1, TILES=1):
        yield


class Network(models.Model):
    """A player of one layer, to use `winograd` on."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.player = layer

    def player_terms(self, round):
        raise NotImplementedError


models.MODELS.pop("network")  # of no use to others


def taken(model):
    return [name for name, layer in model.named_modules() if "forward" in vars(layer)]


def swift(layer):
    model = Network(copy.deepcopy(layer))
    winograd.use(model)
    assert taken(model) == ["player"]
    return model.player


def results(layer, x, direction):
    """The output and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), direction.to(y.dtype))]


@pytest.mark.parametrize("case", CASES)
def test_is_the_convolution_that_pytorch_computes(case, everywhere):
    how, (n, height, width), last = CASES[case]
    torch.manual_seed(0)
    layer = nn.Conv2d(48, 32, 3, **how)
    x = torch.randn(n, 48, height, width)
    if last:
        layer, x = layer.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    direction = torch.randn_like(layer(x))
    with mock.patch.object(winograd.Convolution, "apply", wraps=winograd.Convolution.apply) as used:
        ours = results(swift(layer), x, direction)
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
    ours = winograd.matrices()
    b, g, a = (torch.kron(m, m) for m in map(torch.tensor, (b, g, a)))
    # A row of B^T may change its sign together with that of G.
    signs = (ours[1] * g).sum(1).sign()[:, None]
    assert torch.allclose(ours[0] * signs, b.float(), atol=1e-6)
    assert torch.allclose(ours[1] * signs, g, atol=1e-6)
    assert torch.allclose(ours[2], a.float(), atol=1e-6)


@pytest.mark.parametrize("x", [torch.randn(2, 8, 9, 8), torch.randn(2, 8, 8, 8, dtype=torch.float64),
                               torch.randn(8, 8, 8)], ids=["odd", "float64", "one image"])
def test_what_does_not_fit_is_computed_as_ever(x, everywhere):
    layer = nn.Conv2d(8, 8, 3, padding=1, dtype=x.dtype)
    assert torch.equal(swift(layer)(x), layer(x))


def test_autocast_and_few_tiles_are_left_alone():
    layer = nn.Conv2d(winograd.CHANNELS, winograd.CHANNELS, 3, padding=1)
    quick = swift(layer)
    few, many = torch.randn(1, winograd.CHANNELS, 28, 32), torch.randn(1, winograd.CHANNELS, 32, 32)
    assert torch.equal(quick(few), layer(few))
    assert not torch.equal(quick(many), layer(many)), "the same to the bit: nothing is exchanged"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quick(many), layer(many))


def test_refuses_a_second_derivative(everywhere):
    quick = swift(nn.Conv2d(4, 4, 3, padding=1))
    x = torch.randn(1, 4, 4, 4, requires_grad=True)
    slope, = torch.autograd.grad(quick(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("name, config, layers", [
    ("cyclegan", {"shape": (3, 256, 256)}, 2 * 9 * 2), ("cyclegan", {"shape": (3, 128, 128)}, 2 * 6 * 2),
    ("dcgan", {}, 0), ("pix2pix", {}, 0)])
def test_takes_the_layers_of_the_residual_blocks(name, config, layers):
    with torch.device("meta"):
        model = models.create(name, **config)
    winograd.use(model)
    assert len(taken(model)) == layers
    assert all("body" in layer for layer in taken(model))


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_leaves_small_settings_alone(name):
    model = models.create(name, **models.MODELS[name].small)
    winograd.use(model)
    assert not taken(model)


def test_leaves_a_critic_with_a_gradient_penalty_alone(everywhere):
    model = models.create("wgangp")
    model.discriminator = nn.Sequential(nn.Conv2d(1, 1, 3))
    winograd.use(model)
    assert not taken(model)


@pytest.fixture(scope="module")
def pictures():
    return load("fruit", size=64)


def trained(pictures, **how):
    model = models.create("cyclegan", shape=pictures.shape, width=32, blocks=1)
    return Training(model, pictures, batch_size=4, device="cpu", log_every=1, **how).run(1, progress=False)


def test_a_training_reads_the_same_losses_and_makes_the_same_step(pictures):
    with mock.patch.object(winograd, "use"):
        plain = trained(pictures)
    with mock.patch.object(winograd.Convolution, "apply", wraps=winograd.Convolution.apply) as used:
        quick = trained(pictures)
    assert used.call_count == 8  # two layers, to and fro, in each of two generators
    for name, value in plain.history.rows[0].items():
        if "/" in name and name != "images/s":
            assert quick.history.rows[0][name] == pytest.approx(value, rel=1e-5), name
    # Adam's first step is a sign of the gradient: what is of the size of rounding may go the other way.
    moved = [torch.cat([p.detach().flatten() for p in t.model.generator.parameters()]) for t in (plain, quick)]
    start = torch.cat([p.detach().flatten() for p in models.create(
        "cyclegan", shape=pictures.shape, width=32, blocks=1).generator.parameters()])
    same = torch.sign(moved[0] - start) == torch.sign(moved[1] - start)
    assert same.float().mean() > 0.98


def test_compiled_networks_keep_their_layers(pictures):
    model = models.create("cyclegan", shape=pictures.shape, width=32, blocks=1)
    Training(model, pictures, batch_size=4, device="cpu", compile=True)
    assert not taken(model)


def test_a_copy_computes_with_its_own_weights(everywhere):
    quick = swift(nn.Conv2d(4, 4, 3, padding=1))
    other = copy.deepcopy(quick)
    with torch.no_grad():
        other.weight.zero_()
        other.bias.zero_()
    x = torch.randn(1, 4, 8, 8)
    assert not other(x).any() and quick(x).any()

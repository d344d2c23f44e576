"""pix2pix, CycleGAN and U-GAT-IT against their papers: patches, pools, norms, terms."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab import data, models, perceptual
from ganlab.data.domains import Domains
from ganlab.data.images import Batches, Images, augment, to_float
from ganlab.errors import CheckpointError, DataError, GanlabError
from ganlab.models.cyclegan import Pool, Residual
from ganlab.models.pix2pix import UNet, patchgan
from ganlab.models.ugatit import LIN, AdaLIN, Attention, Generator
from ganlab.training import Training

SMALL = {"pix2pix": {"width": 8, "layers": 2}, "cyclegan": {"width": 4, "blocks": 1, "layers": 2},
         "ugatit": {"width": 4, "blocks": 1}}


def small(name: str, **config):
    return models.create(name, **{"shape": (3, 32, 32), **SMALL[name], **config})


@pytest.fixture(scope="module")
def fronts() -> Domains:
    return data.load("fronts", size=32, split="test")


def pair(fronts: Domains, n: int) -> tuple[Tensor, Tensor]:
    return tuple(map(to_float, fronts.fetch(torch.arange(n))))


# ---- pix2pix ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "field"), [(0, 1), (1, 16), (2, 34), (3, 70), (5, 286)])
def test_one_output_of_the_patchgan_sees_exactly_its_patch(layers, field):
    network = patchgan(1, 1, layers, norm=lambda channels: nn.Identity())
    # All weights equal and positive, so that no gradient cancels.
    for p in network.parameters():
        nn.init.constant_(p, 0.1)
    x = torch.zeros(1, 1, 320, 320, requires_grad=True)
    out = network(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    rows, columns = (x.grad[0, 0] != 0).any(1).nonzero(), (x.grad[0, 0] != 0).any(0).nonzero()
    assert rows.max() - rows.min() + 1 == field
    assert columns.max() - columns.min() + 1 == field


def test_the_pixel_discriminator_judges_every_pixel_by_itself():
    network = patchgan(6, 4, 0).eval()
    x = torch.randn(2, 6, 8, 8)
    assert network(x).shape == (2, 1, 8, 8)
    assert not any(m.kernel_size != (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("size", [8, 32, 64, 128, 256])
def test_the_unet_halves_down_to_one_pixel_and_every_level_reaches_the_output(size):
    network = UNet(1, size, 2)
    seen = []
    for layer in network.down:
        layer.register_forward_hook(lambda m, args, out: seen.append(out))
    out = network(torch.randn(1, 1, size, size))
    assert out.shape == (1, 1, size, size) and out.abs().max() <= 1
    assert [s.shape[-1] for s in seen] == [size >> i for i in range(1, size.bit_length())]
    for level in torch.autograd.grad(out.sum(), seen):
        assert level.abs().sum() > 0


def test_the_paper_has_three_noisy_layers_and_no_noise_is_left_out_when_the_generator_is_used(fronts):
    model = models.create("pix2pix", shape=(3, 256, 256), width=1)
    assert sum(isinstance(m, nn.Dropout) for m in model.generator.modules()) == 3
    assert [i for i, up in enumerate(model.generator.up) if any(isinstance(m, nn.Dropout) for m in up)] == [0, 1, 2]
    model = small("pix2pix")
    x = pair(fronts, 4)[0]
    assert not torch.equal(model.translate(x), model.translate(x)), "dropout stays on: it is the noise"
    assert torch.equal(model.translate(x, seed=1), model.translate(x, seed=1))
    before = torch.get_rng_state()
    model.translate(x, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_pix2pix_terms_are_equations_1_and_3(fronts):
    model = small("pix2pix")
    x, y = pair(fronts, 4)
    round = model.play(x, y)
    d_real = torch.sigmoid(model.discriminator(torch.cat([x, y], 1)))
    d_fake = torch.sigmoid(model.discriminator(torch.cat([x, round.fake], 1)))
    value = d_real.log().mean() + (1 - d_fake).log().mean()
    torch.testing.assert_close(model("discriminator", round)["adversarial"], -value / 2)
    torch.testing.assert_close(model("generator", round)["l1"], (round.fake - y).abs().mean())
    torch.testing.assert_close(model("generator", round)["adversarial"], -d_fake.log().mean())


def test_pix2pix_trains_on_one_image_a_batch_and_the_plain_form_says_what_it_needs(fronts):
    Training(small("pix2pix"), fronts, batch_size=1, device="cpu").run(3, progress=False)
    with pytest.raises(GanlabError, match="batch_size=2 or more, or plain=False"):
        Training(small("pix2pix", plain=True), fronts, batch_size=1, device="cpu").run(1, progress=False)
    Training(small("pix2pix", plain=True), fronts, batch_size=2, device="cpu").run(1, progress=False)


def test_pix2pix_learns_a_translation_that_can_be_stated():
    """A is noise in colours, B its negative: the error must fall to a fraction of that of the best constant."""
    a = torch.randint(0, 256, (64, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    a = a.repeat_interleave(4, 2).repeat_interleave(4, 3)
    pairs = Domains(Images(a), Images(255 - a), paired=True)
    model = models.create("pix2pix", shape=(3, 16, 16), width=16, layers=1)
    Training(model, pairs, batch_size=16, learning_rate=2e-3, device="cpu").run(150, progress=False)
    x, y = (to_float(side.images) for side in (pairs.a, pairs.b))
    error = (model.translate(x, seed=0) - y).abs().mean()
    constant = (y - y.median()).abs().mean()
    assert error < 0.4 * constant


def test_perceptual_loss_says_where_the_weights_belong_and_works_once_they_are_there(fronts, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    perceptual.vgg16.cache_clear()
    model = small("pix2pix", perceptual=True, weights={"perceptual": 3.0})
    assert model.weights == {"adversarial": 1.0, "l1": 100.0, "perceptual": 3.0}
    round = model.play(*pair(fronts, 2))
    with pytest.raises(GanlabError, match=r"vgg16-.*\.pth is not there.*perceptual=False"):
        model("generator", round)
    network = torchvision.models.vgg16()
    (tmp_path / "checkpoints").mkdir()
    name = torchvision.models.VGG16_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    torch.save(network.state_dict(), tmp_path / "checkpoints" / name)
    try:
        terms = model("generator", round)
        assert terms["perceptual"] > 0
        (gradient,) = torch.autograd.grad(terms["perceptual"], round.fake)
        assert gradient.abs().sum() > 0
        assert perceptual.perceptual_loss(round.y, round.y) == 0
        grey = torch.rand(1, 1, 16, 16) * 2 - 1
        inner = network.features[:16].eval()
        scaled = [((g + 1) / 2).expand(1, 3, 16, 16).sub(torch.tensor(perceptual.MEAN).view(3, 1, 1))
                  .div(torch.tensor(perceptual.SPREAD).view(3, 1, 1)) for g in (grey, -grey)]
        expected = (inner(scaled[0]) - inner(scaled[1])).square().mean()
        torch.testing.assert_close(perceptual.perceptual_loss(grey, -grey), expected)
        assert not any("vgg" in key for key in model.state_dict()), "the classifier is no part of the checkpoint"
    finally:
        perceptual.vgg16.cache_clear()


def test_scaling_for_the_classifier_brings_no_numbers_to_the_device():
    class Refused(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert "lift" not in function.name(), "a tensor is made of Python's numbers"
            return function(*args, **kwargs or {})

    with Refused():
        assert perceptual._scaled(torch.zeros(2, 1, 4, 4)).shape == (2, 3, 4, 4)


# ---- CycleGAN -----------------------------------------------------------------------------------------------------


def test_the_pool_fills_and_then_exchanges_half_of_what_it_is_given():
    pool, rng = Pool(50, (1, 1, 1)), torch.Generator().manual_seed(0)
    first = torch.arange(50.0).view(50, 1, 1, 1)
    assert torch.equal(pool(first, rng), first), "until it is full, it returns what it is given"
    assert torch.equal(pool.images, first) and pool.filled == 50
    returned, new = [], torch.arange(50.0, 2050.0).view(-1, 1, 1, 1)
    for batch in new.split(4):
        returned.append(pool(batch, rng))
    out = torch.cat(returned).flatten()
    passed = (out == new.flatten()).float().mean().item()
    assert abs(passed - 0.5) < 5 * 0.5 / math.sqrt(2000), "with probability 1/2 the image itself"
    assert (out <= new.flatten()).all(), "else one that came before"
    # Every image that was ever in the pool is either still there or has been returned once.
    older = out[out != new.flatten()]
    assert len(set(older.tolist()) | set(pool.images.flatten().tolist())) == len(older) + 50


def test_a_pool_of_no_images_returns_what_it_is_given():
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    assert torch.equal(Pool(0, (1, 4, 4))(x), x) and not Pool(0, (1, 4, 4))(x).requires_grad


@pytest.mark.parametrize("name", SMALL)
def test_no_turn_waits_for_the_device(name, fronts):
    class Refused(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function is not torch.ops.aten._local_scalar_dense.default, "a value is read from a tensor"
            return function(*args, **kwargs or {})

    model = small(name)
    model.rng = torch.Generator().manual_seed(0)
    with Refused():
        round = model.play(*pair(fronts, 2))
        for player in model.players:
            model(player, round)
    with pytest.raises(AssertionError, match="is read"), Refused():
        round.x.sum().item() if name == "pix2pix" else round.a.sum().item()


def test_cyclegan_terms_are_those_of_the_paper(fronts):
    model = small("cyclegan")
    a, b = pair(fronts, 3)
    model.rng = torch.Generator().manual_seed(0)
    round = model.play(a, b)
    to_a, to_b, d_a, d_b = *(model.generator[f"to_{s}"] for s in "ab"), *(model.discriminator[s] for s in "ab")
    torch.testing.assert_close(round.fake_b, to_b(a), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(round.same_a, to_a(a), rtol=1e-4, atol=1e-5)
    terms = model("generator", round)
    torch.testing.assert_close(terms["adversarial"],
                               (d_b(to_b(a)) - 1).square().mean() + (d_a(to_a(b)) - 1).square().mean())
    torch.testing.assert_close(terms["cycle"], (to_a(to_b(a)) - a).abs().mean() + (to_b(to_a(b)) - b).abs().mean())
    torch.testing.assert_close(terms["identity"], (to_b(b) - b).abs().mean() + (to_a(a) - a).abs().mean())
    halves = [((net(real) - 1).square().mean() + net(fake).square().mean()) / 2
              for net, real, fake in ((d_a, a, round.past_a), (d_b, b, round.past_b))]
    torch.testing.assert_close(model("discriminator", round)["adversarial"], sum(halves))


def test_cyclegan_has_nine_blocks_from_256_pixels_on_and_six_below():
    with torch.device("meta"):
        for size, blocks in ((256, 9), (128, 6)):
            generator = models.create("cyclegan", shape=(3, size, size)).generator["to_b"]
            assert sum(isinstance(m, Residual) for m in generator) == blocks


def test_a_unet_may_stand_in_for_the_resnet(fronts):
    model = small("cyclegan", generator="unet")
    network, x = model.generator["to_b"], pair(fronts, 3)[0]
    assert isinstance(network, UNet) and not any(isinstance(m, nn.Dropout) for m in network.modules())
    torch.testing.assert_close(model.translate(x)[:1], model.translate(x[:1]), rtol=1e-4, atol=1e-5,
                               msg="no image may see the others of its batch")
    Training(model, fronts, batch_size=1, device="cpu").run(2, progress=False)
    with pytest.raises(GanlabError, match="'resnet' or 'unet', not 'u-net'"):
        small("cyclegan", generator="u-net")
    with pytest.raises(GanlabError, match="cyclegan with a U-Net translates squares of 8, 16, 32 .* not 48 x 48"):
        small("cyclegan", generator="unet", shape=(3, 48, 48))


def test_the_discriminator_sees_past_fakes(fronts):
    model = small("cyclegan", pool=4)
    training = Training(model, fronts, batch_size=2, device="cpu").run(2, progress=False)
    assert model.pools["a"].filled == 4 and model.pools["a"].images.abs().sum() > 0
    before = model.pools["b"].images.clone()
    training.run(4, progress=False)
    assert not torch.equal(before, model.pools["b"].images)


# ---- U-GAT-IT -----------------------------------------------------------------------------------------------------


def test_adalin_is_instance_norm_at_one_and_layer_norm_at_zero():
    x, gamma, beta = torch.randn(3, 5, 6, 7) * 3 + 1, torch.randn(3, 5), torch.randn(3, 5)
    layer = AdaLIN(5)
    for rho, norm in ((1.0, nn.InstanceNorm2d(5)), (0.0, nn.GroupNorm(1, 5))):
        nn.init.constant_(layer.rho, rho)
        expected = gamma[:, :, None, None] * norm(x) + beta[:, :, None, None]
        torch.testing.assert_close(layer(x, gamma, beta), expected, rtol=1e-4, atol=1e-4)
    nn.init.constant_(layer.rho, 0.25)
    half = 0.25 * nn.InstanceNorm2d(5)(x) + 0.75 * nn.GroupNorm(1, 5)(x)
    torch.testing.assert_close(layer(x, torch.ones(3, 5), torch.zeros(3, 5)), half, rtol=1e-4, atol=1e-4)


def test_gates_begin_as_published_and_stay_between_zero_and_one(fronts):
    model = small("ugatit")
    assert all((m.rho == (0.0 if isinstance(m, LIN) else 0.9)).all() for m in model.modules() if isinstance(m, AdaLIN))
    assert len(model.gates()) == 2 * (2 * 1 + 2)
    with torch.no_grad():
        for rho in model.gates():
            rho.uniform_(-3, 3)
    Training(model, fronts, batch_size=2, device="cpu").run(1, progress=False)
    assert all(rho.min() >= 0 and rho.max() <= 1 for rho in model.gates())


def test_attention_weighs_the_maps_by_the_classifiers_own_weights():
    attention, x = Attention(4, nn.Identity()), torch.randn(2, 4, 5, 5)
    out, logits, heat = attention(x)
    average, maximum = attention.average.weight[0], attention.maximum.weight[0]
    torch.testing.assert_close(logits[:, 0], x.mean((2, 3)) @ average)
    torch.testing.assert_close(logits[:, 1], x.flatten(2).max(2)[0] @ maximum)
    both = torch.cat([x * average[:, None, None], x * maximum[:, None, None]], 1)
    torch.testing.assert_close(out, attention.join(both))
    torch.testing.assert_close(heat, out.sum(1, keepdim=True))


def test_only_the_full_generators_style_sees_where_things_are():
    for light, values in ((True, 8), (False, 8 * 4 * 4)):
        network, seen = Generator(3, 16, 2, 1, light), []
        network.mlp.register_forward_hook(lambda m, args, out, seen=seen: seen.append(args[0]))
        network(torch.randn(2, 3, 16, 16))
        assert seen[0].shape == (2, values)


def test_discriminators_are_spectrally_normalised(fronts):
    model = small("ugatit")
    x = pair(fronts, 4)[0]
    for network in model.discriminator.values():
        with torch.no_grad():
            for _ in range(100):
                network(x)
        layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        normal = [m for m in layers if hasattr(m, "parametrizations")]
        assert len(layers) - len(normal) == 1, "only the 1 x 1 convolution of the attention is left alone"
        for m in normal:
            assert torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.05)


def test_ugatit_terms_are_those_of_the_paper(fronts):
    model = small("ugatit").eval()  # in eval mode the power iteration stands still, so that passes can be repeated
    a, b = pair(fronts, 3)
    round = model.play(a, b)
    to_a, to_b = (model.generator[f"to_{s}"] for s in "ab")
    d_loss, g_loss = 0.0, 0.0
    for name, network in model.discriminator.items():
        real, fake = (a, to_a(b)[0]) if name[-1] == "a" else (b, to_b(a)[0])
        for k in (0, 1):  # the output, and the logits of the attention
            d_loss += (network(real)[k] - 1).square().mean() + network(fake)[k].square().mean()
            g_loss += (network(fake)[k] - 1).square().mean()
    torch.testing.assert_close(model("discriminator", round)["adversarial"], d_loss, rtol=1e-4, atol=1e-4)
    terms = model("generator", round)
    torch.testing.assert_close(terms["adversarial"], g_loss, rtol=1e-4, atol=1e-4)
    bce = F.binary_cross_entropy_with_logits
    cam = sum(bce(net(x)[1], torch.full((3, 2), target)) for net, x, target in (
        (to_b, a, 1.0), (to_b, b, 0.0), (to_a, b, 1.0), (to_a, a, 0.0)))
    torch.testing.assert_close(terms["cam"], cam, rtol=1e-4, atol=1e-4)
    cycle = (to_a(to_b(a)[0])[0] - a).abs().mean() + (to_b(to_a(b)[0])[0] - b).abs().mean()
    torch.testing.assert_close(terms["cycle"], cycle, rtol=1e-4, atol=1e-4)
    identity = (to_a(a)[0] - a).abs().mean() + (to_b(b)[0] - b).abs().mean()
    torch.testing.assert_close(terms["identity"], identity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "term"), [(n, t) for n in SMALL for t in models.MODELS[n].weights])
def test_a_weight_of_zero_leaves_exactly_the_loss_without_that_term(name, term, fronts):
    """The gradients with which the generator moves are those of the other terms alone."""
    def gradients(drop: bool) -> list[Tensor]:
        model = small(name, weights={} if drop else {term: 0.0})
        if drop:
            whole = model.generator_terms
            model.generator_terms = lambda round: {n: t for n, t in whole(round).items() if n != term}
        Training(model, fronts, batch_size=2, device="cpu").run(1, progress=False)
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.generator.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(True), gradients(False), strict=True))
    whole = small(name)
    Training(whole, fronts, batch_size=2, device="cpu").run(1, progress=False)
    assert not all(torch.equal(p.grad, g) for p, g in zip(whole.generator.parameters(), gradients(True), strict=True))


def test_heat_maps_have_the_size_of_the_images(fronts):
    x = pair(fronts, 3)[0]
    for to in ("a", "b"):
        heat = small("ugatit").attention(x, to)
        assert heat.shape == (3, 1, 32, 32) and heat.min() >= 0 and heat.max() <= 1
    # Each map is stretched before it is enlarged, which can only bring its ends nearer.
    assert heat.amax((1, 2, 3)).min() > 0.5 and heat.amin((1, 2, 3)).max() < 0.5


# ---- all three ----------------------------------------------------------------------------------------------------


def test_wrong_data_and_wrong_sizes_are_clear_errors(fronts, digits):
    with pytest.raises(DataError, match="two domains, and digits has one.*'fronts'"):
        Training(small("cyclegan"), digits, device="cpu")
    with pytest.raises(DataError, match="needs pairs.*cyclegan"):
        Training(small("pix2pix"), Domains(fronts.a, fronts.b, paired=False, name="loose"), device="cpu")
    with pytest.raises(DataError, match="has two domains, and gan learns one; pass its side a or b"):
        Training(models.create("gan", shape=(3, 32, 32)), fronts, device="cpu")
    with pytest.raises(GanlabError, match="8, 16, 32 ... 256 pixels a side, not 48 x 48"):
        small("pix2pix", shape=(3, 48, 48))
    with pytest.raises(GanlabError, match="multiples of 4, not 30 x 30"):
        small("cyclegan", shape=(3, 30, 30))
    with pytest.raises(GanlabError, match="at least 16, not 8 x 8"):
        small("ugatit", shape=(3, 8, 8))
    with pytest.raises(GanlabError, match="5 layers has no patch left in images of 64 pixels; use layers=4"):
        small("pix2pix", shape=(3, 64, 64), layers=5)
    small("pix2pix", shape=(3, 64, 64), layers=4)
    with pytest.raises(GanlabError, match="from A to B only"):
        small("pix2pix").translate(pair(fronts, 2)[0], to="a")
    for name in ("cyclegan", "ugatit"):
        with pytest.raises(GanlabError, match="the domains 'a' and 'b', not 'c'"):
            small(name).translate(pair(fronts, 2)[0], to="c")
    for name in SMALL:
        with pytest.raises(GanlabError, match="use translate"):
            small(name).sample(2)


def test_learning_rates_fall_linearly_to_zero(fronts):
    training = Training(small("pix2pix"), fronts, batch_size=4, decay=(2, 6), device="cpu", log_every=1)
    rates = []
    for _ in range(8):
        training.run(1, progress=False)
        rates.append(training.optimizers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([2e-4, 2e-4, 2e-4, 1.5e-4, 1e-4, 0.5e-4, 0, 0])
    weights = [p.clone() for p in training.model.generator.parameters()]
    training.run(1, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(weights, training.model.generator.parameters(), strict=True))
    for wrong in ((5, 5), (-1, 4), (1,)):
        with pytest.raises(GanlabError, match=r"decay must be \(first, last\)"):
            Training(small("pix2pix"), fronts, decay=wrong, device="cpu")


def test_augmentation_mirrors_and_crops_pairs_together_and_unpaired_images_alone():
    ramp = torch.linspace(-1, 1, 32).expand(8, 1, 32, 32)
    x, y = augment(ramp, -ramp, torch.Generator().manual_seed(0), together=True)
    torch.testing.assert_close(x, -y)
    mirrored = x[:, 0, 0, 0] > x[:, 0, 0, -1]
    assert 0 < mirrored.sum() < 8, "some are mirrored, some are not"
    # A crop of 256 / 286 of a ramp keeps that share of its range.
    width = (x[:, 0, 0, -1] - x[:, 0, 0, 0]).abs()
    assert ((width / 2 - 256 / 286).abs() < 0.03).all()
    x, y = augment(ramp, -ramp, torch.Generator().manual_seed(0), together=False)
    assert not torch.allclose(x, -y)


def test_augmented_batches_repeat_with_the_seed(fronts):
    from dataclasses import replace
    varied = replace(fronts, augment=True)
    batches = [Batches(varied, 4, torch.device("cpu"), seed)[5][1] for seed in (0, 0, 1)]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], Batches(fronts, 4, torch.device("cpu"), 0)[5][1])


def test_augmentation_is_drawn_where_the_images_are(fronts, monkeypatch):
    asked, drawn = [], torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": asked.append(torch.device(device).type) or drawn())
    monkeypatch.setattr("ganlab.data.images.augment", lambda x, y, *_: (x, y))
    Batches(fronts.augmented(), 4, torch.device("meta"), 0)[0]
    assert asked == ["cpu", "meta"], "the order by the CPU, the crops by the device"


def test_a_checkpoint_goes_on_augmented_and_only_if_it_was(fronts, tmp_path):
    for images, name in ((fronts.augmented(), "varied.pt"), (fronts, "plain.pt")):
        Training(small("cyclegan"), images, batch_size=2, device="cpu").run(1, progress=False).save(tmp_path / name)
    assert Training.restore(tmp_path / "varied.pt", fronts, device="cpu").data.augment
    assert not Training.restore(tmp_path / "plain.pt", fronts, device="cpu").data.augment
    with pytest.raises(CheckpointError, match="'augment': True}; pass the same data set"):
        Training.restore(tmp_path / "plain.pt", fronts.augmented(), device="cpu")


def test_a_checkpoint_does_not_go_on_with_another_second_domain(fronts, tmp_path):
    Training(small("cyclegan"), fronts, batch_size=2, device="cpu").run(1, progress=False).save(tmp_path / "c.pt")
    other = Domains(fronts.a, Images(255 - fronts.b.images), paired=True, name=fronts.name)
    with pytest.raises(CheckpointError, match="pass the same data set"):
        Training.restore(tmp_path / "c.pt", other, device="cpu")

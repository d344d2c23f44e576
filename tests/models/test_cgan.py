"""Conditional GANs: published counts, what is concatenated to what, closed forms, and that labels are obeyed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganlab import models
from ganlab.data.images import Images
from ganlab.errors import DataError, GanlabError
from ganlab.training import Training


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def linear(**config) -> models.Model:
    """The smallest CGAN: points on a line, G(z|y) = a z + w_y + b and D(x|y) = sigmoid(c x + v_y + d)."""
    return models.create("cgan", **{"shape": (1,), "latent": 1, "hidden": (), "classes": 3, **config})


def cdcgan(**config) -> models.Model:
    return models.create("cdcgan", **{"width": 8, "latent": 4, **config})


@pytest.mark.parametrize(("name", "generator", "discriminator"), [("cgan", 1_488_912, 538_625),
                                                                  ("cdcgan", 2_159_233, 1_725_825)])
def test_published_parameter_counts(name, generator, discriminator):
    model = models.create(name)
    assert (count(model.generator), count(model.discriminator)) == (generator, discriminator)


def test_mlp_has_the_published_layers():
    model = models.create("cgan")
    widths = {player: [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
              for player, net in model.players.items()}
    assert widths == {"generator": [(110, 256), (256, 512), (512, 1024), (1024, 784)],
                      "discriminator": [(794, 512), (512, 256), (256, 1)]}
    assert [m.p for m in model.discriminator.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert not any(isinstance(m, nn.Dropout) for m in model.generator.modules())


def test_convolutional_has_the_published_layers():
    model = models.create("cdcgan")
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.LeakyReLU, nn.ReLU, nn.Tanh)
    found, seen = {}, []
    for m in model.modules():
        if isinstance(m, kinds):
            m.register_forward_hook(lambda m, args, out: seen.append((type(m).__name__, *out.shape[1:])))
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            assert m.bias is not None
            found.setdefault(type(m), []).append((m.kernel_size[0], m.stride[0], m.padding[0]))
    image = model.sample(2, seed=0)
    T, BN, ReLU = "ConvTranspose2d", "BatchNorm2d", "ReLU"
    assert seen == [(T, 256, 4, 4), (BN, 256, 4, 4), (ReLU, 256, 4, 4), (T, 256, 4, 4), (BN, 256, 4, 4),
                    (ReLU, 256, 4, 4), (T, 256, 7, 7), (BN, 256, 7, 7), (ReLU, 256, 7, 7), (T, 128, 14, 14),
                    (BN, 128, 14, 14), (ReLU, 128, 14, 14), (T, 1, 28, 28), ("Tanh", 1, 28, 28)]
    assert found[nn.ConvTranspose2d] == [(4, 1, 0), (4, 1, 0), (3, 2, 1), (4, 2, 1), (4, 2, 1)]
    seen.clear()
    model.discriminator(model.pair(image, model.condition(2, 0)))
    C, LR = "Conv2d", "LeakyReLU"
    assert seen == [(C, 64, 14, 14), (LR, 64, 14, 14), (C, 64, 14, 14), (LR, 64, 14, 14), (C, 256, 7, 7),
                    (BN, 256, 7, 7), (LR, 256, 7, 7), (C, 512, 4, 4), (BN, 512, 4, 4), (LR, 512, 4, 4), (C, 1, 1, 1)]
    assert found[nn.Conv2d] == [(4, 2, 1), (4, 2, 1), (4, 2, 1), (3, 2, 1), (4, 1, 0)]


def test_mlps_labels_are_heard_from_the_start():
    model = models.create("cgan")
    first = model.generator[0][0].weight
    for weight, std in ((first[:, :100], (2 / 1.04 / 110) ** 0.5), (first[:, 100:], (2 / 1.04 / 10) ** 0.5),
                        (model.discriminator[0].weight[:, :784], (3 * 794) ** -0.5),
                        (model.discriminator[0].weight[:, 784:], (3 * 10) ** -0.5)):
        # Five standard errors of a standard deviation.
        assert weight.std().item() == pytest.approx(std, rel=5 / (2 * weight.numel()) ** 0.5)
    assert all((m.bias == 0).all() for m in model.generator.modules() if isinstance(m, nn.Linear))


def test_convolutional_begins_as_a_dcgan():
    model = models.create("cdcgan", width=32)
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            assert m.weight.std().item() == pytest.approx(0.02, rel=5 / (2 * m.weight.numel()) ** 0.5)
            assert (m.bias == 0).all()
    assert model.batch_size == 128 and model.betas == (0.5, 0.999) and model.learning_rate == 2e-4


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutional_sizes_colours_and_odd_widths(size, channels):
    model = cdcgan(shape=(channels, size, size), width=5, classes=3)
    images = model.sample(4, seed=0)
    assert images.shape == (4, channels, size, size) and images.abs().max() <= 1
    assert model.discriminator(model.pair(images, model.condition(4))).shape == (4, 1, 1, 1)


class TestCondition:
    def test_is_one_hot(self):
        labels = torch.tensor([2, 0, 1, 2])
        assert torch.equal(linear().condition(4, labels), F.one_hot(labels, 3).float())

    def test_one_label_is_for_all_and_none_is_all_in_turn(self):
        model = linear()
        assert model.condition(4, 1).argmax(1).tolist() == [1, 1, 1, 1]
        assert model.condition(5).argmax(1).tolist() == [0, 1, 2, 0, 1]
        assert torch.equal(model.condition(3), torch.eye(3))

    def test_a_mixture_is_taken_as_it_is(self):
        half = torch.tensor([[0.5, 0.0, 0.5]])
        assert torch.equal(linear().condition(1, half), half)

    def test_pairs_hold_the_image_and_the_label(self):
        x, y = torch.randn(3, 1, 28, 28), torch.eye(10)[[4, 0, 9]]
        flat = models.create("cgan").pair(x, y)
        assert torch.equal(flat[:, :784], x.flatten(1)) and torch.equal(flat[:, 784:], y)

    def test_planes_are_one_hot(self):
        x, y = torch.randn(3, 2, 28, 28), torch.eye(10)[[4, 0, 9]]
        pair = cdcgan(shape=(2, 28, 28)).pair(x, y)
        assert pair.shape == (3, 12, 28, 28) and torch.equal(pair[:, :2], x)
        assert torch.equal(pair[:, 2:].amax((2, 3)), y) and torch.equal(pair[:, 2:].amin((2, 3)), y)

    @pytest.mark.parametrize(("labels", "said"), [
        (3, "go from 3 to 3, but this cgan knows 0 to 2; build it with classes=4"),
        (torch.tensor([-1, 0]), "go from -1 to 0"), (torch.tensor([0, 7]), "go from 0 to 7.*classes=8"),
        (torch.tensor([0, 1, 2]), r"shape \(3,\) do not fit 2 images; give 2 numbers from 0 to 2"),
        (torch.rand(2, 4), r"shape \(2, 4\).*mixture of shape \(2, 3\)"),
        (torch.eye(3, dtype=torch.long)[:2], r"shape \(2, 3\) do not fit")])
    def test_other_labels_are_refused(self, labels, said):
        with pytest.raises(GanlabError, match=said):
            linear().sample(2, seed=0, labels=labels)


class TestPlay:
    x, labels = torch.tensor([[0.3], [-1.2], [2.0], [0.7]]), torch.tensor([1, 0, 2, 1])

    def test_terms_are_those_of_the_equation(self):
        model = linear(objective="minimax", fake_labels="batch")
        with torch.no_grad():
            for i, player in enumerate((model.discriminator[0], model.generator[0][0])):
                player.weight.copy_(torch.tensor([[0.8, -0.5, 0.1, 0.9]]) + i)
                player.bias.fill_(0.2)
        model.rng = torch.Generator().manual_seed(0)
        z = torch.randn(4, 1, generator=torch.Generator().manual_seed(0))
        fake = 1.8 * z + torch.tensor([[0.5], [1.1], [1.9]])[self.labels] + 0.2
        v = torch.tensor([[-0.5], [0.1], [0.9]])[self.labels]
        real_d, fake_d = (torch.sigmoid(0.8 * x + v + 0.2) for x in (self.x, fake))
        round = model.play(self.x, self.labels)
        terms = model("discriminator", round)
        torch.testing.assert_close(-terms["adversarial"], real_d.log().mean() + (1 - fake_d).log().mean())
        torch.testing.assert_close((terms["D(x)"], terms["D(G(z))"]), (real_d.mean(), fake_d.mean()))
        torch.testing.assert_close(model("generator", round)["adversarial"], (1 - fake_d).log().mean())

    @pytest.mark.parametrize("make", [linear, cdcgan])
    def test_fakes_carry_the_label_they_were_drawn_for(self, make):
        model = make(fake_labels="random", classes=3)
        values = model.pair(x := torch.zeros(200, *model.config["shape"]), model.condition(200)).shape[1] - 3
        model.rng = torch.Generator().manual_seed(1)
        given = []
        model.generator.register_forward_hook(lambda m, args, out: given.append(args[0]))
        round = model.play(x, labels := torch.arange(200) % 3)
        real, fake = (p[:, values:].flatten(2).mean(2) if p.ndim == 4 else p[:, values:]
                      for p in (round.real, round.fake.detach()))
        assert torch.equal(real, F.one_hot(labels, 3).float())
        assert torch.equal(fake, given[0][:, model.config["latent"]:])

    def test_random_labels_are_even_whatever_those_of_the_batch(self):
        model = linear(fake_labels="random")
        model.rng = torch.Generator().manual_seed(0)
        shares = model.play(torch.zeros(3000, 1), torch.zeros(3000, dtype=torch.long)).fake[:, 1:].mean(0)
        # Four standard errors of a share of 1/3.
        assert (shares - 1 / 3).abs().max() < 4 * (2 / 9 / 3000) ** 0.5

    def test_the_batchs_labels_are_used_where_asked(self):
        round = linear(fake_labels="batch").play(self.x, self.labels)
        assert torch.equal(round.fake[:, 1:], F.one_hot(self.labels, 3).float())

    def test_processes_share_the_labels_of_one_large_batch(self):
        rows = []
        for rank, world in ((0, 1), (0, 2), (1, 2)):
            model = linear(fake_labels="random")
            model.share, model.rng = (rank, world), torch.Generator().manual_seed(0)
            n = 8 // world
            rows.append(model.play(torch.zeros(n, 1), torch.zeros(n, dtype=torch.long)).fake)
        torch.testing.assert_close(rows[0], torch.stack(rows[1:], 1).flatten(0, 1))

    def test_batch_norm_never_sees_real_and_fake_together(self):
        model, sizes = cdcgan(), []
        model.discriminator.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
        round = model.play(torch.zeros(4, 1, 28, 28), torch.arange(4))
        model("discriminator", round)
        assert sizes == [4, 4]

    @pytest.mark.parametrize(("labels", "said"), [(None, "cgan needs a label for every image"),
                                                  (torch.tensor([0, 1, 2, 3]), "classes=4"),
                                                  (torch.tensor([0, 1, 2]), "do not fit 4 images")])
    def test_a_batch_without_usable_labels_is_an_error(self, labels, said):
        with pytest.raises(GanlabError, match=said):
            linear().play(self.x, labels)


class TestSamples:
    def test_a_linear_generator_in_closed_form(self):
        model = linear()
        with torch.no_grad():
            model.generator[0][0].weight.copy_(torch.tensor([[2.0, 10.0, 20.0, 30.0]]))
            model.generator[0][0].bias.fill_(1.0)
        z = torch.tensor([[0.0], [0.5], [-1.0]])
        assert model.decode(z).flatten().tolist() == [11.0, 22.0, 29.0]
        assert model.decode(z, 1).flatten().tolist() == [21.0, 22.0, 19.0]
        assert model.decode(z[:1], torch.tensor([[0.5, 0.0, 0.5]])).item() == 21.0

    @pytest.mark.parametrize("name", ["cgan", "cdcgan"])
    def test_the_same_seed_is_the_same_noise_under_every_label(self, name):
        model = models.create(name)
        z = model.noise(3, 100, torch.Generator().manual_seed(5))
        for label in (0, 7):
            assert torch.equal(model.sample(3, seed=5, labels=label), model.decode(z, label))
        rows = model.decode(z.repeat_interleave(10, 0)).view(3, 10, -1)
        torch.testing.assert_close(rows[1, 7], model.decode(z, 7)[1].flatten())
        # Ten labels, ten pictures: no two alike.
        assert (torch.cdist(rows[0], rows[0]) + torch.eye(10) > 1e-3).all()

    @pytest.mark.parametrize("name", ["cgan", "cdcgan"])
    def test_without_weights_for_one_part_only_the_other_counts(self, name):
        for part in ("noise", "label"):
            model = models.create(name, **({"width": 8} if name == "cdcgan" else {}))
            with torch.no_grad():
                if name == "cdcgan":
                    halves = model.generator[1]
                    (halves.first if part == "noise" else halves.second)[0].weight.zero_()
                else:
                    model.generator[0][0].weight[:, slice(None, 100) if part == "noise" else slice(100, None)] = 0
            a, b, c = (model.sample(1, seed, labels) for seed, labels in ((1, 3), (2, 3), (1, 8)))
            assert torch.equal(a, b) == (part == "noise") and torch.equal(a, c) == (part == "label")

    @pytest.mark.parametrize("name", ["cgan", "cdcgan"])
    def test_the_discriminator_reads_the_label(self, name):
        model = models.create(name).eval()
        x = torch.randn(1, 1, 28, 28)
        logits = [model.discriminator(model.pair(x, model.condition(1, label))).item() for label in range(10)]
        assert len(set(logits)) == 10


class TestDropout:
    def test_is_for_training_alone(self):
        model = models.create("cgan")
        pair = model.pair(torch.randn(8, 1, 28, 28), model.condition(8))
        assert not torch.equal(model.discriminator(pair), model.discriminator(pair))
        model.eval()
        assert torch.equal(model.discriminator(pair), model.discriminator(pair))

    def test_leaves_out_three_values_of_ten(self):
        model = models.create("cgan")
        hidden = nn.Sequential(*list(model.discriminator)[:2])(torch.randn(400, 794))
        assert (hidden == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)

    def test_a_run_depends_on_its_seed_alone(self, digits):
        ends = []
        for seed, disturbed in ((3, 1), (3, 2), (4, 1)):
            torch.manual_seed(disturbed)
            model = models.create("cgan", hidden=(16, 16), latent=4)
            ends.append(Training(model, digits, seed, batch_size=16, device="cpu").run(3, progress=False).model)
        states = [torch.cat([v.flatten() for v in end.state_dict().values()]) for end in ends]
        assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_arguments_are_checked():
    with pytest.raises(GanlabError, match=r"'batch' .* or 'random' .*, not 'mixed'"):
        linear(fake_labels="mixed")
    with pytest.raises(GanlabError, match="classes must be at least 1, not 0"):
        linear(classes=0)
    with pytest.raises(GanlabError, match="28, 32, 64, 128"):
        cdcgan(shape=(1, 30, 30))


def test_training_refuses_data_without_labels():
    with pytest.raises(DataError, match="cgan needs a label for every image"):
        Training(linear(), Images(torch.zeros(16, 1)), batch_size=8, device="cpu")


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1, 0, 1, 2]])
def test_training_refuses_labels_that_the_model_does_not_know(labels):
    data = Images(torch.zeros(400, 1), torch.tensor(labels).repeat(100), name="many")
    with pytest.raises(DataError, match=f"many go from {min(labels)} to {max(labels)}.*knows 0 to 2.*classes="):
        Training(linear(), data, batch_size=8, device="cpu")


@pytest.mark.parametrize("fake_labels", ["random", "batch"])
def test_learns_to_obey_the_label(fake_labels):
    torch.manual_seed(0)
    labels = torch.arange(600) % 3
    centres = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    data = Images(centres[labels] + 0.2 * torch.randn(600, 2), labels)
    model = models.create("cgan", shape=(2,), latent=2, hidden=(32, 32), classes=3, fake_labels=fake_labels, dropout=0)
    Training(model, data, batch_size=128, learning_rate=2e-3, device="cpu").run(500, progress=False)
    points = model.sample(600, seed=0)
    nearest = torch.cdist(points, centres).argmin(1)
    assert (nearest == labels).float().mean() > 0.95

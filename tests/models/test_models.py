"""Every model against published counts and closed forms, and every rule that holds for all of them."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from ganlab import data, models, objectives
from ganlab.data.domains import Domains
from ganlab.data.images import Images, to_float
from ganlab.errors import GanlabError
from ganlab.models.base import MODELS, Model, Round, mlp
from ganlab.models.vae import kl_to_standard_normal
from ganlab.training import Training

SMALL = {"autoencoder": {"hidden": (32,), "latent": 4}, "vae": {"hidden": (32,), "latent": 4},
         "gan": {"hidden": (32,), "latent": 8}, "dcgan": {"shape": (1, 28, 28), "latent": 8, "width": 8},
         "wgan": {"hidden": (32,), "latent": 8}, "wgangp": {"hidden": (32,), "latent": 8},
         "cgan": {"hidden": (32, 32), "latent": 8, "dropout": 0.0}, "cdcgan": {"latent": 8, "width": 8},
         "pix2pix": {"shape": (3, 32, 32), "width": 8, "layers": 2},
         "cyclegan": {"shape": (3, 32, 32), "width": 4, "blocks": 1, "layers": 2, "pool": 3},
         "ugatit": {"shape": (3, 32, 32), "width": 4, "blocks": 1}}


def small(name: str, **config) -> Model:
    return models.create(name, **{"shape": (1, 28, 28), **SMALL[name], **config})


def data_for(model: Model, digits: Images) -> Images | Domains:
    return data.load("fronts", size=32, split="test") if model.expects in ("pairs", "domains") else digits


def batch_for(model: Model, digits: Images, n: int = 16) -> tuple:
    return tuple(to_float(part) for part in data_for(model, digits).fetch(torch.arange(n)))


def draw(model: Model, digits: Images, n: int = 3, seed: int = 0) -> torch.Tensor:
    """What a user gets from a model: samples, or translations."""
    if model.expects not in ("pairs", "domains"):
        return model.sample(n, seed=seed)
    torch.manual_seed(seed)
    return model.translate(batch_for(model, digits, n)[0])


def fakes(round: Round) -> list[torch.Tensor]:
    return [value for name, value in vars(round).items() if name.startswith("fake")]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_registered_model_is_tested_here():
    assert set(SMALL) == {name for name, cls in MODELS.items() if cls.__module__.startswith("ganlab.")}


@pytest.mark.parametrize(("name", "config", "counts"), [
    ("autoencoder", {"latent": 16}, {"autoencoder": 1_137_184}),
    ("gan", {}, {"generator": 1_486_352, "discriminator": 1_460_225}),
    ("dcgan", {}, {"generator": 3_576_707, "discriminator": 2_765_568}),
    ("pix2pix", {"shape": (3, 128, 128), "plain": True}, {"generator": 41_830_083, "discriminator": 2_768_705}),
    ("pix2pix", {}, {"generator": 54_413_955, "discriminator": 2_768_705}),
    ("cyclegan", {}, {"generator": 2 * 11_378_179, "discriminator": 2 * 2_764_737}),
    ("ugatit", {}, {"generator": 2 * 278_959_808, "discriminator": 2 * (53_130_176 + 3_290_560)}),
    ("ugatit", {"light": True}, {"generator": 2 * 10_589_888, "discriminator": 2 * (53_130_176 + 3_290_560)}),
    ("ugatit", {"shape": (3, 128, 128)}, {"generator": 2 * 77_633_216}),
    ("ugatit", {"shape": (3, 64, 64)}, {"generator": 2 * 27_301_568}),
    ("ugatit", {"shape": (3, 128, 128), "light": True}, {"generator": 2 * 10_589_888}),
    ("ugatit", {"shape": (3, 64, 64), "light": True}, {"generator": 2 * 10_589_888}),
])
def test_published_parameter_counts(name, config, counts):
    with torch.device("meta"):
        model = models.create(name, **config)
    assert {player: count(model.players[player]) for player in counts} == counts


@pytest.mark.parametrize("size", [28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_sizes_and_colours(size, channels):
    model = models.create("dcgan", shape=(channels, size, size), width=4, latent=5)
    images = model.sample(2, seed=0)
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert model.discriminator(images).shape == (2, 1, 1, 1)


def test_dcgan_refuses_other_sizes():
    with pytest.raises(GanlabError, match="28, 32, 64, 128"):
        models.create("dcgan", shape=(3, 48, 48))
    with pytest.raises(GanlabError, match="square"):
        models.create("dcgan", shape=(3, 64, 32))


def test_dcgan_initial_weights_have_the_published_statistics():
    model = models.create("dcgan", width=32)
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            n = m.weight.numel()
            # Five standard errors of a mean and of a standard deviation.
            assert abs(m.weight.mean()) < 5 * 0.02 / n ** 0.5
            assert abs(m.weight.std() / 0.02 - 1) < 5 / (2 * n) ** 0.5
            assert m.bias is None or (m.bias == 0).all()
    scales = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert abs(scales.mean() - 1) < 5 * 0.02 / len(scales) ** 0.5
    assert abs(scales.std() / 0.02 - 1) < 5 / (2 * len(scales)) ** 0.5


def test_dcgan_follows_the_architectural_rules():
    model = models.create("dcgan")
    d, g = list(model.discriminator), list(model.generator)
    assert not isinstance(d[1], nn.BatchNorm2d) and not isinstance(g[-2], nn.BatchNorm2d)
    assert all(m.stride == (2, 2) for m in d[:-1] if isinstance(m, nn.Conv2d))
    assert {m.negative_slope for m in d if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert isinstance(g[-1], nn.Tanh) and not any(isinstance(m, (nn.Linear, nn.MaxPool2d)) for m in model.modules())


def test_kl_term_against_torch_distributions():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(50, 7) * 2, torch.randn(50, 7)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected, rtol=1e-4, atol=1e-5)


def test_vae_terms_are_the_negative_elbo():
    model = small("vae")
    x = torch.rand(6, 1, 28, 28) * 2 - 1
    model.rng = torch.Generator().manual_seed(0)
    round = model.play(x)
    terms = model("autoencoder", round)
    pixels = (x.flatten(1) + 1) / 2
    p = torch.sigmoid(round.logits)
    bernoulli = -(pixels * p.log() + (1 - pixels) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], bernoulli, rtol=1e-4, atol=1e-2)
    expected = kl_divergence(Normal(round.mean, (round.log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(terms["kl"], expected, rtol=1e-4, atol=1e-4)


def test_vae_reparameterisation_has_mean_mu_and_spread_sigma():
    model = models.create("vae", shape=(3, 1, 1), hidden=(), latent=2)
    with torch.no_grad():
        model.autoencoder.encoder[0].weight.zero_()
        model.autoencoder.encoder[0].bias.copy_(torch.tensor([1.0, -2.0, 0.0, 1.0]))
        seen = []
        model.autoencoder.decoder.register_forward_hook(lambda m, args, out: seen.append(args[0]))
        model.rng = torch.Generator().manual_seed(0)
        model.play(torch.zeros(20_000, 3))
    z = seen[0]
    assert (z.mean(0) - torch.tensor([1.0, -2.0])).abs().max() < 0.06
    assert (z.std(0) / torch.tensor([1.0, 0.5]).exp().pow(torch.tensor([0.0, 1.0])) - 1).abs().max() < 0.03


def test_linear_autoencoder_reaches_the_error_of_pca():
    torch.manual_seed(0)
    points = torch.randn(512, 4) * torch.tensor([3.0, 2.0, 0.3, 0.1]) @ torch.linalg.qr(torch.randn(4, 4))[0]
    points = (points - points.mean(0)) / 4
    model = models.create("autoencoder", shape=(4,), latent=2, hidden=(), output="linear")
    training = Training(model, points, batch_size=512, learning_rate=0.03, device="cpu").run(1000, progress=False)
    training.learning_rates["autoencoder"] = 0.003
    training.run(100, progress=False)
    # What two principal components leave over: the two smallest eigenvalues, in units of the range [0, 1].
    left_over = torch.linalg.eigvalsh(torch.cov(points.T, correction=0))[:2].sum() / 4 / 4
    assert training.history["autoencoder/reconstruction"][-1] == pytest.approx(left_over.item(), rel=0.05)
    assert training.history["autoencoder/reconstruction"][-1] >= left_over.item() * 0.999


@pytest.mark.parametrize(("name", "advice"), [
    ("dcgan", "take gan, cgan"), ("cdcgan", "take gan, cgan"), ("vae", "take gan or wgan"),
    ("autoencoder", "take output='linear'")])
def test_models_that_draw_only_images_say_what_there_is_for_points(name, advice):
    with pytest.raises(GanlabError, match=rf"only images.* shape is \(2,\); for points {advice}"):
        models.create(name, shape=(2,))


def test_autoencoder_images_stay_in_range_and_black_can_be_reached():
    model = small("autoencoder")
    assert model.reconstruct(torch.full((2, 1, 28, 28), -1.0)).shape == (2, 1, 28, 28)
    with torch.no_grad():
        model.autoencoder.decoder[-1].bias.fill_(-30.0)
    assert model.sample(2, seed=0).min() == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("name", SMALL)
class TestEveryModel:
    def test_terms_and_weights_agree(self, name, digits):
        model = small(name)
        model.rng = torch.Generator().manual_seed(0)
        round = model.play(*batch_for(model, digits))
        used = set()
        for player in model.players:
            terms = model(player, round)
            assert all(t.shape == () and t.dtype == torch.float32 for t in terms.values())
            used |= set(terms)
        assert used >= set(model.weights), "a weight without a term would be a slider that does nothing"

    def test_one_step_lowers_the_players_own_loss(self, name, digits):
        for player in small(name).players:
            model = small(name)
            batch = batch_for(model, digits, 32)

            def loss(model=model, batch=batch, player=player) -> torch.Tensor:
                model.rng = torch.Generator().manual_seed(0)
                torch.manual_seed(0)
                terms = model(player, model.play(*batch))
                return sum(model.weights[n] * t for n, t in terms.items() if n in model.weights)

            optimizer = model.optimizer(player, model.players[player].parameters(), 1e-4)
            loss()  # power iterations begin to settle
            before = loss()
            before.backward()
            optimizer.step()
            assert loss() < before

    def test_no_gradient_reaches_the_player_that_stands_still(self, name, digits):
        model = small(name)
        for player in model.players:
            model.zero_grad(set_to_none=True)
            for other, net in model.players.items():
                net.requires_grad_(other == player)
            round = model.play(*batch_for(model, digits))
            sum(t for n, t in model(player, round).items() if n in model.weights).backward()
            for other, net in model.players.items():
                moved = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters()]
                assert any(moved) if other == player else not any(moved)

    def test_the_discriminators_turn_does_not_reach_back_through_the_fakes(self, name, digits):
        model = small(name)
        if "discriminator" not in model.players:
            assert list(model.players) == ["autoencoder"], "only a single player has nobody to leave alone"
            return
        round = model.play(*batch_for(model, digits))
        loss = model("discriminator", round)["adversarial"]
        assert fakes(round) and all(fake.requires_grad for fake in fakes(round))
        assert not any(g is not None for g in torch.autograd.grad(loss, fakes(round), allow_unused=True))

    def test_standing_still_builds_no_graph(self, name, digits):
        model = small(name)
        if "generator" not in model.players:
            assert model.play(*batch_for(model, digits)).__dict__  # a single player always moves
            return
        model.generator.requires_grad_(False)
        assert not any(fake.requires_grad for fake in fakes(model.play(*batch_for(model, digits))))

    def test_drawing_is_one_call_in_eval_mode_without_gradients(self, name, digits):
        model = small(name).train()
        modes = []
        model.apply(lambda m: m.register_forward_hook(lambda m, *_: modes.append(m.training)))
        images = draw(model, digits)
        assert images.shape == (3, *model.config["shape"]) and not images.requires_grad
        assert images.abs().max() <= 1
        assert modes and not any(modes) and model.training
        assert torch.equal(images, draw(model, digits))
        if model.expects not in ("pairs", "domains"):
            assert not torch.equal(images, model.sample(3, seed=2))

    def test_seed_alone_decides_the_first_weights(self, name):
        torch.manual_seed(1)
        a, before = small(name, seed=3), torch.get_rng_state()
        torch.manual_seed(2)
        b, c = small(name, seed=3), small(name, seed=4)
        same = [torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)]
        assert all(same)
        assert not all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), c.state_dict().values(), strict=True))
        torch.manual_seed(1)
        small(name)
        assert torch.equal(before, torch.get_rng_state()), "building a model must not disturb the user's random numbers"

    def test_config_builds_the_same_model_again(self, name, digits):
        model = small(name, weights={next(iter(MODELS[name].weights)): 2.5})
        again = models.create(name, seed=model.seed, weights=dict(model.weights), **model.config)
        assert again.config == model.config and again.weights == model.weights
        assert torch.equal(draw(model, digits), draw(again, digits))

    def test_a_copy_is_independent(self, name, digits):
        model = small(name)
        twin = copy.deepcopy(model)
        with torch.no_grad():
            next(twin.parameters()).add_(1.0)
        assert not torch.equal(next(model.parameters()), next(twin.parameters()))
        draw(twin, digits)

    def test_bf16_and_float32_agree(self, name, digits):
        found = {}
        for dtype in (torch.float32, torch.bfloat16):
            model = small(name)
            model.rng = torch.Generator().manual_seed(0)
            torch.manual_seed(0)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
                round = model.play(*batch_for(model, digits))
                found[dtype] = {p: model(p, round) for p in model.players}
        for player, terms in found[torch.float32].items():
            for term, value in terms.items():
                assert found[torch.bfloat16][player][term].dtype == torch.float32
                torch.testing.assert_close(found[torch.bfloat16][player][term], value, rtol=0.03, atol=0.02)

    def test_discriminators_in_train_and_in_eval_agree_where_nothing_tells_them_apart(self, name, digits):
        model = small(name)
        if "discriminator" not in model.players or any(
                getattr(m, "track_running_stats", False) or (isinstance(m, nn.Dropout) and m.p)
                for m in model.discriminator.modules()):
            return  # batch norm with running statistics and dropout are meant to differ
        model.rng = torch.Generator().manual_seed(0)
        round = model.play(*batch_for(model, digits))
        with torch.no_grad():
            # Spectral norm's power iteration moves on in training mode only, towards where it stays.
            for _ in range(200 if name == "ugatit" else 0):
                model("discriminator", round)
            training = model("discriminator", round)
            evaluated = model.eval()("discriminator", round)
        for term, value in training.items():
            torch.testing.assert_close(evaluated[term], value, rtol=1e-4, atol=1e-4)

    def test_a_restored_checkpoint_goes_on_bit_by_bit(self, name, digits, tmp_path):
        model = small(name)
        images = data_for(model, digits)
        training = Training(model, images, seed=4, batch_size=4, decay=(1, 9), device="cpu", log_every=2)
        training.run(4, progress=False).save(tmp_path / "run.pt")
        training.run(3, progress=False)
        again = Training.restore(tmp_path / "run.pt", images, device="cpu").run(3, progress=False)
        assert again.decay == (1, 9)
        for (key, a), b in zip(model.state_dict().items(), again.model.state_dict().values(), strict=True):
            assert torch.equal(a, b), key
        assert [{k: v for k, v in row.items() if k != "images/s"} for row in training.history.rows] == \
            [{k: v for k, v in row.items() if k != "images/s"} for row in again.history.rows]


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
@pytest.mark.parametrize("name", [n for n in SMALL if "objective" in models.create(n, **SMALL[n]).config])
def test_any_objective_trains_any_adversarial_model(name, objective, digits):
    model = small(name, objective=objective)
    before = {p: [w.clone() for w in net.parameters()] for p, net in model.players.items()}
    Training(model, data_for(model, digits), batch_size=16, device="cpu", schedule="alternate").run(2, progress=False)
    for player, net in model.players.items():
        assert any(not torch.equal(w, v) for w, v in zip(net.parameters(), before[player], strict=True))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", [n for n in SMALL if MODELS[n].small])
def test_small_presets_fit_small_images_and_are_small(name, size):
    cls, sizes = MODELS[name], []
    with torch.device("meta"):
        for shape, config in (((3, 64 if name == "dcgan" else 256, 64 if name == "dcgan" else 256), {}),
                              ((3, size, size), cls.small)):
            sizes.append(count(models.create(name, shape=shape, **config)))
    assert sizes[1] < sizes[0] / (3 if name == "dcgan" else 10)
    assert set(cls.small_training) <= {"batch_size", "learning_rate"}


def test_joint_and_separate_judging_agree_without_batch_norm():
    model = small("gan")
    real, fake = torch.randn(4, 1, 28, 28), torch.randn(4, 1, 28, 28)
    joint = model.judge(real, fake)
    torch.testing.assert_close(joint, (model.discriminator(real), model.discriminator(fake)))


def test_batch_norm_never_sees_real_and_fake_together():
    model = small("dcgan")
    sizes = []
    model.discriminator.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    model.judge(torch.randn(4, 1, 28, 28), torch.randn(4, 1, 28, 28))
    assert sizes == [4, 4]


def test_clear_errors():
    with pytest.raises(GanlabError, match="no model is called 'gann'; models: .*gan"):
        models.create("gann")
    with pytest.raises(GanlabError, match="gan has no argument 'depth'; it takes shape, latent"):
        models.create("gan", depth=3)
    with pytest.raises(GanlabError, match="no term 'cycle'; its terms are 'adversarial'"):
        models.create("gan", weights={"cycle": 1.0})
    with pytest.raises(GanlabError, match="no objective is called 'wgan'; objectives: minimax"):
        models.create("gan", objective="wgan")
    with pytest.raises(TypeError):
        models.create("gan").weights["adversarial"] = 2.0


def test_a_new_model_is_one_class_and_nothing_else(tmp_path):
    try:
        class Mean(Model):
            """Learn one image: the mean of the data."""

            weights = {"distance": 1.0, "size": 0.0}
            watched = ("norm",)

            def __init__(self, shape=(1, 28, 28)):
                super().__init__()
                self.painter = mlp(1, 28 * 28, activation=nn.ReLU)

            def play(self, x, labels=None):
                return Round(x=x, image=self.painter(torch.ones(1, 1)).view(1, 1, 28, 28))

            def painter_terms(self, round):
                return {"distance": (round.x - round.image).square().mean(), "size": round.image.square().mean(),
                        "norm": round.image.detach().norm()}

        data = Images(torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8))
        training = Training(models.create("mean"), data, batch_size=64, learning_rate=0.05, device="cpu")
        training.run(200, progress=False)
        spread = data.floats().var(0, correction=0).mean().item()
        assert training.history["painter/distance"][-1] == pytest.approx(spread, rel=0.05)
        assert training.history["norm"][-1] > 0
        training.save(tmp_path / "mean.pt")
        again = Training.restore(tmp_path / "mean.pt", data=data, device="cpu")
        assert again.step == 200 and set(again.weights) == {"distance", "size"}
    finally:
        MODELS.pop("mean")


def test_a_class_of_ones_own_does_not_replace_a_model_of_the_library():
    with pytest.raises(GanlabError, match="ganlab has a model called gan already"):
        type(Model)("GAN", (Model,), {"__module__": "__main__"})
    assert MODELS["gan"].__module__ == "ganlab.models.gan"


def test_a_misspelt_term_is_an_error_that_names_it():
    model = small("gan")
    model.generator_terms = lambda round: {"adversrial": round.fake.mean()}
    with pytest.raises(GanlabError, match="generator has a term 'adversrial' without a weight"):
        model("generator", model.play(torch.zeros(2, 1, 28, 28)))

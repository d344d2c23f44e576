"""Codes, maps, paths, and the search for a latent."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganlab import latent, models
from ganlab.errors import GanlabError
from ganlab.training import Training


def test_encode_goes_batch_by_batch_to_the_same_codes(digits):
    model = models.create("autoencoder", hidden=(16,), latent=3)
    images = digits.floats()[:50]
    codes = latent.encode(model, images, batch_size=16)
    assert codes.shape == (50, 3)
    torch.testing.assert_close(codes, model.encode(images))


def test_only_models_with_an_encoder_encode(digits):
    with pytest.raises(GanlabError, match="gan has no encoder; the autoencoder and the vae have"):
        latent.encode(models.create("gan", hidden=(8,)), digits.floats()[:4])


def test_paths_begin_and_end_where_they_should():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    straight, circle = latent.interpolate(a, b, 5), latent.interpolate(a, b, 5, spherical=True)
    for path in (straight, circle):
        torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]), atol=1e-6, rtol=0)
    torch.testing.assert_close(straight[2], torch.tensor([1.5, 1.5]))
    torch.testing.assert_close(circle.norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(circle[2], torch.tensor([1.0, 1.0]) * 3 / 2 ** 0.5)


def test_spherical_path_between_parallel_latents_is_finite():
    a = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(latent.interpolate(a, 2 * a, 3, spherical=True)[1], 1.5 * a)


def test_tsne_keeps_clusters_apart_and_repeats_itself():
    generator = torch.Generator().manual_seed(0)
    codes = torch.cat([torch.randn(40, 5, generator=generator) + 20 * i for i in range(3)])
    points = torch.from_numpy(latent.tsne(codes, perplexity=10, iterations=300))
    assert points.shape == (120, 2)
    centres = torch.stack([points[40 * i:40 * i + 40].mean(0) for i in range(3)])
    nearest = torch.cdist(points, centres).argmin(1)
    assert torch.equal(nearest, torch.arange(3).repeat_interleave(40))
    assert (latent.tsne(codes, perplexity=10, iterations=300) == points.numpy()).all()


def test_tsne_of_many_codes_shows_how_far_it_is(capsys):
    codes = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    latent.tsne(codes, perplexity=5, iterations=250)
    said = capsys.readouterr()
    assert "t-SNE of 2,000 codes" in said.err and "250/250" in said.err and "50/250" in said.err
    assert said.out == ""
    latent.tsne(codes[:1999], perplexity=5, iterations=250)
    assert capsys.readouterr().err == ""


def test_tsne_of_too_few_points_is_a_clear_error():
    with pytest.raises(GanlabError, match="t-SNE of 10 codes needs a perplexity below that"):
        latent.tsne(torch.randn(10, 3))


# ---- the search ---------------------------------------------------------------------------------------------------

TOP = torch.zeros(28, 28)
TOP[:14] = 1


def linear(generator, discriminator=None, shape=(1, 1, 5), objective="non-saturating"):
    """A GAN whose networks are the matrices given: images A z, logits of them B x."""
    model = models.GAN(shape, latent=len(generator[0]), hidden=(2,), objective=objective)
    model.generator = nn.Sequential(matrix(generator), nn.Unflatten(1, shape))
    model.discriminator = nn.Sequential(nn.Flatten(), matrix(discriminator or [[1.0] * math.prod(shape)]))
    return model


def matrix(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight = nn.Parameter(torch.tensor(rows))
    return layer


def images(*values):
    return torch.tensor(values)[:, None, None]


def same_state(before, after):
    return all(torch.equal(before[name], value) for name, value in after.items())


class TestInpaint:
    def test_linear_generator_gives_the_solution_of_its_equations(self):
        A = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0], [0.5, 0.5]]
        z = torch.tensor([[0.3, -0.2], [-0.5, 0.4]])
        whole = (z @ torch.tensor(A).T)[:, None, None]
        found = latent.inpaint(linear(A), whole, torch.tensor([[1.0, 0, 1, 0, 1]]), perceptual=0, norm=0,
                               iterations=600, learning_rate=0.01)
        torch.testing.assert_close(found.z, z, atol=0.02, rtol=0)
        torch.testing.assert_close(found.images, whole, atol=0.06, rtol=0)

    def test_contextual_loss_is_a_sum_of_absolute_differences_whose_optimum_is_the_median(self):
        flat = linear([[1.0]] * 5)  # every pixel is z, so the best z is the median of the known pixels
        found = latent.inpaint(flat, images([0.1, 0.2, 0.9, -1.0, 1.0]), torch.tensor([[1, 1, 1, 0, 0]]),
                               perceptual=0, norm=0, iterations=800, learning_rate=0.005)
        assert found.z.item() == pytest.approx(0.2, abs=0.02)
        assert found.losses["contextual"][-1].min().item() == pytest.approx(0.8, abs=0.02)

    def test_importance_makes_it_a_weighted_median(self):
        flat = linear([[1.0]] * 5)
        mask = torch.tensor([[1, 1, 1, 0, 1]])  # of three pixels a window: weights 0, 0, 1/3, 0, 1/2
        found = latent.inpaint(flat, images([-0.5, -0.5, -0.5, 0.0, 0.6]), mask, perceptual=0, norm=0, window=3,
                               iterations=800, learning_rate=0.005)
        assert found.z.item() == pytest.approx(0.6, abs=0.02)

    def test_perceptual_loss_moves_the_optimum_to_where_theory_has_it(self):
        # One pixel v = z, known to be 0; logit 2 v. |v| - 2 log sigmoid(2 v) is smallest at v = log(3) / 2.
        model = linear([[1.0]], [[2.0]], shape=(1, 1, 1))
        found = latent.inpaint(model, images([0.0]), torch.ones(1, 1), perceptual=2.0, norm=0, iterations=800,
                               learning_rate=0.005)
        assert found.z.item() == pytest.approx(math.log(3) / 2, abs=0.02)

    def test_norm_moves_it_towards_the_likely_latents(self):
        # |z - 1| + 2 z^2 / 2 is smallest at z = 1/2.
        found = latent.inpaint(linear([[1.0]], shape=(1, 1, 1)), images([1.0]), torch.ones(1, 1), perceptual=0,
                               norm=2.0, iterations=800, learning_rate=0.005)
        assert found.z.item() == pytest.approx(0.5, abs=0.02)
        assert found.losses["norm"][-1, found.best, 0].item() == pytest.approx(0.125, abs=0.01)

    @pytest.mark.parametrize("objective, formula", [
        ("minimax", lambda D: (1 - D.sigmoid()).log()), ("non-saturating", lambda D: -D.sigmoid().log()),
        ("wasserstein", lambda D: -D)])
    def test_perceptual_loss_is_the_generators_own(self, objective, formula):
        model = models.GAN((1, 4, 4), latent=3, hidden=(8,), objective=objective)
        found = latent.inpaint(model, torch.zeros(5, 1, 4, 4), torch.ones(4, 4), perceptual=0.5, norm=0, starts=1,
                               iterations=0)
        with torch.no_grad():
            expected = formula(model.discriminator(found.generated).squeeze(1))
        torch.testing.assert_close(found.losses["perceptual"][0, 0], expected)
        torch.testing.assert_close(found.losses["total"], found.losses["contextual"] + 0.5 * expected)

    def test_known_pixels_stay_and_the_others_are_never_looked_at(self):
        model = models.GAN(hidden=(16,), latent=4)
        whole = torch.rand(3, 1, 28, 28) * 2 - 1
        holed = torch.where(TOP.bool(), whole, torch.nan)
        found = latent.inpaint(model, holed, TOP, iterations=3, starts=2)
        assert torch.equal(found.images[:, :, :14], whole[:, :, :14])
        assert torch.equal(found.images[:, :, 14:], found.generated[:, :, 14:])
        torch.testing.assert_close(found.generated, model.decode(found.z))
        assert all(loss.isfinite().all() for loss in found.losses.values())
        assert same_state(vars(found), {"z": latent.inpaint(model, whole, TOP, iterations=3, starts=2).z})

    def test_keeps_the_best_start_of_each_image(self):
        model = models.GAN(hidden=(32,), latent=8)
        whole = model.sample(4, seed=5)
        many = latent.inpaint(model, whole, TOP, starts=5, iterations=30)
        ends = many.losses["total"][-1]
        assert many.losses["total"].shape == (31, 5, 4) and len(many.best.unique()) > 1
        torch.testing.assert_close(ends.gather(0, many.best[None])[0], ends.min(0).values)
        fit = (many.generated - whole)[:, :, :14].abs().sum((1, 2, 3))
        torch.testing.assert_close(many.losses["contextual"][-1].gather(0, many.best[None])[0], fit)
        for fewer in (1, 3):
            few = latent.inpaint(model, whole, TOP, starts=fewer, iterations=30)
            torch.testing.assert_close(few.losses["total"], many.losses["total"][:, :fewer])
            assert (ends.min(0).values <= few.losses["total"][-1].min(0).values + 1e-3).all()

    def test_seed_decides_everything_and_the_global_stream_nothing(self):
        model = models.GAN(hidden=(16,), latent=4)
        whole = model.sample(2, seed=0)
        runs = []
        for global_seed, seed in ((1, 7), (2, 7), (2, 8)):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            runs.append(latent.inpaint(model, whole, TOP, seed=seed, iterations=5).z)
            assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])

    def test_batches_bound_what_the_networks_see_and_change_nothing(self):
        model = models.DCGAN((1, 28, 28), width=4, latent=6)
        seen = []
        model.generator.register_forward_hook(lambda module, inputs, x: seen.append(len(x)))
        whole = model.sample(5, seed=1)
        settings = {"starts": 3, "iterations": 4, "perceptual": 1.0}
        one = latent.inpaint(model, whole, TOP, **settings)
        seen.clear()
        other = latent.inpaint(model, whole, TOP, batch_size=4, **settings)
        assert max(seen) == 4
        torch.testing.assert_close(one.images, other.images, atol=1e-4, rtol=0)
        torch.testing.assert_close(one.losses, other.losses, atol=1e-3, rtol=1e-4)

    def test_mask_may_be_one_for_all_or_one_for_each(self):
        model = models.GAN(hidden=(16,), latent=4)
        whole = model.sample(2, seed=0)
        each = torch.stack([TOP, 1 - TOP])[:, None]
        both = latent.inpaint(model, whole, each, starts=1, iterations=3)
        for mask in (TOP, TOP[None], TOP.bool(), TOP.expand(2, 1, 28, 28)):
            torch.testing.assert_close(latent.inpaint(model, whole, mask, starts=1, iterations=3).images[0],
                                       both.images[0])
        assert torch.equal(both.images[1, :, 14:], whole[1, :, 14:])

    @pytest.mark.parametrize("fails", [False, True])
    def test_leaves_the_model_as_it_was(self, fails, monkeypatch):
        model = models.DCGAN((1, 28, 28), width=4, latent=6).train()
        next(model.parameters()).requires_grad_(False)
        last = list(model.parameters())[-1]
        last.grad = torch.ones_like(last)
        frozen = [parameter.requires_grad for parameter in model.parameters()]
        before = {name: value.clone() for name, value in model.state_dict().items()}
        if fails:
            monkeypatch.setattr(model, "objective", None)
            with pytest.raises(AttributeError):
                latent.inpaint(model, torch.zeros(2, 1, 28, 28), TOP, iterations=2)
        else:
            latent.inpaint(model, torch.zeros(2, 1, 28, 28), TOP, iterations=2)
        assert same_state(before, model.state_dict())
        assert all(module.training for module in model.modules())
        assert [parameter.requires_grad for parameter in model.parameters()] == frozen
        assert [p.grad is None for p in model.parameters()] == [True] * (len(frozen) - 1) + [False]
        assert (last.grad == 1).all() and model.lock._owner is None

    def test_searches_while_the_model_trains(self, digits):
        model = models.GAN(hidden=(16,), latent=4)
        training = Training(model, digits, device="cpu", batch_size=8).start()
        try:
            while training.step == 0:
                pass
            began = training.step
            latent.inpaint(model, digits.floats()[:2], TOP, iterations=50)
            assert training.step > began, "the search holds the lock for longer than an iteration"
        finally:
            training.stop()
        assert training.error is None

    @pytest.mark.parametrize("name", ["autoencoder", "vae"])
    def test_decoders_without_a_discriminator_take_no_perceptual_loss(self, name):
        model = models.create(name, hidden=(16,), latent=4)
        whole = model.sample(2, seed=0)
        found = latent.inpaint(model, whole, TOP, perceptual=0, iterations=60)
        assert set(found.losses) == {"contextual", "norm", "total"}
        assert found.losses["total"][-1].min(0).values.mean() < 0.5 * found.losses["total"][0].mean()
        with pytest.raises(GanlabError, match=f"{name} has no discriminator.*give perceptual=0"):
            latent.inpaint(model, whole, TOP)

    @pytest.mark.parametrize("name, config", [("cgan", {"hidden": (16, 32, 32)}), ("cdcgan", {"width": 8})])
    def test_conditional_models_search_under_the_label_given(self, name, config):
        model = models.create(name, latent=4, classes=3, **config)
        z, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1, 1])
        whole = model.decode(z, labels)
        found = latent.inpaint(model, whole, TOP, labels, iterations=20, starts=2, batch_size=4)
        assert found.losses["total"][-1].mean() < found.losses["total"][0].mean()
        torch.testing.assert_close(found.generated, model.decode(found.z, labels), atol=1e-5, rtol=0)
        judged = model.eval().discriminator(model.pair(found.generated, model.condition(6, labels))).flatten()
        last = found.losses["perceptual"][-1].gather(0, found.best[None])[0]
        torch.testing.assert_close(last, F.softplus(-judged.detach()), atol=1e-4, rtol=1e-4)
        with pytest.raises(GanlabError, match=f"{name} draws by labels; give one for each image"):
            latent.inpaint(model, whole, TOP)
        with pytest.raises(GanlabError, match="gan draws without labels; give none"):
            latent.inpaint(models.GAN(hidden=(8,)), whole, TOP, labels)

    @pytest.mark.parametrize("change, message", [
        ({"mask": torch.ones(27, 28)}, r"of shape (28, 28), (1, 28, 28) or (2, 1, 28, 28); this one has .*(27, 28)"),
        ({"mask": torch.ones(3, 1, 28, 28)}, r"this one has the shape (3, 1, 28, 28)"),
        ({"mask": torch.full((28, 28), 0.5)}, "values from 0.5 to 0.5"),
        ({"images": torch.zeros(2, 1, 32, 32)}, r"draws images of shape (1, 28, 28); .*(2, 1, 32, 32)"),
        ({"images": torch.zeros(2, 1, 28, 28, dtype=torch.uint8)}, "but for floats in [-1, 1]"),
        ({"window": 4}, "odd number of pixels from 3 on, not 4"),
        ({"window": 7, "mask": torch.ones(28, 28)}, "leave the window out"),
        ({"starts": 0}, "starts=0, iterations=200, batch_size=256: a search needs at least 1, 0 and 1"),
        ({"iterations": -1}, "iterations=-1"), ({"batch_size": 0}, "batch_size=0")])
    def test_errors_say_what_is_allowed(self, change, message):
        arguments = {"images": torch.zeros(2, 1, 28, 28), "mask": TOP, **change}
        for sign in "()[]":
            message = message.replace(sign, f"\\{sign}")
        with pytest.raises(GanlabError, match=message):
            latent.inpaint(models.GAN(hidden=(8,), latent=2), **arguments)

    def test_only_models_with_a_latent_space_are_searched(self):
        points = models.GAN(shape=(2,), hidden=(8,), latent=2)
        with pytest.raises(GanlabError, match=r"gan draws images of shape \(2,\)"):
            latent.invert(points, torch.zeros(3, 2))
        model = models.GAN(hidden=(8,), latent=2)
        del model.config["latent"]
        with pytest.raises(GanlabError, match="gan has no latent space to search"):
            latent.invert(model, torch.zeros(3, 1, 28, 28))

    def test_a_decode_that_stops_the_gradient_is_a_clear_error(self, monkeypatch):
        inner = models.GAN.decode
        monkeypatch.setattr(models.GAN, "decode", lambda self, z: inner(self, z))
        with pytest.raises(GanlabError, match="no gradient comes through the decode of gan"):
            latent.invert(models.GAN(hidden=(8,), latent=2), torch.zeros(1, 1, 28, 28))


class TestInvert:
    def test_finds_the_latents_of_images_that_the_generator_made(self):
        model = models.GAN(hidden=(32, 64), latent=4)
        z = torch.randn(8, 4, generator=torch.Generator().manual_seed(3))
        whole = model.decode(z)
        found = latent.invert(model, whole, iterations=300, learning_rate=0.05, starts=6)
        assert torch.equal(found.images, whole)
        assert (found.generated - whole).abs().mean() < 0.02, "the images should come back"
        assert ((found.z - z).norm(dim=1) < 0.1).float().mean() >= 0.75, "most latents should come back"

    def test_is_inpainting_with_nothing_missing(self):
        model = models.GAN(hidden=(16,), latent=4)
        whole = model.sample(2, seed=0)
        torch.testing.assert_close(
            vars(latent.invert(model, whole, iterations=4, seed=2)),
            vars(latent.inpaint(model, whole, torch.ones(28, 28), perceptual=0, iterations=4, seed=2)))


class TestImportance:
    def test_is_the_share_of_missing_pixels_around(self):
        mask = torch.ones(1, 1, 9, 9)
        mask[0, 0, 4, 4] = 0
        weight = latent.importance(mask)
        assert weight[0, 0, 4, 4] == 0
        assert weight[0, 0, 1, 1] == pytest.approx(1 / 25)  # its window reaches 5 x 5 pixels of the image
        assert weight[0, 0, 4, 3] == pytest.approx(1 / 49)
        assert weight[0, 0, 0].eq(0).all() and weight[0, 0, :, 8].eq(0).all(), "out of reach of the hole"

    def test_grows_towards_the_hole(self):
        weight = latent.importance(TOP[None, None], window=5)[0, 0, :, 10]
        torch.testing.assert_close(weight[11:16], torch.tensor([0, 0.2, 0.4, 0, 0]))

"""The doctor: every symptom is produced on purpose and recognised, and healthy runs raise no alarm."""

import contextlib
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

from ganlab import data, models, objectives
from ganlab.data import drawn
from ganlab.data.images import Images
from ganlab.diagnosis import SYMPTOMS, Finding, beyond, diagnose, look, report
from ganlab.errors import GanlabError, NotFinite
from ganlab.history import Intervention
from ganlab.training import Training


def gan(**config):
    return models.create("gan", **{"hidden": (128, 256), "latent": 32, **config})


def points(name="gan", **config):
    return models.create(name, shape=(2,), latent=8, hidden=(64, 64), **config)


def autoencoder(**config):
    return models.create("autoencoder", **{"hidden": (128,), "latent": 16, **config})


def trained(model, images, steps, **arguments) -> Training:
    return Training(model, images, device="cpu", **arguments).run(steps, progress=False)


def symptoms(training) -> list[str]:
    return [finding.symptom for finding in diagnose(training)]


def write(training, **columns) -> Training:
    """Replace the history by one with these columns, a row every ten steps."""
    names = [name.replace("__", "/") for name in columns]
    training.history.rows = [{"step": 10.0 * (i + 1), **dict(zip(names, map(float, row), strict=True))}
                             for i, row in enumerate(zip(*columns.values(), strict=True))]
    return training


@pytest.fixture(scope="module")
def fruit():
    return drawn.fruit("test", 32)


@pytest.fixture(scope="module")
def fronts():
    return drawn.fronts("test", 32)


# ---- healthy runs -----------------------------------------------------------------------------------------------

HEALTHY = {
    "points": lambda: trained(points(), data.load("ring"), 600),
    "gan": lambda: trained(gan(), data.load("digits"), 300),
    "dcgan": lambda: trained(models.create("dcgan", shape=(1, 28, 28), width=8, latent=32), data.load("digits"), 150,
                             batch_size=32),
    "cgan": lambda: trained(models.create("cgan", hidden=(128, 256), latent=32), data.load("digits"), 300),
    "wgangp": lambda: trained(points("wgangp"), data.load("ring"), 400),
    "autoencoder": lambda: trained(autoencoder(), data.load("digits"), 200, learning_rate=1e-3),
    "vae": lambda: trained(models.create("vae", hidden=(128,), latent=8), data.load("digits"), 200),
    "pix2pix": lambda: trained(models.create("pix2pix", shape=(3, 32, 32), width=8, layers=2),
                               drawn.fronts("test", 32), 120, batch_size=4, learning_rate=1e-3),
    "cyclegan": lambda: trained(models.create("cyclegan", shape=(3, 32, 32), width=8, generator="unet", layers=2),
                                drawn.fruit("test", 32), 80, batch_size=2, learning_rate=1e-3),
    "ugatit": lambda: trained(models.create("ugatit", shape=(3, 32, 32), width=8, blocks=1), drawn.fruit("test", 32),
                              40, batch_size=2, learning_rate=5e-4)}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_raise_no_alarm(name):
    assert report(diagnose(HEALTHY[name]())) == "nothing unusual"


def test_a_change_of_the_objective_is_no_alarm():
    t = trained(gan(), data.load("digits"), 150)
    t.rules["objective"] = "least-squares"
    t.run(150, progress=False)
    assert report(diagnose(t)) == "nothing unusual"
    t.rules["objective"] = "hinge"
    assert report(diagnose(t.run(20, progress=False))) == "nothing unusual", "and too early to tell"


# ---- symptoms, produced on purpose ------------------------------------------------------------------------------

HURRIED = {"discriminator": 1e-3, "generator": 1e-6}


@pytest.mark.parametrize("objective", ["non-saturating", "least-squares", "hinge", "jensen-shannon"])
def test_a_discriminator_that_has_won_is_too_strong_on_the_scale_of_its_objective(digits, objective):
    t = trained(gan(objective=objective), digits, 300, learning_rate=HURRIED)
    assert symptoms(t) == ["discriminator too strong"]


def test_a_critic_without_bound_may_be_as_good_as_it_can(digits):
    t = trained(gan(objective="wasserstein"), digits, 150, learning_rate={"discriminator": 2e-4, "generator": 1e-6})
    assert t.history["discriminator/adversarial"][-1] < -10, "it has won by far"
    assert look(t).left is None and "discriminator too strong" not in symptoms(t)


def test_minimax_against_a_strong_discriminator_loses_its_gradient(digits):
    t = trained(gan(objective="minimax"), digits, 300, learning_rate=HURRIED)
    assert symptoms(t) == ["vanishing gradient", "discriminator too strong"]


def test_a_small_gradient_at_the_end_of_the_game_is_no_alarm(digits):
    t = trained(gan(objective="minimax"), digits, 30)
    with torch.no_grad():
        t.model.discriminator[1][-1].weight.zero_()
    write(t, discriminator__adversarial=[2 * math.log(2)] * 40, generator__adversarial=[-math.log(2)] * 40)
    assert look(t).players["generator"].gradient == 0 and symptoms(t) == []


def test_a_fast_generator_collapses(digits):
    t = trained(gan(), digits, 300, learning_rate={"discriminator": 5e-5, "generator": 2e-3})
    assert symptoms(t) == ["mode collapse"]


def test_points_on_one_spot_are_collapsed():
    t = trained(points(), data.load("ring"), 40)
    with torch.no_grad():
        t.model.generator[0][-1].weight.mul_(0.01)
    assert symptoms(t) == ["mode collapse"]


class Pendulum(models.MODELS["wgan"]):
    """One number against a line as critic, without friction: both go round for ever (arXiv:1801.04406, section 2)."""

    def __init__(self, shape=(1,), latent=1, clip=100.0) -> None:
        super().__init__(shape, latent, hidden=(), clip=clip)

    def optimizer(self, player, parameters, learning_rate):
        return torch.optim.SGD(parameters, lr=learning_rate)


def test_players_that_go_round_each_other_oscillate():
    numbers = 3 + 0.3 * torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    t = trained(Pendulum(), numbers, 1500, learning_rate=2e-2, schedule="alternate")
    assert symptoms(t) == ["oscillation"]


def test_noise_however_large_is_no_oscillation_and_neither_is_a_trend():
    t = trained(points(), data.load("ring"), 10)
    rng = np.random.default_rng(0)
    for loss in (1 + rng.normal(0, 1, 200), np.linspace(3, 0.1, 200), 1 + 0.05 * np.sin(np.arange(200))):
        assert symptoms(write(t, generator__adversarial=loss)) == []
    assert symptoms(write(t, generator__adversarial=1 + np.sin(np.arange(200) / 2))) == ["oscillation"]


class Uneven(models.MODELS["dcgan"]):
    """A DCGAN whose last kernel (3) is no multiple of its stride (2): some pixels are painted twice."""

    def __init__(self, shape=(1, 32, 32), latent=32, width=8) -> None:
        super().__init__(shape, latent, width=width)
        self.generator[-2] = nn.ConvTranspose2d(width, 1, 3, 2, 1, 1)


def test_an_uneven_kernel_leaves_a_checkerboard(digits):
    t = trained(Uneven(), Images(F.pad(digits.images, (2, 2, 2, 2))), 150, batch_size=32)
    assert symptoms(t) == ["checkerboard artefacts"]


@pytest.mark.parametrize("make", [
    lambda pairs, sides: trained(models.create("pix2pix", shape=(3, 32, 32), width=8, layers=2, weights={"l1": 1e5}),
                                 pairs, 100, batch_size=4, learning_rate=1e-3),
    lambda pairs, sides: trained(models.create("cyclegan", shape=(3, 32, 32), width=8, generator="unet", layers=2,
                                               weights={"identity": 1e4}), sides, 80, batch_size=2, learning_rate=1e-3),
    lambda pairs, sides: trained(points("wgangp", weights={"gradient_penalty": 1e5}), data.load("ring"), 400)])
def test_a_term_that_drowns_the_others_is_over_weighted(make, fronts, fruit):
    t = make(fronts, fruit)
    assert symptoms(t) == ["over-weighted term"]
    term = max(t.weights, key=t.weights.__getitem__)
    assert diagnose(t)[0].seen.startswith(f"{term} has ")


def test_a_gan_at_a_hundred_times_the_rate_comes_first_as_the_cause(digits):
    assert symptoms(trained(gan(), digits, 150, learning_rate=3e-2))[0] == "learning rate too high"


def test_an_autoencoder_whose_units_have_died(digits):
    assert symptoms(trained(autoencoder(), digits, 150, learning_rate=0.1)) == ["learning rate too high"]


def test_a_loss_that_rises_or_jumps_speaks_of_the_rate(digits):
    t = trained(autoencoder(), digits, 10)
    good = np.geomspace(0.2, 0.03, 60)
    assert symptoms(write(t, autoencoder__reconstruction=good)) == []
    for bad in (np.r_[good, good[::-1]], np.r_[good[:30], 5.0, good[30:]]):
        assert symptoms(write(t, autoencoder__reconstruction=bad)) == ["learning rate too high"]


@pytest.mark.parametrize("make", [gan, autoencoder])
def test_negatives_have_inverted_colours(digits, make):
    t = trained(make(), Images(255 - digits.images), 200, learning_rate=1e-3 if make is autoencoder else None)
    t.data = digits
    assert symptoms(t) == ["inverted colours"]


class Runaway(models.MODELS["autoencoder"]):
    """A linear autoencoder under plain gradient descent, which diverges where the rate is too high."""

    def __init__(self, shape=(1, 28, 28), latent=16, output="linear") -> None:
        super().__init__(shape, latent, (), output)

    def optimizer(self, player, parameters, learning_rate):
        return torch.optim.SGD(parameters, lr=learning_rate)


def test_a_run_that_diverges_is_near_nan_before_and_after_it_has_stopped(digits):
    t = Training(Runaway(), digits, device="cpu", log_every=1, learning_rate=3.0)
    with contextlib.suppress(NotFinite):
        while look(t).largest < 1e5:
            t.run(1, progress=False)
    assert symptoms(t)[0] == "NaN near"
    with pytest.raises(NotFinite):
        t.run(100, progress=False)
    assert symptoms(t)[0] == "NaN near"
    with torch.no_grad():
        next(t.model.parameters()).view(-1)[0] = math.nan
    assert diagnose(t)[0].sure == 1.0 and diagnose(t)[0].seen == "a weight is nan"


def test_a_term_without_bound_that_has_come_to_rest_is_seen():
    """Reconstruction minus KL: the KL leaps to 1e20 and more within twenty steps, and stays there."""
    t = trained(models.create("vae", weights={"kl": -1.0}), data.load("digits"), 60, log_every=2)
    assert symptoms(t)[0] == "NaN near" and diagnose(t)[0].seen.startswith("autoencoder/kl has reached ")


def test_exponential_growth_is_told_from_growth():
    t = trained(points("wgangp"), data.load("ring"), 10)
    assert symptoms(write(t, wasserstein=np.geomspace(1, 1e8, 60))) == ["NaN near"]
    assert symptoms(write(t, wasserstein=np.linspace(1, 1e3, 60))) == []
    assert "overflows after" in diagnose(write(t, wasserstein=np.geomspace(1, 1e8, 60)))[0].seen


# The registry of models is everyone's.
for cls in (Pendulum, Uneven, Runaway):
    models.MODELS.pop(cls.__name__.lower())

# ---- pure reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, cls in models.MODELS.items() if cls.__module__.startswith("ganlab.")])
def test_a_diagnosis_leaves_every_training_as_it_was(name, digits, fronts):
    cls = models.MODELS[name]
    images = fronts if cls.expects in ("domains", "pairs") else digits
    small = {"width": 8} if name in ("dcgan", "cdcgan", "pix2pix", "cyclegan") else {"width": 8, "blocks": 1} \
        if name == "ugatit" else {"hidden": (32,)}
    if name in ("pix2pix", "cyclegan"):
        small |= {"layers": 2}

    def run(ask: bool) -> Training:
        t = Training(models.create(name, shape=images.shape, **small), images, batch_size=4, device="cpu", log_every=1)
        for _ in range(2):
            t.run(1, progress=False)
            torch.manual_seed(5)
            if ask:
                assert all(finding.symptom in SYMPTOMS for finding in diagnose(t))
        assert torch.equal(torch.get_rng_state(), torch.manual_seed(5).get_state()), "the global stream has moved"
        return t

    asked, alone = run(True), run(False)
    for a, b in ((asked.model, alone.model), *zip(asked.optimizers.values(), alone.optimizers.values(), strict=True)):
        assert same(a.state_dict(), b.state_dict())
    assert same([p.grad for p in asked.model.parameters()], [p.grad for p in alone.model.parameters()])
    assert asked.model.training and asked.model.rng is None


def same(a, b) -> bool:
    ours, theirs = tree_leaves(a), tree_leaves(b)
    return len(ours) == len(theirs) and all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
                                            for x, y in zip(ours, theirs, strict=True))


def test_it_may_be_asked_while_the_training_runs(digits):
    t = Training(gan(), digits, batch_size=16, device="cpu", log_every=1).start()
    try:
        with contextlib.suppress(GanlabError):
            for _ in range(20):
                diagnose(t)
    finally:
        t.stop()
    again = Training(gan(), digits, batch_size=16, device="cpu", log_every=1).run(t.step, progress=False)
    assert same(t.model.state_dict(), again.model.state_dict())


# ---- words ------------------------------------------------------------------------------------------------------


def test_a_finding_reads_as_a_sentence():
    finding = Finding("mode collapse", 0.93, "samples are alike", "a slower generator")
    assert str(finding) == "mode collapse (almost certain, 0.93): samples are alike. Next: a slower generator."
    assert [Finding("", sure, "", "").words for sure in (0.89, 0.5, 0.1)] == ["likely", "possible", "unlikely"]
    assert report([finding, finding]).count("\n") == 1 and report([]) == "nothing unusual"


def test_sureness_grows_with_the_logarithm_of_the_measurement():
    assert [beyond(v, 1.0, 100.0) for v in (0.0, math.nan, 1.0, 10.0, 100.0, math.inf)] == \
        pytest.approx([0, 0, 0.5, 0.725, 0.95, 0.99])
    assert [beyond(v, 1e-2, 1e-4) for v in (0.0, 1e-3, 1.0)] == pytest.approx([0.99, 0.725, 0.05])


@pytest.mark.parametrize(("objective", "least"), [
    ("non-saturating", 0.0), ("least-squares", 0.0), ("hinge", 0.0), ("jensen-shannon", -2 * math.log(2)),
    ("total-variation", -1.0), ("squared-hellinger", -2.0), ("wasserstein", None), ("kl-wgan", None), ("kl", None),
    ("reverse-kl", None), ("pearson", None)])
def test_the_least_value_of_every_objective(objective, least, digits):
    assert set(objectives.OBJECTIVES) >= {objective}
    t = trained(gan(objective=objective, hidden=(8,)), digits, 10)
    assert look(t).best == (None if least is None else pytest.approx(least, abs=1e-4))


def test_without_a_history_there_is_nothing_to_say(digits):
    with pytest.raises(GanlabError, match="nothing has been recorded yet after 0 steps; train for 10 steps or more"):
        diagnose(Training(gan(), digits, device="cpu"))


def test_a_weight_turned_by_hand_is_no_rate_too_high(digits):
    training = Training(models.create("vae", hidden=(64,), latent=8), digits, device="cpu", batch_size=128)
    training.run(300, False)
    for weight in (1000, 1):
        training.weights["kl"] = weight
        for steps in (30, 30, 140):
            training.run(steps, False)
            assert diagnose(training) == [], (weight, training.step)


def test_a_loss_that_rises_after_a_weight_was_turned_speaks_of_the_rate(digits):
    t = trained(autoencoder(), digits, 10)
    good = np.geomspace(0.2, 0.03, 60)
    write(t, autoencoder__reconstruction=np.r_[np.full(60, 2.0), good, good[::-1]])
    steps = [row["step"] for row in t.history.rows]
    for at, expected in ((steps[60] - 51, ["learning rate too high"]), (steps[-1] - 60, [])):
        t.interventions[:] = [Intervention(at, "weights", "reconstruction", 1.0)]
        assert symptoms(t) == expected

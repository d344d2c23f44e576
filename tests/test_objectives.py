"""Adversarial objectives against closed forms."""

import math

import pytest
import torch

from ganlab.errors import GanlabError
from ganlab.objectives import DIVERGENCES, OBJECTIVES, get, gradient_penalty, kl_wgan_weights

LOG2, LOG4 = math.log(2), math.log(4)


@pytest.mark.parametrize(("name", "logit", "d", "g"), [
    # Loss of D when both logits are equal, and of G at that logit, worked out by hand.
    ("minimax", 0.0, LOG4, -LOG2),
    ("non-saturating", 0.0, LOG4, LOG2),
    ("least-squares", 0.5, 0.25, 0.125),
    ("hinge", 0.0, 2.0, 0.0),
    ("wasserstein", 1.7, 0.0, -1.7),
    ("kl-wgan", 1.7, 0.0, -1.7),
    # Where p = q every f-divergence is f(1) = 0, at T = f'(1).
    ("total-variation", 0.0, 0.0, 0.0),
    ("kl", 1.0, 0.0, -1.0),
    ("reverse-kl", 0.0, 0.0, 1.0),
    ("pearson", 0.0, 0.0, 0.0),
    ("squared-hellinger", 0.0, 0.0, 0.0),
    ("jensen-shannon", 0.0, 0.0, 0.0),
])
def test_values_at_equal_logits(name, logit, d, g):
    objective = OBJECTIVES[name]
    logits = torch.full((5, 1), logit)
    assert objective.discriminator(logits, logits).item() == pytest.approx(d, abs=1e-6)
    assert objective.generator(logits).item() == pytest.approx(g, abs=1e-6)
    if objective.optimum is not None:
        assert objective.output(logits).mean().item() == pytest.approx(objective.optimum, abs=1e-6)


def test_every_objective_has_a_value_here():
    assert set(OBJECTIVES) == {"minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "kl-wgan",
                               "total-variation", "kl", "reverse-kl", "pearson", "squared-hellinger", "jensen-shannon"}


P = torch.tensor([0.1, 0.4, 0.5, 0.0])
Q = torch.tensor([0.3, 0.2, 0.4, 0.1])


OPTIMAL_LOGIT = {
    # v at which g(v) = f'(u), u = p / q, worked out by hand.
    "total-variation": lambda u: 20 * (u - 1).sign(),
    "kl": lambda u: 1 + u.log(),
    "reverse-kl": lambda u: u.log(),
    "pearson": lambda u: 2 * (u - 1),
    "squared-hellinger": lambda u: u.log() / 2,
    "jensen-shannon": lambda u: u.log(),
    "gan": lambda u: u.log(),
}
assert set(OPTIMAL_LOGIT) == set(DIVERGENCES)


def repeated(values, p):
    """Each value as often as p says, so that a mean over them is an exact expectation under p."""
    return torch.repeat_interleave(values, (p * 1000).round().long())


def test_value_at_the_optimal_discriminator_is_twice_jsd_minus_log_4():
    optimal = (P / (P + Q)).clamp(1e-9, 1 - 1e-9)
    logit = (optimal / (1 - optimal)).log()
    middle = (P + Q) / 2

    def kl(a, b):
        return torch.where(a > 0, a * (a.clamp_min(1e-30) / b).log(), torch.zeros(())).sum()

    jsd = (kl(P, middle) + kl(Q, middle)) / 2
    loss = OBJECTIVES["minimax"].discriminator(repeated(logit, P), repeated(logit, Q))
    assert -loss.item() == pytest.approx((2 * jsd - LOG4).item(), abs=1e-5)


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "least-squares", "hinge", "kl", "reverse-kl", "pearson",
                                  "squared-hellinger", "jensen-shannon"])
def test_training_d_on_two_known_distributions_finds_its_closed_form_optimum(name):
    p, q = P[:3] / P[:3].sum(), Q[:3] / Q[:3].sum()
    optimum = {"minimax": (p / q).log(), "non-saturating": (p / q).log(), "least-squares": p / (p + q),
               "hinge": (p - q).sign(), **{row: logit(p / q) for row, logit in OPTIMAL_LOGIT.items()}}[name]
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for i in range(600):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - i / 600)
        optimizer.zero_grad()
        real, fake = repeated(logits, p), repeated(logits, q)
        OBJECTIVES[name].discriminator(real, fake).backward()
        optimizer.step()
    torch.testing.assert_close(logits.detach(), optimum, atol=0.03, rtol=0.02)


def test_saturating_and_non_saturating_gradients_at_a_confident_discriminator():
    for v in (-8.0, -2.0, 0.0, 3.0):
        logit = torch.tensor([v], requires_grad=True)
        d = torch.sigmoid(logit).item()
        saturating, = torch.autograd.grad(OBJECTIVES["minimax"].generator(logit), logit)
        non_saturating, = torch.autograd.grad(OBJECTIVES["non-saturating"].generator(logit), logit)
        # d/dv log(1 - sigmoid(v)) = -D, d/dv (-log sigmoid(v)) = -(1 - D).
        assert saturating.item() == pytest.approx(-d, rel=1e-4)
        assert non_saturating.item() == pytest.approx(-(1 - d), rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_player_pulls_the_logits_its_own_way(name):
    objective = OBJECTIVES[name]
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    to_real, to_fake = torch.autograd.grad(objective.discriminator(real, fake), (real, fake), allow_unused=True)
    assert (to_real < 0).all(), "D wants higher logits on data"
    assert (to_fake > 0).all() if name != "least-squares" else (to_fake == 0).all()
    assert (torch.autograd.grad(objective.generator(fake), fake)[0] < 0).all(), "G wants higher logits on fakes"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_extreme_half_precision_logits_stay_finite_float32(name):
    logits = torch.tensor([-60000.0, 60000.0] if name != "least-squares" else [-1000.0, 1000.0], dtype=torch.float16)
    for value in (OBJECTIVES[name].discriminator(logits, logits), OBJECTIVES[name].generator(logits)):
        assert value.dtype == torch.float32 and value.isfinite()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_conjugate_is_the_supremum_over_u(name):
    row = DIVERGENCES[name]
    u = torch.logspace(-6, 6, 200_001, dtype=torch.double)
    for v in torch.linspace(-4, 4, 9, dtype=torch.double):
        # Where u may not be negative, Pearson's supremum stands still below t = -2; the paper's does not.
        t = row.activation(v).clamp(min=-2) if name == "pearson" else row.activation(v)
        assert row.conjugate(t).item() == pytest.approx((u * t - row.f(u)).max().item(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_conjugate_and_activation_are_joined_without_a_difference(name):
    row, v = DIVERGENCES[name], torch.linspace(-9, 9, 181, dtype=torch.double)
    torch.testing.assert_close(row.against(v), row.conjugate(row.activation(v)), rtol=1e-7, atol=1e-9)
    assert (row.activation(v).diff() > 0).all(), "a larger logit must speak for the data"


@pytest.mark.parametrize("name", DIVERGENCES)
def test_best_variational_function_is_the_derivative_of_f(name):
    row, u = DIVERGENCES[name], torch.tensor([0.1, 0.5, 0.9, 1.1, 3.0, 20.0], requires_grad=True)
    derivative, = torch.autograd.grad(row.f(u).sum(), u)
    torch.testing.assert_close(row.activation(OPTIMAL_LOGIT[name](u.detach())), derivative, rtol=1e-4, atol=1e-6)
    if row.level is not None:
        one = torch.ones((), requires_grad=True)
        assert torch.autograd.grad(row.f(one), one)[0].item() == pytest.approx(row.level, abs=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_value_at_the_best_discriminator_is_the_divergence_of_two_discrete_distributions(name):
    p, q = torch.tensor([0.1, 0.4, 0.5]), torch.tensor([0.3, 0.5, 0.2])
    m = (p + q) / 2
    twice_js = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()).item()
    expected = {"total-variation": ((p - q).abs().sum() / 2).item(), "kl": (p * (p / q).log()).sum().item(),
                "reverse-kl": (q * (q / p).log()).sum().item(), "pearson": ((p - q).square() / q).sum().item(),
                "squared-hellinger": (p.sqrt() - q.sqrt()).square().sum().item(), "jensen-shannon": twice_js,
                "gan": twice_js - LOG4}[name]
    logits = OPTIMAL_LOGIT[name](p / q)
    found = -DIVERGENCES[name].objective().discriminator(repeated(logits, p), repeated(logits, q)).item()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_value_at_the_best_discriminator_is_the_divergence_of_two_gaussians(name):
    # p = N(0, 1), q = N(1, 1), so that log p/q = 1/2 - x; evenly spaced quantiles make means into expectations.
    quantiles = torch.special.ndtri((torch.arange(400_000, dtype=torch.double) + 0.5) / 400_000)
    x = torch.linspace(-12, 13, 100_001, dtype=torch.double)
    p, q = ((-(x - mean).square() / 2).exp() / math.sqrt(2 * math.pi) for mean in (0, 1))
    m = (p + q) / 2
    twice_js = torch.trapezoid(p * (p / m).log() + q * (q / m).log(), x).item()
    expected = {"total-variation": math.erf(1 / 8 ** 0.5), "kl": 0.5, "reverse-kl": 0.5, "pearson": math.e - 1,
                "squared-hellinger": 2 - 2 * math.exp(-1 / 8), "jensen-shannon": twice_js, "gan": twice_js - LOG4}[name]
    real, fake = (OPTIMAL_LOGIT[name]((0.5 - sample).exp()) for sample in (quantiles, quantiles + 1))
    assert -DIVERGENCES[name].objective().discriminator(real, fake).item() == pytest.approx(expected, rel=2e-3)


def test_any_other_discriminator_stays_below_the_divergence():
    p, q = torch.tensor([0.1, 0.4, 0.5]), torch.tensor([0.3, 0.5, 0.2])
    rng = torch.Generator().manual_seed(0)
    for name, row in DIVERGENCES.items():
        best = OPTIMAL_LOGIT[name](p / q)
        value = [-row.objective().discriminator(repeated(v, p), repeated(v, q)).item()
                 for v in (best, *(best + torch.randn(3, generator=rng) for _ in range(20)))]
        assert max(value[1:]) < value[0] + 1e-6, name


def test_gan_row_is_the_first_objective_in_both_its_forms():
    real, fake = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3, torch.linspace(-5, 5, 50)
    row = DIVERGENCES["gan"]
    for objective, name in ((row.objective(), "non-saturating"), (row.objective(saturating=True), "minimax")):
        torch.testing.assert_close(objective.discriminator(real, fake), OBJECTIVES[name].discriminator(real, fake))
        torch.testing.assert_close(objective.generator(fake), OBJECTIVES[name].generator(fake))
        torch.testing.assert_close(objective.output(real).exp(), OBJECTIVES[name].output(real))


def test_saturating_generator_pulls_less_where_the_discriminator_is_sure():
    for name in DIVERGENCES:
        sure = torch.tensor([-6.0], requires_grad=True)
        strong, weak = (torch.autograd.grad(DIVERGENCES[name].objective(saturating).generator(sure), sure)[0]
                        for saturating in (False, True))
        # d/dv of -g(v) and of -f*(g(v)): the second is the first times u, the density ratio that D sees.
        ratio = {"total-variation": 1.0, "kl": math.exp(-7), "pearson": -2.0,
                 "squared-hellinger": math.exp(-12)}.get(name, math.exp(-6))
        assert (weak / strong).item() == pytest.approx(ratio, rel=2e-3), name


@pytest.mark.parametrize("name", OBJECTIVES)
def test_extreme_logits_have_finite_gradients(name):
    logits = torch.tensor([-1e4, -30.0, 30.0, 1e4], requires_grad=True)
    for loss in (OBJECTIVES[name].discriminator(logits, logits), OBJECTIVES[name].generator(logits)):
        gradient, = torch.autograd.grad(loss, logits, allow_unused=True)
        assert gradient.isfinite().all()


def test_exponentials_keep_pulling_where_they_would_overflow():
    far = torch.tensor([-200.0], requires_grad=True)
    for name in ("reverse-kl", "squared-hellinger"):
        pull, = torch.autograd.grad(OBJECTIVES[name].generator(far), far)
        assert pull.item() == pytest.approx(-math.exp(10), rel=1e-4)
    below, beyond = torch.tensor([10.999]), torch.tensor([11.001])
    jump = OBJECTIVES["kl"].discriminator(beyond * 0, beyond) - OBJECTIVES["kl"].discriminator(below * 0, below)
    assert jump.item() == pytest.approx(0.002 * math.exp(10), rel=0.02), "value and slope go on without a step"


def test_kl_wgan_weights_have_mean_one_and_take_no_gradient():
    fake = torch.randn(64, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for scale in (0.0, 1.0, 1000.0):
        weights = kl_wgan_weights(fake * scale)
        assert weights.shape == fake.shape and weights.mean().item() == pytest.approx(1, rel=1e-5)
        assert not weights.requires_grad
    torch.testing.assert_close(kl_wgan_weights(fake), (fake.exp() / fake.exp().mean()).detach())


def test_kl_wgan_by_hand():
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.0, math.log(3)], requires_grad=True)
    # exp(fake) = 1, 3 with mean 2, so r = 1/2, 3/2.
    kl_wgan = OBJECTIVES["kl-wgan"]
    assert kl_wgan.discriminator(real, fake).item() == pytest.approx(0.75 * math.log(3) - 1.5, rel=1e-6)
    assert kl_wgan.generator(fake).item() == pytest.approx(-0.75 * math.log(3), rel=1e-6)
    assert torch.autograd.grad(kl_wgan.generator(fake), fake)[0].tolist() == pytest.approx([-0.25, -0.75], rel=1e-5)


def test_kl_wgan_critic_climbs_to_the_kl_divergence():
    p, q = torch.tensor([0.1, 0.4, 0.5]), torch.tensor([0.3, 0.5, 0.2])
    logits = torch.tensor([0.3, -1.0, 0.5], requires_grad=True)
    loss = OBJECTIVES["kl-wgan"].discriminator(repeated(logits, p), repeated(logits, q))
    gradient, = torch.autograd.grad(loss, logits)
    bound = (p * logits).sum() - (q * logits.exp()).sum().log()
    torch.testing.assert_close(gradient, -torch.autograd.grad(bound, logits)[0], rtol=1e-4, atol=1e-5)
    best = ((p / q).log() + 0.7).requires_grad_()
    fake = repeated(best, q)
    torch.testing.assert_close(kl_wgan_weights(fake), repeated(p / q, q), rtol=1e-4, atol=1e-5)
    loss = OBJECTIVES["kl-wgan"].discriminator(repeated(best, p), fake)
    assert torch.autograd.grad(loss, best)[0].abs().max() < 1e-5
    assert ((p * best).sum() - (q * best.exp()).sum().log()).item() == pytest.approx((p * (p / q).log()).sum().item())


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_gradient_penalty_of_a_linear_critic(shape):
    rng = torch.Generator().manual_seed(0)
    real, fake, w = (torch.randn(n, *shape, generator=rng) for n in (7, 7, 1))
    w.requires_grad_()
    fake.requires_grad_()
    penalty = gradient_penalty(lambda x: (x * w).flatten(1).sum(1, keepdim=True), real, fake, torch.rand(7, 1))
    size = w.norm().item()
    assert penalty.item() == pytest.approx((size - 1) ** 2, rel=1e-5)
    to_w, to_fake = torch.autograd.grad(penalty, (w, fake), allow_unused=True)
    torch.testing.assert_close(to_w, 2 * (size - 1) * w.detach() / size, rtol=1e-4, atol=1e-5)
    assert to_fake is None
    with torch.no_grad():
        measured = gradient_penalty(lambda x: (x * w).flatten(1).sum(1), real, fake, torch.rand(7, 1))
    assert measured.item() == pytest.approx(penalty.item(), rel=1e-5) and not measured.requires_grad


def test_gradient_penalty_looks_between_data_and_fakes():
    real, fake, share = torch.full((3, 1), 5.0), torch.full((3, 1), 2.0), torch.tensor([[0.0], [0.5], [1.0]])
    fake.requires_grad_()
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square() / 2

    penalty = gradient_penalty(critic, real, fake, share)
    assert seen[0].flatten().tolist() == [2.0, 3.5, 5.0]
    # The slope of x^2 / 2 is x.
    assert penalty.item() == pytest.approx((1.0 + 2.5 ** 2 + 4.0 ** 2) / 3, rel=1e-6)
    assert torch.autograd.grad(penalty, fake, allow_unused=True) == (None,), "the fakes stay as they are"


def test_gradient_penalty_of_a_flat_critic_is_one_and_breaks_nothing():
    w = torch.zeros(2, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ w, torch.randn(4, 2), torch.randn(4, 2), torch.rand(4, 1))
    assert penalty.item() == 1 and torch.autograd.grad(penalty, w)[0].isfinite().all()


def test_unknown_name_lists_what_there_is():
    with pytest.raises(GanlabError, match=r"no objective is called 'bce'; objectives: minimax, non-saturating"):
        get("bce")

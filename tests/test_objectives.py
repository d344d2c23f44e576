"""Adversarial objectives against closed forms."""

import math

import pytest
import torch

from ganlab.errors import GanlabError
from ganlab.objectives import OBJECTIVES, get

LOG2, LOG4 = math.log(2), math.log(4)


@pytest.mark.parametrize(("name", "logit", "d", "g"), [
    # Loss of D when both logits are equal, and of G at that logit, worked out by hand.
    ("minimax", 0.0, LOG4, -LOG2),
    ("non-saturating", 0.0, LOG4, LOG2),
    ("least-squares", 0.5, 0.25, 0.125),
    ("hinge", 0.0, 2.0, 0.0),
    ("wasserstein", 1.7, 0.0, -1.7),
])
def test_values_at_equal_logits(name, logit, d, g):
    objective = OBJECTIVES[name]
    logits = torch.full((5, 1), logit)
    assert objective.discriminator(logits, logits).item() == pytest.approx(d, abs=1e-6)
    assert objective.generator(logits).item() == pytest.approx(g, abs=1e-6)
    if objective.optimum is not None:
        assert objective.output(logits).mean().item() == pytest.approx(objective.optimum, abs=1e-6)


def test_every_objective_has_a_value_here():
    assert set(OBJECTIVES) == {"minimax", "non-saturating", "least-squares", "hinge", "wasserstein"}


P = torch.tensor([0.1, 0.4, 0.5, 0.0])
Q = torch.tensor([0.3, 0.2, 0.4, 0.1])


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


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "least-squares", "hinge"])
def test_training_d_on_two_known_distributions_finds_its_closed_form_optimum(name):
    p, q = P[:3] / P[:3].sum(), Q[:3] / Q[:3].sum()
    optimum = {"minimax": (p / q).log(), "non-saturating": (p / q).log(), "least-squares": p / (p + q),
               "hinge": (p - q).sign()}[name]
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


def test_unknown_name_lists_what_there_is():
    with pytest.raises(GanlabError, match=r"no objective is called 'bce'; objectives: minimax, non-saturating"):
        get("bce")

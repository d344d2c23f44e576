"""Measures against closed forms, and a judge that can tell good from bad."""

import pytest
import torch

from ganlab.data.images import Images
from ganlab.errors import GanlabError
from ganlab.metrics import Judge, frechet_distance, judge_samples, mode_coverage


def test_frechet_distance_of_two_normal_distributions():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40_000, 3, generator=generator) * torch.tensor([1.0, 2.0, 0.5])
    b = torch.randn(40_000, 3, generator=generator) * torch.tensor([1.0, 1.0, 2.0]) + torch.tensor([3.0, 0.0, 0.0])
    # With diagonal covariances: |difference of means|^2 + sum of (difference of standard deviations)^2.
    assert frechet_distance(a, b) == pytest.approx(9 + 0 + 1 + 1.5 ** 2, rel=0.02)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_frechet_distance_with_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(500, 4, generator=generator) @ torch.randn(4, 4, generator=generator) for _ in range(2))
    s, t = (torch.cov(x.double().T).numpy() for x in (a, b))
    expected = ((a.double().mean(0) - b.double().mean(0)).square().sum().item()
                + (s + t - 2 * sqrtm(s @ t).real).trace())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_mode_coverage_counts_modes_and_good_samples():
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    near = modes.repeat_interleave(25, 0) + 0.1
    assert mode_coverage(near, modes, radius=0.3) == (4, 1.0)
    assert mode_coverage(near[:50], modes, radius=0.3) == (2, 1.0)
    stray = torch.full((100, 2), 5.0)
    assert mode_coverage(torch.cat([near, stray]), modes, radius=0.3) == (4, 0.5)
    assert mode_coverage(stray, modes, radius=0.3) == (0, 0.0)
    one_lucky = torch.cat([near[:25].repeat(20, 1), near[25:26]])
    assert mode_coverage(one_lucky, modes, radius=0.3)[0] == 1, "a single lucky sample finds no mode"


@pytest.fixture(scope="module")
def judged(real_images):
    train, held_out = real_images.split(300)
    return Judge.trained_on(train, steps=250), train, held_out


def test_judge_reads_real_digits(judged):
    judge, _, held_out = judged
    assert judge.accuracy(held_out) > 0.85
    label, confidence, features = judge.read(held_out.floats())
    assert label.shape == confidence.shape == (300,) and features.shape == (300, 96)


def test_judge_prefers_real_images_to_noise_and_notices_collapse(judged):
    judge, train, held_out = judged
    real = held_out.floats()
    good = judge_samples(judge, train.floats()[:300], real)
    noise = judge_samples(judge, torch.rand(300, 1, 28, 28) * 2 - 1, real)
    collapsed = judge_samples(judge, train.floats()[:1].repeat(300, 1, 1, 1), real)
    assert good.frechet * 5 < min(noise.frechet, collapsed.frechet)
    assert good.shares.max() < 0.3 and collapsed.shares.max() == 1
    assert good.shares.sum() == pytest.approx(1) and good.count == 300


def test_judge_needs_labels_and_is_decided_by_its_seed(digits):
    with pytest.raises(GanlabError, match="needs labels"):
        Judge.trained_on(Images(digits.images))
    a, b = (Judge.trained_on(digits, steps=3, seed=1) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))

"""Measures against closed forms, and a judge that can tell good from bad."""

import dataclasses
import hashlib
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganlab import metrics
from ganlab.data.images import Images
from ganlab.errors import GanlabError
from ganlab.metrics import (
    Inception,
    Judge,
    frechet_distance,
    inception_score,
    judge_samples,
    kernel_distance,
    mode_coverage,
    precision_recall,
    score,
    score_by_count,
)


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


def test_frechet_distance_takes_the_unbiased_covariance_of_each_set():
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]])
    # Means 1 and 3, variances 2 and 4.
    assert frechet_distance(a, b) == pytest.approx((1 - 3) ** 2 + (2 ** 0.5 - 2) ** 2)


def test_kernel_distance_of_a_few_points():
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    # k(0, 1) + k(0, 2) - 2 * mean of k(0, 0), k(0, 2), k(1, 0), k(1, 2), and k(x, y) = (x y + 1)^3
    assert kernel_distance(a, b) == pytest.approx(1 + 1 - 2 * (1 + 1 + 1 + 27) / 4)
    # Divided by the number of features: k(x, x) = (2 / 2 + 1)^3; and in parts of a larger set, none of them different.
    x, y = torch.ones(2, 2), torch.zeros(2, 2)
    assert kernel_distance(x, y) == pytest.approx(8 + 1 - 2 * 1)
    assert kernel_distance(x.repeat(600, 1), y.repeat(550, 1)) == pytest.approx(7)
    a, b = torch.randn(2, 1100, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = kernel_distance(a, b)
    torch.manual_seed(2)
    assert kernel_distance(a, b) == first, "the parts are drawn alike each time"


def test_kernel_distance_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([kernel_distance(*torch.randn(2, 12, 3, generator=generator)) for _ in range(400)])
    error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 3 * error
    # With k(x, x) in the sums it would be 2 (E k(x, x) - E k(x, y)) / 12: with |x|^2 / 3 = 1 + e, E e^2 = 2/3 and
    # E e^3 = 8/9, E k(x, x) = E (2 + e)^3 = 116/9, and E k(x, y) = 1 + 3 E (x.y / 3)^2 = 2.
    assert 3 * error < 0.4 * 2 * (116 / 9 - 2) / 12


@pytest.mark.parametrize("shares, expected", [
    ([1] * 10, 10), ([1, 1] + [0] * 8, 2), ([1] + [0] * 9, 1),
    ([2, 1, 1] + [0] * 7, math.exp(1.5 * math.log(2)))])
def test_inception_score_of_a_sure_classifier_is_the_exponential_of_the_classes_entropy(shares, expected):
    labels = torch.arange(10).repeat_interleave(torch.tensor(shares) * 20)
    for certainty in (50.0, 5000.0):
        assert inception_score(certainty * F.one_hot(labels, 10).float()) == pytest.approx(expected)


def test_inception_score_of_an_indifferent_classifier_is_1_and_in_between_follows_the_formula():
    assert inception_score(torch.full((30, 10), 3.0)) == pytest.approx(1)
    assert math.isnan(inception_score(torch.zeros(30, 0)))
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    divergence = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert inception_score(p.log()) == pytest.approx(math.exp(divergence))


class TestPrecisionRecall:
    def test_identical_and_disjoint_sets(self):
        x = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
        assert precision_recall(x, x.clone()) == (1, 1)
        assert precision_recall(x, x + 1000) == (0, 0)

    def test_samples_that_keep_to_one_mode_are_precise_and_recall_half(self):
        mode = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
        real = torch.cat([mode, mode + 100])
        assert precision_recall(mode, real) == (1, 0.5)
        assert precision_recall(real, mode) == (0.5, 1)

    def test_on_a_line(self):
        real, samples = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[-0.5], [4.5], [5.5], [9.0]])
        # k = 1: balls of 1, 1, 2 around the real ones hold -0.5 and 4.5; of 5, 1, 1, 3.5 around the samples hold all.
        assert precision_recall(samples, real, 1) == (0.5, 1)
        # k = 2: balls of 3, 2, 3 hold 5.5 too.
        assert precision_recall(samples, real, 2) == (0.75, 1)

    def test_copies_cover_their_points_and_nothing_beside_them(self):
        for seed in range(30):  # how distances of 0 are rounded is a matter of luck
            points = torch.randn(30, 64, generator=torch.Generator().manual_seed(seed)) + 3
            assert precision_recall(points, points.repeat(6, 1)) == (1, 1)
        assert precision_recall(points + 0.01, points.repeat(6, 1)) == (0, 1)
        point = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)) + 10
        assert precision_recall(point.repeat(30, 1), point.repeat(40, 1)) == (1, 1)
        assert precision_recall(point.repeat(30, 1), point.repeat(40, 1) + 0.01) == (0, 0)

    def test_agrees_with_nearest_neighbours_of_sklearn_in_several_parts(self):
        from sklearn.neighbors import KDTree
        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn(3000, 3, generator=generator), 1.5 * torch.randn(2900, 3, generator=generator)
        found = []
        for points, by in ((a, b), (b, a)):
            radii = KDTree(by).query(by, k=4)[0][:, 3]
            inside = KDTree(points).query_radius(by, radii)
            found.append(len(set().union(*map(set, inside))) / len(points))
        assert precision_recall(a, b) == pytest.approx(found, abs=2e-3)
        assert found[0] > found[1] + 0.05


class Plain(nn.Module):
    """Points are their own features, and their first two values the logits of two classes."""

    def body(self, x):
        assert not torch.is_grad_enabled(), "features keep their graph"
        return x

    def head(self, features):
        return features[:, :2]


NAMES = ("inception_score", "fid", "kid", "precision", "recall")


class TestScore:
    def test_standard_errors_are_those_of_repeated_measurements_and_the_bias_goes(self):
        generator = torch.Generator().manual_seed(0)
        drawn = []
        for _ in range(30):
            a, b = torch.randn(2, 120, 8, generator=generator)
            a[:, 0] += 1
            a[:, 1] *= 2
            drawn.append(score(a, b, Plain(), repeats=8))
        for name in NAMES:
            spread = torch.tensor([getattr(s, name) for s in drawn]).std()
            claimed = torch.tensor([s.errors[name] for s in drawn]).mean()
            assert 0.6 < claimed / spread < 1.6, name
        truth = 1 + (2 - 1) ** 2
        fid, infinite = (sum(getattr(s, n) for s in drawn) / 30 for n in ("fid", "fid_infinity"))
        assert fid > truth + 0.3 and abs(infinite - truth) < 0.35 * (fid - truth)

    def test_by_count_the_fid_falls_and_the_kid_stays(self):
        a, b = torch.randn(2, 800, 10, generator=torch.Generator().manual_seed(0))
        few, some, many = score_by_count(a, b, Plain(), [25, 100, 400], repeats=12)
        assert few.fid > 2 * some.fid > 4 * many.fid
        assert all(abs(s.kid) < 3 * s.errors["kid"] for s in (few, some, many))
        assert few.errors["kid"] > 2 * many.errors["kid"] and few.errors["fid"] > 2 * many.errors["fid"]
        assert [s.count for s in (few, some, many)] == [s.real for s in (few, some, many)] == [25, 100, 400]
        with pytest.raises(GanlabError, match="at most half of them, 400"):
            score_by_count(a, b, Plain(), [401])

    def test_says_its_counts(self):
        x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
        found = score(x, x[:15], Plain(), repeats=0)
        assert (found.count, found.real, found.errors) == (20, 15, {}) and math.isnan(found.fid_infinity)
        assert "20 samples, 15 real" in str(found)
        assert "±" not in str(found) and "±" in str(score(x, x, Plain(), repeats=2))

    def test_any_module_gives_features_and_is_left_as_it_was(self):
        images = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.Dropout())
        torch.manual_seed(3)
        first = score(images[:12], images[12:], net, repeats=2)
        again = score(images[:12], images[12:], net, repeats=2, batch_size=5)
        assert net.training and all(layer.training for layer in net) and net[1].weight.grad is None
        assert net[2].num_batches_tracked == 0
        assert first.fid == pytest.approx(again.fid) and first.errors == pytest.approx(again.errors, nan_ok=True)
        assert math.isnan(first.inception_score)
        drawn = torch.rand(1)
        torch.manual_seed(3)
        assert torch.equal(drawn, torch.rand(1)), "the global random stream moved on"

    def test_refuses_what_cannot_be_compared(self):
        x = torch.zeros(10, 1, 8, 8)
        flat = nn.Flatten()
        with pytest.raises(GanlabError, match="bring both to one shape"):
            score(x, torch.zeros(10, 1, 9, 9), flat)
        with pytest.raises(GanlabError, match="N x d"):
            score(x, x, nn.Identity())
        with pytest.raises(GanlabError, match="nan or infinite"):
            score(x * math.nan, x, flat)
        with pytest.raises(GanlabError, match="too few"):
            score(x[:7], x[:7], flat)
        assert score(x[:4], x[:4], flat, repeats=0).precision == 1


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """The network with random weights, from a file that passes for the real one."""
    from torchvision.models.inception import Inception3
    path: Path = tmp_path_factory.mktemp("inception") / metrics.INCEPTION.name
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict(), path)
        patch.setattr(metrics, "INCEPTION", dataclasses.replace(
            metrics.INCEPTION, bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        yield Inception(path.parent)


class TestInception:
    def test_without_weights_it_says_what_to_do(self, tmp_path, monkeypatch):
        with pytest.raises(GanlabError, match="(?s)inception-2015-12-05.*is missing.*Download.*Without them.*Judge"):
            Inception(tmp_path)
        (tmp_path / metrics.INCEPTION.name).write_bytes(b"<html>quota</html>")
        with pytest.raises(GanlabError, match="a web page"):
            Inception(tmp_path)
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path / "sets"))
        with pytest.raises(GanlabError, match="sets.inception.weights"):
            Inception()

    def test_has_2048_features_and_1008_classes_of_any_size_and_channels(self, inception):
        images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
        features = inception.body(images)
        assert features.shape == (2, 2048) and not features.requires_grad
        assert torch.allclose(features, inception.body(images.repeat(1, 3, 1, 1)))
        assert torch.equal(inception(images), features @ inception.head.weight.T)
        assert inception(torch.zeros(1, 3, 40, 20)).shape == (1, 1008)
        assert not inception.training

    def test_resizes_as_tensorflow_did(self):
        only_resized = SimpleNamespace(net=nn.Identity())
        ramp = torch.arange(26.0) * 10
        images = (ramp[:, None] / 127.5 - 1).expand(1, 3, 26, 26)
        expected = (10 * torch.arange(299) * 26 / 299).clamp(max=250)
        for x in (Inception.body(only_resized, images), Inception.body(only_resized, images.mT).mT):
            assert x.shape == (1, 3, 299, 299)
            assert torch.allclose(x * 128 + 128, expected[:, None].expand(299, 299), atol=1e-3)

    def test_pools_as_tensorflow_did(self, inception):
        names = [name for name, block in inception.net.named_children() if hasattr(block, "branch_pool")]
        assert names == ["Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
                         "Mixed_7b", "Mixed_7c"]
        for name in names:
            block = getattr(inception.net, name)
            x = torch.rand(1, block.branch_pool.conv.in_channels, 5, 5, generator=torch.Generator().manual_seed(0))
            count = F.avg_pool2d(torch.ones(1, 1, 5, 5), 3, 1, 1)
            pooled = F.max_pool2d(x, 3, 1, 1) if name == "Mixed_7c" else F.avg_pool2d(x, 3, 1, 1) / count
            assert torch.allclose(block(x)[:, -block.branch_pool.conv.out_channels:], block.branch_pool(pooled),
                                  atol=1e-5), name


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
    return Judge.trained_on(train, steps=400), train, held_out


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


def test_scores_in_the_judge_s_features_see_noise_and_collapse(digits):
    # Always the embedded digits: so short a training makes a judge of them sure, and one of MNIST not yet.
    train, held_out = digits.split(300)
    judge = Judge.trained_on(train, steps=250)
    real = held_out.floats()
    good = score(train.floats()[:300], real, judge)
    noise = score(torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1, real, judge)
    three = score(train.floats()[train.labels < 3][:150].repeat(2, 1, 1, 1), real, judge)
    assert good.fid == pytest.approx(judge_samples(judge, train.floats()[:300], real).frechet)
    assert 5 < good.inception_score <= 10 and three.inception_score < 3.5 and noise.inception_score < 3
    assert noise.precision < 0.2 and three.precision > 0.5
    assert good.recall > 0.6 and three.recall < 0.5 and noise.recall < 0.2
    for bad in (noise, three):
        assert bad.fid - good.fid > 5 * bad.errors["fid"] and bad.kid - good.kid > 5 * bad.errors["kid"]


def test_judge_needs_labels_and_is_decided_by_its_seed(digits):
    with pytest.raises(GanlabError, match="needs labels"):
        Judge.trained_on(Images(digits.images))
    a, b = (Judge.trained_on(digits, steps=3, seed=1) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))

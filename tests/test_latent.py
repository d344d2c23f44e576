"""Codes, maps and paths."""

import pytest
import torch

from ganlab import latent, models
from ganlab.errors import GanlabError


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


def test_tsne_of_too_few_points_is_a_clear_error():
    with pytest.raises(GanlabError, match="t-SNE of 10 codes needs a perplexity below that"):
        latent.tsne(torch.randn(10, 3))

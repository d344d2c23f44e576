"""Sets in memory, the embedded digits, and conversions."""

from unittest import mock

import pytest
import torch

from ganlab import data
from ganlab.data.images import Images, as_dataset, fingerprint, mix, send, to_float, to_uint8
from ganlab.errors import DataError


def test_digits_are_the_published_ones():
    everything = data.load("digits", split="all")
    assert everything.images.shape == (1797, 1, 28, 28) and everything.images.dtype == torch.uint8
    # Class counts of scikit-learn's description of the set.
    assert torch.bincount(everything.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_use_the_whole_range_and_show_white_on_black():
    images = data.load("digits", split="all").floats()
    assert images.min() < -0.97 and images.max() > 0.97
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]])
    assert border.mean() < -0.95 < images[..., 8:20, 8:20].mean()


def test_digits_keep_what_the_small_scans_show():
    from sklearn.datasets import load_digits
    small = torch.from_numpy(load_digits().data).float()
    large = data.load("digits", split="all").images.float().flatten(1)
    small, large = (x / x.norm(dim=1, keepdim=True) for x in (small, large))
    for i in range(0, 1797, 100):
        same = large @ large[i] > (large @ large[i]).kthvalue(1792).values
        near = (small @ small[i]).topk(200).indices
        assert set(same.nonzero().flatten().tolist()) <= set(near.tolist()), "neighbours stay neighbours"


def test_splits_do_not_overlap_and_are_always_the_same():
    train, test = data.load("digits"), data.load("digits", split="test")
    assert (len(train), len(test)) == (1497, 300)
    assert torch.equal(train.images, data.load("digits").images)
    rows = torch.cat([train.images, test.images]).flatten(1)
    assert len(rows.unique(dim=0)) == len(data.load("digits", split="all").images.flatten(1).unique(dim=0))
    with pytest.raises(DataError, match="'valid'"):
        data.load("digits", split="valid")


def test_conversion_there_and_back_is_exact():
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(values)), values)
    assert (to_float(values).min(), to_float(values).max()) == (-1, 1)
    assert torch.equal(to_uint8(torch.tensor([-9.0, 9.0])), torch.tensor([0, 255], dtype=torch.uint8))
    points = torch.randn(3, 2)
    assert torch.equal(to_float(points), points)


def test_parts_have_no_spec_and_keep_labels_with_images():
    everything = data.load("digits")
    rest, held_out = everything.split(97, seed=3)
    assert (len(rest), len(held_out)) == (1400, 97) and rest.spec == held_out.spec == everything.subset(5).spec == {}
    assert torch.equal(rest.fetch(torch.tensor([5]))[1], rest.labels[5:6])
    with pytest.raises(DataError, match="cannot hold 1497 images out of 1497"):
        everything.split(1497)


def test_fingerprint_tells_sets_apart():
    a, b = data.load("digits"), data.load("digits", split="test")
    assert fingerprint(a) == fingerprint(data.load("digits")) != fingerprint(b)
    changed = Images(a.images.clone())
    changed.images[0] += 1
    assert fingerprint(changed)["sum"] != fingerprint(a)["sum"]


def test_neighbouring_seeds_give_different_streams():
    assert len({mix(a, b) for a in range(30) for b in range(30)}) == 900
    assert mix(1, 2) != mix(2, 1) and mix(0) == mix(0) and 0 <= mix(-1, 5) < 2 ** 63


def test_a_tensor_is_a_data_set():
    images = as_dataset(torch.zeros(4, 1, 8, 8))
    assert images.images.dtype == torch.uint8 and images.shape == (1, 8, 8)
    with pytest.raises(DataError, match=r"must lie in \[-1, 1\], these go from 0 to 255"):
        as_dataset(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1))
    points = as_dataset(torch.randn(4, 2, dtype=torch.float64))
    assert points.images.dtype == torch.float32 and points.shape == (2,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 2)])
def test_a_tensor_that_is_not_finite_is_refused_and_can_be_mended_as_told(shape, value):
    broken = torch.zeros(shape)
    broken[1].view(-1)[0] = value
    with pytest.raises(DataError, match=r"NaN or infinite; leave out .*: data\[data\.flatten\(1\)\.isfinite"):
        as_dataset(broken)
    assert len(as_dataset(broken[broken.flatten(1).isfinite().all(1)])) == 3


@pytest.mark.parametrize("empty", [torch.empty(0, 1, 8, 8), torch.empty(0, 2), torch.empty(0, 1, 8, 8).byte()])
def test_an_empty_tensor_is_refused(empty):
    with pytest.raises(DataError, match=r"shape \(0, .* holds no data; give N x C x H x W"):
        as_dataset(empty)


def test_values_go_to_a_gpu_without_a_wait_and_elsewhere_as_ever():
    values = mock.Mock(device=torch.device("cpu"))
    assert send(values, "cuda:1") is values.pin_memory.return_value.to.return_value
    values.pin_memory.return_value.to.assert_called_once_with("cuda:1", non_blocking=True)
    values.to.assert_not_called()
    there = mock.Mock(device=torch.device("cuda", 0))
    send(there, "cpu")
    there.pin_memory.assert_not_called()
    x = torch.arange(3)
    assert send(x, "cpu") is x

"""The drawn sets: what they promise, and that they can be learned from."""

import pytest
import torch

from ganlab.data import drawn
from ganlab.errors import DataError

SETS = {"fronts": drawn.fronts, "fruit": drawn.fruit, "faces": drawn.faces}


@pytest.mark.parametrize("name", SETS)
def test_shapes_and_names(name):
    d = SETS[name]("test", 32)
    for side in (d.a, d.b):
        assert side.images.shape == (100, 3, 32, 32) and side.images.dtype == torch.uint8
        assert all(len(values) == 100 for values in side.truth.values())
    assert d.paired == (name == "fronts") and d.spec == {"name": name, "split": "test", "size": 32}


@pytest.mark.parametrize("name", SETS)
def test_bad_requests_are_explained(name):
    with pytest.raises(DataError, match="'valid'"):
        SETS[name]("valid")
    with pytest.raises(DataError, match="not 31"):
        SETS[name](size=31)

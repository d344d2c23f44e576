"""Few threads that do not spin, and the data that several tests train on."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """The embedded digits, training part."""
    from ganlab import data
    return data.load("digits")


@pytest.fixture(scope="session")
def real_images():
    """2,000 real MNIST images where GANLAB_DATA has them, else the embedded digits: the same tests run on either."""
    from ganlab import data
    if (data.root() / "mnist" / "t10k-images-idx3-ubyte.gz").exists():
        return data.load("mnist", split="test").subset(2000)
    return data.load("digits", split="all")

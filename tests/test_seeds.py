"""PyTorch's own streams, which all of a process share."""

import threading

import pytest
import torch

from ganlab import models
from ganlab.seeds import seeded
from ganlab.training import Training


def test_within_it_numbers_follow_from_the_seed_and_after_it_nothing_has_happened():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(1):
        inside = torch.rand(3)
        with seeded(2):
            torch.rand(5)
        inside = torch.cat([inside, torch.rand(3)])
    assert torch.equal(torch.rand(3), expected)
    with seeded(1):
        assert torch.equal(torch.rand(6), inside)


def test_an_error_gives_the_streams_back_too():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with pytest.raises(KeyError), seeded(1):
        raise KeyError
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture
def held():
    """Another thread that is within `seeded`, until it is told to leave; then it must have drawn what it should."""
    inside, leave, drawn = threading.Event(), threading.Event(), []

    def hold():
        with seeded(3):
            inside.set()
            leave.wait(60)
            drawn.append(torch.rand(4))
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)

    def end():
        leave.set()
        thread.join(60)
        with seeded(3):
            assert torch.equal(drawn[0], torch.rand(4))
    yield end
    leave.set()


def test_first_weights_wait_for_their_turn(held):
    made = []
    other = threading.Thread(target=lambda: made.append(models.create("gan", hidden=(8,), seed=4)))
    other.start()
    other.join(0.3)
    assert not made
    held()
    other.join(60)
    assert torch.equal(*(next(m.parameters()) for m in (made[0], models.create("gan", hidden=(8,), seed=4))))


@pytest.fixture
def trainings(digits):
    small = {"shape": digits.shape, "hidden": (8, 8), "latent": 4}
    return [Training(model, digits, batch_size=8, device="cpu")
            for model in (models.GAN(**small), models.CGAN(**small, classes=10))]


def test_a_step_with_dropout_waits_for_its_turn_and_one_without_does_not(trainings, held):
    plain, dropping = trainings
    plain.run(1, progress=False)
    dropping.start(1)
    dropping._thread.join(0.3)
    assert not dropping.step
    held()
    dropping._thread.join(60)
    assert dropping.step == 1

"""Exchanges of time and memory that change no result."""

import functools

import pytest
import torch
from torch import nn

from ganlab import compute
from ganlab.errors import GanlabError
from ganlab.training import Training
from tests.models.test_models import data_for, small


def train(name, digits, steps=3, **how):
    model = small(name)
    return Training(model, data_for(model, digits), batch_size=4, device="cpu", log_every=1, **how).run(steps, False)


@pytest.mark.parametrize("name", ["ugatit", "cyclegan", "pix2pix", "gan", "vae"])
def test_running_networks_again_changes_no_bit(name, digits):
    plain, again = train(name, digits), train(name, digits, recompute=True)
    for (key, value), other in zip(plain.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    histories = [training.history.frame().drop(columns="images/s") for training in (plain, again)]
    assert histories[0].equals(histories[1])


def held(model, batch):
    """Bytes that a generator's turn keeps for its gradient."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    model.discriminator.requires_grad_(False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        terms = model.generator_terms(model.play(*batch))
    del terms
    return sum(size for place, size in kept.items() if place not in parameters)


@pytest.mark.parametrize("name", ["ugatit", "cyclegan"])
def test_far_less_is_kept_in_memory(name, digits):
    batch = [torch.rand(2, *small(name).config["shape"]) for _ in range(2)]
    plain, again = small(name), small(name)
    compute.recompute(again)
    assert held(again, batch) < held(plain, batch) / 2


def test_networks_that_remember_are_left_alone_and_a_model_of_nothing_else_refused():
    ugatit = small("ugatit")
    compute.recompute(ugatit)
    assert all("forward" in vars(network) for network in ugatit.generator.values())
    assert not any("forward" in vars(network) for network in ugatit.discriminator.values())
    with pytest.raises(GanlabError, match="recompute would do nothing for dcgan"):
        compute.recompute(small("dcgan"))


def test_what_was_trained_so_goes_on_without_and_the_other_way_round(digits, tmp_path):
    whole = train("cyclegan", digits, 4)
    train("cyclegan", digits, 2, recompute=True).save(tmp_path / "run.pt")
    for choice in (False, True):
        rest = Training.restore(tmp_path / "run.pt", whole.data, device="cpu", recompute=choice).run(2, False)
        assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["gan", "dcgan", "wgangp", "cyclegan"])
def test_compiled_networks_learn_the_same(name, digits, monkeypatch):
    # All of torch.compile but its last stage, which needs a C++ compiler and minutes.
    calls = []

    def record(graph, inputs):
        calls.append(graph)
        return make_boxed_func(graph)

    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(
        nn.Module.compile, backend=aot_autograd(fw_compiler=record)))
    plain, compiled = train(name, digits), train(name, digits, compile=True)
    assert calls
    for a, b in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)

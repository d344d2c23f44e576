"""Exchanges of time and memory that change no result."""

import contextlib
import copy
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlab import compute
from ganlab.errors import GanlabError
from ganlab.training import Training
from tests.models.test_models import SMALL, data_for, small


def train(name, digits, steps=3, **how):
    model = small(name)
    return Training(model, data_for(model, digits), batch_size=4, device="cpu", log_every=1, **how).run(steps, False)


def equal(one, other):
    for (key, value), expected in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(value, expected), key
    histories = [training.history.frame().drop(columns="images/s") for training in (one, other)]
    assert histories[0].equals(histories[1])


@pytest.mark.parametrize("name", ["ugatit", "cyclegan", "pix2pix", "gan", "vae"])
def test_running_networks_again_changes_no_bit(name, digits):
    equal(train(name, digits), train(name, digits, recompute=True))


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
    translated = []

    def translate(forward):
        graphs = []

        def record(graph, inputs):
            graphs.append(graph)
            return make_boxed_func(graph)

        translated.append(graphs)
        return true_compile(forward, backend=aot_autograd(fw_compiler=record))

    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    true_compile = torch.compile
    monkeypatch.setattr(torch, "compile", translate)
    # Networks of one class share what has been translated, but for the last stages here, one to each network.
    with torch._dynamo.config.patch(recompile_limit=100):
        plain, compiled = train(name, digits), train(name, digits, compile=True)
    assert len(translated) == {"gan": 2, "dcgan": 2, "wgangp": 1, "cyclegan": 4}[name]
    assert all(translated), "a network was never translated"
    for a, b in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


class Tape(TorchDispatchMode):
    """A CUDA graph without CUDA: notes every operation within it, undoes what they did, and can make them again, in the
    same memory and with the Python around them left out."""

    def __init__(self):
        super().__init__()
        self.calls, self.before, self.made, self.streams = [], {}, set(), [torch.default_generator]

    def register_generator_state(self, rng):
        self.streams.append(rng)

    def __enter__(self):
        self.states = [rng.get_state() for rng in self.streams]
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for x in filter(torch.is_tensor, tree_leaves((args, kwargs))):
            place = x.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                self.before[place] = x.untyped_storage(), x.untyped_storage().clone()
        out = function(*args, **(kwargs or {}))
        self.made |= {x.untyped_storage().data_ptr() for x in filter(torch.is_tensor, tree_leaves(out))} - \
            self.before.keys()
        self.calls.append((function, args, kwargs or {}, out))
        return out

    def __exit__(self, *error):
        super().__exit__(*error)
        for storage, content in self.before.values():
            storage.copy_(content)
        for rng, state in zip(self.streams, self.states, strict=True):
            rng.set_state(state)

    def replay(self):
        with torch.no_grad():
            for function, args, kwargs, out in self.calls:
                for old, new in zip(tree_leaves(out), tree_leaves(function(*args, **kwargs)), strict=True):
                    if torch.is_tensor(old) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)


@pytest.fixture
def tapes(monkeypatch):
    """`compute.Graphs` on the CPU: recorded steps are made again from a tape."""
    stream = mock.Mock()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda tape, pool, stream, **_: tape)
    monkeypatch.setattr(compute.Graphs, "warm", 1)


def recording(name, digits, tapes=True, **how):
    model = small(name)
    # A rate that float32 holds exactly, as all that the decay of the tests below makes of it: then no bit may differ.
    training = Training(model, data_for(model, digits), batch_size=4, device="cpu", learning_rate=2 ** -12, log_every=1,
                        **how)
    if tapes:
        training._graphs = compute.Graphs(training._rng, training._no_gradients)
    return training


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"wgan"}))  # RMSprop on a CPU reads its rate as a number
def test_steps_that_are_recorded_are_the_steps_they_were(name, digits, tapes):
    steps = 11 if name == "wgangp" else 6
    recorded, plain = (recording(name, digits, choice, decay=(4, 20)).run(steps, False) for choice in (True, False))
    assert 1 <= len(recorded._graphs._graphs) <= 2
    equal(recorded, plain)


@pytest.mark.parametrize("name", ["gan", "wgangp", "cyclegan", "ugatit"])
def test_what_is_changed_by_hand_reaches_recorded_steps(name, digits, tapes):
    trainings = [recording(name, digits, choice) for choice in (True, False)]
    for training in trainings:
        last = list(training.weights)[-1]
        for weight in (None, 0.25, 0.0, 2.0):
            if weight is not None:
                training.weights[last] = weight
                training.learning_rates["generator"] = 2 ** -12 * (1 + weight)
            training.run(3, False)
        if "objective" in training.rules:
            training.rules["objective"] = "least-squares"
            training.run(3, False)
        training.turn("generator").run(2, False)
    equal(*trainings)


def test_an_earlier_state_is_not_overwritten_by_what_was_recorded_after_it(digits, tapes, tmp_path):
    recorded, plain = (recording("gan", digits, choice) for choice in (True, False))
    recorded.run(8, False).save(tmp_path / "run.pt")
    recorded.run(4, False).load(tmp_path / "run.pt")
    equal(recorded.run(8, False), plain.run(16, False))
    again = Training.restore(tmp_path / "run.pt", device="cpu").run(8, False)
    equal(again, plain)


def test_only_so_many_kinds_of_steps_are_kept(digits, tapes, monkeypatch):
    monkeypatch.setattr(compute.Graphs, "kept", 3)
    training = recording("ugatit", digits)
    for i in range(5):
        for k, name in enumerate(training.weights):
            training.weights[name] = float(i == k)
        training.run(2, False)
    assert len(training._graphs._graphs) == 3


def test_recordings_share_their_memory_and_begin_without_gradients(digits, tapes, monkeypatch):
    pools, training = [], recording("gan", digits)

    def graph(tape, pool, stream, **_):
        pools.append(pool)
        assert all(p.grad is None for p in training.model.parameters())
        return tape
    monkeypatch.setattr(torch.cuda, "graph", graph)
    training.run(3, False)
    training.weights["adversarial"] = 0.0
    training.run(3, False)
    training.weights["adversarial"] = 2.0
    training.rules["objective"] = "hinge"
    training.run(3, False)
    assert len(pools) == 3
    assert len(set(pools)) == 1
    training._graphs.clear()  # a pool whose graphs are gone cannot be used again
    training.run(2, False)
    assert len(set(pools)) == 2


def test_a_thread_that_has_run_no_step_records_none(digits, tapes):
    training = recording("gan", digits).run(1, False)
    training.start(1)
    training._thread.join()
    assert training.step == 2
    assert not training._graphs._graphs
    training.run(1, False)
    assert len(training._graphs._graphs) == 1


def test_what_cannot_be_recorded_is_refused(digits):
    with pytest.raises(GanlabError, match="compile='graphs' needs one NVIDIA GPU"):
        recording("gan", digits, False, compile="graphs")
    with pytest.raises(GanlabError, match="compile must be False, True or 'graphs', not 'all'"):
        recording("gan", digits, False, compile="all")


def test_a_model_trained_twice_recomputes_once(digits):
    model = small("vae")
    for _ in range(2):
        compute.recompute(model)
    assert all("forward" in vars(part) for part in model.autoencoder.children())
    with mock.patch.object(compute, "checkpoint", wraps=compute.checkpoint) as asked:
        model.rng = torch.Generator().manual_seed(0)
        model.play(torch.rand(4, 1, 28, 28))
    assert asked.call_count == 2


def test_a_copy_of_a_recomputing_model_runs_its_own_networks(digits):
    model = small("ugatit")
    compute.recompute(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.generator.parameters():
            p.zero_()
    x = torch.rand(1, 3, 32, 32)
    assert twin.translate(x).abs().max() == 0
    assert model.translate(x).abs().max() > 0

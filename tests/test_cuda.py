"""What only a GPU can show: steps recorded as CUDA graphs are the steps they were, and nothing waits for the device."""

import copy
import math
import threading

import pytest
import torch

from ganlab.training import Training
from tests.models.test_models import SMALL, data_for, small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")

# Adam moves every weight by about this much in every step. So little leaves losses the same within rounding, which
# convolutions on a GPU do not repeat bit by bit, while weights still tell who has moved and by how much.
RATE = 1e-5


def build(name, digits, **how):
    model = small(name)
    return Training(model, data_for(model, digits), **{"batch_size": 8, "device": "cuda", "learning_rate": RATE,
                                                      "log_every": 1, "compile": "graphs", **how})


def moves(training, before):
    """How far every parameter has gone, as one vector in float64."""
    return torch.cat([(p.detach().double() - q.double().to(p.device)).flatten()
                      for p, q in zip(training.model.parameters(), before, strict=True)])


# How far moves may differ, over their length; of unrelated moves it is about 1.4. Adam makes a whole step of a gradient
# that is nothing but rounding, and attention has many: noise of a millionth of a player's largest gradient, added on a
# CPU, gave 0.18 for U-GAT-IT and at most 0.05 for the others.
SHARES = {"ugatit": 0.4}


def same(one, other, before):
    """Both trainings have seen the same losses, and gone the same way."""
    share = SHARES.get(one.model.name, 0.1)
    for row, expected in zip(one.history.rows, other.history.rows, strict=True):
        assert row.keys() == expected.keys()
        for name in row.keys() - {"images/s"}:
            assert row[name] == pytest.approx(expected[name], rel=5e-3, abs=5e-4), (row["step"], name)
    a, b = moves(one, before), moves(other, before)
    assert b.norm() > 0
    assert (a - b).norm() < share * b.norm()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_recorded_steps_are_the_steps_they_were(name, digits):
    recorded, plain = build(name, digits), build(name, digits, compile=False)
    before = [p.detach().clone() for p in plain.model.parameters()]
    recorded.run(12, False)
    plain.run(12, False)
    assert recorded._graphs._graphs
    assert plain._graphs is None
    same(recorded, plain, before)
    for (key, a), b in zip(recorded.model.named_buffers(), plain.model.buffers(), strict=True):
        assert torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-2), key


@pytest.mark.parametrize("name", ["gan", "cyclegan"])
def test_translated_networks_learn_the_same(name, digits):
    translated, plain = build(name, digits, compile=True), build(name, digits, compile=False)
    before = [p.detach().clone() for p in plain.model.parameters()]
    same(translated.run(12, False), plain.run(12, False), before)


@pytest.mark.parametrize("name", ["gan", "wgangp", "cyclegan", "ugatit"])
def test_what_is_changed_by_hand_reaches_recorded_steps(name, digits):
    trainings = [build(name, digits, compile=choice) for choice in ("graphs", False)]
    before = [p.detach().clone() for p in trainings[1].model.parameters()]
    for training in trainings:
        training.run(6, False)
        training.weights["adversarial"] = 0.25
        training.learning_rates["generator"] = 3 * RATE
        training.run(6, False)
        last = list(training.weights)[-1]
        training.weights[last] = 0.0
        training.run(6, False)
        training.weights[last] = 2.0
        if "objective" in training.rules:
            training.rules["objective"] = "least-squares"
        training.run(6, False)
        training.turn("generator")
    same(*trainings, before)


def test_a_learning_rate_of_zero_stops_a_player_that_has_been_recorded(digits):
    training = build("gan", digits).run(8, False)
    training.learning_rates["generator"] = 0.0
    before = copy.deepcopy(training.model.state_dict())
    training.run(8, False)
    after = training.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("generator"))
    assert not any(torch.equal(before[key], after[key]) for key in before if key.startswith("discriminator"))


@pytest.mark.parametrize("name", ["gan", "wgan", "pix2pix", "ugatit"])
def test_a_run_goes_on_from_its_checkpoint_here_and_on_the_cpu(name, digits, tmp_path):
    whole, part = build(name, digits), build(name, digits)
    before = [p.detach().clone() for p in whole.model.parameters()]
    whole.run(12, False)
    part.run(6, False).save(tmp_path / "run.pt")
    restored = Training.restore(tmp_path / "run.pt", part.data, device="cuda", compile="graphs").run(6, False)
    same(restored, whole, before)
    part.run(3, False).load(tmp_path / "run.pt")
    same(part.run(6, False), whole, before)
    on_cpu = Training.restore(tmp_path / "run.pt", data_for(part.model, digits), device="cpu").run(2, False)
    assert on_cpu.step == 8
    on_cpu.save(tmp_path / "run.pt")
    back = Training.restore(tmp_path / "run.pt", part.data, device="cuda", compile="graphs").run(6, False)
    assert all(p.isfinite().all() for p in back.model.parameters())


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("recorded", [True, False])
def test_no_step_waits_for_the_device(name, recorded, digits):
    training = build(name, digits, compile=recorded and "graphs", log_every=1000).run(8, False)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(6):
            training._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", sorted(SMALL))
def test_half_precision_learns_too(name, digits):
    for precision in ("bf16", "fp16"):
        training = build(name, digits, precision=precision, compile=precision == "bf16" and "graphs").run(8, False)
        assert all(p.isfinite().all() for p in training.model.parameters()), precision
        assert all(p.dtype == torch.float32 for p in training.model.parameters())


@pytest.mark.parametrize("name", ["ugatit", "cyclegan"])
def test_recomputed_steps_are_recorded_too(name, digits):
    again, plain = build(name, digits, recompute=True), build(name, digits, compile=False)
    before = [p.detach().clone() for p in plain.model.parameters()]
    again.run(8, False)
    assert again._graphs._graphs
    same(again, plain.run(8, False), before)


def test_a_background_run_is_recorded_while_another_thread_looks(digits):
    training, looked, end = build("dcgan", digits), [], threading.Event()

    def look():
        while not end.is_set():
            looked.append(training.model.sample(16, seed=0).mean().item())
            torch.empty(1 << 20, device="cuda").fill_(1).sum().item()

    thread = threading.Thread(target=look)
    thread.start()
    training.start(60)
    training.wait()
    end.set()
    thread.join()
    assert training.step == 60
    assert looked
    assert all(map(math.isfinite, looked))


def test_many_kinds_of_steps_do_not_pile_up(digits):
    training = build("ugatit", digits)
    for i in range(2 ** len(training.weights)):
        for k, name in enumerate(training.weights):
            training.weights[name] = 1.0 if i >> k & 1 else 0.0
        training.run(5, False)
    assert len(training._graphs._graphs) == training._graphs.kept

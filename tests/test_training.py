"""The training loop: repeatable, steerable, interruptible, and honest about what goes wrong."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlab import models
from ganlab.data.images import Batches, Images
from ganlab.errors import DataError, GanlabError, NotFinite, OutOfMemory
from ganlab.history import History, Intervention
from ganlab.training import Training, choose_device


def gan(**config):
    return models.create("gan", **{"hidden": (32,), "latent": 8, **config})


def training(data, model=None, **arguments) -> Training:
    return Training(model or gan(), data, **{"batch_size": 16, "device": "cpu", **arguments})


def weights(t: Training, player: str = "") -> dict[str, torch.Tensor]:
    return {n: value.clone() for n, value in t.model.state_dict().items() if n.startswith(player)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def wait_until(condition, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.002)


# ---- what decides a run ----------------------------------------------------------------------------------------


def test_same_seed_same_weights_whatever_else_draws_random_numbers(digits):
    a = training(digits, seed=5).run(12, progress=False)
    torch.manual_seed(99)
    torch.randn(1000)
    b = training(digits, seed=5)
    for _ in range(12):
        b.run(1, progress=False)
        torch.randn(7)
    assert same(weights(a), weights(b))
    assert not same(weights(a), weights(training(digits, seed=6).run(12, progress=False)))


def test_dropout_is_seeded_too_and_leaves_the_global_stream_alone(digits):
    def run() -> dict[str, torch.Tensor]:
        model = gan()
        model.discriminator.append(nn.Dropout(0.5))
        before = torch.get_rng_state()
        t = training(digits, model).run(5, progress=False)
        assert torch.equal(before, torch.get_rng_state())
        return weights(t)
    torch.manual_seed(1)
    a = run()
    torch.manual_seed(2)
    assert same(a, run())


def test_sampling_without_a_seed_follows_pytorchs_stream_also_after_training(digits):
    model = training(digits).run(2, progress=False).model
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(model.sample(2))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_every_epoch_goes_through_the_whole_set_in_a_new_order():
    points = torch.arange(20.0)[:, None]
    batches = Batches(Images(points), 5, torch.device("cpu"), seed=0)
    epochs = [torch.cat([batches[s][0] for s in range(e * 4, e * 4 + 4)]).flatten() for e in range(3)]
    assert all(torch.equal(e.sort().values, points.flatten()) for e in epochs)
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])
    assert torch.equal(batches[6][0], Batches(Images(points), 5, torch.device("cpu"), seed=0)[6][0])


def test_processes_share_a_batch_without_repetition():
    points = torch.arange(40.0)[:, None]
    parts = [Batches(Images(points), 8, torch.device("cpu"), 3, (rank, 2))[1][0] for rank in (0, 1)]
    whole = Batches(Images(points), 8, torch.device("cpu"), 3)[1][0]
    assert torch.equal(torch.cat(parts).sort(0).values, whole.sort(0).values)
    model = gan()
    model.rng = torch.Generator().manual_seed(0)
    noise = model.noise(8, 3)
    for rank in (0, 1):
        model.share, model.rng = (rank, 2), torch.Generator().manual_seed(0)
        assert torch.equal(model.noise(4, 3), noise[rank::2])


# ---- steering ---------------------------------------------------------------------------------------------------


def test_a_weight_scales_the_gradient_of_its_term_from_the_next_step_on(digits):
    t = training(digits, gan(weights={"adversarial": 0.0}))
    before = weights(t)
    t.run(5, progress=False)
    assert same(before, weights(t)), "a weight of 0 must not move anybody"
    t.weights["adversarial"] = 1.0
    t.run(1, progress=False)
    assert not same(before, weights(t))
    assert t.interventions == [Intervention(5, "weights", "adversarial", 1.0)]


def test_a_player_none_of_whose_terms_counts_stands_still(digits):
    """Neither momentum nor weight decay moves it; what it would have minimised is still recorded."""
    t = training(digits).run(3, progress=False)
    t.weights["adversarial"] = 0.0
    before = weights(t)
    t.run(5, progress=False)
    assert same(before, weights(t)) and t.history["discriminator/adversarial"][-1] > 0
    t.weights["adversarial"] = 1.0
    t.run(1, progress=False)
    assert not same(before, weights(t))


def test_weights_set_from_many_threads_while_running(digits):
    t = training(digits, log_every=1)
    t.start()
    wait_until(lambda: t.step > 2)

    def move(k: int) -> None:
        for i in range(50):
            t.weights["adversarial"] = 1 + k + i / 100
    movers = [threading.Thread(target=move, args=(k,)) for k in range(4)]
    for m in movers:
        m.start()
    for m in movers:
        m.join()
    t.weights["adversarial"] = 0.25
    done = t.step
    wait_until(lambda: t.step > done + 2)
    t.stop()
    assert t.interventions[-1].value == 0.25 and t.interventions[-1].step <= done + 1
    assert t.history["weight/adversarial"][-1] == 0.25
    assert len({i.step for i in t.interventions}) == len(t.interventions), "one record a step is enough"


def test_replaying_a_recorded_run_gives_bit_identical_weights(digits):
    t = training(digits, schedule="discriminator_steps(2)", seed=3)
    t.start()
    for target in (3, 7, 12):
        wait_until(lambda target=target: t.step >= target)
        t.weights["adversarial"] = target / 2
        t.learning_rates["generator"] = 1e-3 / target
    wait_until(lambda: t.step >= 20)
    t.stop()
    assert len(t.interventions) == 6
    recording = t.recording()
    assert same(weights(t), weights(Training.replay(recording, device="cpu", progress=False)))
    recording["interventions"][2][3] *= 1.5
    assert not same(weights(t), weights(Training.replay(recording, device="cpu", progress=False)))


def test_a_recording_survives_json(digits):
    import json
    t = training(digits).run(4, progress=False)
    t.weights["adversarial"] = 0.1 + 0.2
    t.run(4, progress=False)
    again = Training.replay(json.loads(json.dumps(t.recording())), device="cpu", progress=False)
    assert same(weights(t), weights(again)) and again.interventions == t.interventions


def test_replay_refuses_a_run_that_did_not_begin_with_a_new_model(digits):
    model = gan()
    training(digits, model).run(1, progress=False)
    t = training(digits, model).run(1, progress=False)
    with pytest.raises(GanlabError, match="did not begin with a new model, or"):
        Training.replay(t.recording())


def test_controls_refuse_what_makes_no_sense(digits):
    t = training(digits)
    with pytest.raises(GanlabError, match="weights has no 'cycle'; there are adversarial"):
        t.weights["cycle"] = 1.0
    with pytest.raises(GanlabError, match="must be a finite number, not nan"):
        t.weights["adversarial"] = math.nan
    with pytest.raises(GanlabError, match="finite number, not '3'"):
        t.weights["adversarial"] = "3"
    with pytest.raises(GanlabError, match="can be set to 0"):
        del t.weights["adversarial"]
    with pytest.raises(GanlabError, match=r"learning_rates\['generator'\] must be 0 or more, not -0.001"):
        t.learning_rates["generator"] = -1e-3
    with pytest.raises(GanlabError, match="must be 0 or more"):
        training(digits, learning_rate=-1.0)
    for name in ("log_every", "save_every"):
        with pytest.raises(GanlabError, match=f"{name} counts steps: 1 or more, not 0"):
            training(digits, **{name: 0})


def test_what_is_set_and_set_back_between_two_steps_changes_nothing(digits, tmp_path):
    t = training(digits, schedule="threshold(0.0, 0.0, patience=3)").run(4, progress=False)
    t.save(tmp_path / "run.pt")
    t.rules["schedule"], t.weights["adversarial"] = "alternate", 2.0
    t.rules["schedule"], t.weights["adversarial"] = "threshold(0.0, 0.0, patience=3)", 1.0
    t.run(5, progress=False)
    assert t.interventions == []
    assert same(weights(t), weights(Training.replay(t.recording(), device="cpu", progress=False)))
    assert same(weights(t), weights(Training.restore(tmp_path / "run.pt", device="cpu").run(5, progress=False)))


def test_a_second_training_of_a_model_plays_by_the_rules_that_it_shows(digits):
    t = training(digits, log_every=1)
    t.rules["objective"] = "least-squares"
    t.run(2, progress=False)
    second = training(digits, t.model, log_every=1).run(1, progress=False)
    assert second.rules["objective"] == "non-saturating"
    assert second.history["discriminator/adversarial"][0] > 1.0, "2 log 2, and for least squares 1/2"


def test_a_run_that_goes_on_in_another_precision_or_decay_cannot_be_replayed(digits, tmp_path):
    training(digits, decay=(2, 9)).run(2, progress=False).save(tmp_path / "run.pt")
    assert Training.restore(tmp_path / "run.pt", device="cpu").recording()["fresh"]
    for changes in ({"decay": (2, 20)}, {"precision": "bf16"}):
        assert not Training.restore(tmp_path / "run.pt", device="cpu", **changes).recording()["fresh"]


def test_objective_and_schedule_change_in_a_run_and_are_replayed(digits, tmp_path):
    t = training(digits, log_every=1).run(4, progress=False)
    t.rules["objective"] = "least-squares"
    t.run(3, progress=False)
    value = t.history["discriminator/adversarial"][-1]
    t.rules["schedule"] = "discriminator_steps(2)"
    t.run(5, progress=False)
    assert [tuple(i) for i in t.interventions] == [(4, "rules", "objective", "least-squares"),
                                                   (7, "rules", "schedule", "discriminator_steps(2)")]
    moved = [not math.isnan(v) for v in t.history["generator/adversarial"]]
    assert moved == [True] * 8 + [False, True, False, True]
    assert value < 0.9 < t.history["discriminator/adversarial"][0], "1/2 of squares, and 2 log 2"
    again = Training.replay(t.recording(), device="cpu", progress=False)
    assert same(weights(t), weights(again)) and again.interventions == t.interventions
    t.rules["objective"] = "hinge"
    t.save(tmp_path / "run.pt")
    restored = Training.restore(tmp_path / "run.pt", device="cpu")
    assert dict(restored.rules) == {"objective": "hinge", "schedule": "discriminator_steps(2)"}
    assert str(restored.schedule) == "discriminator_steps(2)" and restored.interventions == t.interventions
    for run in (t, restored):
        run.run(4, progress=False)
    assert same(weights(t), weights(restored)) and restored.interventions[-1] == (12, "rules", "objective", "hinge")
    t.load(tmp_path / "run.pt")
    assert t.run(4, progress=False) is t and same(weights(t), weights(restored))


def test_a_schedule_with_a_memory_is_taken_up_where_it_was(digits, tmp_path):
    t = training(digits).run(2, progress=False)
    t.rules["schedule"] = "threshold(0.0, 0.0, patience=3)"
    t.run(4, progress=False)
    t.save(tmp_path / "run.pt")
    again = Training.restore(tmp_path / "run.pt", device="cpu")
    assert again.schedule.state() == t.schedule.state() == {"turn": "generator", "moved": 1}
    assert same(weights(again.run(5, progress=False)), weights(t.run(5, progress=False)))


def test_a_turn_moves_one_player_once_and_is_replayed(digits):
    t = training(digits, schedule="threshold(0.1, 0.1, patience=2)").run(3, progress=False)
    state = t.schedule.state()
    for player, other in (("generator", "discriminator"), ("discriminator", "generator")):
        before = {p: weights(t, p) for p in (player, other)}
        t.turn(player)
        assert not same(before[player], weights(t, player))
        assert same(before[other], weights(t, other))
    assert t.schedule.state() == state, "the schedule's own turns go on where they were"
    t.run(4, progress=False)
    assert t.step == 9 and [tuple(i) for i in t.interventions] == [(3, "turns", "generator", 1.0),
                                                                   (4, "turns", "discriminator", 1.0)]
    assert same(weights(t), weights(Training.replay(t.recording(), device="cpu", progress=False)))
    with pytest.raises(GanlabError, match="gan has no player 'critic', but discriminator, generator"):
        t.turn("critic")


def test_rules_are_only_what_a_model_has_and_are_checked(digits):
    t = training(digits)
    with pytest.raises(GanlabError, match="no objective is called 'x'"):
        t.rules["objective"] = "x"
    with pytest.raises(GanlabError, match="cannot read the schedule 'often'"):
        t.rules["schedule"] = "often"
    assert dict(t.rules) == {"objective": "non-saturating", "schedule": "alternate"}
    lonely = training(digits, models.create("autoencoder", hidden=(8,), latent=2))
    with pytest.raises(GanlabError, match="rules has no 'schedule'; there are none"):
        lonely.rules["schedule"] = "alternate"


def test_a_weight_set_after_the_last_step_survives_saving_and_is_recorded(digits, tmp_path):
    t = training(digits).run(3, progress=False)
    t.weights["adversarial"] = 2.0
    t.save(tmp_path / "run.pt")
    again = Training.restore(tmp_path / "run.pt", device="cpu").run(3, progress=False)
    assert again.interventions == [Intervention(3, "weights", "adversarial", 2.0)]
    assert same(weights(again), weights(t.run(3, progress=False)))
    assert same(weights(again), weights(Training.replay(again.recording(), device="cpu", progress=False)))


def test_first_weights_and_rates_are_checked_too(digits):
    with pytest.raises(GanlabError, match="must be a finite number, not nan"):
        training(digits, gan(weights={"adversarial": math.nan}))
    assert training(digits, learning_rate=0.0).learning_rates["generator"] == 0.0
    with pytest.raises(DataError, match="a batch of 0"):
        training(digits, batch_size=0)


def test_numpy_numbers_are_taken_as_plain_ones(digits, tmp_path):
    import numpy as np
    model = gan(latent=np.int64(8), weights={"adversarial": np.float32(0.5)})
    t = training(digits, model, seed=np.int64(3), batch_size=np.int64(16), learning_rate=np.float64(1e-3))
    t.run(2, progress=False).save(tmp_path / "run.pt")
    assert Training.restore(tmp_path / "run.pt", device="cpu").step == 2


# ---- schedules in the loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("schedule", "moved"), [
    ("discriminator_steps(3)", "dd*dd*"), ("warm_up(2)", "gg****"), ("epochs(1, 1)", "ddddgg"),
    ("threshold(100, 100)", "dgdgdg")])
def test_only_the_players_that_the_schedule_names_change(digits, schedule, moved):
    t = training(digits.subset(64), schedule=schedule)
    for expected in moved:
        before = {p: nn.utils.parameters_to_vector(net.parameters()).clone() for p, net in t.model.players.items()}
        t.run(1, progress=False)
        changed = {p for p, net in t.model.players.items()
                   if not torch.equal(before[p], nn.utils.parameters_to_vector(net.parameters()))}
        assert changed == {"d": {"discriminator"}, "g": {"generator"}, "*": {"discriminator", "generator"}}[expected]


def test_fakes_are_made_once_a_step(digits):
    t = training(digits)
    calls = []
    t.model.generator.register_forward_hook(lambda *_: calls.append(1))
    t.run(4, progress=False)
    assert len(calls) == 4


def test_an_adversarial_schedule_needs_both_players(digits):
    with pytest.raises(GanlabError, match="needs a discriminator and a generator; autoencoder has only autoencoder"):
        Training(models.create("autoencoder"), digits, schedule="epochs(1, 1)", device="cpu")


# ---- background -------------------------------------------------------------------------------------------------


def test_start_pause_resume_stop(digits):
    t = training(digits)
    assert t.state == "idle"
    t.start()
    wait_until(lambda: t.step > 3)
    assert t.state == "running"
    for _ in range(10):
        t.pause()
        assert t.state == "paused"
        at = t.step
        time.sleep(0.03)
        assert t.step == at, "paused means that no step is done"
        t.resume()
        wait_until(lambda at=at: t.step > at)
    t.stop()
    assert t.state == "idle"
    at = t.step
    assert same(weights(t), weights(training(digits).run(at, progress=False))), "pausing must not change the result"


def test_start_ends_by_itself_and_can_go_on(digits):
    t = training(digits).start(steps=5).wait()
    assert t.step == 5 and t.state == "idle"
    assert t.start(3).wait().run(2, progress=False).step == 10


def test_a_program_may_end_while_a_training_runs():
    code = ("import torch; from ganlab import models; from ganlab.training import Training; "
            "t = Training(models.create('gan', shape=(2,), hidden=(8,), latent=2), torch.randn(64, 2), device='cpu'); "
            "t.start()\nwhile t.step < 5: pass")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_run_at_the_same_time_is_refused(digits):
    t = training(digits).start()
    with pytest.raises(GanlabError, match=r"running in the background; call stop\(\) first"):
        t.run(1)
    with pytest.raises(GanlabError, match="running"):
        t.start()
    t.stop()


def test_an_error_in_the_background_is_kept_and_raised(digits):
    t = training(digits)
    good = t.model.objective
    t.model.objective = type(good)(lambda r, f: r.mean() * math.nan, good.generator, good.output, None)
    t.start()
    wait_until(lambda: t.state == "failed")
    with pytest.raises(NotFinite):
        t.stop()
    assert t.state == "idle"


def test_reading_the_history_while_training(digits):
    t = training(digits, log_every=1).start()
    wait_until(lambda: len(t.history) > 0)
    for _ in range(200):
        frame = t.history.frame()
        assert not frame["D(x)"].isna().any()
        assert len(t.history["D(x)"]) >= len(frame)
    t.stop()


def test_sampling_and_saving_while_training_neither_starve_nor_disturb(digits, tmp_path):
    def dcgan():
        return models.create("dcgan", shape=(1, 28, 28), width=4, latent=8)
    t = training(digits, dcgan()).start()
    for i in range(15):
        before = t.step
        t.model.sample(4, seed=i if i % 2 else None)
        t.save(tmp_path / "run.pt")
        assert t.step - before < 50, "a reader waited for a busy loop"
    t.stop()
    reference = training(digits, dcgan()).run(t.step, progress=False)
    assert same(weights(t), weights(reference))


# ---- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_term_that_is_not_finite_stops_at_that_step_and_is_named(digits, bad):
    t = training(digits)
    good = t.model.objective

    def generator(fake):
        return good.generator(fake) * (bad if t.step == 6 else 1.0)
    t.model.objective = type(good)(good.discriminator, generator, good.output, good.optimum)
    with pytest.raises(NotFinite, match=r"generator/adversarial became (nan|inf|-inf) at step 7"):
        t.run(20, progress=False)
    assert t.step == 6 and all(p.isfinite().all() for p in t.model.parameters())


def test_terms_read_later_are_named_with_their_step():
    history = History()
    for step in range(1, 6):
        history.record(step, {"a": torch.tensor(1.0), "b": torch.tensor(math.nan if step >= 4 else 0.0)})
    with pytest.raises(NotFinite, match="b became nan at step 4"):
        history.close_row(5, {})


def test_networks_that_are_not_finite_are_not_saved_over_good_ones(digits, tmp_path):
    t = training(digits).run(2, progress=False)
    t.save(tmp_path / "run.pt")
    with torch.no_grad():
        next(t.model.parameters()).fill_(math.nan)
    with pytest.raises(GanlabError, match="NaN"):
        t.save(tmp_path / "run.pt")
    assert Training.restore(tmp_path / "run.pt", device="cpu").step == 2


def test_out_of_memory_says_how_much_was_asked_for_and_what_to_lower(digits):
    t = training(digits)
    before = weights(t)
    play = t.model.play
    t.model.play = lambda *batch: torch.empty(10 ** 15)
    with pytest.raises(OutOfMemory, match=r"out of memory on cpu: 4000000000000000 bytes .* batch_size \(now 16\)"):
        t.run(1, progress=False)
    assert same(before, weights(t))
    t.model.play = play
    assert t.run(1, progress=False).step == 1


@pytest.mark.parametrize("message", [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8 GiB",
    "MPS backend out of memory (MPS allocated: 8 GB). Tried to allocate 20.00 MB on private pool.",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"])
def test_every_way_of_running_out_of_memory_is_recognised(digits, message):
    t = training(digits)

    held = []

    def play(*batch):
        large = torch.empty(10)
        held.append(weakref.ref(large))
        raise RuntimeError(message)
    t.model.play = play
    with pytest.raises(OutOfMemory, match="out of memory on cpu: (20.00 Mi?B|more) was asked for"):
        t.run(1, progress=False)
    assert held[0]() is None, "the error keeps the memory that the broken step holds"


def test_a_step_broken_off_half_way_leaves_no_trace_in_the_history_and_cannot_be_replayed(digits):
    t = training(digits).run(2, progress=False)
    terms = t.model.generator_terms

    def broken(round):
        raise RuntimeError("broken")
    t.model.generator_terms = broken
    with pytest.raises(RuntimeError, match="broken"):
        t.run(3, progress=False)
    t.model.generator_terms = terms
    assert t.step == 2 and t.history["step"] == [2.0]
    t.run(2, progress=False)
    with pytest.raises(GanlabError, match="a step of it was broken off"):
        Training.replay(t.recording())


def test_so_is_a_step_that_broke_off_before_anybody_moved(digits):
    model = models.create("dcgan", shape=digits.shape, width=4, latent=4)
    t = training(digits, model)
    t.weights["adversarial"] = 1e300
    with pytest.raises(NotFinite):
        t.run(1, progress=False)
    t.weights["adversarial"] = 1.0
    assert not t.run(1, progress=False).recording()["fresh"], "its running averages have moved"


def test_interrupting_finishes_the_step_and_leaves_a_training_that_goes_on(digits, tmp_path):
    t = training(digits)
    play, asked = t.model.play, []

    def interrupting(*batch):
        if t.step == 5 and not asked:
            asked.append(os.kill(os.getpid(), signal.SIGINT))
        return play(*batch)
    t.model.play = interrupting
    with pytest.raises(KeyboardInterrupt, match="stopped after step 6"):
        t.run(20, progress=False)
    assert t.step == 6 and len(t.history) == 1
    t.save(tmp_path / "run.pt")
    t.run(4, progress=False)
    assert same(weights(t), weights(training(digits).run(10, progress=False)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("name", [None, "auto"])
def test_a_device_that_nobody_named_is_one_that_was_tried(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device(name).type == "cpu"


def test_data_that_does_not_fit_is_refused(digits):
    with pytest.raises(DataError, match=r"digits has images of shape \(1, 28, 28\), gan was built for \(3, 32, 32\)"):
        training(digits, gan(shape=(3, 32, 32)))
    with pytest.raises(DataError, match="a batch of 99 does not fit a set of 20 images"):
        training(digits.subset(20), batch_size=99)
    with pytest.raises(GanlabError, match="precision must be one of float32, bf16, fp16, not 'int8'"):
        training(digits, precision="int8")
    with pytest.raises(GanlabError, match="cannot use the device 'cuda:99'"):
        choose_device("cuda:99")
    with pytest.raises(GanlabError, match="a value for each of discriminator, generator"):
        training(digits, learning_rate={"generator": 1e-3})


# ---- history, precision -----------------------------------------------------------------------------------------


def test_history_has_every_term_weight_rate_and_speed(digits, tmp_path):
    t = training(digits, log_every=5, schedule="discriminator_steps(10)").run(12, progress=False)
    frame = t.history.frame()
    assert list(frame.index) == [5, 10, 12]
    assert set(frame) == {"discriminator/adversarial", "generator/adversarial", "D(x)", "D(G(z))", "weight/adversarial",
                          "learning_rate/discriminator", "learning_rate/generator", "images/s"}
    assert frame["generator/adversarial"].isna().tolist() == [True, False, True], "G moved only in step 10"
    assert frame["D(x)"].between(0, 1).all() and (frame["images/s"] > 0).all()
    t.history.csv(tmp_path / "history.csv")
    import pandas
    again = pandas.read_csv(tmp_path / "history.csv", index_col="step")
    pandas.testing.assert_frame_equal(again, frame, check_exact=False, rtol=1e-6, check_index_type=False,
                                      check_dtype=False)


def test_a_row_is_the_mean_over_its_steps(digits):
    each = training(digits, log_every=1).run(6, progress=False).history["discriminator/adversarial"]
    means = training(digits, log_every=3).run(6, progress=False).history["discriminator/adversarial"]
    assert means == pytest.approx([sum(each[:3]) / 3, sum(each[3:]) / 3])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_follows_float32(digits, precision):
    full = training(digits).run(30, progress=False)
    low = training(digits, precision=precision).run(30, progress=False)
    assert next(low.model.parameters()).dtype == torch.float32
    for term in ("discriminator/adversarial", "generator/adversarial"):
        assert low.history[term][-1] == pytest.approx(full.history[term][-1], rel=0.1)
        assert low.history[term][-1] != full.history[term][-1]


def test_progress_shows_terms(digits, capsys):
    training(digits, log_every=2).run(20)
    shown = capsys.readouterr().err
    assert "20/20" in shown and "discriminator/adversarial=" in shown and "D(G(z))=" in shown


def test_tensorboard_events_are_written(digits, tmp_path):
    training(digits, tensorboard=tmp_path).run(20, progress=False)._writer.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"D(x)", "generator/adversarial", "weight/adversarial"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("D(x)")] == [10, 20]


# ---- several processes ------------------------------------------------------------------------------------------

def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(DataError, match="cannot be shared evenly by 2 processes"):
        Batches(Images(torch.zeros(20, 2)), 5, torch.device("cpu"), 0, (0, 2))


def test_library_is_importable_without_the_extras():
    code = ("import sys; sys.modules.update(dict.fromkeys(['accelerate', 'tensorboard', 'papermill', 'jupyterlab']));"
            "import ganlab.training, ganlab.models, ganlab.data, ganlab.plots, ganlab.course")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parent.parent)

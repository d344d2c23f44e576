"""The live panel without a browser: its widgets are moved as a front end moves them, by setting their values."""

import base64
import io
import itertools
import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import data, models, panels, plots
from ganlab.errors import GanlabError
from ganlab.panels import draw, shown
from ganlab.panels import live as module
from ganlab.panels.playground import COLOURS as PLAYGROUND
from ganlab.training import Training
from tests.models.test_models import SMALL, data_for, small


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    for panel in list(module._PANELS):
        panel.training._end()
        panel.close()
    assert not [t for t in threading.enumerate() if t.name == "ganlab-panel"]


def training(digits, name="gan", **arguments) -> Training:
    model = small(name)
    return Training(model, data_for(model, digits), **{"batch_size": 4, "device": "cpu", "log_every": 2, **arguments})


def wait_until(condition, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


def opened(widget) -> Image.Image:
    return Image.open(io.BytesIO(bytes(widget.value)))


# ---- controls ---------------------------------------------------------------------------------------------------


def test_every_control_writes_and_all_of_a_row_follow(digits):
    t = training(digits, "vae")
    panel = panels.train(t, live=True)
    row = panel.rows["kl"]
    row.slider.value = 0.31622776
    assert t.weights["kl"] == row.box.value == 0.316
    row.box.value = 1234.5
    assert t.weights["kl"] == 1234.5 and row.slider.value == row.slider.base ** row.slider.max
    row.box.value = 0.125
    assert math.isclose(row.slider.value, 10 ** -0.9)
    row.slider.value = 10 ** -0.9 * (1 + 1e-12)
    assert t.weights["kl"] == row.box.value == 0.125, "where a front end has put the handle is no move"
    row.slider.value = 10 ** -0.85
    assert t.weights["kl"] == row.box.value == 0.141
    row.box.value = 1234.5
    row.switch.value = False
    assert t.weights["kl"] == row.box.value == 0
    row.switch.value = True
    assert t.weights["kl"] == row.box.value == 1234.5, "back to what it was"
    row.box.value = 0
    assert row.switch.value is False
    row.slider.value = 0.1
    assert t.weights["kl"] == 0.1 and row.switch.value is True
    row.reset.click()
    assert t.weights["kl"] == type(t.model).weights["kl"] == pytest.approx(row.slider.value, rel=0.02)
    panel.rows["learning_rate/autoencoder"].box.value = 0.05
    assert t.learning_rates["autoencoder"] == 0.05
    panel.rows["learning_rate/autoencoder"].reset.click()
    assert t.learning_rates["autoencoder"] == type(t.model).learning_rate


def test_the_paper_value_is_the_classes_and_not_the_instances(digits):
    t = Training(small("vae", weights={"kl": 40.0}), digits, batch_size=4, device="cpu")
    row = panels.train(t, live=True).rows["kl"]
    assert row.box.value == 40
    row.reset.click()
    assert t.weights["kl"] == type(t.model).weights["kl"] != 40


def test_a_weight_that_begins_as_zero_can_be_switched_on(digits):
    t = Training(small("vae", weights={"kl": 0.0}), digits, batch_size=4, device="cpu")
    row = panels.train(t, live=True).rows["kl"]
    assert row.switch.value is False and t.weights["kl"] == 0
    row.switch.value = True
    assert t.weights["kl"] == row.box.value > 0


def test_what_cannot_be_set_is_said_and_the_box_shows_what_is_used(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.rows["adversarial"].box.value = math.inf
    assert "must be a finite number" in panel.message.value
    assert t.weights["adversarial"] == panel.rows["adversarial"].box.value == 1


def test_moves_arrive_in_the_running_training_at_its_next_step(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 3)
    for i in range(50):
        panel.rows["adversarial"].slider.value = 0.1 + i / 50
    done = t.step
    wait_until(lambda: t.step > done + 2)
    panel.buttons["stop"].click()
    assert t.interventions[-1].value == t.weights["adversarial"] == panel.rows["adversarial"].box.value == 1.08
    assert t.interventions[-1].step <= done + 1
    wait_until(lambda: "1.08" in panel.log.value)


def test_rows_follow_code_and_a_second_panel(digits):
    t = training(digits)
    a, b = panels.train(t, live=True), panels.train(t, live=True)
    a.rows["adversarial"].box.value = 3
    assert b.rows["adversarial"].box.value == 3, "while nothing runs, too"
    b.buttons["start"].click()
    t.weights["adversarial"] = 7
    wait_until(lambda: a.rows["adversarial"].box.value == b.rows["adversarial"].box.value == 7)
    wait_until(lambda: "running" in a.status.value)
    a.buttons["pause"].click()
    wait_until(lambda: b._pause.description == "Resume")
    b.buttons["pause"].click()
    assert t.state == "running"
    a.buttons["stop"].click()
    assert t.state == "idle" and not a.message.value


def test_objective_and_schedule_are_chosen_in_the_panel_and_follow_the_code(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.rows["objective"].box.value = "hinge"
    panel.rows["schedule"].box.value = "discriminator_steps(3)"
    t.run(1, progress=False)
    assert str(t.schedule) == "discriminator_steps(3)" and [tuple(i) for i in t.interventions] == [
        (0, "rules", "objective", "hinge"), (0, "rules", "schedule", "discriminator_steps(3)")]
    t.rules["objective"] = "least-squares"
    panel.follow()
    assert panel.rows["objective"].box.value == "least-squares"
    panel.rows["schedule"].box.value = "when I say so"
    assert "cannot read the schedule" in panel.message.value
    assert panel.rows["schedule"].box.value == t.rules["schedule"] == "discriminator_steps(3)"
    panel.rows["schedule"].reset.click()
    assert t.rules["schedule"] == "alternate" == panel.rows["schedule"].box.value
    t.run(1, progress=False)
    panel.follow()
    assert "least-squares" in panel.log.value and "schedule" in panel.log.value


# ---- buttons ----------------------------------------------------------------------------------------------------


def test_pause_means_no_step_and_step_means_one(digits):
    t = training(digits)
    panel = panels.train(t, 10_000, live=True)
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 2)
    panel.buttons["pause"].click()
    at = t.step
    wait_until(lambda: "paused" in panel.status.value)
    time.sleep(0.05)
    assert t.step == at
    panel.buttons["step"].click()
    assert t.step == at + 1 and t.state == "idle" and panel._drawn == at + 1
    panel.buttons["start"].click()
    assert panel._until == 10_000, "Stop and Step take nothing away from what Start was asked for"
    wait_until(lambda: "left of 10,000 steps" in panel.status.value)
    panel.buttons["stop"].click()


def test_a_turn_of_one_player_moves_nobody_else(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 2)
    panel.buttons["pause"].click()
    before = {k: v.clone() for k, v in t.model.state_dict().items()}
    at = t.step
    panel.buttons["turn/generator"].click()
    moved = {k.split(".")[0] for k, v in t.model.state_dict().items() if not torch.equal(v, before[k])}
    assert t.step == at + 1 and moved == {"generator"} and panel._drawn == at + 1
    assert t.interventions == [(at, "turns", "generator", 1.0)]
    panel.follow()
    assert "a turn of the generator alone" in panel.log.value


def test_replay_makes_the_same_weights_and_says_so(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.buttons["replay"].click()
    assert "nothing to replay yet" in panel.message.value
    panel.play(8, [(3, "adversarial", 0.25), (5, "objective", "least-squares")])
    panel.buttons["turn/generator"].click()
    panel.buttons["replay"].click()
    wait_until(lambda: panel._viewer is None)
    assert "replayed 9 steps with 3 changes: the weights are equal, bit for bit" in panel.message.value
    assert opened(panel.compared).size[0] > 300 and panel.compared.layout.display is None
    with torch.no_grad():
        next(t.model.parameters()).view(-1)[0] += 0.5
    panel.buttons["replay"].click()
    wait_until(lambda: panel._viewer is None)
    assert "the weights are up to 0.5 apart" in panel.message.value


def test_while_a_replay_runs_the_training_stands_still(digits):
    t = training(digits).run(400, progress=False)
    panel = panels.train(t, live=True)
    panel.buttons["replay"].click()
    for name in ("start", "step", "turn/generator", "restore"):
        panel.buttons[name].click()
        assert "a replay is running" in panel.message.value
    panel.buttons["replay"].click()
    assert "the replay was stopped at step" in panel.message.value and t.step == 400
    panel.buttons["start"].click()
    panel.buttons["replay"].click()
    assert "the training is running; press Stop, then Replay" in panel.message.value
    panel.buttons["stop"].click()


def test_a_run_in_a_file_is_laid_over_this_one(digits, tmp_path):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.play(6)
    panel.buttons["compare"].click()
    assert "there is no checkpoint" in panel.message.value
    panel.buttons["save"].click()
    panel.play(6, [(0, "adversarial", 3.0)])
    panel.buttons["compare"].click()
    assert not panel.message.value and opened(panel.compared).size[0] > 300
    figure = panels.compare(t, panel.file.value)
    lines = next(ax for ax in figure.axes if ax.get_title() == "D(x)").get_lines()
    assert [len(line.get_xdata()) for line in lines] == [6, 2, 3], "twelve steps, a mark, six steps"


def test_the_figure_for_the_report_has_the_changes_in_it(digits):
    panel = panels.train(training(digits), 12, [(4, "adversarial", 0.25)], live=False)
    assert "stopped" in panel.status.value and panel.findings is not None
    panel.file.value = "report/run.pt"
    panel.buttons["figure"].click()
    with Image.open("report/run.figure.png") as figure:
        assert figure.height > panel.picture().height and figure.width == panel.picture().width


def test_the_view_thread_ends_with_the_training_after_a_last_picture(digits):
    t = training(digits)
    panel = panels.train(t, 30, live=True)
    first = bytes(panel.curves.value)
    panel.buttons["start"].click()
    wait_until(lambda: panel._viewer is None)
    assert t.step == 30 == panel._drawn and t.state == "idle" and bytes(panel.curves.value) != first
    assert "stopped" in panel.status.value and "step 30" in panel.status.value


def test_an_error_of_the_training_is_shown(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    good = t.model.objective
    t.model.objective = type(good)(lambda r, f: r.mean() * math.nan, good.generator, good.output, None)
    panel.buttons["start"].click()
    wait_until(lambda: panel._viewer is None)
    assert "NotFinite: discriminator/adversarial became nan at step 1" in panel.message.value
    assert "stopped by an error" in panel.status.value
    t.model.objective = good
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 0)
    panel.buttons["stop"].click()
    assert not panel.message.value


def test_an_error_while_drawing_is_shown_and_the_training_goes_on(digits):
    t = training(digits)
    panel = panels.train(t, live=True)
    t.model.sample = lambda *_, **__: 1 / 0
    panel.buttons["start"].click()
    wait_until(lambda: "ZeroDivisionError" in panel.message.value)
    done = t.step
    wait_until(lambda: t.step > done)
    panel.buttons["stop"].click()


def test_save_restore_and_export(digits, tmp_path):
    t = training(digits).run(4, progress=False)
    panel = panels.train(t, live=True)
    panel.rows["adversarial"].box.value = 2
    panel.buttons["step"].click()
    panel.file.value = str(tmp_path / "new" / "run.pt")
    panel.buttons["save"].click()
    assert "saved step 5" in panel.message.value
    then = {k: v.clone() for k, v in t.model.state_dict().items()}
    panel.rows["adversarial"].box.value = 9
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 8)
    panel.buttons["restore"].click()
    assert t.step == 5 and panel.rows["adversarial"].box.value == 2 and t.state == "idle"
    assert all(torch.equal(v, then[k]) for k, v in t.model.state_dict().items())
    assert panel.training.history["step"][-1] == 5
    panel.buttons["history"].click()
    panel.buttons["changes"].click()
    assert (tmp_path / "new" / "run.changes.csv").read_text().split() == \
        ["step,kind,name,value", "4,weights,adversarial,2.0"]
    assert (tmp_path / "new" / "run.history.csv").read_text().startswith("step,discriminator/adversarial")
    panel.file.value = str(tmp_path / "none.pt")
    panel.buttons["restore"].click()
    assert "CheckpointError" in panel.message.value and t.step == 5


def test_loading_into_another_training_names_the_difference(digits, tmp_path):
    training(digits).run(2, progress=False).save(tmp_path / "a.pt")
    with pytest.raises(GanlabError, match="its batch_size is 4, here it is 8"):
        training(digits, batch_size=8).load(tmp_path / "a.pt")
    t = training(digits)
    t.weights["adversarial"] = 5
    t.run(3, progress=False).load(tmp_path / "a.pt")
    assert same_weights(t.run(4, progress=False), training(digits).run(6, progress=False))
    assert t.weights["adversarial"] == 1 and not t.interventions


def same_weights(a: Training, b: Training) -> bool:
    return all(torch.equal(v, b.model.state_dict()[k]) for k, v in a.model.state_dict().items())


# ---- nothing is lost, and the doctor ----------------------------------------------------------------------------


def test_a_run_that_nobody_saved_comes_back_in_a_new_kernel(digits):
    t = training(digits)
    panel = panels.train(t, 40, live=True)
    assert not panel.message.value
    panel.buttons["start"].click()
    wait_until(lambda: panel._viewer is None)
    assert panel._automatic.exists() and not panel._file.exists()
    panel.close()
    again = training(digits)
    second = panels.train(again, live=True)
    assert "gan-digits.auto.pt keeps an earlier run; Restore brings it back" in second.message.value
    second.buttons["restore"].click()
    assert again.step == 40 and same_weights(again, t)
    second.close()
    third = panels.train(training(digits), 20, live=True)
    third.buttons["start"].click()
    wait_until(lambda: third._viewer is None)
    earlier = third._automatic.with_name("gan-digits.earlier.pt")
    assert Training.restore(earlier, digits, device="cpu").step == 40, "and a new run does not write over it"
    assert Training.restore(third._automatic, digits, device="cpu").step == 20


def test_runs_side_by_side_are_kept_in_files_of_their_own(digits):
    first, second = training(digits), training(digits)
    opened = [panels.train(t, live=True) for t in (first, second, first)]
    assert [panel.file.value for panel in opened] == ["runs/gan-digits.pt", "runs/gan-digits-2.pt",
                                                      "runs/gan-digits.pt"]
    for t, panel in zip((first, second), opened, strict=False):
        t.run(3 + (t is second), progress=False)
        panel._keep()
    assert [Training.restore(panel._automatic, digits, device="cpu").step for panel in opened[:2]] == [3, 4]
    named = training(digits, checkpoint="runs/gan-digits.pt")
    assert panels.train(named, live=True).file.value == "runs/gan-digits.pt", "who names a file gets it"


def test_an_empty_name_of_the_file_is_the_name_that_it_had(digits):
    panel = panels.train(training(digits).run(2, progress=False), live=True)
    panel.file.value = " "
    panel._keep()
    assert Training.restore("runs/gan-digits.auto.pt", digits, device="cpu").step == 2


def test_it_is_kept_while_it_runs_and_when_it_pauses(digits, monkeypatch):
    monkeypatch.setattr(module, "KEEP", 0.2)
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.buttons["start"].click()
    wait_until(lambda: panel._kept > 0)
    monkeypatch.setattr(module, "KEEP", 1e6)
    wait_until(lambda: panel._next_keep > time.monotonic() + 1e5)
    panel.buttons["pause"].click()
    wait_until(lambda: panel._kept == t.step)
    panel.buttons["stop"].click()
    assert Training.restore(panel._automatic, digits, device="cpu").step == t.step


def test_the_doctor_looks_by_itself_and_says_what_it_sees(digits):
    t = Training(models.create("gan", hidden=(128, 256), latent=32), digits, device="cpu",
                 learning_rate={"discriminator": 1e-3, "generator": 1e-6})
    panel = panels.train(t, 300, live=True)
    panel.buttons["doctor"].click()
    assert "nothing has been recorded yet" in panel.message.value
    panel.buttons["start"].click()
    wait_until(lambda: panel._viewer is None, 120)
    assert panel._examined == 300 and [f.symptom for f in panel.findings] == ["discriminator too strong"]
    assert "<b>discriminator too strong</b>" in panel.doctor.value and "Next:" in panel.doctor.value
    assert panel.picture().height > draw.join([(n, p, s[0]) for n, (p, s) in panel._still.items()], panel._curves(),
                                              "").height


def test_the_doctor_looks_while_it_runs_but_not_in_the_first_seconds(digits, monkeypatch):
    t = training(digits)
    panel = panels.train(t, live=True)
    panel.buttons["start"].click()
    wait_until(lambda: t.step > 200)
    time.sleep(4 * module.TICK)
    assert panel._examined < 0 and "looks now and then" in panel.doctor.value
    panel.buttons["stop"].click()
    wait_until(lambda: panel._viewer is None)
    assert panel._examined == t.step
    monkeypatch.setattr(module, "FIRST", 0.0)
    panel._next_look, before = 0.0, t.step
    panel.buttons["start"].click()
    wait_until(lambda: panel._examined > before)
    assert t.state == "running"
    panel.buttons["stop"].click()


# ---- cells ------------------------------------------------------------------------------------------------------


def test_running_the_cell_again_attaches_and_replaces(digits, monkeypatch):
    monkeypatch.setattr(shown, "_cell", lambda: "cell 1")
    t = training(digits)
    first = panels.train(t, live=True)
    first.buttons["start"].click()
    wait_until(lambda: t.step > 2)
    second = panels.train(t, live=True)
    assert t.state == "running" and first._closed.is_set() and second._viewer.is_alive()
    assert [p for p in module._PANELS] == [second]
    another = training(digits)
    third = panels.train(another, live=True)
    assert t.state == "idle" and "was stopped at step" in third.message.value
    monkeypatch.setattr(shown, "_cell", lambda: "cell 2")
    panels.train(another, live=True)
    assert not third._closed.is_set(), "another cell may show another panel"


def test_close_leaves_the_training_alone_and_no_widget_open(digits):
    import ipywidgets
    module = ipywidgets.widgets.widget
    registry = module._instances if hasattr(module, "_instances") else ipywidgets.Widget.widgets
    t = training(digits).start()
    before = set(registry)
    panel = panels.train(t, live=True)
    wait_until(lambda: panel._viewer.is_alive())
    panel.close()
    assert panel._viewer is None or not panel._viewer.is_alive()
    assert t.state == "running" and set(registry) == before
    t.stop()


def test_watching_changes_no_weight_and_keeps_to_its_share(digits):
    t = training(digits, "dcgan")
    panel = panels.train(t, live=True)
    spent = []
    plain = panel.draw
    panel.draw = lambda: spent.append((time.monotonic(), took := plain())) or took
    panel.buttons["start"].click()
    wait_until(lambda: len(spent) >= 4)
    panel.buttons["stop"].click()
    panel._viewer and panel._viewer.join(10)
    for (a, took), (b, _) in itertools.pairwise(spent[:4]):
        assert b - a >= max(module.TICK, took * (1 - module.SHARE) / module.SHARE) * 0.99
    assert same_weights(t, training(digits, "dcgan").run(t.step, progress=False))


# ---- without a person, and Colab's way --------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
def test_no_steps_at_all_are_none(digits, live):
    panel = panels.train(training(digits), live=True)
    panel.live = live
    panel.play(0)
    assert panel.training.step == 0


def test_the_same_call_without_a_front_end_trains_and_follows_the_script(digits):
    t = training(digits)
    panel = panels.train(t, 12, [(5, "adversarial", 0.25), (9, "learning_rate/generator", 1e-3)])
    assert t.step == 12 and [tuple(i) for i in t.interventions] == [
        (5, "weights", "adversarial", 0.25), (9, "learning_rates", "generator", 1e-3)]
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"} and bundle["text/plain"] == "Training panel: gan on digits"
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.mode == "RGB" and np.asarray(picture).std() > 10
    replayed = Training.replay(t.recording(), device="cpu", progress=False)
    assert same_weights(t, replayed)
    live = panels.train(t, live=True)._repr_mimebundle_()
    assert live[shown.WIDGET]["model_id"] and live["image/png"]


def test_a_script_that_cannot_be_followed_is_refused_before_the_first_step(digits):
    t = training(digits)
    with pytest.raises(GanlabError, match="'cycle' at step 2; it can move adversarial, learning_rate/discriminator"):
        panels.train(t, 5, [(2, "cycle", 1.0)], live=False)
    with pytest.raises(GanlabError, match="at step 5; .* 0 to 4"):
        panels.train(t, 5, [(5, "adversarial", 1.0)], live=False)
    assert t.step == 0


@pytest.mark.slow
def test_an_executed_notebook_keeps_the_picture_and_no_widget(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    from nbformat.v4 import new_code_cell, new_notebook
    cells = ["from ganlab import data, models, panels\nfrom ganlab.training import Training\n"
             "gan = models.create('gan', hidden=(16,), latent=4)\n"
             "training = Training(gan, data.load('digits'), batch_size=8, device='cpu')\n"
             "panels.train(training, 20, [(10, 'adversarial', 0.5)])",
             "assert training.step == 20 and training.interventions[0].step == 10; training.state",
             "panels.train(training, live=True)",
             "panel = _\ntraining.weights['adversarial'] = 3", "assert panel.rows['adversarial'].box.value == 3",
             "training.start(10**6); None", "assert panel._viewer.is_alive()\ntraining.stop(); None"]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    still, live = notebook.cells[0].outputs[-1].data, notebook.cells[2].outputs[-1].data
    assert "image/png" in still and shown.WIDGET not in still
    assert "image/png" in live and shown.WIDGET in live, "forced"
    from ganlab import course
    cleaned = course.clean(nbformat.from_dict(notebook))
    assert set(cleaned.cells[2].outputs[-1].data) == {"text/plain", "image/png"}


@pytest.mark.parametrize(("stdin", "environment", "expected"), [
    (True, {}, True), (False, {}, False), (True, {"GANLAB_PROFILE": "ci"}, False),
    (True, {"GANLAB_PANELS": "off"}, False), (True, {"GANLAB_PROFILE": "laptop"}, True)])
def test_who_is_taken_for_a_person(monkeypatch, stdin, environment, expected):
    import IPython
    kernel = type("Kernel", (), {"_allow_stdin": stdin})()
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": kernel})())
    for name in ("GANLAB_PROFILE", "GANLAB_PANELS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert shown.somebody_is_there() is expected


def test_colabs_way_trains_in_the_foreground_with_a_picture_after_each_chunk(digits):
    t = training(digits)
    panel = panels.train(t, 16, live=True, foreground=True)
    pictures = []
    panel.curves.observe(lambda change: pictures.append(t.step), "value")
    panel.rows["adversarial"].box.value = 2
    panel.buttons["ahead"].click()
    assert t.step == 16 and pictures[:8] == list(range(2, 17, 2)) and t.interventions[0].step == 0
    panel.buttons["ahead"].click()
    assert t.step == 32 and panel._viewer is None
    assert panel.buttons["ahead"] in panel.view.children[0].children
    assert panel.buttons["start"] not in panel.view.children[0].children
    assert panels.train(t, live=True, foreground=True).buttons["ahead"].description == "Train 200 more steps"


# ---- every model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_panel_of_every_model(name, digits):
    t = training(digits, name)
    panel = panels.train(t, 2, live=False)
    assert set(panel.rows) == {*t.model.weights, *(f"learning_rate/{p}" for p in t.model.players), *t.rules}
    assert {b for b in panel.buttons if b.startswith("turn/")} == \
        ({f"turn/{p}" for p in t.model.players} if len(t.model.players) > 1 else set())
    assert panel.images, "something to see"
    for image in [*panel.images.values(), panel.curves]:
        assert np.asarray(opened(image).convert("RGBA")).std() > 1
        assert int(image.width) <= 480
    shown = set(panel.images)
    assert ("and back" in shown) == (name in ("cyclegan", "ugatit")) and ("attention" in shown) == (name == "ugatit")
    assert ("translated to a" in shown) == ("and back" in shown) and ("its partner" in shown) == (name == "pix2pix")
    assert ("translated" in shown) == (name in ("cyclegan", "ugatit", "pix2pix"))
    assert ("reconstructed from its code" in shown) == (name in ("autoencoder", "vae"))
    assert panel.picture().width > 480


def test_the_same_latents_give_the_same_picture_until_a_step_is_done(digits):
    for name in ("gan", "pix2pix"):
        t = training(digits, name)
        panel = panels.train(t, live=True)
        image = panel.images["translated" if name == "pix2pix" else "samples, always of the same latents"]
        before = bytes(image.value)
        panel.draw()
        assert bytes(image.value) == before
        t.run(3, progress=False)
        panel.draw()
        assert bytes(image.value) != before


def test_points_in_the_plane_are_drawn_as_points():
    points = data.load("ring")
    t = Training(models.create("gan", shape=(2,), hidden=(16,), latent=2), points, batch_size=16, device="cpu")
    panel = panels.train(t, 10, live=False)
    assert list(panel.images) == ["samples, always of the same latents"]
    assert opened(panel.images["samples, always of the same latents"]).size == (480, 480)


def test_outputs_of_d_have_the_colours_that_they_have_elsewhere(digits):
    panel = panels.train(training(digits), live=True)
    assert [panel._colours[name] for name in ("D(x)", "D(G(z))", "adversarial")] == list(plots.COLOURS[:3])
    assert all(panel._colours.get(name) in (None, colour) for name, colour in PLAYGROUND.items())


def test_compare_draws_both_runs(digits):
    a, b = training(digits), training(digits, seed=1)
    with pytest.raises(GanlabError, match="nothing to compare"):
        panels.compare(a, b)
    a.run(8, progress=False)
    b.weights["adversarial"] = 3
    b.run(8, progress=False)
    figure = panels.compare(a, b)
    titles = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert set(titles) == {"discriminator/adversarial", "generator/adversarial", "D(x)", "D(G(z))"}
    lines = titles["D(x)"].get_lines()
    assert [list(line.get_ydata()) for line in lines if line.get_label() in "ab"] == [a.history["D(x)"],
                                                                                     b.history["D(x)"]]
    assert len(lines) == 3, "and a mark where b was turned"


# ---- drawing ----------------------------------------------------------------------------------------------------


def test_the_envelope_keeps_spikes_and_is_short():
    y = np.zeros(10_000)
    y[7_123], y[3_001] = 5.0, -4.0
    x, line = draw.envelope(np.arange(10_000.0), y, 200)
    assert len(line) == 400 and line.max() == 5 and line.min() == -4
    assert abs(x[line.argmax()] - 7_123) <= 50 and (np.diff(x) >= 0).all()


@pytest.mark.parametrize(("low", "high", "log"), [
    (0.5, 0.7, False), (-3, 900, False), (1e-6, 3e4, True), (0.9, 1.1, True), (2, 30, True), (0, 1e-7, False)])
def test_ticks_are_few_round_and_inside(low, high, log):
    ticks = draw.ticks(low, high, log)
    assert 2 <= len(ticks) <= 6
    assert all(low <= t <= high and float(f"{t:.3g}") == t for t in ticks)


def test_curves_are_drawn_where_the_values_are(digits):
    t = training(digits).run(40, progress=False)
    colour = draw.COLOURS[3]
    picture = draw.curves(t.history, ["generator"], {"adversarial": colour}, [(20, draw.COLOURS[4])], (300, 100))
    assert picture.size == (600, 200 + draw.BOTTOM * draw.SHARP)
    pixels = np.asarray(picture.convert("RGBA"))
    opaque = pixels[..., 3] > 0
    assert 0.01 < opaque.mean() < 0.5, "a transparent ground"

    def where(ink):
        return np.argwhere((pixels[..., :3] == [int(ink[i:i + 2], 16) for i in (1, 3, 5)]).all(2) & opaque)
    line = where(colour)
    line = line[line[:, 0] > draw.TOP * draw.SHARP]
    left, right = draw.LEFT * draw.SHARP, 600 - 6 * draw.SHARP
    assert abs(line[:, 1].max() - right) <= 3 and abs(line[:, 1].min() - (left + (right - left) * 2 / 40)) <= 3
    assert abs(where(draw.COLOURS[4])[:, 1].mean() - (left + right) / 2) <= 3
    rising = t.history["generator/adversarial"]
    ends = [line[line[:, 1] == x][:, 0].mean() for x in (line[:, 1].min(), line[:, 1].max())]
    assert (ends[1] < ends[0]) == (rising[-1] > rising[0])


def test_what_is_turned_at_the_same_step_is_seen_beside_each_other(digits):
    t = training(digits).run(40, progress=False)
    turned = draw.COLOURS[3:6]

    def dashes(*colours):
        picture = draw.curves(t.history, ["generator"], {}, [(20, colour) for colour in colours], (300, 100))
        return [(np.asarray(picture) == draw._ink(colour)).sum() for colour in colours]
    alone, = dashes(turned[0])
    assert min(dashes(*turned)) > alone / 2
    assert dashes(*[turned[0]] * 3) == [alone] * 3

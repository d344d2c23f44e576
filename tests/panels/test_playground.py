"""The playground without a browser: its widgets are moved as a front end moves them, by setting their values."""

import base64
import html
import io
import json
import math
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import models, panels
from ganlab.data import toys
from ganlab.errors import DataError, GanlabError
from ganlab.objectives import OBJECTIVES
from ganlab.panels import draw, field
from ganlab.panels import shown as base
from ganlab.schedule import SCHEDULES
from ganlab.training import Training

module = sys.modules["ganlab.panels.playground"]  # the package has a function of that name


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    for made in list(module._OPEN):
        made.close()
    assert not [t for t in threading.enumerate() if t.name == "ganlab-playground"]


def wait_until(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


def linear(slope=(2.0, -1.0), bias: float = 0.5, name: str = "gan", objective: str = "non-saturating"):
    """A GAN whose D(x) is known: its logit is slope . x + bias."""
    gan = models.create(name, shape=(2,), latent=2, hidden=(8,), objective=objective)
    gan.discriminator = torch.nn.Linear(2, 1)
    with torch.no_grad():
        gan.discriminator.weight.copy_(torch.tensor([slope]))
        gan.discriminator.bias.fill_(bias)
    return gan


def opened(widget) -> Image.Image:
    return Image.open(io.BytesIO(bytes(widget.value)))


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def changed(training: Training, before: dict[str, torch.Tensor]) -> set[str]:
    """The players whose weights are not what they were."""
    return {name.split(".")[0] for name, value in training.model.state_dict().items()
            if not torch.equal(value, before[name])}


def point(made, *events) -> None:
    """What the page says of the pointer: (kind, x, y) in pixels of the picture from 0 to 1."""
    said = json.loads(made.pad._told.value or '["page", []]')[1]
    log = [*said, *([len(said) + i + 1, *event] for i, event in enumerate(events))]
    made.pad._told.value = json.dumps(["page", log])


def shown(x: float, y: float) -> tuple[float, float]:
    """Where a point of the plane is in the picture."""
    return (x / field.HALF + 1) / 2, (1 - y / field.HALF) / 2


# ---- the picture ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "pull"), [
    ("non-saturating", lambda v: torch.sigmoid(-v)), ("minimax", torch.sigmoid),
    ("wasserstein", torch.ones_like), ("least-squares", lambda v: 1 - v)])
def test_arrows_are_the_closed_form_of_a_linear_discriminator(objective, pull):
    gan = linear(objective=objective)
    points = torch.randn(20, 2)
    v = gan.discriminator(points).detach()
    expected = pull(v) * torch.tensor([2.0, -1.0])
    found = field.pulls(gan, OBJECTIVES[objective], points)
    assert torch.allclose(found, expected, atol=1e-6)
    one = field.pulls(gan, OBJECTIVES[objective], points[:1])
    assert torch.allclose(found[:1], one), "each as if it stood alone"


def test_arrows_are_drawn_from_the_fakes_towards_the_real_mode():
    """D rises to the right, where the data is; so all ink of the arrows lies right of the tails."""
    view = field.View(np.zeros((2, 2)), field.Scale(0.5, 0.25, 0.75, (True, True)), np.zeros((0, 2, 2)),
                      np.array([[-1.0, 0.5]]), field.pulls(linear((3.0, 0.0)), OBJECTIVES["non-saturating"],
                                                           torch.tensor([[-1.0, 0.5]])).numpy())
    picture = field.picture(view, np.array([[2.0, 0.5]]), 200, ["pulls"], 1e6)
    y, x = np.argwhere(np.asarray(picture) == field._INKS[field.PULL]).T
    tail = np.array(shown(-1, 0.5)) * 400
    assert abs(x.min() - tail[0]) <= 1 and abs(y.mean() - tail[1]) <= 1
    assert abs(x.max() - (tail[0] + field.LONGEST / field.HALF * 200)) <= 1.5, "the longest there is"
    half = field.picture(view, np.array([[2.0, 0.5]]), 200, ["pulls"], 1 / np.linalg.norm(view.pulls))
    assert abs(np.argwhere(np.asarray(half) == field._INKS[field.PULL])[:, 1].max()
               - (tail[0] + field.LONGEST / field.HALF * 100)) <= 1.5, "half of it where g is 1"


def test_the_heat_map_is_right_for_a_known_discriminator():
    gan = linear((2.0, -1.0), 0.5)
    view = field.look(gan, OBJECTIVES["non-saturating"], torch.zeros(1, 2))
    n = field.CELLS
    at = (np.arange(n) + 0.5) / n * 2 * field.HALF - field.HALF
    known = 1 / (1 + np.exp(-(2 * at[None] + at[:, None] + 0.5)))
    assert np.allclose(view.surface, known, atol=1e-5), "the first row is the top, where y is large"
    pixels = np.asarray(field.picture(view, np.zeros((0, 2)), 200, ["surface"]))
    middle = (np.arange(400) + 0.5) / 200 * field.HALF - field.HALF
    truth = 1 / (1 + np.exp(-(2 * middle[None] + middle[:, None] + 0.5)))
    line = pixels == field._INKS[field.LEVEL]
    assert 300 < line.sum() < 3000 and abs(truth[line] - 0.5).max() < 0.05, "the line is where D is undecided"
    bands = pixels[~line]
    assert bands.max() < len(field.HEAT) and abs(bands - truth[~line] * 20).max() < 1.7, "a colour for every 0.05"


@pytest.mark.parametrize(("objective", "level", "bounded"), [
    ("non-saturating", 0.5, (True, True)), ("total-variation", 0.0, (True, True)), ("hinge", None, (False, False)),
    ("least-squares", 0.5, (False, False)), ("wasserstein", None, (False, False)), ("reverse-kl", -1.0, (False, True)),
    ("squared-hellinger", 0.0, (False, True))])
def test_colours_are_scaled_round_the_level(objective, level, bounded):
    gan, chosen = linear(objective=objective), OBJECTIVES[objective]
    real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    surface = field.judged(gan, chosen, field.places())
    scale = field._scale(chosen, surface, field.judged(gan, chosen, real), field.judged(gan, chosen, fake))
    assert scale.bounded == bounded
    assert scale.level == pytest.approx((2.5 + -0.5) / 2 if level is None else level), "a critic's: between both sides"
    colours = scale(np.array([-1e30, scale.low, scale.level, scale.high, 1e30]))
    assert np.allclose(colours, [-1, -0.5, 0, 0.5, 1])
    far = scale(scale.level + 4 * np.array([scale.low - scale.level, scale.high - scale.level]))
    assert np.allclose(np.abs(far), [1 if bound else 0.8 for bound in bounded]), "without a bound there is always more"
    steps = scale(np.linspace(-9, 9, 1000))
    assert (np.diff(steps) >= 0).all() and ((steps > 0) == (np.linspace(-9, 9, 1000) > scale.level)).all()


@pytest.mark.filterwarnings("error")
def test_a_surface_of_nothing_but_nan_can_be_drawn():
    gan = linear((math.nan, 0.0))
    for objective in OBJECTIVES.values():
        view = field.look(gan, objective, torch.zeros(3, 2))
        assert field.picture(view, np.zeros((3, 2)), 100).size == (200, 200)


def test_lines_of_the_grid_stand_at_quantiles():
    lines = field.latents()
    assert lines.shape == (2 * field.LINES, field.BENDS + 1, 2)
    across, along = lines[:field.LINES], lines[field.LINES:]
    assert (across[:, :, 0].diff(dim=1) == 0).all() and (along[:, :, 1].diff(dim=1) == 0).all()
    shares = torch.distributions.Normal(0, 1).cdf(across[:, 0, 0]).diff()
    assert torch.allclose(shares, torch.full_like(shares, 0.98 / (field.LINES - 1)), atol=1e-5)


def test_every_layer_can_be_taken_away():
    gan, real = linear(), toys.ring("test").images[:50]
    view = field.look(gan, OBJECTIVES["minimax"], real)
    inks = {"surface": field._INKS[field.LEVEL], "manifold": field._INKS[field.GRID],
            "real": field._INKS[field.REAL], "generated": field._INKS[field.GENERATED],
            "pulls": field._INKS[field.PULL]}
    for left_out, ink in inks.items():
        alone = np.asarray(field.picture(view, real.numpy(), 200, [left_out], 100.0))
        others = np.asarray(field.picture(view, real.numpy(), 200, [n for n in inks if n != left_out], 100.0))
        assert (alone == ink).any() and not (others == ink).any(), left_out
    assert set(inks) == set(field.LAYERS)


@pytest.mark.filterwarnings("error")
def test_points_are_drawn_where_they_are_and_not_outside():
    points = np.array([[1.0, 2.0], [99.0, 0.0], [-99.0, 0.0], [math.nan, 0.0], [0.0, -1e9]])
    view = field.View(np.zeros((2, 2)), field.Scale(0.5, 0, 1, (True, True)), np.zeros((0, 2, 2)), points,
                      np.zeros((0, 2)))
    pixels = np.asarray(field.picture(view, points[:0], 200, ["generated"]))
    y, x = np.argwhere(pixels == field._INKS[field.GENERATED]).T
    assert np.allclose([x.mean(), y.mean()], np.array(shown(1, 2)) * 400, atol=1)
    assert np.ptp(x) == np.ptp(y) == 4


# ---- drawn by hand ----------------------------------------------------------------------------------------------


def test_a_stroke_becomes_points_spread_evenly_along_it():
    # An L of lengths 1 and 3, the second half of whose points was drawn in a hurry.
    stroke = [(-2, 0), (-2, -0.2), (-2, -0.3), (-2, -1), (1, -1)]
    data = field.drawn([stroke], 20_000, noise=0.0)
    on_first, on_second = data.images[:, 0] == -2, data.images[:, 1] == -1
    assert (on_first | on_second).all()
    assert on_first.float().mean().item() == pytest.approx(0.25, abs=0.015), "by length, and not by pace"
    way = data.images[on_second & ~on_first][:, 0].sort().values
    even = torch.linspace(-2, 1, len(way))
    assert (way - even).abs().max() < 0.1, "evenly"
    noisy = field.drawn([stroke], 20_000)
    away = (noisy.images - data.images).std(0)
    assert torch.allclose(away, torch.full((2,), field.NOISE), rtol=0.05)
    assert torch.equal(noisy.images, field.drawn([stroke], 20_000).images), "always the same"


def test_a_click_is_a_mode_as_dense_as_a_line_one_unit_long():
    data = field.drawn([[(0, 0), (2, 0)], [(-1, 2)]], 30_000, noise=0.0)
    at_the_click = (data.images == torch.tensor([-1.0, 2.0])).all(1)
    assert at_the_click.float().mean().item() == pytest.approx(1 / 3, abs=0.015)
    assert (data.images[~at_the_click][:, 1] == 0).all()


def test_strokes_are_read_as_they_are_written():
    strokes = [[(-1.0, 0.25), (1.0, 0.0)], [(0.0, -2.0)]]
    assert module._written(strokes) == "-1,0.25 1,0; 0,-2"
    assert module.read_strokes(module._written(strokes)) == strokes and module.read_strokes(" ") == []
    for wrong in ("1,2,3", "1", "a,b", "9,9", "nan,0", "1,2 -"):
        with pytest.raises(DataError, match="points from -3.4 to 3.4"):
            module.read_strokes(wrong)


def test_a_stroke_of_the_mouse_begins_a_training_on_it():
    made = panels.playground(live=True)
    first = made.training
    point(made, ("down", 0.3, 0.3), ("up", 0.7, 0.3))
    assert made.training is first, "only where it is to be drawn by hand"
    made.distribution.value = module.BY_HAND
    assert "Draw with the mouse" in made.message.value
    blank = opened(made.pad.image).convert("RGB")
    assert len(blank.getcolors()) == 1, "nothing to see yet"
    made.buttons["discriminator"].click()
    assert "nothing is drawn yet" in made.message.value and first.step == 0
    made.buttons["run"].click()
    assert not made.running
    point(made, ("down", *shown(-2, 1)), ("drag", *shown(0, 1)))
    assert len(opened(made.pad.image).convert("RGB").getcolors()) == 2, "the stroke is seen while it is drawn"
    point(made, ("up", *shown(2, 1)))
    assert made.training is not first and made.strokes == [[(-2, 1), (0, 1), (2, 1)]]
    assert made.text.value == "-2,1 0,1 2,1"
    points = made.training.data.images
    assert points[:, 0].min() > -2.5 and points[:, 0].max() < 2.5 and (points[:, 1] - 1).abs().max() < 0.4
    assert points[:, 0].abs().mean().item() == pytest.approx(1, abs=0.05)
    assert "no modes" in made.coverage.value
    point(made, ("down", *shown(0, -2)), ("drag", *shown(0.05, -2)), ("up", *shown(0.05, -2)))
    assert made.strokes[1] == [(0, -2)], "a click that trembled"
    made.buttons["clear"].click()
    assert not made.strokes and made.text.value == "" and len(opened(made.pad.image).convert("RGB").getcolors()) == 1


def test_strokes_can_be_written_instead():
    made = panels.playground("moons", live=True)
    made.text.value = "-1,-1; 1,1; 2,0"
    assert made.distribution.value == module.BY_HAND and made.training.data.name == module.BY_HAND
    nearest = torch.cdist(made.training.data.images, torch.tensor([[-1.0, -1], [1, 1], [2, 0]])).min(1)
    assert nearest.values.max() < 6 * field.NOISE
    assert "of 3" in made.coverage.value, "clicks alone are modes that can be counted"
    made.text.value = "nonsense"
    assert "cannot read the strokes" in made.message.value and len(made.strokes) == 3
    made.distribution.value = "ring"
    ring = made.training
    made.buttons["clear"].click()
    assert made.training is ring and made.distribution.value == "ring" and not made.text.value, "nothing else is lost"
    same = panels.playground("-1,-1; 1,1; 2,0", live=True)
    made.text.value = "-1,-1; 1,1; 2,0"
    assert torch.equal(same.training.data.images, made.training.data.images)


# ---- controls ---------------------------------------------------------------------------------------------------


def test_steps_move_whom_they_say_and_are_recorded():
    made = panels.playground(live=True)
    before = weights(made.training)
    made.buttons["discriminator"].click()
    assert changed(made.training, before) == {"discriminator"} and made.training.step == 1
    before = weights(made.training)
    made.buttons["generator"].click()
    assert changed(made.training, before) == {"generator"} and made.training.step == 2
    assert [tuple(i) for i in made.training.interventions] == [
        (0, "turns", "discriminator", 1.0), (1, "turns", "generator", 1.0)]
    before = weights(made.training)
    made.buttons["both"].click()
    assert changed(made.training, before) == {"discriminator", "generator"} and made.training.step == 3
    made.rows["schedule"].box.value = "discriminator_steps(5)"
    before = weights(made.training)
    made.buttons["both"].click()
    assert changed(made.training, before) == {"discriminator", "generator"}, "whatever the schedule says"
    assert made.training.step == 5


def test_what_was_played_is_replayed_to_the_same_weights():
    made = panels.playground("moons", seed=3, live=True)
    made.buttons["discriminator"].click()
    made.buttons["run"].click()
    wait_until(lambda: made.training.step > 20)
    made.rows["objective"].box.value = "hinge"
    at = made.training.step
    wait_until(lambda: made.training.step > at + 20)
    made.buttons["generator"].click()
    made.rows["schedule"].box.value = "discriminator_steps(2)"
    made.rows["learning_rate/generator"].box.value = 1e-4
    for name in ("both", "run"):
        made.buttons[name].click()
    wait_until(lambda: made.training.step > at + 60)
    made.buttons["run"].click()
    assert not made.running
    kinds = {i.kind for i in made.training.interventions}
    assert kinds == {"turns", "rules", "learning_rates"}
    again = Training.replay(made.training.recording(), device="cpu", progress=False)
    assert all(torch.equal(a, again.model.state_dict()[n]) for n, a in made.training.model.state_dict().items())
    by_hand = panels.playground("0,0 1,1; -2,0", steps=15, live=False).training
    again = Training.replay(by_hand.recording(), by_hand.data, device="cpu", progress=False)
    assert all(torch.equal(a, again.model.state_dict()[n]) for n, a in by_hand.model.state_dict().items())


def test_drawing_draws_no_random_number_and_moves_no_weight():
    watched = panels.playground(steps=40, live=True, foreground=True)
    watched.buttons["ahead"].click()
    plain = panels.playground(steps=40, live=False)
    assert watched.training.step == plain.training.step == 40
    assert not changed(watched.training, weights(plain.training))


def test_reset_begins_again_from_the_seed_with_the_rules_as_they_stand():
    made = panels.playground(live=True)
    first = weights(made.training)
    made.rows["objective"].box.value = "least-squares"
    made.rows["learning_rate/discriminator"].box.value = 0.005
    made.rows["adversarial"].box.value = 2
    made.buttons["run"].click()
    wait_until(lambda: made.training.step > 3)
    old = made.training
    made.buttons["reset"].click()
    assert made.training is not old and made.training.step == 0 and not made.running
    assert not changed(made.training, first)
    assert made.training.model.config["objective"] == "least-squares" == made.rows["objective"].box.value
    assert made.training.learning_rates["discriminator"] == 0.005 and made.training.weights["adversarial"] == 2
    made.rows["adversarial"].box.value = 3
    assert made.training.weights["adversarial"] == 3 and old.weights["adversarial"] == 2
    made.seed.value = 5
    assert made.training.step == 0 and not changed(made.training, first), "not before Reset"
    made.buttons["reset"].click()
    assert changed(made.training, first) == {"discriminator", "generator"} and made.training.seed == 5


def test_another_distribution_begins_a_training_that_goes_on_if_the_old_one_did():
    made = panels.playground(live=True)
    old = made.training
    made.distribution.value = "grid25"
    assert made.training is not old and not made.running and made.training.data.name == "grid25"
    assert "of 25" in made.coverage.value
    made.buttons["run"].click()
    wait_until(lambda: made.training.step > 2)
    before = made.training
    made.distribution.value = "spiral"
    assert made.training is not before and made.running
    wait_until(lambda: made.training.step > 2)
    done = before.step
    made.buttons["run"].click()
    assert before.step == done and "no modes" in made.coverage.value


@pytest.mark.parametrize(("kind", "schedule", "terms"), [
    ("wgan", "discriminator_steps(5)", {"adversarial"}),
    ("wgangp", "discriminator_steps(5)", {"adversarial", "gradient_penalty"}), ("gan", "alternate", {"adversarial"})])
def test_other_models_come_with_their_own_rules(kind, schedule, terms):
    made = panels.playground(model="wgan" if kind == "gan" else "gan", live=True)
    made.kind.value = kind
    assert made.training.model.name == kind and made.training.rules["schedule"] == schedule
    assert made.training.rules["objective"] == made.rows["objective"].box.value
    assert set(made.training.weights) == terms == {n for n in made.rows if made.rows[n].controls.kind == "weights"}
    views = made._rules.children + made._numbers.children
    assert len(views) == len(made.rows) == len(terms) + 4 and all(view.comm is not None for view in views)
    before = weights(made.training)
    made.buttons["both"].click()
    assert changed(made.training, before) == {"discriminator", "generator"} and not made.message.value


def test_every_objective_and_schedule_can_be_chosen():
    made = panels.playground(live=True)
    assert set(made.rows["objective"].box.options) == set(OBJECTIVES)
    assert set(made.rows["schedule"].box.options) == {str(cls()) for cls in SCHEDULES.values()}
    for objective in OBJECTIVES:
        made.rows["objective"].box.value = objective
        assert made._objective is OBJECTIVES[objective], "read so before the next step"
        made.buttons["both"].click()
        assert made.training.model.objective is OBJECTIVES[objective] and not made.message.value
    made.rows["schedule"].box.value = "epochs(1, 2)"
    assert made.training.rules["schedule"] == "epochs(1, 2)"
    made.rows["schedule"].box.value = "sometimes"
    assert "cannot read the schedule" in made.message.value and made.rows["schedule"].box.value == "epochs(1, 2)"


def test_a_change_while_paused_is_seen_before_the_next_step():
    made = panels.playground(live=True)
    for control, value in ((made.rows["objective"].box, "wasserstein"), (made.layers["surface"], False),
                           (made.layers["pulls"], False), (made.layers["real"], False)):
        before = bytes(made.pad.image.value)
        control.value = value
        assert bytes(made.pad.image.value) != before
    assert made.training.step == 0


def test_the_pointer_and_a_box_ask_what_discriminator_and_generator_get():
    made = panels.playground(live=True)
    point(made, ("move", *shown(1.2, -0.5)))
    logit = made.training.model.discriminator(torch.tensor([[1.2, -0.5]])).item()
    expected = f"D(x) = {1 / (1 + math.exp(-logit)):.3g}"
    assert "(1.20, -0.50)" in made.told.value and expected in made.told.value
    told = made.told.value
    made.at.value = "0, 0"
    assert made.told.value != told and "(0.00, 0.00)" in made.told.value
    made.at.value = "1.2, -0.5"
    assert made.told.value == told
    made.buttons["discriminator"].click()
    assert made.told.value != told, "of D as it is now"
    made.at.value = "far, away"
    assert "cannot read" in made.message.value
    made.at.value = ""
    assert made.told.value == ""


# ---- running ----------------------------------------------------------------------------------------------------


def test_run_and_pause():
    made = panels.playground(live=True)
    run = made.buttons["run"]
    assert run.description == "Run"
    pictures = []
    made.pad.image.observe(lambda change: pictures.append(made.training.step), "value")
    run.click()
    assert run.description == "Pause" and made.running
    wait_until(lambda: len(pictures) > 3 and "frames/s" in made.status.value)
    run.click()
    at = made.training.step
    assert run.description == "Run" and not made.running and "paused" in made.status.value
    assert f"step {at:,}" in made.status.value and pictures[-1] == at, "the last picture is of the last step"
    time.sleep(0.1)
    assert made.training.step == at and sorted(pictures) == pictures


def test_a_run_of_so_many_steps_ends_by_itself():
    made = panels.playground(steps=37, live=True)
    for _ in range(2):
        made.buttons["run"].click()
        wait_until(lambda: not made.running)
        wait_until(lambda: made.buttons["run"].description == "Run")
    assert made.training.step == 74


def test_a_slow_pace_shows_every_step_and_holds_to_it():
    made = panels.playground(live=True)
    made.pace.value = 5.0
    pictures = []
    made.pad.image.observe(lambda change: pictures.append((time.monotonic(), made.training.step)), "value")
    made.buttons["run"].click()
    wait_until(lambda: len(pictures) >= 6)
    made.pace.value = math.inf
    steps = [step for _, step in pictures[:6]]
    assert steps == list(range(1, 7))
    assert pictures[5][0] - pictures[0][0] > 0.7, "five steps, at five a second"
    at = made.training.step
    wait_until(lambda: made.training.step > at + 20)


def test_an_error_of_the_training_is_shown_and_reset_helps():
    made = panels.playground(live=True)
    made.rows["learning_rate/discriminator"].box.value = 1e6
    made.rows["objective"].box.value = "least-squares"
    made.buttons["run"].click()
    wait_until(lambda: not made.running)
    assert "NotFinite" in made.message.value and made.buttons["run"].description == "Run"
    made.rows["learning_rate/discriminator"].reset.click()
    made.buttons["reset"].click()
    assert not made.message.value
    made.buttons["both"].click()
    assert made.training.step == 1 and not made.message.value


def test_running_the_cell_again_replaces_the_playground_and_stops_its_run(monkeypatch):
    monkeypatch.setattr(base, "_cell", lambda: "cell 1")
    first = panels.playground(live=True)
    first.buttons["run"].click()
    wait_until(lambda: first.training.step > 2)
    second = panels.playground(live=True)
    assert not first.running and list(module._OPEN) == [second]
    assert f"was stopped at step {first.training.step}" in second.message.value
    monkeypatch.setattr(base, "_cell", lambda: "cell 2")
    panels.playground(live=True)
    assert second in module._OPEN, "another cell may show another one"


def test_close_ends_the_run_and_leaves_no_widget():
    import ipywidgets
    where = ipywidgets.widgets.widget
    registry = where._instances if hasattr(where, "_instances") else ipywidgets.Widget.widgets
    before = set(registry)
    made = panels.playground(live=True)
    made.kind.value = "wgangp"
    made.buttons["run"].click()
    wait_until(lambda: made.training.step > 2)
    made.close()
    assert not made.running and set(registry) == before


# ---- without a person, and Colab's way --------------------------------------------------------------------------


def test_the_same_call_without_a_front_end_trains_and_follows_the_script():
    made = panels.playground("ring", steps=30, script=[
        (20, "learning_rate/generator", 1e-4), (5, "turn", "generator"), (10, "objective", "minimax"),
        (12, "schedule", "discriminator_steps(2)"), (29, "turn", "discriminator"), (5, "adversarial", 0.5)])
    assert made.training.step == 30 and not made.live
    assert sorted(tuple(i) for i in made.training.interventions) == [
        (5, "turns", "generator", 1.0), (6, "weights", "adversarial", 0.5), (10, "rules", "objective", "minimax"),
        (12, "rules", "schedule", "discriminator_steps(2)"), (20, "learning_rates", "generator", 1e-4),
        (29, "turns", "discriminator", 1.0)]
    bundle = made._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"} and bundle["text/plain"] == "Playground: gan on ring"
    data = base64.b64decode(bundle["image/png"])
    picture = Image.open(io.BytesIO(data))
    assert picture.width > 1300 and len(data) < 200_000 and np.asarray(picture.convert("L")).std() > 20
    assert {(255, 255, 255)} < {colour for _, colour in picture.convert("RGB").getcolors()}
    assert panels.playground(live=True)._repr_mimebundle_()[base.WIDGET]["model_id"]


@pytest.mark.slow
def test_an_executed_notebook_keeps_the_picture(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    from nbformat.v4 import new_code_cell, new_notebook
    cells = ["from ganlab import panels\npanels.playground('moons', steps=60, script=[(30, 'objective', 'hinge')])",
             "playground = _\nassert playground.training.interventions[0].step == 30\nplayground.training.step"]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    assert set(notebook.cells[0].outputs[-1].data) == {"text/plain", "image/png"}
    assert notebook.cells[1].outputs[-1].data["text/plain"] == "60"


def test_what_cannot_be_done_is_refused_before_the_first_step():
    for script, said in (([(2, "cycle", 1.0)], "'cycle', 1.0 at step 2; it can move objective, schedule, learning"),
                         ([(5, "adversarial", 1.0)], "at steps 0 to 4"), ([(0, "turn", "judge")], "'turn' .discrim")):
        with pytest.raises(GanlabError, match=said):
            panels.playground(steps=5, script=script, live=False)
    with pytest.raises(GanlabError, match="no distribution is called 'star'; there are ring, grid25, spiral, moons"):
        panels.playground("star")
    with pytest.raises(GanlabError, match="seed must be from 0 to 2,147,483,648, not -1"):
        panels.playground(seed=-1, live=True)
    with pytest.raises(GanlabError, match="no model 'dcgan'; it has gan, wgan, wgangp"):
        panels.playground(model="dcgan")
    with pytest.raises(GanlabError, match="no objective is called"):
        panels.playground(objective="best")


def test_colabs_way_trains_in_the_foreground_with_pictures_on_the_way():
    made = panels.playground(steps=150, live=True, foreground=True)
    line = made.view.children[0].children
    assert made.buttons["ahead"] in line and made.buttons["run"] not in line
    assert made.buttons["ahead"].description == "Run 150 steps"
    pictures, curves = [], []
    made.pad.image.observe(lambda change: pictures.append(made.training.step), "value")
    made.curves.observe(lambda change: curves.append(made.training.step), "value")
    made.buttons["ahead"].click()
    assert made.training.step == 150 == pictures[-1] == curves[-1] and len(pictures) > 2 and not made.running


def test_a_short_run_learns_something():
    made = panels.playground("-1.5,0; 1.5,0", steps=600, live=False)
    samples = made.training.model.sample(1000, seed=0)
    near = torch.cdist(samples, torch.tensor([[-1.5, 0.0], [1.5, 0.0]])).min(1).values < 0.5
    assert near.float().mean() > 0.7


def test_all_is_named_and_fits_the_page():
    made = panels.playground(live=True)
    assert module.PLANE + module.CURVES[0] + 12 <= 700
    assert made.curves.width == str(module.CURVES[0])
    picture = opened(made.curves)
    assert picture.size == (module.CURVES[0] * draw.SHARP, int(made.curves.height) * draw.SHARP)
    script = made.view.children[-1].value
    for name in ("distribution", "model", "seed", "pace", "strokes", "D at x, y", "length of the arrows",
                 *field.LAYERS.values()):
        assert f"&quot;{html.escape(name)}" in script, name

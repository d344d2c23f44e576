"""The training panel in a real JupyterLab: typed numbers and buttons reach the training, its pictures the page."""

import pytest

from tests.browser.conftest import ask_kernel, notebook, opened, photograph, wait_until  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = ["""
from ganlab import data, models, panels
from ganlab.training import Training
digits = data.load("digits")
model = models.create("vae", hidden=(64,), latent=8)
training = Training(model, digits, batch_size=32, device="cpu")
panels.train(training, 100_000)
""", "print('later cells run at once, at step', training.step)"]


def test_a_typed_weight_is_used_and_pictures_arrive(lab, page):
    panel = opened(lab, page, CELLS)
    box = panel.locator(".widget-text input[type=number]").nth(1)
    images = panel.locator("img")
    wait_until(lambda: images.count() == 3, 30, "three pictures are there")
    first = images.nth(2).get_attribute("src")
    panel.get_by_role("button", name="Start").click()
    wait_until(lambda: "running" in (panel.text_content() or ""), 30, "the panel says that it runs")
    wait_until(lambda: images.nth(2).get_attribute("src") != first, 30, "new curves")
    box.fill("0.125")
    box.press("Enter")
    wait_until(lambda: ask_kernel(lab, "training.history['weight/kl'][-1:] == [0.125]") == "True", 30, "0.125 is used")
    assert "0.125" in ask_kernel(lab, "str(training.interventions)")
    panel.locator(".noUi-handle").nth(1).press("ArrowRight")
    wait_until(lambda: ask_kernel(lab, "training.weights['kl']") == "0.141", 30, "a step of the slider")
    wait_until(lambda: box.input_value() == "0.141", 30, "the box follows the slider")
    ask_kernel(lab, "training.weights.update(reconstruction=2.5)")
    wait_until(lambda: panel.locator(".widget-text input[type=number]").first.input_value() == "2.5", 30,
               "the box follows the code")
    panel.get_by_role("button", name="Pause").click()
    wait_until(lambda: "paused" in (panel.text_content() or ""), 30, "the panel says that it waits")
    step = ask_kernel(lab, "training.step")
    panel.get_by_role("button", name="Step").click()
    wait_until(lambda: ask_kernel(lab, "training.step") == str(int(step) + 1), 30, "one step more")
    wide = panel.bounding_box()
    assert all(i.bounding_box()["x"] + i.bounding_box()["width"] <= wide["x"] + wide["width"] for i in images.all())
    photograph(page, "panel")
    panel.get_by_role("button", name="Start").click()
    wait_until(lambda: ask_kernel(lab, "training.state") == "'running'", 30, "it runs again")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    wait_until(lambda: "the run that this cell showed before was stopped" in (panel.text_content() or ""), 60,
               "the cell's new panel has taken the place of the old one")
    assert ask_kernel(lab, "(training.step, training.state, len(panels.live._PANELS))") == "(0, 'idle', 1)"

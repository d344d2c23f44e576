"""The playground in a real JupyterLab: buttons, mouse and keyboard reach its training, its pictures reach the page."""

import pytest

from tests.browser.conftest import ask_kernel, opened, photograph, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = ["""
from ganlab import panels
play = panels.playground("ring")
first = {name: value.clone() for name, value in play.training.model.state_dict().items()}

def changed():
    now = play.training.model.state_dict()
    return sorted({name.split(".")[0] for name, value in first.items() if not value.equal(now[name])})

play
"""]
COUNT = """image => new Promise(done => {
  let n = 0;
  new MutationObserver(() => n++).observe(image, {attributes: true, attributeFilter: ['src']});
  setTimeout(() => done(n), 5000);
})"""


def test_buttons_mouse_and_keyboard(lab, page):
    panel = opened(lab, page, CELLS)
    page.keyboard.press("Control+b")  # no list of files beside it
    picture, images = panel.locator("img").first, panel.locator("img")
    wait_until(lambda: images.count() >= 2 and picture.get_attribute("src"), 30, "pictures")

    def press(name: str) -> None:
        panel.get_by_role("button", name=name).press("Enter")

    before = picture.get_attribute("src")
    press("Step D")
    wait_until(lambda: ask_kernel(lab, "play.training.step") == "1", 30, "a step")
    assert ask_kernel(lab, "changed()") == "['discriminator']"
    wait_until(lambda: picture.get_attribute("src") != before, 30, "a new picture")
    press("Step G")
    wait_until(lambda: ask_kernel(lab, "changed()") == "['discriminator', 'generator']", 30, "the generator's step")

    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + (x / 3.4 + 1) / 2 * box["width"], box["y"] + (1 - y / 3.4) / 2 * box["height"]

    page.mouse.move(*at(0, 0))
    page.mouse.move(*at(1.7, -0.85))
    wait_until(lambda: "(1.7" in panel.text_content() and "D(x) =" in panel.text_content(), 30, "D under the pointer")

    panel.get_by_role("slider", name="pace").press("Home")
    wait_until(lambda: ask_kernel(lab, "play.pace.value") == "2.0", 30, "the slowest pace")
    press("Run")
    wait_until(lambda: int(ask_kernel(lab, "play.training.step")) >= 4, 60, "two steps, a second")
    panel.get_by_role("slider", name="pace").press("End")
    wait_until(lambda: int(ask_kernel(lab, "play.training.step")) >= 100, 120, "many steps")
    wait_until(lambda: "frames/s" in panel.text_content(), 30, "how fast it is")
    shown = picture.evaluate(COUNT)
    print(f"\n{shown / 5:.1f} pictures a second on the page; {panel.text_content()[:90]}")
    assert shown > 5
    panel.get_by_role("combobox", name="objective").select_option("hinge")
    wait_until(lambda: "'hinge'" in ask_kernel(lab, "play.training.interventions"), 60, "the running game is changed")
    press("Pause")
    wait_until(lambda: "paused" in panel.text_content() and ask_kernel(lab, "play.running") == "False", 30, "a pause")
    step = ask_kernel(lab, "play.training.step")
    photograph(page, "playground")
    page.set_viewport_size({"width": 900, "height": 1200})
    plane, curves = picture.bounding_box(), images.nth(1).bounding_box()
    assert curves["x"] > plane["x"] + plane["width"] and curves["x"] + curves["width"] <= 900, "side by side"
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth"), "nothing is cut off"
    page.set_viewport_size({"width": 1280, "height": 1000})
    assert ask_kernel(lab, "play.training.step") == step, "paused means no step"

    panel.get_by_role("combobox", name="distribution").select_option("drawn by hand")
    wait_until(lambda: "Draw with the mouse" in panel.text_content(), 30, "what to do")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.move(*at(-2, 1))
    page.mouse.down()
    for x in range(-19, 21):
        page.mouse.move(*at(x / 10, 1 - (x + 20) / 20))
    page.mouse.up()
    wait_until(lambda: ask_kernel(lab, "play.training.data.name") == "'drawn by hand'", 30, "a new training")
    # The line from (-2, 1) to (2, -1): x + 2 y = 0.
    assert float(ask_kernel(lab, "float((play.data.images @ play.data.images.new_tensor([1, 2])).abs().max())")) < 1
    assert float(ask_kernel(lab, "float(play.data.images[:, 0].abs().max())")) > 1.8
    assert panel.get_by_label("strokes").input_value().startswith("-2,1 ")
    press("Run")
    wait_until(lambda: int(ask_kernel(lab, "play.training.step")) >= 300, 120, "a run on what was drawn")
    press("Pause")
    wait_until(lambda: ask_kernel(lab, "play.running") == "False", 30, "a pause")
    photograph(page, "playground-by-hand")
    press("Run")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    wait_until(lambda: "the run that this cell showed before was stopped" in panel.text_content(), 60,
               "the cell's new playground has taken the place of the old one")
    assert ask_kernel(lab, "(play.training.step, play.running)") == "(0, False)"
    assert ask_kernel(lab, "[t.name for t in __import__('threading').enumerate() if 'playground' in t.name]") == "[]"

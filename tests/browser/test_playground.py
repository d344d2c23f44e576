"""The playground in a real browser: buttons, mouse and keyboard reach its training, its pictures reach the page."""

import pytest

from tests.browser.conftest import Hand, opened, photograph, run_all, wait_until

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


class Player(Hand):
    """A person at the playground, of whose plane and curves it knows where they are on the page."""

    def __init__(self, lab, page) -> None:
        super().__init__(lab, opened(lab, page, CELLS), "play.training")
        if lab.front == "lab/tree":
            page.keyboard.press("Control+b")  # no list of files beside it
        self.plane, self.curves = (self.panel.locator("img[src^=blob]").nth(i) for i in range(2))
        self.curves.wait_for()

    def choose(self, name: str, value: str) -> None:
        self.panel.get_by_role("combobox", name=name).select_option(value)

    def pause(self) -> None:
        self.button("Pause").press("Enter")
        self.until("not play.running", 60)
        self.sees("paused")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the plane is on the page."""
        box = self.plane.bounding_box()
        return box["x"] + (x / 3.4 + 1) / 2 * box["width"], box["y"] + (1 - y / 3.4) / 2 * box["height"]


def test_either_player_is_moved_and_a_run_is_steered(anywhere, page):
    hand = Player(anywhere, page)
    before = hand.plane.get_attribute("src")
    hand.button("Step D").press("Enter")
    hand.until("t.step == 1 and changed() == ['discriminator']")
    wait_until(lambda: hand.plane.get_attribute("src") != before, 30, "a new picture")
    hand.button("Step G").press("Enter")
    hand.until("t.step == 2 and changed() == ['discriminator', 'generator']")

    pace = hand.panel.get_by_role("slider", name="pace")
    pace.press("Home")
    hand.until("play.pace.value == 2")
    hand.button("Run").press("Enter")
    hand.until("t.step >= 4", 60)
    pace.press("ArrowRight")
    hand.until("play.pace.value == 5")
    pace.press("End")
    hand.until("t.step > 60", 120)
    hand.sees("frames/s")
    shown = hand.plane.evaluate(COUNT) / 5
    print(f"\n{shown:.1f} pictures a second on the page; {hand.kernel('play.status.value')}")
    assert shown > 4, "ten and more where nobody else is at work"
    hand.choose("objective", "hinge")
    hand.until("[i[1:] for i in t.interventions][-1:] == [('rules', 'objective', 'hinge')]", 60)
    hand.pause()
    step = hand.kernel("t.step")
    photograph(page, f"playground-{anywhere.front.split('/')[0]}")
    page.set_viewport_size({"width": 900, "height": 1200})
    plane, curves = hand.plane.bounding_box(), hand.curves.bounding_box()
    assert curves["x"] > plane["x"] + plane["width"] and curves["x"] + curves["width"] <= 900, "side by side"
    assert hand.panel.evaluate("e => e.scrollWidth <= e.clientWidth"), "nothing is cut off"
    assert hand.kernel("t.step") == step, "paused means no step"


def test_the_mouse_asks_and_draws_and_the_cell_begins_again(lab, page):
    hand = Player(lab, page)
    hand.plane.scroll_into_view_if_needed()
    page.mouse.move(*hand.at(0, 0))
    page.mouse.move(*hand.at(1.7, -0.85))
    hand.sees("(1.7")
    hand.sees("D(x) =")
    hand.choose("distribution", "drawn by hand")
    hand.sees("Draw with the mouse")
    hand.plane.scroll_into_view_if_needed()
    page.mouse.move(*hand.at(-2, 1))
    page.mouse.down()
    for x in range(-19, 21):
        page.mouse.move(*hand.at(x / 10, -x / 20))
    page.mouse.up()
    hand.until("t.data.name == 'drawn by hand'")
    # The line from (-2, 1) to (2, -1): x + 2 y = 0.
    off, left, right = hand.kernel("[float(v) for v in ((t.data.images @ t.data.images.new_tensor([1, 2])).abs().max(),"
                                   " t.data.images[:, 0].min(), t.data.images[:, 0].max())]")
    assert off < 1 and -2.5 < left < -1.8 < 1.8 < right < 2.5
    wait_until(lambda: hand.panel.get_by_label("strokes").input_value().startswith("-2,1 "), 30, "the strokes in words")
    hand.button("Run").press("Enter")
    hand.until("t.step >= 200", 120)
    hand.pause()
    photograph(page, "playground-by-hand")
    hand.button("Run").press("Enter")
    hand.until("play.running")
    run_all(page)
    hand.sees("the run that this cell showed before was stopped", 60)
    assert hand.kernel("(t.step, play.running)") == (0, False)
    assert hand.kernel("[i.name for i in __import__('threading').enumerate() if 'playground' in i.name]") == []

"""A lesson as a student meets it: opened, run as a whole, and its panel steered."""

import pytest

from tests.browser.conftest import ROOT, Hand, photograph, ready, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_lesson_02_is_run_and_steered(lab, page):
    import nbformat
    lesson = nbformat.read(ROOT / "lessons" / "02_variational_autoencoders.ipynb", 4)
    # The small sizes, asked for in the cell of parameters: in the environment they would say that nobody is there.
    change(lesson, 'profile = ""', 'profile = "ci"')
    # But time to steer.
    change(lesson, "steering, steps=lesson.pick(ci=120,", "steering, steps=lesson.pick(ci=10**6,")
    # Sections 4 to 8 train a dozen models that the panel of section 9 does not need.
    heads = [i for i, cell in enumerate(lesson.cells) if cell.source.startswith(("## 4.", "## 9."))]
    del lesson.cells[heads[0]:heads[1]]
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(lesson, lab.folder / "lesson.ipynb")

    page.goto(lab.address("lesson.ipynb"))
    ready(lab, page)
    run_all(page)
    panel = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="Restore")).first
    panel.wait_for(timeout=600_000, state="attached")
    panel.scroll_into_view_if_needed()
    hand = Hand(lab, panel, "steering")
    hand.sees("ready")
    hand.press("Start")
    hand.goes_on()
    hand.type("kl", 1000)
    hand.uses("kl", 1000.0)
    hand.type("kl", 1)
    hand.uses("kl", 1.0)
    hand.press("Pause")
    hand.sees("paused")
    hand.stands_still()
    assert hand.kernel("[i[1:] for i in t.interventions]") == [("weights", "kl", 1000.0), ("weights", "kl", 1.0)]
    photograph(page, "lesson-02")
    hand.press("Stop")
    hand.until("t.state == 'idle'")


def change(lesson, old: str, new: str) -> None:
    """Replace what stands exactly once in all cells."""
    cells = [cell for cell in lesson.cells if old in cell.source]
    assert len(cells) == 1 and cells[0].source.count(old) == 1, f"{old} in {len(cells)} cells"
    cells[0].source = cells[0].source.replace(old, new)

"""Colab's way, on Colab's versions: classic Notebook, ipykernel 6.17 and ipywidgets 7.7, where pictures from a thread
may not arrive and the panel trains in the foreground, in chunks."""

import pytest

from tests.browser.conftest import (
    BROWSER,
    ROOT,
    SCREENSHOTS,
    ask_kernel,
    run_all_in_the_classic,
    serving,
    wait_until,
)
from tests.browser.test_panel import CELLS
from tests.conftest import leave_out

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENVIRONMENT = ROOT / ".venv-colab"


@pytest.fixture
def classic(chromium, tmp_path):
    """Classic Notebook."""
    if not (ENVIRONMENT / ".ganlab-installed").exists():
        leave_out(BROWSER, "no .venv-colab here; make colab")
    with serving(tmp_path, [str(ENVIRONMENT / "bin" / "python"), "-m", "notebook", "--port-retries=0",
                            "--NotebookApp.token={token}", "--NotebookApp.notebook_dir={root}"], {}) as running:
        running.front = "notebooks"
        yield running
        running.clear()


def test_chunks_with_pictures_and_a_slider_between_them(classic, page):
    colab = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    run_all_in_the_classic(classic, page, [colab + CELLS[0].replace("100_000", "100")])
    panel = page.locator(".output_area .widget-vbox").first
    panel.wait_for(timeout=120_000)
    assert ask_kernel(classic, "(__import__('ipywidgets').__version__, __import__('ipykernel').__version__, "
                               "hasattr(training, '_thread') and training._thread)") == "('7.7.1', '6.17.1', None)"
    ahead = panel.get_by_role("button", name="Train 100 more steps")
    assert panel.get_by_role("button", name="Start").count() == 0

    curves = panel.get_by_role("img", name="curves over the steps")
    curves.evaluate("""image => {
        window.pictures = 0;
        new MutationObserver(changes => window.pictures += changes.length).observe(
            image, {attributes: true, attributeFilter: ['src']});
    }""")
    for chunk in (1, 2):
        page.evaluate("window.pictures = 0")
        ahead.click()
        wait_until(lambda chunk=chunk: f"step {chunk * 100}" in (panel.text_content() or ""), 60, "a chunk is trained")
        wait_until(lambda: page.evaluate("window.pictures") >= 5, 30, "several pictures in a chunk")
        assert ask_kernel(classic, "(training.step, training.state)") == f"({chunk * 100}, 'idle')"
        if chunk == 1:
            handle = panel.locator(".ui-slider-handle").nth(1)
            assert handle.get_attribute("aria-label") == "kl, as a power of ten"
            handle.press("ArrowRight")
            wait_until(lambda: ask_kernel(classic, "training.weights['kl']") == "1.12", 30, "a step of the slider")
    assert ask_kernel(classic, "training.history['weight/kl'][-1]") == "1.12"
    assert ask_kernel(classic, "[tuple(i) for i in training.interventions]") == "[(100, 'weights', 'kl', 1.12)]"
    box = panel.locator(".widget-text input[type=number]").nth(1)
    wait_until(lambda: box.input_value() == "1.12", 30, "the box follows the slider")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "panel-colab.png")

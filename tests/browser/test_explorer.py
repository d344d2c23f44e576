"""The pad and the latent explorer in a real browser: what the pointer, the keyboard and the page do."""

import itertools
import json

import pytest

from ganlab.panels import Pad
from tests.browser.conftest import ask_kernel, opened, photograph, run_all_in_the_classic, wait_until
from tests.browser.test_colab import classic  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def bare(page):
    """A page with nothing but a pad of 300 x 200 pixels at (20, 10), the pad, and what it has told; no kernel, so that
    a test decides which of the messages arrive."""
    events = []
    pad = Pad((300, 200), "a pad", events.append)
    page.set_content(f'<body style="margin:10px 20px"><div class="{pad.view._dom_classes[0]}">'
                     f'{pad.view.children[1].value}<input></div></body>')
    page.evaluate("""window.told = [];
        document.querySelector('input').addEventListener('input', e => told.push([performance.now(), e.target.value]))
    """)
    return page, pad, events


def told(page) -> list[tuple[float, str]]:
    """(milliseconds, message) of all that was written when the pointer has rested."""
    page.wait_for_timeout(200)  # of the page's own clock: five times the pad's interval
    return page.evaluate("told.splice(0)")


@pytest.mark.parametrize("arriving", [1, 3, 1000])
def test_a_fast_stroke_arrives_whole_whichever_messages_are_dropped(bare, arriving):
    page, pad, events = bare
    page.mouse.move(25, 15)
    page.mouse.down()
    path = [(25 + 5 * i % 290, 15 + 4 * (i % 40)) for i in range(1, 120)]
    for x, y in path:
        page.mouse.move(x, y)
    page.mouse.up()
    messages = [message for _, message in told(page)]
    for message in [*messages[:-1:arriving], messages[-1]]:
        pad._told.value = message
    kinds = [e.kind for e in events]
    assert [k for k in kinds if k not in ("drag", "move")] == ["down", "up"]
    stroke = events[-1].stroke
    assert events[-1].kind == "up" and len(stroke) == len(path) + 1
    for (x, y), (share_x, share_y) in zip([(25, 15), *path], stroke, strict=True):
        assert abs((x - 20) / 300 - share_x) < 1e-3 and abs((y - 10) / 200 - share_y) < 1e-3


def test_messages_are_few_while_the_pointer_moves_and_at_once_for_a_press(bare):
    page, _, _ = bare
    page.evaluate("""
        const layer = document.querySelector('[role=img]');
        const fire = (type, x, more) => layer.dispatchEvent(
            new PointerEvent(type, {clientX: x, clientY: 50, isPrimary: true, pointerId: 1, ...more}));
        layer.setPointerCapture = () => {};
        for (let x = 30; x < 130; x++) fire('pointermove', x);
        window.before = told.length;
        fire('pointerdown', 130, {button: 0, buttons: 1});
        window.pressed = told.length;
    """)
    assert page.evaluate("[before, pressed]") == [0, 1]
    first = json.loads(page.evaluate("told[0][1]"))[1]
    assert [e[1] for e in first] == ["move", "down"] and first[0][0] == 100, "of the moves only the last, counted"
    for x in range(130, 190):
        page.mouse.move(x, 60)
    times = [t for t, _ in told(page)]
    assert all(b - a >= 35 for a, b in itertools.pairwise(times[1:])), "25 a second at most"


def test_a_drag_goes_on_outside_and_other_buttons_and_fingers_are_not_heard(bare):
    page, pad, events = bare
    page.mouse.move(100, 100)
    page.mouse.down(button="right")
    page.mouse.up(button="right")
    page.mouse.down()
    page.mouse.move(101, 101)
    page.mouse.move(600, 500)
    page.mouse.up()
    page.mouse.move(610, 500)
    page.evaluate("""document.querySelector('[role=img]').dispatchEvent(
        new PointerEvent('pointermove', {clientX: 50, clientY: 50, isPrimary: false, pointerId: 2}))""")
    for _, message in told(page):
        pad._told.value = message
    assert [e.kind for e in events] == ["move", "down", "drag", "up", "leave"]
    assert events[3][:3] == ("up", 1, 1), "held at the edge"
    assert len(events[3].stroke) == 2, "a pixel farther is no other point"


def test_a_stroke_that_no_message_can_hold_is_thinned_and_not_cut(bare):
    page, pad, events = bare
    page.evaluate("""
        const layer = document.querySelector('[role=img]');
        const fire = (type, i, buttons) => layer.dispatchEvent(new PointerEvent(type, {
            clientX: 25 + 7 * i % 290, clientY: 15 + 11 * i % 180, isPrimary: true, pointerId: 1, buttons}));
        layer.setPointerCapture = () => {};
        fire('pointerdown', 0, 1);
        for (let i = 0; i < 900; i++) fire('pointermove', i, 1);
        fire('pointerup', 899, 0);
    """)
    message = told(page)[-1][1]
    assert len(message) < 20_000
    pad._told.value = message
    assert [e.kind for e in events] == ["down", "drag", "up"]
    stroke = events[-1].stroke
    assert 150 < len(stroke) <= 400 and stroke[0] == (round(5 / 300, 4), round(5 / 200, 4))
    assert abs(stroke[-1][0] - (5 + 7 * 899 % 290) / 300) < 1e-3


VAE = ["""
from ganlab import data, models, panels
from ganlab.training import Training
digits = data.load("digits")
model = models.create("vae", hidden=(256, 128), latent=16)
Training(model, digits, batch_size=64, device="cpu").run(600, progress=False)
explorer = panels.explore(model, digits, n=150)
explorer
"""]
CGAN = [VAE[0].replace('"vae", hidden=(256, 128)', '"cgan", hidden=(64, 128)').replace("600", "100")]


def test_pointer_keyboard_and_pictures(anywhere, page):
    lab, conditional = anywhere, anywhere.front == "notebooks"
    panel = opened(lab, page, CGAN if conditional else VAE)
    images = panel.locator("img[src^=blob]")
    wait_until(lambda: images.count() == 4, 30, "four pictures are there")
    wait_until(lambda: "t-SNE" not in (panel.text_content() or ""), 60, "the map is there")
    places = [image.bounding_box() for image in images.all()]
    layer = panel.locator("[role=img][aria-label^='Latent map']")
    box = layer.bounding_box()
    assert box == places[0], "the layer lies over the map"

    def over(i: int) -> tuple[float, float]:
        x, y = eval(ask_kernel(lab, f"tuple(map(float, explorer.places[{i}]))"))
        return box["x"] + x * box["width"], box["y"] + y * box["height"]
    page.mouse.move(*over(7))
    at = eval(ask_kernel(lab, "explorer._nearest(panels.pad.Event('move', *explorer.places[7]))"))
    wait_until(lambda: f"point {at}, real" in (panel.text_content() or ""), 30, "what is under the pointer")
    picks = [i for i in range(160, 300) if i == eval(ask_kernel(
        lab, f"explorer._nearest(panels.pad.Event('move', *(round(float(v), 2) for v in explorer.places[{i}])))"))][:2]
    before = images.nth(3).get_attribute("src")
    for i in picks:
        page.mouse.click(*over(i))
    wait_until(lambda: ask_kernel(lab, "list(explorer._ends.values())") == str(picks), 30, "two clicks, two ends")
    wait_until(lambda: images.nth(3).get_attribute("src") != before, 30, "another walk")
    boxes = panel.locator("input[type=number]")
    wait_until(lambda: [b.input_value() for b in boxes.all()] == [str(i) for i in picks], 30, "their numbers")
    boxes.nth(0).fill("222")
    boxes.nth(0).press("Enter")
    wait_until(lambda: ask_kernel(lab, "explorer._ends['A']") == "222", 30, "a typed number")

    walk = panel.locator("[role=slider]").first
    wait_until(lambda: float(walk.get_attribute("aria-valuenow")) == 0, 30, "the walk begins at A")
    before = images.nth(2).get_attribute("src")
    ask_kernel(lab, "(globals().update(heard=[]), [setattr(s, 'set_state', lambda state, old=s.set_state: "
                    "(heard.append(state), old(state))) for s in explorer.sliders])")
    walk.press("ArrowRight")
    wait_until(lambda: ask_kernel(lab, "explorer.walk.value") == "1", 30, "a step from A to B")
    wait_until(lambda: images.nth(2).get_attribute("src") != before, 30, "another image")
    z = ask_kernel(lab, "explorer.z.tolist()")
    assert ask_kernel(lab, "bool((explorer.z == explorer._way[0][1]).all())") == "True", "handles moved by code"
    panel.locator("[role=slider]").nth(1).press("ArrowRight")
    wait_until(lambda: ask_kernel(lab, "explorer.z.tolist()") != z, 30, "a dimension turned by a key")
    assert ask_kernel(lab, f"sum(a != b for a, b in zip(explorer.z.tolist(), {z}))") == "1"
    if conditional:
        before = images.nth(2).get_attribute("src")
        panel.get_by_role("combobox", name="label").select_option(label="7")
        wait_until(lambda: ask_kernel(lab, "explorer.label.value") == "7", 30, "a label")
        wait_until(lambda: images.nth(2).get_attribute("src") != before, 30, "drawn with it")

    assert ask_kernel(lab, "len(heard)") == "1", "a front end tells of a person's move and not of handles moved by code"
    names = [handle.get_attribute("aria-label") for handle in panel.locator("[role=slider]").all()]
    assert names == ["A to B in percent", *eval(ask_kernel(lab, "[s.description for s in explorer.sliders]"))]
    assert all(i.get_attribute("aria-label") for i in [*boxes.all(), *images.all()[1:]])
    assert [image.bounding_box() for image in images.all()] == places, "nothing has jumped"
    assert not ask_kernel(lab, "explorer.message.value").strip("'")
    page.mouse.move(*over(20))
    page.set_viewport_size({"width": 1280, "height": 1300})
    photograph(page, "explorer-cgan" if conditional else "explorer")
    page.set_viewport_size({"width": 900, "height": 1000})
    wide = panel.bounding_box()
    assert all(i.bounding_box()["x"] + i.bounding_box()["width"] <= wide["x"] + wide["width"] for i in images.all())


def test_on_colabs_versions_the_map_is_drawn_before_the_panel_and_all_else_is_the_same(classic, page):  # noqa: F811
    colab = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    run_all_in_the_classic(classic, page, [colab + CGAN[0]])
    panel = page.locator(".output_area .widget-vbox").first
    panel.wait_for(timeout=120_000)
    assert ask_kernel(classic, "(explorer._mapper, explorer.message.value)") == "(None, '')"
    assert "t-SNE of 300 points takes about" in page.locator(".output_area pre").first.text_content()
    layer, image = panel.locator("[role=img][aria-label^='Latent map']"), panel.locator("img[src^=blob]").first
    layer.scroll_into_view_if_needed()
    assert layer.bounding_box() == image.bounding_box(), "the layer lies over the map"
    layer.click(position={"x": 300, "y": 200})
    wait_until(lambda: "no latent; search one" in (panel.text_content() or "")
               or ask_kernel(classic, "explorer.turn.value") == "'B'", 30, "a click is heard")
    walk = ask_kernel(classic, "explorer.walk.value")
    panel.locator(".ui-slider-handle").first.press("ArrowRight")
    wait_until(lambda: ask_kernel(classic, "explorer.walk.value") != walk, 30, "a step from A to B")

    ask_kernel(classic, "(globals().update(heard=[]), setattr(explorer.map, 'on_event', heard.append))")
    box = layer.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for i in range(1, 100):
        page.mouse.move(box["x"] + 5 + 3.5 * i, box["y"] + 5 + 3 * (i % 50))
    page.mouse.up()
    wait_until(lambda: ask_kernel(classic, "[e.kind for e in heard][-1:]") == "['up']", 30, "a stroke ends")
    assert ask_kernel(classic, "(len(heard[-1].stroke), [e.kind for e in heard].count('down'))") == "(100, 1)"

"""The pictures of panels in the README: a film of a hand on a running CycleGAN, and stills, all in a real JupyterLab.

    python benchmarks/film.py lessons

It writes `steering.gif`, `panel.png` and `playground.png` into that folder. In the film the weight of
`adversarial` begins at 0, so that oranges are only copied; then the slider is dragged up, and they turn into apples.
It needs Chromium and Playwright (those of the browser tests) and some minutes.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.conftest import FLAGS, Hand, Lab, opened, serving

TRAIN = """
from ganlab import data, models, panels
from ganlab.training import Training
fruit = data.load("fruit", size=32)
cyclegan = models.CycleGAN(shape=fruit.shape, **models.CycleGAN.small)
training = Training(cyclegan, fruit, **models.CycleGAN.small_training)
training.weights["adversarial"] = 0
panels.train(training)
"""
PLAY = "from ganlab import panels\nplay = panels.playground('ring', steps=3000)\nplay"
WIDTH = 760
EVERY = 12
"""Steps between two pictures of the film."""


def shot(page: Any, place: dict[str, float]) -> Image.Image:
    """The picture of a part of the page."""
    return Image.open(io.BytesIO(page.screenshot(clip=place))).convert("RGB")


def film(lab: Lab, page: Any, folder: Path) -> None:
    """The film, and its last picture with all of the panel."""
    hand = Hand(lab, opened(lab, page, [TRAIN]))
    frames = list[Image.Image]()

    def watch(until: int) -> None:
        while hand.kernel("t.step") < until:
            hand.until(f"t.step >= {hand.kernel('t.step') + EVERY}", 120)
            place, end = hand.panel.bounding_box(), hand.button("Learning rates").bounding_box()
            frame = shot(page, {**place, "width": 840, "height": end["y"] - place["y"]})
            frames.append(frame.resize((WIDTH, round(frame.height * WIDTH / frame.width)), Image.Resampling.LANCZOS))

    hand.press("Start")
    watch(240)
    handle = hand.slider("adversarial").bounding_box()
    track = hand.panel.locator(".noUi-base").first.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    # From a hundredth, which is at the left end, to 1 and a little beyond.
    for i in range(1, 11):
        page.mouse.move(track["x"] + track["width"] * (0.05 + 0.05 * i), y)
        watch(240 + 12 * i)
    page.mouse.up()
    watch(860)
    hand.press("Stop")
    hand.sees("stopped")
    shot(page, {**hand.panel.bounding_box(), "width": 860}).quantize(255).save(folder / "panel.png", optimize=True)
    # One palette for all, of pictures from the whole film.
    some = frames[::max(1, len(frames) // 8)]
    sheet = Image.new("RGB", (WIDTH, sum(frame.height for frame in some)))
    for i, frame in enumerate(some):
        sheet.paste(frame, (0, i * frame.height))
    palette = sheet.quantize(255, Image.Quantize.FASTOCTREE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    drawn[0].save(folder / "steering.gif", save_all=True, append_images=drawn[1:], optimize=True, loop=0,
                  duration=[160] * (len(drawn) - 1) + [2500])
    print(f"{len(drawn)} pictures, {(folder / 'steering.gif').stat().st_size / 1e6:.1f} MB")


def play(lab: Lab, page: Any, folder: Path) -> None:
    """The playground after its run."""
    hand = Hand(lab, opened(lab, page, [PLAY]), "play")
    hand.press("Run")
    hand.until("t.training.step >= 3000 and not t.running", 600)
    shot(page, {**hand.panel.bounding_box(), "width": 880}).quantize(255).save(folder / "playground.png", optimize=True)


def main(folder: Path) -> None:
    """All of them."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright, \
            serving(Path(place), [sys.executable, "-m", "jupyterlab", "--port-retries=0",
                                  "--IdentityProvider.token={token}", "--ServerApp.root_dir={root}"], {}) as lab:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for draw in (lambda page: film(lab, page, folder),
                     lambda page: play(lab, page, folder)):
            context = browser.new_context(viewport={"width": 1300, "height": 1500})
            draw(context.new_page())
            context.close()
            lab.clear()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

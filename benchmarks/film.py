"""Film a hand on the panel of a running CycleGAN, in a real JupyterLab: the picture that opens the README.

    python benchmarks/film.py lessons/steering.gif

The weight of `adversarial` begins at 0, so that oranges are only copied; then the slider is dragged up, and they turn
into apples. It needs Chromium and Playwright (those of the browser tests) and two to five minutes.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, Hand, opened, serving

CELLS = ["""
from ganlab import data, models, panels
from ganlab.training import Training
fruit = data.load("fruit", size=32)
cyclegan = models.CycleGAN(shape=fruit.shape, **models.CycleGAN.small)
training = Training(cyclegan, fruit, **models.CycleGAN.small_training)
training.weights["adversarial"] = 0
panels.train(training)
"""]
WIDTH = 760
EVERY = 12
"""Steps between two pictures."""


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, \
            serving(Path(folder), [sys.executable, "-m", "jupyterlab", "--port-retries=0",
                                   "--IdentityProvider.token={token}", "--ServerApp.root_dir={root}"], {}) as lab:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1300})
        hand = Hand(lab, opened(lab, page, CELLS))
        frames = list[Image.Image]()

        def film(until: int) -> None:
            while hand.kernel("t.step") < until:
                hand.until(f"t.step >= {hand.kernel('t.step') + EVERY}")
                place, end = hand.panel.bounding_box(), hand.button("Learning rates").bounding_box()
                clip = {**place, "width": 840, "height": end["y"] - place["y"]}
                shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
                frames.append(shot.resize((WIDTH, round(shot.height * WIDTH / shot.width)), Image.Resampling.LANCZOS))

        hand.press("Start")
        film(240)
        handle = hand.slider("adversarial")
        place = handle.bounding_box()
        track = hand.panel.locator(".noUi-base").first.bounding_box()
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        # From a hundredth, which is at the left end, to 1 and a little beyond.
        for i in range(1, 11):
            page.mouse.move(track["x"] + track["width"] * (0.05 + 0.05 * i), y)
            film(240 + 12 * i)
        page.mouse.up()
        film(860)
        hand.press("Stop")
        browser.close()
    # One palette for all, of pictures from the whole film.
    some = frames[::max(1, len(frames) // 8)]
    sheet = Image.new("RGB", (WIDTH, sum(frame.height for frame in some)))
    for i, frame in enumerate(some):
        sheet.paste(frame, (0, i * frame.height))
    palette = sheet.quantize(255, Image.Quantize.FASTOCTREE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    drawn[0].save(path, save_all=True, append_images=drawn[1:], optimize=True, loop=0,
                  duration=[160] * (len(drawn) - 1) + [2500])
    print(f"{path}: {len(drawn)} pictures, {Path(path).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1])

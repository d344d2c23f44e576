"""Figures hold what they should: pixels, lines, labels, frames."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import plots
from ganlab.errors import GanlabError
from ganlab.history import History


def test_tile_puts_every_image_where_it_belongs():
    images = torch.stack([torch.full((1, 3, 4), v) for v in (-1.0, 0.0, 1.0)])
    sheet = np.asarray(plots.tile(images, columns=2, gap=1))
    assert sheet.shape == (2 * 4 + 1, 2 * 5 + 1)
    assert (sheet[1:4, 1:5] == 0).all() and (sheet[1:4, 6:10] == 128).all() and (sheet[5:8, 1:5] == 255).all()


def test_tile_in_colour_and_scaled():
    images = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    picture = plots.tile(images, gap=0, scale=3)
    assert picture.size == (6, 6) and picture.getpixel((5, 5)) == (255, 0, 0)


def test_values_outside_the_range_are_clipped():
    assert set(np.asarray(plots.tile(torch.tensor([-5.0, 5.0]).view(2, 1, 1, 1), gap=0)).flatten()) == {0, 255}


def test_grid_has_a_title_for_each_batch():
    figure = plots.grid({"real": torch.zeros(4, 1, 8, 8), "generated": torch.zeros(4, 1, 8, 8)})
    assert [ax.get_title() for ax in figure.axes] == ["real", "generated"]
    assert all(len(ax.images) == 1 for ax in figure.axes)
    assert len(plots.grid(torch.zeros(4, 1, 8, 8)).axes) == 1


@pytest.fixture
def history():
    h = History()
    for step in range(1, 9):
        h.record(step, {"discriminator/adversarial": torch.tensor(float(step)), "D(x)": torch.tensor(0.7)}
                 | ({"generator/adversarial": torch.tensor(2.0)} if step % 2 == 0 else {}))
        h.close_row(step, {"weight/adversarial": 1.0, "images/s": 100.0})
    return h


def test_curves_draw_every_term_and_nothing_else(history):
    losses, watched = plots.curves(history).axes
    assert [line.get_label() for line in losses.lines] == ["discriminator/adversarial", "generator/adversarial"]
    assert list(losses.lines[0].get_ydata()) == [float(s) for s in range(1, 9)]
    assert list(losses.lines[1].get_xdata()) == [2, 4, 6, 8], "steps in which G did not move leave no gap"
    assert [line.get_label() for line in watched.lines] == ["D(x)"]


def test_curves_smooth_and_choose(history):
    (ax,) = plots.curves(history, ["discriminator/adversarial"], smooth=4).axes
    assert list(ax.lines[0].get_ydata()) == [2.5, 3.5, 4.5, 5.5, 6.5]
    with pytest.raises(GanlabError, match="no column 'loss'; columns: step, discriminator/adversarial"):
        plots.curves(history, ["loss"])


def test_a_column_that_begins_late_is_filled_up(history):
    history.record(9, {"late": torch.tensor(1.0)})
    history.close_row(9, {})
    assert all(map(math.isnan, history["late"][:8])) and history["late"][8] == 1
    assert {len(c) for c in history.columns.values()} == {9}


def test_latent_map_names_each_class_where_its_points_are():
    points = np.array([[0.0, 0.0], [0.2, 0.0], [9.0, 9.0], [9.2, 9.0]])
    figure = plots.latent_map(points, [0, 0, 1, 1], ("cat", "dog"), "a map")
    (ax,) = figure.axes
    assert {t.get_text(): tuple(t.get_position()) for t in ax.texts} == {"cat": (0.1, 0.0), "dog": (9.1, 9.0)}
    assert ax.get_title() == "a map" and len(plots.latent_map(points).axes[0].collections) == 1


def test_gif_plays_every_frame_for_ever(tmp_path):
    frames = [plots.tile(torch.full((1, 1, 8, 8), v)) for v in (-1.0, 0.0, 1.0)]
    plots.gif(frames, tmp_path / "film.gif", milliseconds=50)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3 and film.info["loop"] == 0 and film.info["duration"] == 50
        film.seek(2)
        assert film.convert("L").getpixel((4, 4)) > 240 and film.info["duration"] == 1000


def test_colours_can_be_told_apart():
    for palette in (plots.COLOURS, plots.DIGIT_COLOURS):
        rgb = torch.tensor([[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in palette]).float()
        assert torch.cdist(rgb, rgb).add(torch.eye(len(rgb)) * 999).min() > 40

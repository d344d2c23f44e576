"""The latent explorer without a browser: its widgets are moved as a front end moves them, by setting their values."""

import base64
import io
import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import data, latent, models, panels, plots
from ganlab.errors import GanlabError
from ganlab.metrics import Judge
from ganlab.panels import draw, shown
from ganlab.panels import latent as module
from ganlab.panels.pad import Event
from ganlab.panels.shown import WIDGET
from ganlab.training import Training
from tests.models.test_models import SMALL, small

WITH_LATENT = [name for name, config in SMALL.items() if "latent" in config]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    for explorer in list(module._OPEN):
        explorer.close()
    for thread in threading.enumerate():
        if thread.name == "ganlab-map":
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def quick(monkeypatch):
    """A map that is there at once, where a test is not about it."""
    monkeypatch.setattr(latent, "tsne", lambda codes, **_: codes[:, :2].numpy() if codes.shape[1] > 1 else
                        np.repeat(codes.numpy(), 2, 1))


def explorer(digits, name="vae", n=20, live=True, **arguments):
    model = arguments.pop("model", None) or small(name)
    return panels.explore(model, digits, n=n, live=live, **{"foreground": True, **arguments})


def wait_until(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


def pixels(widget) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(widget.value))).convert("RGBA")).astype(int)


def shows(widget, image: torch.Tensor) -> bool:
    """Whether the picture is of this image (C x H x W)."""
    scale = pixels(widget).shape[1] // image.shape[-1]
    return np.array_equal(pixels(widget), np.asarray(plots.tile(image[None], 1, 0, scale).convert("RGBA")))


def decoded(e, z: torch.Tensor, *labels) -> torch.Tensor:
    return e.model.decode(z[None], *labels)[0]


def point_at(e, kind: str, i: int, aside: float = 0.0) -> None:
    x, y = e.places[i]
    stroke = ((x + aside, y),) if kind in ("down", "up") else ()
    e.map.on_event(Event(kind, x + aside, y, stroke))


def click(e, i: int) -> None:
    point_at(e, "down", i)
    point_at(e, "up", i)


# ---- every model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_LATENT)
def test_the_same_call_without_a_front_end_walks_by_itself(name, digits):
    e = explorer(digits, name, live=False)
    assert e.codes.shape == (40, e.model.config["latent"]) and e.images.shape == (40, 1, 28, 28)
    assert torch.equal(e.images[:20], digits.take(torch.linspace(0, 1496, 20).long()).floats())
    assert e.places.shape == (40, 2) and e.places.min() >= 0 and e.places.max() <= 1 and e.places.std() > 0.1
    encodes = name in ("autoencoder", "vae")
    assert e.codes[:20].isfinite().all() == encodes and e.codes[20:].isfinite().all()
    if encodes:
        assert torch.equal(e.codes[:20], e.model.encode(e.images[:20]))
    assert e.walk.value == 50 and set(e._ends.values()) <= set(range(0 if encodes else 20, 40))
    bundle = e._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"} and bundle["text/plain"] == f"Latent explorer: {name} on digits"
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.mode == "RGB" and np.asarray(picture).std() > 10
    assert explorer(digits, name, live=True)._repr_mimebundle_()[WIDGET]["model_id"]


@pytest.mark.parametrize("name", sorted(set(SMALL) - set(WITH_LATENT)))
def test_translations_have_no_latent_space(name, digits):
    with pytest.raises(GanlabError, match=f"{name} has no latent space to explore; gan"):
        explorer(digits, name)


def test_generated_images_are_those_of_their_latents(digits, quick):
    for name in ("vae", "gan", "cgan"):
        e = explorer(digits, name)
        labels = [e.labels[20:]] if name == "cgan" else []
        assert torch.allclose(e.images[20:], e.model.decode(e.codes[20:], *labels), atol=1e-6)
        assert abs(e.codes[20:].std() - 1) < 0.2, "drawn from N(0, I)"
        assert torch.equal(e.codes[20:], explorer(digits, name, model=e.model).codes[20:]), "always the same"


def test_what_does_not_fit_is_refused_with_what_would(digits, quick):
    with pytest.raises(GanlabError, match="shape=\\(2,\\) draws no images"):
        explorer(data.load("ring"), model=models.create("gan", shape=(2,), hidden=(16,), latent=2))
    with pytest.raises(GanlabError, match="draws images of shape \\(1, 28, 28\\), but those of .* are \\(3, 32, 32\\)"):
        explorer(data.load("fronts", size=32, split="test").a)
    with pytest.raises(GanlabError, match="1 of the 1497 images of digits are too few"):
        explorer(digits, n=1)
    with pytest.raises(GanlabError, match="no walk from point 3 to point 40: points with a latent go from 0 to 39"):
        explorer(digits, between=(3, 40))
    with pytest.raises(GanlabError, match="from point 3 to point 30: points with a latent go from 20 to 39"):
        explorer(digits, "gan", between=(3, 30))
    broken = small("vae")
    with torch.no_grad():
        next(broken.parameters()).fill_(math.nan)
    with pytest.raises(GanlabError, match="vae has become NaN or infinite; load a checkpoint"):
        explorer(digits, model=broken)


def test_looking_around_draws_no_random_number_of_others(digits):
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    e = explorer(digits, "gan", n=100, live=False)
    assert np.allclose(e.places, explorer(digits, n=100, model=e.model).places), "the same map again"
    assert torch.equal(states[0], torch.random.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()


def test_images_without_labels_and_more_wanted_than_there_are(digits, quick):
    nameless = data.images.Images(digits.images[:7])
    e = explorer(nameless, n=50)
    assert len(e.codes) == 14 and (e.labels == -1).all()
    point_at(e, "move", 3)
    assert e.captions[0].value == "point 3, real"


# ---- the pointer ------------------------------------------------------------------------------------------------


def test_the_image_under_the_pointer_and_what_it_is(digits, quick):
    e = explorer(digits)
    for i in (3, 30):
        point_at(e, "move", i, 1e-6)
        assert shows(e.under, e.images[i])
    assert e.captions[0].value == "point 30, generated"
    point_at(e, "move", 3)
    assert e.captions[0].value == f"point 3, real: {int(e.labels[3])}"
    ringed = bytes(e.map.image.value)
    e.map.on_event(Event("leave", 0, 0))
    assert bytes(e.map.image.value) != ringed and shows(e.under, e.images[3]), "the ring goes, the image stays"
    point_at(e, "move", 3)
    assert bytes(e.map.image.value) == ringed


def test_clicks_pick_a_and_b_in_turn_and_the_slider_walks_between_them(digits, quick):
    e = explorer(digits)
    click(e, 5)
    assert e.ends["A"].value == 5 and e.turn.value == "B" and e.walk.value == 0
    assert shows(e.now, decoded(e, e.codes[5])) and torch.equal(e.z, e.codes[5])
    click(e, 33)
    assert e.ends["B"].value == 33 and e.turn.value == "A" and e.walk.value == 100
    assert shows(e.now, decoded(e, e.codes[33]))
    e.walk.value = 25
    assert torch.allclose(e.z, 0.75 * e.codes[5] + 0.25 * e.codes[33], atol=1e-6)
    assert shows(e.now, decoded(e, e.z)) and "25 % from A to B" in e.captions[1].value
    e.turn.value = "B"
    click(e, 8)
    assert e.ends["B"].value == 8 and e.ends["A"].value == 5


def test_the_strip_goes_from_a_to_b_and_stays_while_the_slider_moves(digits, quick):
    e = explorer(digits, between=(5, 33))
    z = latent.interpolate(e.codes[5], e.codes[33], 101)[np.linspace(0, 100, 12).round()]
    expected = draw.strip(e.model.decode(z), 6, module.WALK)[0]
    assert np.array_equal(pixels(e.strip), np.asarray(expected.convert("RGBA")))
    before = bytes(e.strip.value)
    e.walk.value = 70
    assert bytes(e.strip.value) == before
    e.ends["A"].value = 9
    assert bytes(e.strip.value) != before


def test_numbers_pick_points_without_a_pointer(digits, quick):
    e = explorer(digits)
    e.ends["B"].value = 31
    assert shows(e.under, e.images[31]) and shows(e.now, decoded(e, e.codes[31])) and e.walk.value == 100
    e.ends["A"].value = 2
    assert shows(e.under, e.images[2]) and torch.equal(e.z, e.codes[2]) and e.turn.value == "B"
    e.ends["A"].value = 1000
    assert e.ends["A"].value == 39


def test_a_great_circle_keeps_the_length_of_latents(digits, quick):
    e = explorer(digits, "gan", between=(20, 21))
    assert e.path.value is True, "the latents of a GAN are normal"
    lengths = e.codes[20].norm(), e.codes[21].norm()
    e.walk.value = 50
    assert min(lengths) * 0.95 < e.z.norm() < max(lengths) * 1.05
    on_the_shell = e.z.norm()
    e.path.value = False
    assert torch.allclose(e.z, (e.codes[20] + e.codes[21]) / 2, atol=1e-6) and e.z.norm() < on_the_shell * 0.95
    assert explorer(digits, "vae").path.value is False


def test_points_of_a_plane_lie_at_their_latents_and_dragging_goes_anywhere(digits):
    for name in ("vae", "autoencoder", "gan"):
        e = explorer(digits, model=small(name, latent=2))
        codes = e.codes.numpy()
        ratio = (e.places - e.places[0])[1:] / (codes - codes[0])[1:]
        assert np.allclose(ratio, ratio[0], rtol=1e-2) and math.isclose(ratio[0, 0], -ratio[0, 1], rel_tol=1e-2)
        assert e.real == (0 if name == "gan" else 20)
        before = {end: box.value for end, box in e.ends.items()}
        begin, (x, y) = (0.5, 0.01), e.places[15]
        e.map.on_event(Event("down", *begin, (begin,)))
        e.map.on_event(Event("drag", x, y, (begin, (x, y))))
        e.map.on_event(Event("up", x, y, (begin, (x, y))))
        assert torch.allclose(e.z, e.codes[15], atol=1e-3) and shows(e.now, decoded(e, e.z))
        assert {end: box.value for end, box in e.ends.items()} == before, "a drag is no click"


def test_elsewhere_a_drag_does_nothing(digits, quick):
    e = explorer(digits)
    z, ends = e.z, dict(e._ends)
    e.map.on_event(Event("drag", 0.9, 0.9, ((0.1, 0.1), (0.9, 0.9))))
    e.map.on_event(Event("up", 0.9, 0.9, ((0.1, 0.1), (0.9, 0.9))))
    assert torch.equal(e.z, z) and e._ends == ends


# ---- dimensions -------------------------------------------------------------------------------------------------


def test_sliders_turn_single_dimensions_the_most_telling_first(digits, quick):
    model = small("autoencoder", latent=9)
    first = model.autoencoder.decoder[0].weight
    with torch.no_grad():
        first.mul_(torch.tensor([0.01, 0.01, 0.01, 5.0, 0.01, 0.01, 0.01, 2.0, 0.01]))
    e = explorer(digits, model=model)
    assert e.telling[:2] == [3, 7] and sorted(e.telling) == list(range(9))
    assert [s.description for s in e.sliders][:2] == ["z[3]", "z[7]"] and len(e.sliders) == 6
    before, picture = e.z.clone(), bytes(e.now.value)
    e.sliders[1].value = 2.5
    assert math.isclose(e.z[7], 2.5, abs_tol=0.05) and (e.z != before).sum() == 1
    assert bytes(e.now.value) != picture and shows(e.now, decoded(e, e.z)) and "z[7] = " in e.captions[1].value
    assert torch.equal(e.codes[e._ends["A"]], before), "the point itself stays what it is"


def test_other_dimensions_are_one_choice_away(digits, quick):
    e = explorer(digits, model=small("gan", latent=20))
    assert [text for text, _ in e.page.options] == ["the 6 that change most", "7 to 12 in that order",
                                                    "13 to 18 in that order", "19 to 20 in that order"]
    e.page.value = 1
    assert [s.description for s in e.sliders] == [f"z[{d}]" for d in e.telling[6:12]]
    e.sliders[2].value = 1.5
    assert math.isclose(e.z[e.telling[8]], 1.5, abs_tol=0.02)
    e.page.value = 3
    assert [s.description for s in e.sliders] == [f"z[{d}]" for d in e.telling[14:]], "six all the same"
    assert e.page not in explorer(digits, "vae").view.children, "where there are few, there is nothing to choose"


def test_sliders_follow_the_walk_and_reach_every_code(digits, quick):
    e = explorer(digits, "autoencoder")
    assert e.codes.abs().max() < 4 and all(slider.min <= -3 and slider.max >= 3 for slider in e.sliders)
    with torch.no_grad():
        e.model.autoencoder.encoder[-1].weight.mul_(60)
    e.buttons["refresh"].click()
    assert e.codes[:20].abs().max() > 3
    for i in range(20):
        e.ends["A"].value = i
        for slider in e.sliders:
            d = int(slider.description[2:-1])
            assert slider.min <= e.codes[i, d] <= slider.max
            assert abs(slider.value - e.codes[i, d]) <= slider.step, "no farther than one place of the handle"


def test_where_a_front_end_puts_the_handle_is_no_move(digits, quick):
    e = explorer(digits)
    z, slider = e.z, e.sliders[0]
    slider.value = slider.value + slider.step * 0.3
    assert torch.equal(e.z, z)
    slider.value = slider.min + round((slider.value - slider.min) / slider.step + 1) * slider.step
    assert not torch.equal(e.z, z), "a step of the arrow key is one"


# ---- labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cgan", "cdcgan"])
def test_labels_are_chosen_or_mixed_on_the_way(name, digits, quick):
    e = explorer(digits, name, between=(23, 25))
    assert e.labels[20:].tolist() == [i % 10 for i in range(20)]
    assert shows(e.now, decoded(e, e.codes[23], 3))
    e.walk.value = 100
    assert shows(e.now, decoded(e, e.codes[25], 5))
    e.walk.value = 50
    half = torch.zeros(1, 10)
    half[0, 3] = half[0, 5] = 0.5
    assert torch.allclose(e.image, decoded(e, e.z, half), atol=1e-6)
    z, strip = e.z, bytes(e.strip.value)
    e.label.value = 7
    assert torch.equal(e.z, z) and shows(e.now, decoded(e, z, 7)) and bytes(e.strip.value) != strip
    e.walk.value = 0
    assert shows(e.now, decoded(e, e.codes[23], 7))
    e.sliders[0].value = e.sliders[0].max
    assert shows(e.now, decoded(e, e.z, 7)), "under the label that was chosen"
    e.label.value = -1
    assert torch.allclose(e.image, decoded(e, e.z, 3), atol=1e-6)


def test_a_model_without_labels_has_no_choice_of_one(digits, quick):
    def widgets(widget):
        return [widget, *(w for child in getattr(widget, "children", ()) for w in widgets(child))]
    e, c = explorer(digits, "gan"), explorer(digits, "cgan")
    assert e.label not in widgets(e.view) and c.label in widgets(c.view)


def test_a_judge_names_what_is_generated_and_its_features_make_the_map(digits, quick):
    judge = Judge.trained_on(digits, steps=30)
    e = explorer(digits, "gan", judge=judge)
    read = judge.read(e.images[20:])[0]
    assert torch.equal(e.labels[20:], read) and torch.equal(e.labels[:20], torch.tensor(
        [int(digits.labels[i]) for i in torch.linspace(0, 1496, 20).long()]))
    point_at(e, "move", 25)
    assert e.captions[0].value == f"point 25, generated, read as {read[5]}"
    assert "read as" in e.captions[1].value and e.captions[1].value.rstrip("</div>").endswith("%")
    plain = explorer(digits, model=e.model)
    assert not np.allclose(plain.places, e.places, atol=0.05) and (plain.labels[20:] == -1).all()
    asked = explorer(digits, "cgan", judge=judge)
    point_at(asked, "move", 27)
    assert f"point 27, generated: 7, read as {judge.read(asked.images[27:28])[0].item()}" == asked.captions[0].value
    assert asked.labels[27] == 7, "coloured by what was asked for"


# ---- real images of a GAN ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gan", "cgan"])
def test_a_real_image_without_a_latent_gets_one_by_a_search(name, digits, quick):
    e = explorer(digits, name)
    ends, z = dict(e._ends), e.z
    assert e.buttons["search"].disabled
    e.ends["B"].value = 4
    assert e._ends == ends and torch.equal(e.z, z) and shows(e.under, e.images[4]) and e.ends["B"].value == ends["B"]
    assert "point 4, a real image, has no latent" in e.message.value and not e.buttons["search"].disabled
    point_at(e, "move", 33)
    e.buttons["search"].click()
    assert e._ends["B"] == 4 and e.walk.value == 100 and "found" in e.message.value
    assert torch.allclose(e.z, e.codes[4], atol=1e-5)
    labels = [int(e.labels[4])] if name == "cgan" else []
    away = (e.images[20:] - e.images[4]).abs().mean((1, 2, 3))
    assert (decoded(e, e.z, *labels) - e.images[4]).abs().mean() < away.min(), "nearer than any that was drawn"
    e.buttons["refresh"].click()
    assert e._known(e._ends["B"]) and e.ends["B"].value == e._ends["B"] != 4, "the search was of another network"


# ---- the map, and the model that goes on ------------------------------------------------------------------------


def test_the_map_comes_by_itself_and_points_can_be_picked_before(digits, monkeypatch):
    given, go = [], threading.Event()

    def slowly(codes, **_):
        given.append(codes)
        assert go.wait(60)
        return torch.arange(80.0).view(40, 2).numpy()

    monkeypatch.setattr(latent, "tsne", slowly)
    e = explorer(digits, foreground=False)
    assert "t-SNE of 40 points takes about 1 s" in e.message.value and "<progress>" in e.message.value
    wait_until(lambda: given)
    first, picture = e.places.copy(), bytes(e.map.image.value)
    two = given[0][:, :2].numpy()
    assert np.abs(np.corrcoef(first.T, two.T)[:2, 2:].diagonal()).min() > 0.999, "two principal components"
    click(e, 6)
    assert e.ends["A"].value == 6
    e.buttons["refresh"].click()
    assert "refresh again when it is there" in e.message.value and len(given) == 1
    e._say("wait", more="<progress></progress>")
    go.set()
    wait_until(lambda: not np.allclose(e.places, first))
    wait_until(lambda: not e.message.value)
    assert bytes(e.map.image.value) != picture and e.ends["A"].value == 6
    click(e, 7)
    assert e.ends["B"].value == 7


def test_neighbours_on_the_map_are_alike(digits):
    e = explorer(digits, "gan", n=150)
    far = ((e.places[:150, None] - e.places[None, :150]) ** 2).sum(-1)
    np.fill_diagonal(far, np.inf)
    same = (e.labels[:150] == e.labels[:150][far.argmin(1)]).float().mean()
    assert same > 0.6, f"only {same:.0%} of the nearest neighbours are the same digit"


def test_what_fails_is_said_and_without_a_person_raised(digits, monkeypatch):
    monkeypatch.setattr(latent, "tsne", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explorer(digits, live=False)
    e = explorer(digits, foreground=False)
    wait_until(lambda: "ZeroDivisionError" in e.message.value)
    e.model.decode = lambda *_: [][0]
    e.walk.value = 10
    assert "IndexError" in e.message.value
    del e.model.decode
    e.walk.value = 20
    assert not e.message.value
    e.live = False
    e.model.decode = lambda *_: [][0]
    with pytest.raises(IndexError):
        e.walk.value = 30


def test_refresh_shows_the_model_as_it_is_now_from_the_same_latents(digits, quick):
    t = Training(small("vae"), digits, batch_size=8, device="cpu")
    e = explorer(digits, model=t.model)
    e.walk.value = 40
    before = e.codes.clone(), e.image.clone(), bytes(e.map.image.value), bytes(e.strip.value)
    t.run(20, progress=False)
    assert torch.equal(e.codes, before[0])
    e.buttons["refresh"].click()
    assert torch.equal(e.codes[20:], before[0][20:]) and not torch.allclose(e.codes[:20], before[0][:20])
    assert e.walk.value == 40 and shows(e.now, decoded(e, e.z)) and not torch.allclose(e.image, before[1])
    assert bytes(e.map.image.value) != before[2] and bytes(e.strip.value) != before[3]
    good = e.codes.clone()
    with torch.no_grad():
        next(t.model.parameters()).fill_(math.nan)
    e.buttons["refresh"].click()
    assert "NaN or infinite" in e.message.value and torch.equal(e.codes, good), "what there was is still there"


def test_looking_changes_no_weight_of_a_running_training(digits, quick):
    def training():
        return Training(small("dcgan"), digits, batch_size=4, device="cpu", log_every=2)
    t = training().start()
    e = explorer(digits, model=t.model)
    for i in range(20, 40):
        click(e, i)
        e.walk.value = 2 * i
        e.sliders[i % 3].value = i / 20
    e.buttons["refresh"].click()
    assert t.state == "running" and not e.message.value
    t.stop()
    alone = training().run(t.step, progress=False).model.state_dict()
    assert all(torch.equal(value, alone[name]) for name, value in t.model.state_dict().items())


def test_moves_from_several_threads_end_in_one_state(digits, quick):
    e = explorer(digits)

    def moves(k):
        for i in range(20):
            (click(e, (7 * i + k) % 40) if k % 2 else setattr(e.walk, "value", (13 * i + k) % 101))
    threads = [threading.Thread(target=moves, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not e.message.value and shows(e.now, decoded(e, e.z))
    assert {end: box.value for end, box in e.ends.items()} == e._ends
    assert torch.equal(e.z, e._way[0][e.walk.value])


def test_running_the_cell_again_replaces_and_close_leaves_no_widget_open(digits, quick, monkeypatch):
    import ipywidgets
    widgets = ipywidgets.widgets.widget
    registry = widgets._instances if hasattr(widgets, "_instances") else ipywidgets.Widget.widgets
    before = set(registry)
    monkeypatch.setattr(shown, "_cell", lambda: "cell 1")
    first = explorer(digits, "cgan")
    alone = len(registry)
    second = explorer(digits, "cgan")
    assert first._closed and not second._closed and len(registry) == alone
    monkeypatch.setattr(shown, "_cell", lambda: "cell 2")
    third = explorer(digits)
    assert not second._closed, "another cell may show another"
    second.close()
    third.close()
    assert set(registry) == before
    z = first.z
    click(first, 27)
    first.walk.value = 3
    assert torch.equal(first.z, z), "what comes late is not heard"


@pytest.mark.slow
def test_an_executed_notebook_keeps_the_picture_and_no_widget(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    from nbformat.v4 import new_code_cell, new_notebook
    cells = ["from ganlab import data, models, panels\n"
             "explorer = panels.explore(models.create('vae', hidden=(16,), latent=4), data.load('digits'), n=40)\n"
             "explorer", "assert explorer.walk.value == 50 and explorer.image.shape == (1, 28, 28)"]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    assert set(notebook.cells[0].outputs[-1].data) == {"text/plain", "image/png"}


# ---- drawing ----------------------------------------------------------------------------------------------------


def test_colours_and_marks_of_the_map(digits, quick):
    places = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75]])
    colours = [plots.DIGIT_COLOURS[0], plots.DIGIT_COLOURS[5], "#ffffff"]
    picture = draw.latent_map(places, colours, np.array([False, True, True]), 100, {})
    assert picture.size == (200, 200) and picture.info["transparency"] == 0
    seen = np.asarray(picture.convert("RGBA"))
    rgb = [tuple(seen[round(y * 199), round(x * 199)][:3]) for x, y in places]
    assert rgb == [tuple(int(c[i:i + 2], 16) for i in (1, 3, 5)) for c in colours]
    assert seen[100, 100, 3] == 0, "a transparent ground"
    filled = [(seen[round(y * 199) - 9:round(y * 199) + 10, round(x * 199) - 9:round(x * 199) + 10, 3] > 0)
              for x, y in places]
    assert filled[0][9, 9 + 5] and not filled[1][9, 9 + 5] and filled[1][9 + 5, 9 + 5], "a dot and a cross"
    grey = np.array([0x76] * 3)
    for x, y in places:
        around = seen[round(y * 199) - 9:round(y * 199) + 10, round(x * 199) - 9:round(x * 199) + 10, :3]
        assert (around == grey).all(-1).sum() >= 12, "a grey rim"
    pinned = draw.pinned(picture, {"A": (0.5, 0.5)}, (0.25, 0.25), [(0, 1), (1, 0)])
    assert np.array_equal(seen, np.asarray(picture.convert("RGBA"))), "on a copy"
    changed = np.asarray(pinned.convert("RGBA")) != seen
    assert changed[99 - 16:99 + 17, 99].any() and changed[50, 50 + 12].any() and changed[150, 50].any()


def test_the_map_has_a_mark_for_every_point_and_classes_where_real_ones_are(digits, quick, monkeypatch):
    seen = []
    plain = draw.latent_map
    monkeypatch.setattr(draw, "latent_map", lambda *a: seen.append(a) or plain(*a))
    e = explorer(digits, "cgan")
    places, colours, crosses, size, names = seen[-1]
    assert len(places) == len(colours) == 40 and crosses.tolist() == [False] * 20 + [True] * 20 and size == module.MAP
    assert colours == [plots.DIGIT_COLOURS[label] for label in e.labels]
    of = e.labels[:20] == 4
    assert np.allclose(names["4"], np.median(e.places[:20][of], axis=0))


def test_pictures_keep_their_size_and_fit_a_page_of_900(digits, quick):
    e = explorer(digits, "cgan")
    sizes = [(w.width, w.height, pixels(w).shape) for w in (e.under, e.now, e.strip, e.map.image)]
    click(e, 30)
    e.walk.value = 60
    e.sliders[0].value = -1
    point_at(e, "move", 2)
    e.buttons["refresh"].click()
    assert [(w.width, w.height, pixels(w).shape) for w in (e.under, e.now, e.strip, e.map.image)] == sizes
    assert module.MAP + 16 + module.WALK + 20 < 760 and 2 * (module.PICTURE + 4) <= module.WALK

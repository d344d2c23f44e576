"""The drawn sets: what they promise, and that the truth they give is the truth of their pictures."""

from itertools import combinations

import pytest
import torch

from ganlab.data import drawn
from ganlab.data.images import mix, to_float
from ganlab.data.paint import fronts as houses
from ganlab.errors import DataError

SETS = {"fronts": drawn.fronts, "fruit": drawn.fruit, "faces": drawn.faces}
each = pytest.mark.parametrize("name", SETS)


@pytest.fixture
def few(monkeypatch):
    """Sets of 12 training and 6 test images a side."""
    monkeypatch.setattr(drawn, "COUNTS", {"train": 12, "test": 6})
    drawn._part.cache_clear()
    yield
    drawn._part.cache_clear()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1].item()


@each
@pytest.mark.parametrize("size", [32, 50, 130])
def test_any_size_and_every_image_has_its_truth(few, name, size):
    found = SETS[name]("test", size)
    assert found.paired == (name == "fronts") and found.spec == {"name": name, "split": "test", "size": size}
    for side in (found.a, found.b):
        assert side.images.shape == (6, 3, size, size) and side.images.dtype == torch.uint8
        assert all(len(values) == 6 for values in side.truth.values())
    assert ("partner" in found.a.truth) == ("partner" in found.b.truth) == (not found.paired)


@each
def test_splits_are_always_the_same_and_do_not_overlap(few, name):
    train, test, everything = (SETS[name](split, 32) for split in ("train", "test", "all"))
    drawn._part.cache_clear()
    again = SETS[name]("train", 32)
    for side in "ab":
        images = getattr(everything, side).images
        assert torch.equal(images, torch.cat([getattr(train, side).images, getattr(test, side).images]))
        assert torch.equal(getattr(again, side).images, getattr(train, side).images)
        assert len(images.flatten(1).unique(dim=0)) == 18
    assert len(everything) == 18 and set(everything.a.truth) == set(train.a.truth)


@each
def test_bad_requests_are_explained(name):
    with pytest.raises(DataError, match="'valid'"):
        SETS[name]("valid")
    for size in (31, 257, 64.0):
        with pytest.raises(DataError, match=f"32 to 256 pixels a side, not {size}"):
            SETS[name]("test", size)


@each
def test_a_size_shows_the_same_scenes_as_another(few, name):
    small, large = (to_float(SETS[name]("test", size).b.images) for size in (64, 128))
    halved = torch.nn.functional.avg_pool2d(large, 2)
    # Nearer to its own enlargement than to that of any other scene.
    distance = (small[:, None] - halved[None]).abs().mean((2, 3, 4))
    assert (distance.argmin(1) == torch.arange(6)).all() and distance.diagonal().mean() < 0.15


# ---- fronts ---------------------------------------------------------------------------------------------------------

def test_label_colours_are_far_apart_and_read_back():
    colours = torch.tensor(list(drawn.LABELS.values())).float()
    assert min((a - b).norm() for a, b in combinations(colours, 2)) > 95
    fronts = drawn.fronts("test", 32)
    maps = fronts.a.floats()
    classes = fronts.a.truth["classes"]
    assert torch.equal(to_float(colours[classes.long()].movedim(-1, 1).to(torch.uint8)), maps), "no blended colours"
    noisy = maps + 0.05 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    for images in (maps, noisy):
        assert torch.equal(drawn.read_labels(images), classes.long())


def test_every_house_has_walls_windows_and_a_door_between_sky_and_ground():
    classes = drawn.fronts("test", 64).a.truth["classes"]
    names = list(drawn.LABELS)
    assert classes.unique().tolist() == list(range(len(names)))
    shares = torch.stack([(classes == i).float().mean((1, 2)) for i in range(len(names))], 1)
    for name, least in {"wall": 0.05, "window": 0.01, "door": 0.002, "sky": 0.1, "ground": 0.05}.items():
        assert shares[:, names.index(name)].min() > least, name
    assert (classes[:, 0] == names.index("sky")).float().mean() > 0.99
    assert (classes[:, -1] == names.index("ground")).float().mean() > 0.95


def test_the_plan_of_a_house_tells_its_colours():
    fronts, scene = drawn.fronts("test", 32), houses.scene(100, mix(1, 0))
    wall = (fronts.a.truth["classes"] == list(drawn.LABELS).index("wall"))[:, None]
    colour = (fronts.b.floats() * wall).sum((2, 3)) / wall.sum((2, 3))
    group = (scene["style"] * 3 + scene["columns"].long() % 3).flatten()
    residual = torch.cat([colour[group == g] - colour[group == g].mean(0) for g in group.unique()])
    assert residual.square().sum() < 0.15 * (colour - colour.mean(0)).square().sum()


def test_there_is_more_in_a_front_than_a_colour_for_each_class():
    fronts = drawn.fronts("test", 64)
    classes, pictures = fronts.a.truth["classes"], fronts.b.floats()
    error = 0.0
    for i in range(len(drawn.LABELS)):
        pixels = pictures.movedim(1, -1)[classes == i]
        error += (pixels - pixels.median(0).values).abs().sum().item()
    assert 0.12 < error / pictures.numel() < 0.35


# ---- fruit ----------------------------------------------------------------------------------------------------------

def test_partners_differ_in_the_fruit_alone():
    fruit = drawn.fruit("test", 32)
    for side, sign in ((fruit.a, 1), (fruit.b, -1)):
        own, other = to_float(side.images), to_float(side.truth["partner"])
        changed = (own - other).abs().amax(1) > 0.02
        assert not changed[:, :4].any() and 0.05 < changed.float().mean() < 0.5
        # Oranges have more green in their red than apples, red or green, have in both channels taken together.
        fruit_colour = [(x * changed[:, None]).sum((0, 2, 3)) / changed.sum() for x in (own, other)]
        assert sign * (fruit_colour[0] - fruit_colour[1])[0] > 0.1
        more = changed.float().mean((1, 2))
        assert correlation(side.truth["count"], more) > 0.3
    assert not torch.equal(fruit.a.truth["count"], fruit.b.truth["count"]), "the sides are drawn independently"


def test_light_comes_from_where_it_is_said_to():
    fruit = drawn.fruit("test", 32)
    for side in (fruit.a, fruit.b):
        images = to_float(side.images)[:, :, :8].mean((1, 2))
        brighter_right = images[:, 16:].mean(1) - images[:, :16].mean(1)
        assert ((brighter_right > 0) == (side.truth["light"] > 0)).float().mean() > 0.95


# ---- faces ----------------------------------------------------------------------------------------------------------

def test_hair_has_the_colour_it_is_said_to_have():
    faces = drawn.faces("test", 32)
    for side in (faces.a, faces.b):
        crown = to_float(side.images)[:, :, 7:9, 14:18].mean((2, 3))
        assert correlation(crown, side.truth["hair"]) > 0.75
        partner = to_float(side.truth["partner"])[:, :, 7:9, 14:18].mean((2, 3))
        assert correlation(partner, side.truth["hair"]) > 0.75, "the partner has the same hair"


def test_eyes_of_drawings_are_larger():
    faces = drawn.faces("test", 32)
    ratio = faces.b.truth["eye_size"].mean() / faces.a.truth["eye_size"].mean()
    assert 2 < ratio < 3.5 and faces.a.truth["eye_size"].max() < faces.b.truth["eye_size"].min()
    assert faces.a.truth["hair"].shape == (100, 3) and faces.a.truth["pose"].shape == (100,)
    assert faces.a.truth["pose"].abs().max() <= 1


def test_an_eye_chart_shows_every_size_in_both_styles():
    chart = drawn.eye_chart(64, 40)
    assert len(chart) == 40 and correlation(chart.truth["eye_size"][:20], chart.truth["eye_size"][20:]) > 0.999
    # Larger eyes mean more contrast in the band in which the eyes are.
    band = chart.floats()[:, :, 26:42, 20:44].mean(1).flatten(1)
    for style in (slice(20), slice(20, None)):
        assert correlation(band[style].std(1), chart.truth["eye_size"][style]) > 0.2

"""Networks that read the drawn sets: they learn what they are for, and say what they lack."""

from dataclasses import replace

import pytest
import torch

from ganlab.data import drawn
from ganlab.data.images import to_float
from ganlab.errors import GanlabError
from ganlab.judges import LabelReader, Regressor


def test_a_label_reader_reads_held_out_houses():
    train, held_out = drawn.fronts("test", 32).split(20)
    reader = LabelReader.trained_on(train, steps=80)
    pictures, classes = held_out.b.floats(), held_out.a.truth["classes"]
    commonest = torch.bincount(classes.flatten()).max() / classes.numel()
    assert reader.accuracy(pictures, classes) > 0.85 > 0.3 + commonest
    assert reader.read(pictures).shape == (20, 32, 32) and reader.read(pictures).dtype == torch.int64
    assert reader.accuracy(pictures, reader.read(pictures)) == 1
    assert reader.accuracy(pictures.roll(1, 0), classes) < 0.75, "another house has another map"


def test_a_regressor_reads_held_out_faces_of_both_sides():
    train, held_out = drawn.faces("test", 32).split(30)
    regressor = Regressor.trained_on(train, ["hair", "eye_size"], steps=150)
    for side in (held_out.a, held_out.b):
        values = regressor.read(side.floats())
        assert {name: value.shape for name, value in values.items()} == {"hair": (30, 3), "eye_size": (30, 1)}
        assert regressor.r2(side.floats(), side.truth)["hair"] > 0.6
    both = torch.cat([side.images for side in (held_out.a, held_out.b)])
    truth = {name: torch.cat([side.truth[name] for side in (held_out.a, held_out.b)]) for name in ("hair", "eye_size")}
    assert regressor.r2(to_float(both), truth)["eye_size"] > 0.8, "the sides tell the size"


def test_r2_against_closed_forms():
    regressor = Regressor({"pose": 1, "hair": 3})
    images = torch.zeros(4, 3, 32, 32)
    truth = {"pose": torch.tensor([-1.0, 0.0, 0.0, 1.0]), "hair": torch.rand(4, 3)}

    def scores(pose: torch.Tensor, hair: torch.Tensor) -> dict[str, float]:
        regressor.read = lambda _: {"pose": pose.view(4, 1), "hair": hair}
        return regressor.r2(images, truth)

    assert scores(truth["pose"], truth["hair"]) == {"pose": 1, "hair": 1}
    assert scores(torch.zeros(4), truth["hair"].mean(0).expand(4, 3)) == pytest.approx({"pose": 0, "hair": 0}, abs=1e-6)
    # Half the deviation leaves a quarter of the squared error; the opposite has four times the variance.
    assert scores(truth["pose"] / 2, truth["hair"])["pose"] == pytest.approx(0.75)
    assert scores(-truth["pose"], truth["hair"])["pose"] == pytest.approx(-3)


def test_what_is_missing_is_named_and_the_seed_decides():
    faces = drawn.faces("test", 32)
    with pytest.raises(GanlabError, match=r"\['age'\].*'eye_size'"):
        Regressor.trained_on(faces, ["pose", "age"])
    with pytest.raises(GanlabError, match="fronts"):
        LabelReader.trained_on(faces)
    fronts = drawn.fronts("test", 32)
    with pytest.raises(GanlabError, match="fronts"):
        LabelReader.trained_on(replace(fronts, a=replace(fronts.a, truth={})))
    for make in (lambda seed: LabelReader.trained_on(fronts, 2, seed),
                 lambda seed: Regressor.trained_on(faces.a, ["pose"], 2, seed)):
        found = []
        for seed in (1, 1, 2):
            torch.rand(1)  # the global generator, which must not matter, has moved on
            found.append(torch.cat([p.flatten() for p in make(seed).parameters()]))
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])

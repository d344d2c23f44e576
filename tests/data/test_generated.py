"""Sets that the computer makes: loading by name, rebuilding, and what cannot be asked of them."""

import sys
from types import ModuleType

import pytest
import torch

from ganlab import data
from ganlab.data import Domains, Images, drawn
from ganlab.data.catalogue import Entry, entries, entry
from ganlab.errors import DataError

GENERATED = [e for e in entries().values() if e.reader == "generated"]


def same(a: Images | Domains, b: Images | Domains) -> bool:
    sides = [(a.a, b.a), (a.b, b.b)] if isinstance(a, Domains) else [(a, b)]
    return a.spec == b.spec and all(torch.equal(x.images, y.images) for x, y in sides)


@pytest.mark.parametrize("e", GENERATED, ids=lambda e: e.name)
def test_a_generated_set_is_what_its_entry_says(e, monkeypatch, tmp_path):
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    found = data.load(e.name, "test")
    assert found.name == e.name and found.shape == e.shape
    assert found.spec == {"name": e.name, "split": "test", "size": None, "channels": None}
    assert same(data.rebuild(found.spec), found)
    assert isinstance(found, Domains) == bool(e.domains)
    sides = [found.a, found.b] if isinstance(found, Domains) else [found]
    count = {split: n if isinstance(n, list) else [n] * len(sides) for split, n in e.counts.items()}
    assert [len(side) for side in sides] == count["test"]
    if isinstance(found, Domains):
        assert found.paired == (e.domains == "paired")
        assert set(count["train"]) == {drawn.COUNTS["train"]}, "as stated there; to draw them all takes a while"
    else:
        train = data.load(e.name)
        assert [len(train)] == count["train"] and not same(found, train.subset(len(found)))
    assert not list(tmp_path.iterdir()) and data.check(e.name) == [(e.name, "ok")]


@pytest.fixture
def maker(monkeypatch):
    """A data set "toy" made by a function of this test; returns what the function was given."""
    given = []

    def domains(split: str, size: int = 64) -> Domains:
        given.append((split, size))
        side = Images(torch.full((2, 3, size, size), 7, dtype=torch.uint8), truth={"angle": torch.arange(2.0)})
        return Domains(side, side.take(slice(None)), True, "toy")

    module = ModuleType("toy_maker")
    module.domains = domains
    monkeypatch.setitem(sys.modules, "toy_maker", module)
    toy = Entry("toy", "Toy", "generated", (3, 64, 64), ("a", "b"), {"train": 2, "test": 2}, "-", "-",
                domains="paired", maker="toy_maker:domains")
    monkeypatch.setattr(data, "entry", lambda name: toy if name == "toy" else entry(name))
    return given


def test_domains_are_drawn_at_the_size_asked_for(maker):
    assert data.load("toy").shape == (3, 64, 64)
    grey = data.load("toy", "test", size=16, channels=1)
    assert grey.shape == (1, 16, 16) and maker == [("train", 64), ("test", 16)]
    assert grey.spec == {"name": "toy", "split": "test", "size": 16, "channels": 1}
    assert same(data.rebuild(grey.spec), grey)
    assert grey.a.truth["angle"].tolist() == [0, 1], "the truth stays with its images"


@pytest.mark.parametrize("arguments", [{"size": 32}, {"channels": 1}])
def test_points_have_neither_size_nor_channels(arguments):
    with pytest.raises(DataError, match=r"ring is a set of points in 2 dimensions.*leave out"):
        data.load("ring", **arguments)


def test_stacked_digits_can_be_resized():
    found = data.load("stacked_digits", "test", size=32)
    assert found.shape == (3, 32, 32) and same(data.rebuild(found.spec), found)

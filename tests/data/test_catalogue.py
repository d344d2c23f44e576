import re
from pathlib import Path

import pytest

from ganlab import data
from ganlab.data.catalogue import cards, entries, entry, size
from ganlab.errors import DataError

CHECKOUT = Path(__file__).parents[2]


def test_the_cards_agree_with_the_catalogue():
    assert (CHECKOUT / "data" / "README.md").read_text(encoding="utf-8") == cards(), (
        "make it again: python -c \"from ganlab import data; print(data.cards(), end='')\" > data/README.md")


@pytest.mark.parametrize("e", entries().values(), ids=lambda e: e.name)
def test_an_entry_is_complete_and_sound(e):
    assert e.licence and e.citation and e.title and (e.home.startswith("http") or e.reader == "generated")
    assert (len(e.shape) == 1 and e.reader == "generated") or (e.shape[0] in (1, 3) and e.shape[1] == e.shape[2])
    assert set(e.counts) == {"train", "test"} and all(e.counts.values())
    assert all(isinstance(n, list) == (e.domains == "unpaired") for n in e.counts.values())
    assert bool(e.maker) == (e.reader in ("digits", "generated")) == (not e.files)
    assert not e.domains or (e.domains in ("paired", "unpaired") and len(e.classes) == 2)
    for f in e.files:
        assert f.addresses and len(set(f.addresses)) == len(f.addresses)
        assert all(re.fullmatch(r"https?://\S+", a) for a in f.addresses)
        assert f.sha256 is None or re.fullmatch("[0-9a-f]{64}", f.sha256)
        assert (f.bytes or not f.sha256) and f.name == Path(f.name).name
    for split, (start, stop) in e.ranges.items():
        assert stop - start == e.counts.get(split, stop)
    assert f"## {e.name}\n" in cards() and e.licence in cards()


def test_no_two_files_have_one_hash():
    hashes = [f.sha256 for e in entries().values() for f in e.files if f.sha256]
    assert len(hashes) == len(set(hashes))


def test_an_unknown_name_gets_the_list_and_the_way_to_own_images():
    with pytest.raises(DataError, match=r"'minst'.*digits, mnist, fashion, kmnist, cifar10, celeba.*data\.folder"):
        entry("minst")
    assert data.available()[:6] == ("digits", "mnist", "fashion", "kmnist", "cifar10", "celeba")
    assert {"ring", "grid25", "spiral", "moons", "stacked_digits"} < set(data.available())
    assert {"fronts", "fruit", "faces"} < set(data.available())
    assert {"facades", "facades_unpaired", "horse2zebra", "apple2orange", "monet2photo", "summer2winter_yosemite",
            "vangogh2photo", "selfie2anime"} < set(data.available())


def test_sizes_for_people():
    assert [size(n) for n in (None, 999, 28881, 170052171, 1443490838)] == [
        "unknown size", "999 bytes", "28.9 kB", "170 MB", "1.44 GB"]

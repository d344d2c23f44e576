import shutil
import struct
import sys
import threading
import warnings
import zlib
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import data
from ganlab.data import ImageFiles, Images
from ganlab.data.images import fingerprint
from ganlab.errors import DataError

RED, BLUE = (220, 30, 40), (30, 40, 220)


def halves(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image.quantize(4) if mode == "P" else image.convert(mode)


def bomb(path: Path, width: int = 100_000, height: int = 100_000) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def near(image: torch.Tensor, left: tuple[int, ...], right: tuple[int, ...], tolerance: int = 8) -> bool:
    """Whether the quarters at the left and right edge have these colours."""
    w = image.shape[-1] // 4
    found = torch.stack([image[:, :, :w].float().mean((1, 2)), image[:, :, -w:].float().mean((1, 2))])
    return bool((found - torch.tensor([left, right]).float()).abs().max() <= tolerance)


@pytest.fixture(params=["Images", "ImageFiles"])
def load(request):
    """`data.folder`, once into memory and once streaming."""
    def folder(path, size=16, channels=3):
        found = data.folder(path, size, channels, **({} if request.param == "Images" else {"fits": 0}))
        assert type(found).__name__ == request.param
        return found
    return folder


def everything(found: Images | ImageFiles) -> torch.Tensor:
    return found.fetch(torch.arange(len(found)))[0]


@pytest.mark.parametrize(("mode", "ending"), [
    ("RGB", "png"), ("RGBA", "webp"), ("P", "gif"), ("P", "png"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpeg")])
def test_sizes_modes_and_names_with_spaces(tmp_path, load, mode, ending):
    for name, size in {"a wide one": (90, 40), "a tall one ü": (31, 77), "tiny": (4, 4)}.items():
        options = {"quality": 95, "subsampling": 0} if ending[0] == "j" else {}
        halves(*size, mode).save(tmp_path / f"{name}.{ending.upper()}", **options)
    found = load(tmp_path)
    assert len(found) == 3 and found.shape == (3, 16, 16) and found.labels is None and found.classes == ()
    images = everything(found)
    assert images.dtype == torch.uint8 and images.shape == (3, 3, 16, 16)
    assert all(near(image, RED, BLUE) for image in images)


def test_the_middle_is_cut_out(tmp_path, load):
    image = Image.new("RGB", (300, 100), RED)
    image.paste(BLUE, (100, 0, 200, 100))
    image.save(tmp_path / "a.png")
    assert near(everything(load(tmp_path))[0], BLUE, BLUE)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_16_bit_and_float(tmp_path, load, channels):
    ramp = np.linspace(0, 1, 32)[None, :].repeat(32, 0)
    Image.fromarray((ramp * 255).astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray((ramp * 65535).astype(np.uint16)).save(tmp_path / "16.png")
    Image.fromarray((ramp * 65535).astype(np.int32)).save(tmp_path / "32.tif")
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "f.tif")
    images = everything(load(tmp_path, 32, channels)).float()
    assert images.shape == (4, channels, 32, 32)
    assert (images - torch.from_numpy(ramp * 255)).abs().max() <= 1


def test_transparent_parts_are_white(tmp_path, load):
    clear = halves(20, 20, "RGBA")
    clear.paste((0, 0, 0, 0), (10, 0, 20, 20))
    clear.save(tmp_path / "a.png")
    indexed = Image.new("P", (20, 20), 0)
    indexed.putpalette([0, 0, 0, *RED])
    indexed.paste(1, (0, 0, 10, 20))
    indexed.save(tmp_path / "b.png", transparency=0)
    assert all(near(image, RED, (255, 255, 255)) for image in everything(load(tmp_path)))


@pytest.mark.parametrize(("tag", "turn"), [
    (2, Image.Transpose.FLIP_LEFT_RIGHT), (3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90),
    (8, Image.Transpose.ROTATE_270)])
def test_exif_rotation(tmp_path, load, tag, turn):
    exif = Image.Exif()
    exif[0x0112] = tag
    halves(64, 48).transpose(turn).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert near(everything(load(tmp_path))[0], RED, BLUE)


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path, load):
    for name, colour in {"zebra": RED, "a horse": BLUE}.items():
        (tmp_path / name / "deeper").mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (9, 9), colour).save(tmp_path / name / "deeper" / f"{i}.png")
    found = load(tmp_path)
    assert found.classes == ("a horse", "zebra") and found.labels.tolist() == [0, 0, 1, 1]
    images, labels = found.fetch(torch.tensor([3, 0]))
    assert labels.tolist() == [1, 0] and near(images[0], RED, RED) and near(images[1], BLUE, BLUE)
    halves(9, 9).save(tmp_path / "outside.png")
    assert load(tmp_path).labels is None


def test_what_cannot_be_read_is_named_once_and_left_out(tmp_path, load):
    for i in range(3):
        halves(30, 30).save(tmp_path / f"good {i}.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>")
    bomb(tmp_path / "bomb.png")
    bomb(tmp_path / "small bomb.png", 9_000, 10_000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = load(tmp_path)
    assert len(found) == 3 and all(near(image, RED, BLUE) for image in everything(found))
    assert len(told) == 1 and "4 of 7 files" in str(told[0].message)
    for name in ("empty.png", "page.jpg", "bomb.png", "small bomb.png: refused, 9000 x 10000 pixels"):
        assert name in str(told[0].message)


def test_a_truncated_file_is_left_out_when_all_are_decoded(tmp_path):
    for name in "abc":
        halves(200, 200).save(tmp_path / f"{name}.jpg", quality=95)
    content = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[:len(content) // 2])
    with pytest.warns(UserWarning, match=r"1 of 3 files .* b\.jpg"):
        found = data.folder(tmp_path, 16)
    assert len(found) == 2 and all(near(image, RED, BLUE) for image in everything(found))


def test_labels_stay_with_their_images_when_a_file_is_left_out(tmp_path):
    for name in ("a/1", "a/2", "b/3", "b/4", "c/5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 60), RED if name < "b" else BLUE).save(tmp_path / f"{name}.bmp")
    for name in ("a/1", "c/5"):
        content = (tmp_path / f"{name}.bmp").read_bytes()
        (tmp_path / f"{name}.bmp").write_bytes(content[:len(content) // 2])
    with pytest.warns(UserWarning, match="2 of 5 files"):
        found = data.folder(tmp_path, 16)
    assert found.classes == ("a", "b") and found.labels.tolist() == [0, 1, 1] and len(found) == 3
    assert [near(image, RED, RED) for image in found.images] == [True, False, False]


def test_if_no_file_can_be_read_it_is_an_error(tmp_path):
    bomb(tmp_path / "a.png")
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"no image could be read.*2 of 2.*a\.png.*bomb.*b\.gif"):
        data.folder(tmp_path)


def test_an_empty_or_missing_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        data.folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"Looked for \.png, \.jpg.*found no file at all"):
        data.folder(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.heic", "b.HEIC", "notes", ".hidden.png", "__MACOSX/a.png"):
        (tmp_path / "sub" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"sub-folders.*2 x \.heic"):
        data.folder(tmp_path)
    for bad in ({"size": 0}, {"channels": 4}):
        with pytest.raises(DataError, match="channels is 1 or 3"):
            data.folder(tmp_path, **bad)


@pytest.fixture
def numbered(tmp_path):
    """Twelve grey images; the n-th has the value 20 n."""
    (tmp_path / "numbers").mkdir()
    for i in range(12):
        Image.new("L", (10, 12), 20 * i).save(tmp_path / "numbers" / f"{i:02}.png")
    return tmp_path / "numbers"


def values(found) -> list[int]:
    return [round(v / 20) for v in everything(found).float().mean((1, 2, 3)).tolist()]


def test_both_kinds_have_one_interface(numbered, load):
    found = load(numbered)
    assert values(found) == list(range(12)) and found.name == "numbers"
    assert values(found.subset(3)) == [0, 1, 2] and len(found.subset(3)) == 3
    rest, held = found.split(4, seed=1)
    assert sorted(values(rest) + values(held)) == list(range(12)) and len(held) == 4
    assert values(rest) != sorted(values(rest)) and values(found.split(4, seed=1)[1]) == values(held)
    reference = data.folder(numbered, 16).split(4, seed=1)[1]
    assert values(reference) == values(held), "the same part, whether streamed or not"
    assert values(found.to("cpu")) == list(range(12)) and found.to("meta").fetch(torch.tensor([1]))[0].is_meta
    with pytest.raises(DataError, match="cannot hold 12"):
        found.split(12)
    assert found.spec and not rest.spec


def test_a_folder_is_rebuilt_from_its_spec_and_loads_by_path(numbered, monkeypatch):
    found = data.folder(numbered, 16, 1)
    assert torch.equal(data.rebuild(found.spec).images, found.images)
    monkeypatch.chdir(numbered.parent)
    for path in (str(numbered), "numbers", "./numbers"):
        assert torch.equal(data.load(path, size=16, channels=1).images, found.images)
    monkeypatch.setenv("HOME", str(numbered.parent))
    monkeypatch.setenv("USERPROFILE", str(numbered.parent))
    assert data.load("~/numbers").shape == (3, 64, 64)
    assert data.load("numbers").spec["name"] == str(numbered), "found again from anywhere"
    with pytest.raises(DataError, match=r"train and test.*\.split"):
        data.load("numbers", split="test")


def test_a_folder_may_have_a_test_part(numbered):
    shutil.copytree(numbered, numbered / "train" / "x")
    (numbered / "test").mkdir()
    shutil.move(numbered / "00.png", numbered / "test")
    assert len(data.load(str(numbered))) == 12 and len(data.load(str(numbered), "test")) == 1
    assert len(data.load(str(numbered), "all")) == 24


@pytest.fixture
def parts(tmp_path):
    """A folder with train (20 images of the classes A and B) and test (8 images of them)."""
    for part, n in (("train", 10), ("test", 4)):
        for i in range(2 * n):
            file = tmp_path / "parts" / part / "AB"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9), 5 * i + 100 * (part == "test")).save(file)
    return tmp_path / "parts"


def test_what_a_folder_was_loaded_as_is_rebuilt_and_its_test_part_found(parts, monkeypatch):
    monkeypatch.chdir(parts.parent)
    loaded = {split: data.load("./parts", split, 8) for split in ("train", "test", "all")}
    edges = data.edges(loaded["train"])
    monkeypatch.chdir("/")
    assert {split: len(found) for split, found in loaded.items()} == {"train": 20, "test": 8, "all": 28}
    for found in loaded.values():
        again, held_out = data.rebuild(found.spec), data.rebuild(found.spec, "test")
        assert fingerprint(again) == fingerprint(found) and again.spec == found.spec
        assert torch.equal(again.labels, found.labels) and again.classes == found.classes
        assert torch.equal(held_out.images, loaded["test"].images) and held_out.spec == loaded["test"].spec
    assert len(data.rebuild(edges.spec)) == 20 and len(data.rebuild(edges.spec, "test")) == 8


@pytest.mark.parametrize("below", [".", "train"], ids=["train and test", "A and B"])
def test_a_folder_that_was_taken_whole_is_rebuilt_whole(parts, below, monkeypatch):
    monkeypatch.chdir(parts.parent)
    found, edges = data.folder(f"parts/{below}", 8), data.edges(f"parts/{below}", 8)
    monkeypatch.chdir("/")
    for split in ("", "train", "all"):
        again = data.rebuild(found.spec, split)
        assert fingerprint(again) == fingerprint(found) and again.spec == found.spec and len(again.classes) == 2
    assert fingerprint(data.rebuild(edges.spec)) == fingerprint(edges)
    for spec in (found.spec, edges.spec):
        with pytest.raises(DataError, match="taken whole and has no split 'test'"):
            data.rebuild(spec, "test")


def test_what_earlier_checkpoints_say_of_a_folder_is_understood(parts):
    """They have the path of the images themselves as a name, whether the folder was loaded or taken whole."""
    spec = {"name": str(parts / "test" / "A"), "size": 8, "channels": 1}
    assert fingerprint(data.rebuild(spec)) == fingerprint(data.folder(parts / "test" / "A", 8, 1))
    shutil.rmtree(parts / "train" / "B")
    spec = {"name": str(parts / "train"), "size": 8, "channels": 3}
    for again in (data.rebuild(spec), data.rebuild({"edges": spec}).b):
        assert fingerprint(again) == fingerprint(data.load(parts, size=8))


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows not everyone may make a symbolic link")
def test_linked_folders_are_read_once_under_their_own_names(tmp_path, load):
    for name, colour in (("top/horse", BLUE), ("top/.kept", RED), ("elsewhere/zebra", RED), ("elsewhere/zebra/a", RED)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), colour).save(tmp_path / name / "0.png")
    for link, target in {"zebra": "../elsewhere/zebra", "cow": ".kept", "again": "horse", "up": "..", "top": ".",
                         "horse/back": "../../top", "nothing": "nowhere"}.items():
        (tmp_path / "top" / link).symlink_to(target, target_is_directory=True)
    (tmp_path / "elsewhere" / "zebra" / "round").symlink_to("..", target_is_directory=True)
    found = load(tmp_path / "top")
    assert found.classes == ("cow", "horse", "zebra") and found.labels.tolist() == [0, 1, 2, 2]
    assert [near(image, RED, RED) for image in everything(found)] == [True, False, True, True]
    (tmp_path / "top" / "one.png").symlink_to("horse/0.png")
    assert len(load(tmp_path / "top")) == 5, "a linked file is a file"


def test_prefetching_gives_the_same(numbered):
    found = data.folder(numbered, 16, fits=0)
    index = torch.tensor([5, 1, 9])
    plain = found.fetch(index)[0]
    found.prefetch(index)
    wait([row for rows in found._ahead.values() for row in rows])
    shutil.rmtree(numbered)
    assert torch.equal(found.fetch(index)[0], plain), "decoded before the files went away"


def test_a_file_that_breaks_while_streaming_is_replaced(numbered):
    found = data.folder(numbered, 16, fits=0)
    (numbered / "03.png").write_bytes(b"broken")
    (numbered / "04.png").unlink()
    with pytest.warns(UserWarning, match=r"03\.png can no longer"), pytest.warns(UserWarning, match=r"04\.png"):
        images, _ = found.fetch(torch.tensor([2, 3]))
    assert [round(v / 20) for v in images.float().mean((1, 2, 3)).tolist()] == [2, 5]
    shutil.rmtree(numbered)
    with pytest.warns(UserWarning), pytest.raises(DataError, match="drive"):
        found.fetch(torch.tensor([0]))


def test_the_one_that_replaces_a_file_has_its_label(numbered):
    for i in range(12):
        label = numbered / ("a" if i < 3 else "b" if i < 11 else "c")
        label.mkdir(exist_ok=True)
        shutil.move(numbered / f"{i:02}.png", label)
    found = data.folder(numbered, 16, fits=0)
    for gone in ("a/02", "b/03", "b/04", "c/11"):
        (numbered / f"{gone}.png").unlink()
    with pytest.warns(UserWarning, match=r"0[234]\.png can no longer"):
        images, labels = found.fetch(torch.tensor([2, 3, 10]))
    assert [round(v / 20) for v in images.float().mean((1, 2, 3)).tolist()] == [0, 5, 10]
    assert labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match=r"11\.png can no longer be read .*load the set again"):
        found.fetch(torch.tensor([11]))


def test_a_file_with_nan_counts_as_one_that_cannot_be_read(tmp_path):
    for name, value in {"a": 0.5, "nan": float("nan"), "inf": -float("inf")}.items():
        values = np.full((9, 9), 0.5, dtype=np.float32)
        values[0, 0] = value
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    with pytest.warns(UserWarning, match=r"2 of 3 files .*inf\.tif: .*; nan\.tif: has values that are NaN or infinite"):
        assert len(data.folder(tmp_path, 8)) == 1
    with pytest.warns(UserWarning, match=r"nan\.tif can no longer be read \(has values that are NaN"):
        images, _ = data.folder(tmp_path, 8, fits=0).fetch(torch.tensor([2]))
    assert images.unique().tolist() == [128]


def test_decoding_uses_threads_only(numbered):
    found = data.folder(numbered, 16, fits=0)
    found.fetch(torch.arange(12))
    assert any("ganlab-decode" in t.name for t in threading.enumerate())

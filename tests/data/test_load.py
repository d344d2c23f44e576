import gzip
import os
import struct
import tarfile
import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import data
from ganlab.data.catalogue import Entry, entry
from ganlab.data.readers import idx
from ganlab.errors import DataError

RANDOM = np.random.default_rng(0)


def same(a, b) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.spec == b.spec


def test_real_images_are_what_they_should_be(real):
    assert real.images.dtype == torch.uint8 and real.shape == (1, 28, 28)
    assert real.labels.dtype == torch.int64 and real.labels.unique().tolist() == list(range(10))
    assert real.classes == tuple("0123456789")
    assert len(real) == {"mnist": 10_000, "digits": 1797}[real.name]
    assert real.images[:, :, 0].float().mean() < 10 < real.images.float().mean(), "white ink on black"


def test_labels_belong_to_their_images(real):
    pixels = real.images.flatten(1).float()
    means = torch.stack([pixels[real.labels == k].mean(0) for k in range(10)])
    assert (torch.cdist(pixels, means).argmin(1) == real.labels).float().mean() > 0.75


def test_a_real_set_is_rebuilt_from_its_spec(real):
    assert same(data.rebuild(real.spec), real)


def test_real_images_resized_and_coloured_keep_their_look(real):
    other = data.load(**real.spec | {"size": 32, "channels": 3})
    assert other.shape == (3, 32, 32) and other.images.dtype == torch.uint8
    assert torch.equal(other.images[:, 0], other.images[:, 2])
    assert abs(other.images.float().mean() - real.images.float().mean()) < 1
    assert same(data.rebuild(other.spec), other)


def packed(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def toy(server, monkeypatch, tmp_path):
    """A set "toy" in MNIST's format, of 6 and 4 images, whose files are on the local server."""
    arrays = {"train-images": RANDOM.integers(0, 256, (6, 28, 28)), "train-labels": np.arange(6),
              "t10k-images": RANDOM.integers(0, 256, (4, 28, 28)), "t10k-labels": np.arange(4)}
    files = []
    for name, array in arrays.items():
        file = server.file(packed(array), "ok", name=f"{name}.gz")
        files.append(file.__class__(**vars(file) | {"split": "train" if "train" in name else "test"}))
    toy = Entry("toy", "Toy", "idx", (1, 28, 28), tuple("abcdef"), {"train": 6, "test": 4}, "-", "-", "-", tuple(files))
    monkeypatch.setattr(data, "entry", lambda name: toy if name == "toy" else entry(name))
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    return arrays


def test_a_set_is_downloaded_by_split_and_loads_without_network_afterwards(toy, server, tmp_path):
    test = data.load("toy", split="test")
    assert [b for b, _ in server.requests] == ["ok"] * 2
    assert torch.equal(test.images[:, 0], torch.from_numpy(toy["t10k-images"]).to(torch.uint8))
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert sorted(p.name for p in (tmp_path / "toy").glob("*.gz")) == ["t10k-images.gz", "t10k-labels.gz"]
    everything = data.load("toy", split="all")
    assert everything.labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3] and len(server.requests) == 4
    assert same(data.load("toy", split="test", download=False), test)
    server.contents.clear()
    assert same(data.load("toy", split="test"), test) and len(server.requests) == 4


def test_a_set_that_is_missing_says_where_to_put_it(toy, server, tmp_path):
    with pytest.raises(DataError) as caught:
        data.load("toy", download=False)
    assert str(tmp_path / "toy" / "train-images.gz") in str(caught.value) and "missing" in str(caught.value)
    assert not list(tmp_path.iterdir()) and not server.requests


def test_a_read_only_root_is_read_and_left_alone(toy, tmp_path):
    data.get("toy")
    (tmp_path / "toy" / "verified.json").unlink()
    before = sorted(p.name for p in (tmp_path / "toy").iterdir())
    (tmp_path / "toy").chmod(0o555)
    assert len(data.load("toy", split="all")) == 10
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == before or os.name == "nt"
    (tmp_path / "toy").chmod(0o755)


def test_get_and_check(toy, tmp_path):
    assert data.check("toy") == [(f"toy/{name}.gz", "missing") for name in toy]
    assert data.get("toy") == tmp_path / "toy"
    assert {status for _, status in data.check("toy")} == {"ok"}
    path = tmp_path / "toy" / "t10k-labels.gz"
    content, stamp = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + b"?")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # a change that only the hash can show
    assert dict(data.check("toy"))["toy/t10k-labels.gz"].startswith("wrong hash")
    assert ("digits", "ok") in data.check() and len(data.check()) > 10


def test_the_root(monkeypatch, tmp_path):
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    assert data.root() == tmp_path
    with pytest.raises(DataError, match="elsewhere"):
        data.load("mnist", root=tmp_path / "elsewhere", download=False)
    monkeypatch.delenv("GANLAB_DATA")
    assert data.root().name == "data" and (data.root().parent / "pyproject.toml").is_file()
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site-packages" / "ganlab" / "data" / "__init__.py"))
    assert "ganlab" in str(data.root()) and "site-packages" not in str(data.root())


@pytest.mark.parametrize(("arguments", "told"), [
    ({"name": "nothing"}, "digits, mnist"), ({"name": "digits", "split": "trian"}, "'train', 'test' and 'all'"),
    ({"name": "digits", "size": 0}, "size=0"), ({"name": "digits", "channels": 2}, "channels=2"),
    ({"name": "./nothing"}, "there is no folder")])
def test_wrong_arguments(arguments, told):
    with pytest.raises(DataError, match=told):
        data.load(**arguments)


def test_rebuild_without_a_spec():
    with pytest.raises(DataError, match="data="):
        data.rebuild(data.load("digits").subset(3).spec)


def test_digits_need_no_network_and_have_the_stated_counts():
    for split, count in entry("digits").counts.items():
        assert len(data.load("digits", split=split)) == count
    assert same(data.rebuild(data.load("digits", "test", 14, 3).spec), data.load("digits", "test", 14, 3))
    assert data.load("digits", size=14, channels=3).shape == (3, 14, 14)


def test_cifar(server, monkeypatch, tmp_path):
    rows = RANDOM.integers(0, 10, (60, 3073)).astype(np.uint8)
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as t:
        for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
            content = rows[i * 10:i * 10 + 10].tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(content)
            t.addfile(info, BytesIO(content))
    real = entry("cifar10")
    toy = Entry(**vars(real) | {"counts": {"train": 50, "test": 10},
                                "files": (server.file(archive.getvalue(), "ok", name="c.tar.gz"),)})
    monkeypatch.setattr(data, "entry", lambda _: toy)
    train, test = (data.load("cifar10", split, root=tmp_path) for split in ("train", "test"))
    assert train.shape == (3, 32, 32) and len(train) == 50 and len(test) == 10
    assert train.labels.tolist() == rows[:50, 0].tolist() and test.labels.tolist() == rows[50:, 0].tolist()
    assert test.images[3, 1, 2, 5] == rows[53, 1 + 1024 + 2 * 32 + 5]
    assert data.load("cifar10", "all", root=tmp_path).labels.tolist() == rows[:, 0].tolist()
    assert len(server.requests) == 1
    grey = data.load("cifar10", "test", channels=1, root=tmp_path).images[:, 0].float()
    red, green, blue = test.images.float().unbind(1)
    assert (grey - (0.299 * red + 0.587 * green + 0.114 * blue)).abs().max() <= 0.5
    (tmp_path / "cifar10" / "c.tar.gz").unlink()
    assert len(data.load("cifar10", root=tmp_path, download=False)) == 50, "the unpacked folder is enough"
    (tmp_path / "cifar10" / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match="does not hold 50 images"):
        data.load("cifar10", root=tmp_path)


def test_celeba(server, monkeypatch, tmp_path):
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for i in range(8):
            picture = BytesIO()
            Image.new("RGB", (178, 218), (i * 30, 0, 0)).save(picture, "JPEG")
            z.writestr(f"img_align_celeba/{i + 1:06}.jpg", picture.getvalue())
    toy = Entry(**vars(entry("celeba")) | {"ranges": {"train": [0, 5], "test": [6, 8], "all": [0, 8]},
                                           "files": (server.file(archive.getvalue(), "ok", name="c.zip"),)})
    monkeypatch.setattr(data, "entry", lambda _: toy)
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    test = data.load("celeba", "test")
    assert test.shape == (3, 64, 64) and test.labels is None and test.name == "celeba"
    assert (test.images[:, 0].float().mean((1, 2)) - torch.tensor([180., 210.])).abs().max() < 5
    assert torch.equal(data.rebuild(test.spec).images, test.images)
    assert len(data.load("celeba")) == 5 and data.load("celeba", size=32).shape == (3, 32, 32)
    (tmp_path / "celeba" / "img_align_celeba" / "000001.jpg").unlink()
    with pytest.raises(DataError, match="holds 7 files, not 8"):
        data.load("celeba", "test")


@pytest.mark.parametrize("content", [
    b"not gzip", gzip.compress(b""), gzip.compress(b"\0\0\x0d\1\0\0\0\1xxxx"), gzip.compress(b"\0\0\x08\3\0\0"),
    gzip.compress(b"\0\0\x08\1\0\0\0\5four"), packed(np.arange(5))[:-6]],
    ids=["not gzip", "empty", "of another type", "without sizes", "too short", "cut off"])
def test_a_file_that_is_no_idx_is_refused(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.gz"):
        idx(tmp_path / "x.gz")


def picture(*colours: int) -> bytes:
    """A PNG of one grey square for each colour, side by side."""
    content = BytesIO()
    image = Image.new("L", (16 * len(colours), 16))
    for i, colour in enumerate(colours):
        image.paste(colour, (16 * i, 0, 16 * i + 16, 16))
    image.save(content, "PNG")
    return content.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    return archive.getvalue()


UNPAIRED = {f"{part}{side}/{i}.png": picture(10 * i + 100 * (part == "test") + 50 * (side == "B"))
            for part, side, n in (("train", "A", 3), ("train", "B", 4), ("test", "A", 2), ("test", "B", 1))
            for i in range(n)}


def colours(side) -> list[int]:
    return side.images.float().mean((1, 2, 3)).int().tolist()


def published(monkeypatch, tmp_path, name, file):
    """The entry of this name, but with a file of the local server."""
    toy = Entry(**vars(entry(name)) | {"files": (file,)})
    monkeypatch.setattr(data, "entry", lambda _: toy)
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))


@pytest.mark.parametrize("name", ["horse2zebra", "facades_unpaired", "selfie2anime"])
def test_unpaired_domains(name, server, monkeypatch, tmp_path):
    top = "" if name == "selfie2anime" else entry(name).unpacks_to + "/"  # that one has no folder at its top
    content = zipped({"__MACOSX/._x": b"", **{top + path: image for path, image in UNPAIRED.items()}})
    published(monkeypatch, tmp_path, name, server.file(content, "ok", name=entry(name).files[0].name))
    found = data.load(name, size=8)
    assert not found.paired and found.shape == (3, 8, 8) and found.name == name
    assert colours(found.a) == [0, 10, 20] and colours(found.b) == [50, 60, 70, 80]
    assert colours(data.load(name, "test", 8).a) == [100, 110] and len(data.load(name, "all", 8).b) == 5
    assert data.load(name, channels=1).shape == (1, 256, 256)
    assert found.spec == {"name": name, "split": "train", "size": 8, "channels": None}
    assert colours(data.rebuild(found.spec).b) == colours(found.b) and len(server.requests) == 1
    assert {status for _, status in data.check(name)} == {"ok"} and data.get(name) == tmp_path / name


def test_facades_are_pairs_from_the_label_map_to_the_photograph(server, monkeypatch, tmp_path):
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as t:
        for part, n in (("train", 4), ("val", 1), ("test", 2)):
            for i in range(n):
                content = picture(200 - i, 20 + i)  # the photograph is on the left
                info = tarfile.TarInfo(f"facades/{part}/{i + 1}.png")
                info.size = len(content)
                t.addfile(info, BytesIO(content))
    published(monkeypatch, tmp_path, "facades", server.file(archive.getvalue(), "ok", name="f.tar.gz", hashed=False))
    found = data.load("facades", size=16)
    assert found.paired and found.name == "facades"
    assert colours(found.a) == [20, 21, 22, 23] and colours(found.b) == [200, 199, 198, 197]
    assert len(data.load("facades", "test", 16)) == 2 and len(data.load("facades", "all", 16)) == 7


def test_a_page_about_a_quota_is_not_taken_for_the_archive(server, monkeypatch, tmp_path):
    file = server.file(zipped(UNPAIRED), "html", "cut", name="selfie2anime.zip", hashed=False)
    published(monkeypatch, tmp_path, "selfie2anime", replace(file, bytes=None))
    with pytest.raises(DataError, match=r"sent a web page instead of the file(.|\n)*hung up|cut after"):
        data.load("selfie2anime")
    assert not (tmp_path / "selfie2anime" / "selfie2anime.zip").exists()


def test_a_damaged_first_download_does_not_decide_which_file_is_right(server, monkeypatch, tmp_path):
    good = zipped(UNPAIRED)
    file = server.file(good[:-30], "ok", name="selfie2anime.zip", hashed=False)
    published(monkeypatch, tmp_path, "selfie2anime", replace(file, bytes=None))
    with pytest.raises(DataError, match=r"is damaged(.|\n)*Delete it, then `ganlab data get selfie2anime`"):
        data.load("selfie2anime", size=8)
    (tmp_path / "selfie2anime" / "selfie2anime.zip").unlink()
    server.contents["selfie2anime.zip"] = good
    assert len(data.load("selfie2anime", size=8)) == 4

"""Two domains from a folder in each layout, what is refused and why, and drawings of edges."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganlab import data
from ganlab.data import Domains, ImageFiles, Images
from ganlab.data.files import draw_edges
from ganlab.data.images import Batches
from ganlab.errors import DataError

SIZE = 8


def save(path: Path, value: int, width: int = 12, height: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), value).save(path)


def beside(path: Path, left: int, right: int, width: int = 24, height: int = 12) -> None:
    """Two halves in one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    image.save(path)


@pytest.fixture
def unpaired(tmp_path):
    """The layout of CycleGAN: 3 and 5 images to train on, 1 and 2 to test; A is dark, B is light."""
    root = tmp_path / "unpaired"
    for part, side, n in (("train", "A", 3), ("train", "B", 5), ("test", "A", 1), ("test", "B", 2)):
        for i in range(n):
            save(root / f"{part}{side}" / f"{i}.png", 10 * i + 100 * (part == "test") + 50 * (side == "B"))
    return root


@pytest.fixture
def folders(tmp_path):
    """Folders A and B with train and test; the partner of value v has the value 200 - v, and another ending."""
    root = tmp_path / "folders"
    for part, numbers in (("train", range(6)), ("test", range(6, 8))):
        for i in numbers:
            save(root / "A" / part / f"{i}.png", 10 * i)
            save(root / "B" / part / f"{i}.bmp", 200 - 10 * i)
    return root


@pytest.fixture
def halves(tmp_path):
    """The layout of pix2pix: train and val; the right half of value v has the value 200 - v."""
    root = tmp_path / "halves"
    for part, numbers in (("train", range(6)), ("val", range(6, 8))):
        for i in numbers:
            beside(root / part / f"{i}.png", 10 * i, 200 - 10 * i)
    return root


@pytest.fixture(params=["Images", "ImageFiles"])
def load(request):
    """`data.translation`, once into memory and once streaming."""
    def translation(path, size=SIZE, channels=1, **options):
        found = data.translation(path, size, channels, **options, **({} if request.param == "Images" else {"fits": 0}))
        assert {type(found.a).__name__, type(found.b).__name__} == {request.param}
        return found
    return translation


def values(side: Images | ImageFiles) -> list[int]:
    return side.fetch(torch.arange(len(side)))[0].float().mean((1, 2, 3)).round().int().tolist()


def test_folders_of_cyclegan(unpaired, load):
    found = load(unpaired)
    assert not found.paired and found.shape == (1, SIZE, SIZE) and found.name == "unpaired"
    assert values(found.a) == [0, 10, 20] and values(found.b) == [50, 60, 70, 80, 90] and len(found) == 5
    test = load(unpaired, split="test")
    assert values(test.a) == [100] and values(test.b) == [150, 160]
    everything = load(unpaired, split="all")
    assert values(everything.a) == [0, 10, 20, 100] and values(everything.b) == [50, 60, 70, 80, 90, 150, 160]
    flipped = load(unpaired, flip=True)
    assert values(flipped.a) == values(found.b) and values(flipped.b) == values(found.a)


@pytest.mark.parametrize("layout", ["folders", "halves"])
def test_pairs_stay_pairs(layout, load, request):
    root = request.getfixturevalue(layout)
    found = load(root)
    assert found.paired and values(found.a) == [0, 10, 20, 30, 40, 50]
    assert values(found.b) == [200 - v for v in values(found.a)]
    assert values(load(root, split="test").a) == [60, 70]
    assert values(load(root, split="all").a) == list(range(0, 80, 10))
    flipped = load(root, flip=True)
    assert values(flipped.a) == values(found.b) and values(flipped.b) == values(found.a)
    rest, held = found.split(2, seed=1)
    for part in (rest, held):
        assert values(part.b) == [200 - v for v in values(part.a)]
    batches = Batches(found, 4, torch.device("cpu"), seed=3)
    for step in range(6):
        x, y = batches[step]
        sums = (x + y).mean((1, 2, 3))
        assert (sums - (200 / 127.5 - 2)).abs().max() < 1e-5


def test_folders_without_parts_are_all_for_training(folders, load):
    for side in "AB":
        shutil.rmtree(folders / side / "test")
        for f in list((folders / side / "train").iterdir()):
            f.rename(folders / side / f.name)
        (folders / side / "train").rmdir()
    assert values(load(folders).a) == values(load(folders, split="all").a) == [0, 10, 20, 30, 40, 50]
    with pytest.raises(DataError, match=r"no folders for the split 'test'.*\.split"):
        load(folders, split="test")
    with pytest.raises(DataError, match="'train', 'test', 'all'"):
        load(folders, split="valid")


def test_partners_are_found_by_name_not_by_order(tmp_path, load):
    for name, value in {"A/a.tif": 10, "A/a.png.bmp": 20, "B/a.bmp": 190, "B/a.png.bmp": 180}.items():
        save(tmp_path / name, value)
    found = load(tmp_path)
    assert values(found.a) == [20, 10] and values(found.b) == [180, 190]


def test_images_of_both_halves_in_one_folder(halves, load):
    assert values(load(halves / "train").b) == [200, 190, 180, 170, 160, 150]


def test_the_layout_can_be_overruled(folders, halves, unpaired, load):
    for root in (folders, halves):
        found = load(root, paired=False)
        assert not found.paired and values(found.a) == [0, 10, 20, 30, 40, 50]
    with pytest.raises(DataError, match=r"3 images in .*trainA, 5 in .*trainB.*no partner for .*3\.png, and 1 more"):
        load(unpaired, paired=True)
    for i in (3, 4):
        (unpaired / "trainB" / f"{i}.png").unlink()
    assert load(unpaired, paired=True).paired


def test_what_is_cut_off_is_the_same_on_both_sides(tmp_path, load):
    for i, (width, height) in enumerate([(40, 12), (12, 40), (12, 12)]):
        for side in "AB":
            (tmp_path / side).mkdir(exist_ok=True)
            picture = torch.arange(width).repeat(height, 1) * 5 + (1 if side == "B" else 0)
            Image.fromarray(picture.byte().numpy()).save(tmp_path / side / f"{i}.png")
    found = load(tmp_path)
    a, b = found.fetch(torch.arange(3))
    assert ((b.int() - a.int() - 1).abs() <= 1).all() and a.float().std() > 1


def test_an_exif_tag_turns_a_half_before_it_is_cut(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("L", (64, 32), 20)
    image.paste(220, (32, 0, 64, 32))
    (tmp_path / "train").mkdir()
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "train" / "a.jpg", exif=exif, quality=95)
    found = data.translation(tmp_path, 16, 1)
    assert abs(values(found.a)[0] - 20) < 5 and abs(values(found.b)[0] - 220) < 5


def test_colour_and_grey(halves):
    assert data.translation(halves, 4, 3).shape == (3, 4, 4)
    assert data.translation(halves, 4, 1).shape == (1, 4, 4)


class TestRefused:
    def test_a_file_without_a_partner(self, folders):
        (folders / "B" / "train" / "2.bmp").rename(folders / "B" / "train" / "two.bmp")
        with pytest.raises(DataError) as caught:
            data.translation(folders)
        told = str(caught.value)
        assert str(folders / "A" / "train" / "2.png") in told and "and 1 more" in told and "6 images in" in told
        assert "paired=False" in told and "trainA" in told

    def test_different_counts(self, folders):
        (folders / "A" / "train" / "5.png").unlink()
        with pytest.raises(DataError, match=r"5 images in .*6 in .*no partner for .*5\.bmp\. Partners"):
            data.translation(folders)

    def test_two_files_of_one_name(self, folders):
        save(folders / "A" / "train" / "3.bmp", 0)
        with pytest.raises(DataError, match=r"3\.bmp and 3\.png have one name"):
            data.translation(folders)

    @pytest.mark.parametrize("fits", [0, 1 << 30])
    def test_partners_of_different_sizes(self, folders, fits):
        save(folders / "B" / "train" / "4.bmp", 0, 12, 10)
        with pytest.raises(DataError, match=r"4\.png has 12 x 12 pixels, its partner .*4\.bmp 12 x 10"):
            data.translation(folders, fits=fits)
        assert not data.translation(folders, fits=fits, paired=False).paired

    @pytest.mark.parametrize(("width", "height"), [(24, 24), (25, 12), (12, 24)])
    def test_an_image_that_cannot_be_cut_in_halves(self, halves, width, height):
        beside(halves / "train" / "odd.png", 0, 0, width, height)
        with pytest.raises(DataError, match=rf"odd\.png has {width} x {height} pixels.*twice as wide as high"):
            data.translation(halves)

    def test_an_empty_side(self, unpaired):
        shutil.rmtree(unpaired / "trainB")
        (unpaired / "trainB").mkdir()
        with pytest.raises(DataError, match=r"no image in .*trainB"):
            data.translation(unpaired)

    @pytest.mark.parametrize("layout", ["unpaired", "folders"])
    def test_a_missing_side(self, layout, request):
        root = request.getfixturevalue(layout)
        gone = root / ("trainB" if layout == "unpaired" else "B")
        shutil.rmtree(gone)
        with pytest.raises(DataError, match=rf"{root} has no folder {gone.name}"):
            data.translation(root)

    def test_no_folder_and_no_image(self, tmp_path):
        with pytest.raises(DataError, match="there is no folder"):
            data.translation(tmp_path / "nowhere")
        with pytest.raises(DataError, match="no image in"):
            data.translation(tmp_path)
        with pytest.raises(DataError, match="size=0"):
            data.translation(tmp_path, 0)


class TestBroken:
    def test_a_file_that_is_no_image_is_left_out_with_its_partner(self, folders, load):
        (folders / "A" / "train" / "2.png").write_bytes(b"")
        with pytest.warns(UserWarning, match=r"1 of 12 files .*2\.png: not an image\. So were their partners"):
            found = load(folders)
        assert values(found.a) == [0, 10, 30, 40, 50] and values(found.b) == [200, 190, 170, 160, 150]

    def test_a_truncated_file_is_left_out_with_its_partner(self, folders):
        content = (folders / "B" / "train" / "2.bmp").read_bytes()
        (folders / "B" / "train" / "2.bmp").write_bytes(content[:-60])
        with pytest.warns(UserWarning, match=r"1 of 12 files .*2\.bmp"):
            found = data.translation(folders, SIZE, 1)
        assert values(found.a) == [0, 10, 30, 40, 50] and values(found.b) == [200, 190, 170, 160, 150]

    def test_without_pairs_only_the_file_itself_is_left_out(self, unpaired, load):
        (unpaired / "trainB" / "1.png").write_bytes(b"")
        with pytest.warns(UserWarning, match=r"1 of 5 files"):
            found = load(unpaired)
        assert len(found.a) == 3 and values(found.b) == [50, 70, 80, 90]

    def test_a_file_that_breaks_while_streaming_does_not_mix_up_pairs(self, folders, halves):
        found = data.translation(folders, SIZE, 1, fits=0)
        (folders / "A" / "train" / "2.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"2\.png can no longer be read .*partner"):
            found.fetch(torch.arange(6))
        found = data.translation(halves, SIZE, 1, fits=0)
        (halves / "train" / "2.png").write_bytes(b"")
        with pytest.warns(UserWarning, match=r"2\.png can no longer"):
            a, b = found.fetch(torch.arange(6))
        assert ((a.int() + b.int()) == 200).all(), "the same file takes the place of both halves"


class TestLoad:
    @pytest.mark.parametrize("layout", ["unpaired", "folders", "halves"])
    def test_a_folder_with_a_layout_loads_by_its_path(self, layout, request, monkeypatch):
        root = request.getfixturevalue(layout)
        monkeypatch.chdir(root.parent)
        found = data.load(f"./{layout}", size=SIZE, channels=1)
        assert isinstance(found, Domains) and found.paired == (layout != "unpaired")
        assert values(data.load(str(root), "test", SIZE, 1).a) == ([100] if layout == "unpaired" else [60, 70])
        assert data.load(str(root)).shape == (3, 64, 64)
        monkeypatch.chdir("/")
        again = data.rebuild(found.spec)
        assert values(again.a) == values(found.a) and values(again.b) == values(found.b) and again.spec == found.spec

    def test_everything_asked_for_is_rebuilt(self, folders):
        found = data.translation(folders, 6, 1, "test", paired=False, flip=True)
        again = data.rebuild(found.spec)
        assert again.shape == (1, 6, 6) and not again.paired and values(again.a) == values(found.a) == [140, 130]

    def test_augmentation_is_rebuilt(self, folders):
        found = data.translation(folders, 8).augmented()
        assert found.augment and data.rebuild(found.spec).augment and data.rebuild(found.spec).spec == found.spec
        assert data.load("digits").subset(2).spec == found.subset(2).spec == found.subset(2).augmented().spec == {}

    def test_ordinary_folders_stay_images(self, tmp_path):
        for i in range(4):
            beside(tmp_path / "wide" / f"{i}.png", 0, 0)
            save(tmp_path / "some" / "train" / f"{i}.png", 0, 24 if i < 2 else 25, 12)
            save(tmp_path / "letters" / "ABC"[i % 3] / f"{i}.png", 0)
        for name in ("wide", "some", "letters"):
            assert isinstance(data.load(str(tmp_path / name)), Images)

    def test_one_odd_image_among_halves_is_named(self, halves):
        beside(halves / "train" / "odd.png", 0, 0, 20, 20)
        with pytest.raises(DataError, match=r"odd\.png has 20 x 20 pixels"):
            data.load(str(halves))


class TestMemory:
    def test_both_sides_count(self, unpaired):
        assert isinstance(data.translation(unpaired, 4, 1, fits=8 * 16).b, Images)
        small = data.translation(unpaired, 4, 1, fits=8 * 16 - 1)
        assert isinstance(small.a, ImageFiles) and isinstance(small.b, ImageFiles)

    def test_streamed_batches_are_those_from_memory(self, folders):
        kept, streamed = (Batches(data.translation(folders, SIZE, 1, fits=fits).augmented(), 2, torch.device("cpu"), 1)
                          for fits in (1 << 30, 0))
        for step in range(6):
            for x, y in zip(kept[step], streamed[step], strict=True):
                assert torch.equal(x, y)


class TestEdges:
    def square(self, n: int = 32) -> torch.Tensor:
        image = torch.zeros(1, 1, n, n, dtype=torch.uint8)
        image[..., 8:24, 8:24] = 255
        return image

    def test_the_outline_of_a_square_is_a_thin_closed_line(self):
        drawing = draw_edges(self.square())
        assert drawing.dtype == torch.uint8 and set(drawing.unique().tolist()) == {0, 255}
        ink = drawing[0, 0] == 0
        for line in (ink[16], ink[:, 16]):  # a straight cut meets two lines, each one pixel wide, at the border
            places = line.nonzero().flatten().tolist()
            assert len(places) == 2 and places[0] in (7, 8) and places[1] in (23, 24)
        assert ink[10:22, 10:22].sum() == 0 == ink[:6].sum()
        assert 50 <= ink.sum() <= 68, "the outline has about 4 x 16 pixels"

    def test_flat_areas_and_gentle_slopes_have_no_edges(self):
        ramp = (torch.arange(64) * 4).byte().expand(1, 3, 64, 64)
        assert (draw_edges(ramp) == 255).all()
        assert (draw_edges(torch.full((2, 3, 16, 16), 99, dtype=torch.uint8)) == 255).all()

    def test_a_diagonal_is_a_line_too(self):
        image = torch.ones(64, 64).tril().mul(255).byte()[None, None]
        ink = draw_edges(image)[0, 0] == 0
        assert 0.8 * 60 <= ink[2:-2, 2:-2].sum() <= 2.2 * 60
        assert (ink.nonzero().diff(dim=1).abs() <= 2).all(), "only along the diagonal"

    def test_a_set_in_memory(self):
        photos = data.load("digits").subset(20)
        found = data.edges(photos)
        assert found.paired and found.shape == (1, 28, 28) and torch.equal(found.b.images, photos.images)
        assert torch.equal(found.a.images, draw_edges(photos.images)) and found.spec == {}
        assert 0.02 < (found.a.images == 0).float().mean() < 0.4
        again = data.rebuild(data.edges(data.load("digits", size=14)).spec)
        assert again.paired and again.shape == (1, 14, 14)

    def test_a_folder_in_memory_or_streamed(self, tmp_path):
        for i in range(3):
            beside(tmp_path / f"{i}.png", 40 * i, 255 - 40 * i, 40, 30)
        kept, streamed = data.edges(tmp_path, 16), data.edges(tmp_path, 16, fits=0)
        assert isinstance(kept.a, Images) and isinstance(streamed.a, ImageFiles) and kept.shape == (3, 16, 16)
        for x, y in zip(kept.fetch(torch.arange(3)), streamed.fetch(torch.arange(3)), strict=True):
            assert torch.equal(x, y)
        assert (kept.a.images[0, :, 8, :] == 0).sum() == 3, "the edge in the middle, once in each colour"
        assert torch.equal(data.rebuild(kept.spec).a.images, kept.a.images)

    def test_points_and_halves_have_no_edges(self, halves):
        with pytest.raises(DataError, match="not points"):
            data.edges(data.load("ring"))
        with pytest.raises(DataError, match="halves"):
            data.edges(data.translation(halves, 8, fits=0).a)

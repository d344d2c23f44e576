"""Hand-ins from folders, platforms' zip files and the exchange; what is dangerous is refused by name."""

import json
import os
import stat
import zipfile

import pytest

from ganlab.errors import GanlabError
from ganlab.homework import collect as collecting
from ganlab.homework.collect import collect, roster, student_id
from tests.homework import handins

RIGHT = handins.file(handins.notebook())


def files(course):
    """The paths of what was taken, below submitted/, without times."""
    top = course / "submitted"
    return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file() and p.name != "timestamp.txt")


def archive(path, members):
    """A zip file of members: name, and bytes or a ZipInfo's changes with bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members.items():
            z.writestr(name, content)
    return path


def test_a_folder_a_student(course, tmp_path):
    for student in ("ann", "Bö b"):
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "tiny.ipynb").write_bytes(RIGHT)
    (tmp_path / "in" / "ann" / "history.csv").write_text("1,2\n")
    done = collect(course, "tiny", tmp_path / "in")
    assert files(course) == ["Bö-b/tiny/tiny.ipynb", "ann/tiny/history.csv", "ann/tiny/tiny.ipynb"]
    assert set(done.students) == {"ann", "Bö-b"} and not done.refused and not done.replaced
    assert (course / "submitted/ann/tiny/tiny.ipynb").read_bytes() == RIGHT
    assert (course / "submitted/ann/tiny/timestamp.txt").read_text().endswith(" UTC")


def test_a_notebook_a_student(course, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ann.ipynb").write_bytes(RIGHT)
    collect(course, "tiny", tmp_path / "in")
    assert files(course) == ["ann/tiny/tiny.ipynb"]


def test_nbgraders_own_layout_and_one_student(course, tmp_path):
    (tmp_path / "in" / "ann" / "tiny").mkdir(parents=True)
    (tmp_path / "in" / "ann" / "tiny" / "tiny.ipynb").write_bytes(RIGHT)
    (tmp_path / "in" / "ann" / "tiny" / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    collect(course, "tiny", tmp_path / "in")
    assert files(course) == ["ann/tiny/tiny.ipynb"]
    assert (course / "submitted/ann/tiny/timestamp.txt").read_text() == "2026-01-02 03:04:05 UTC"


def test_the_exchange_and_the_last_of_several(course, tmp_path):
    for entry in ("ann+tiny+2026-01-02 03:04:05.000000 UTC+aGk", "ann+tiny+2026-01-03 03:04:05.000000 UTC+bbb",
                  "bob+other+2026-01-02 03:04:05.000000 UTC", "cy+tiny+2026-01-01 00:00:00.000000 UTC"):
        folder = tmp_path / "inbound" / entry
        folder.mkdir(parents=True)
        (folder / "tiny.ipynb").write_bytes(RIGHT if "-03 " in entry else b"{}")
    collect(course, "tiny", tmp_path / "inbound")
    assert files(course) == ["ann/tiny/tiny.ipynb", "cy/tiny/tiny.ipynb"]
    assert (course / "submitted/ann/tiny/tiny.ipynb").read_bytes() == RIGHT
    assert (course / "submitted/ann/tiny/timestamp.txt").read_text() == "2026-01-03 03:04:05.000000 UTC"


@pytest.mark.parametrize("separator", ["_/", "_"])
@pytest.mark.parametrize("outer", ["", "tiny-hand-ins/"])
def test_moodle(course, tmp_path, separator, outer):
    source = archive(tmp_path / "moodle.zip", {
        f"{outer}Ann Bell_1234567_assignsubmission_file{separator}tiny.ipynb": RIGHT,
        f"{outer}Ann Bell_1234567_assignsubmission_file{separator}notes.txt": b"x",
        f"{outer}陳 大文_89_assignsubmission_file{separator}tiny (1).ipynb": RIGHT,
        f"{outer}Ann Bell_1234567_assignsubmission_onlinetext{separator}onlinetext.html": b"<p>",
    })
    done = collect(course, "tiny", source)
    assert files(course) == ["1234567/tiny/notes.txt", "1234567/tiny/tiny.ipynb", "89/tiny/tiny.ipynb"]
    assert roster(course) == {"1234567": "Ann Bell", "89": "陳 大文"} and not done.refused


def test_canvas_and_what_is_late(course, tmp_path):
    source = archive(tmp_path / "submissions.zip", {
        "bellann_12345_67890_tiny.ipynb": b"{}", "bellann_12345_67891_tiny-1.ipynb": RIGHT,
        "cohency_LATE_222_333_tiny.ipynb": RIGHT, "cohency_LATE_222_334_history.csv": b"1",
    })
    done = collect(course, "tiny", source)
    assert files(course) == ["12345/tiny/tiny.ipynb", "222/tiny/history.csv", "222/tiny/tiny.ipynb"]
    assert (course / "submitted/12345/tiny/tiny.ipynb").read_bytes() == RIGHT
    assert done.late == ["222"] and roster(course)["12345"] == "bellann"


def test_a_students_own_zip_file_is_opened(course, tmp_path):
    inner = archive(tmp_path / "inner.zip", {"mine/tiny.ipynb": RIGHT, "mine/samples.npz": b"PK",
                                             "../../escape.txt": b"x", "__MACOSX/._tiny.ipynb": b"x"})
    source = archive(tmp_path / "moodle.zip", {"Ann_1_assignsubmission_file_/all.zip": inner.read_bytes()})
    done = collect(course, "tiny", source)
    assert files(course) == ["1/tiny/mine/samples.npz", "1/tiny/tiny.ipynb"]
    assert len(done.refused) == 1 and "all.zip: ../../escape.txt: its path leads out" in done.refused[0]


def test_a_later_hand_in_replaces_the_earlier(course, tmp_path):
    for content in (b"{}", RIGHT):
        done = collect(course, "tiny", archive(tmp_path / "in.zip", {"ann/tiny.ipynb": content, "bob/x.ipynb": RIGHT}))
    assert done.replaced == ["ann", "bob"]
    assert (course / "submitted/ann/tiny/tiny.ipynb").read_bytes() == RIGHT
    assert files(course) == ["ann/tiny/tiny.ipynb", "bob/tiny/tiny.ipynb"]


def test_an_earlier_hand_in_that_differs_is_kept(course, tmp_path):
    for content in (RIGHT, RIGHT, b"%PDF", RIGHT):
        members = {"ann/tiny.ipynb": content, "ann/history.csv": b"1", "bob/tiny.ipynb": RIGHT}
        done = collect(course, "tiny", archive(tmp_path / "in.zip", members))
    assert done.replaced == ["ann", "bob"] and not list((course / "submitted").rglob(".*"))
    kept = sorted((course / "earlier").rglob("*.ipynb"))
    assert [path.read_bytes() for path in kept] in ([RIGHT, b"%PDF"], [b"%PDF", RIGHT])
    for path in kept:
        assert path.relative_to(course).parts[:2] == ("earlier", "ann") and path.with_name("history.csv").is_file()


def test_links_are_refused_and_the_others_go_on(course, tmp_path):
    top = tmp_path / "in"
    for student in ("ann", "bob", "cy"):
        (top / student).mkdir(parents=True)
    (top / "ann" / "tiny.ipynb").symlink_to(course / "source/tiny/tiny.ipynb")
    (top / "bob" / "tiny.ipynb").write_bytes(RIGHT)
    (top / "bob" / "all").symlink_to(course)
    os.link(course / "source/tiny/tiny.ipynb", top / "cy" / "tiny.ipynb")
    os.mkfifo(top / "cy" / "pipe")
    (top / "dee").symlink_to(course)
    done = collect(course, "tiny", top)
    assert files(course) == ["bob/tiny/tiny.ipynb"]
    said = "\n".join(done.refused)
    for words in ("ann/tiny.ipynb: a link", "bob/all: a link", "cy/tiny.ipynb: a hard link", "cy/pipe: not a plain",
                  "dee: a link"):
        assert words in said


def test_dangerous_members_of_an_archive(course, tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        link = zipfile.ZipInfo("ann/tiny.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(link, "/etc/passwd")
        for name in ("../out.ipynb", "/abs/tiny.ipynb", "bob/../../out.txt", "C:\\win\\tiny.ipynb",
                     "a\\..\\..\\b.ipynb", "bob/con", "bob/deep/er/and/deep/er/file", "bob/x:y",
                     "/".join(["bob"] * 100)):
            z.writestr(name, b"{}")
        z.writestr("bob/tiny.ipynb", RIGHT)
    before = sorted(tmp_path.rglob("*"))
    done = collect(course, "tiny", path)
    assert files(course) == ["bob/tiny/tiny.ipynb"]
    assert len(done.refused) == 10
    assert "ann/tiny.ipynb: a link" in done.refused
    assert sorted(p for p in tmp_path.rglob("*") if "submitted" not in p.parts) == before


def test_bombs_and_sizes(course, tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "MAX_NOTEBOOK", 2_000_000)
    monkeypatch.setattr(collecting, "MAX_FILE_BYTES", 1_000_000)
    noise = os.urandom(900_000)
    source = archive(tmp_path / "in.zip", {
        "ann/tiny.ipynb": b"0" * 5_000_000,
        "bob/tiny.ipynb": RIGHT, "bob/a.bin": noise, "bob/b.bin": noise, "bob/c.txt": b"small",
        "cy/tiny.ipynb": RIGHT, "cy/zeros": b"0" * 20_000_000,
        "dee/tiny.ipynb": b"[" + b" " * 1_900_000 + b"]",
    } | {f"ed/{number}.txt": b"1" for number in range(300)} | {"ed/tiny.ipynb": RIGHT})
    done = collect(course, "tiny", source)
    taken = files(course)
    assert "ann/tiny/tiny.ipynb" not in taken
    assert [p for p in taken if p.startswith("bob")] == ["bob/tiny/a.bin", "bob/tiny/c.txt", "bob/tiny/tiny.ipynb"]
    assert [p for p in taken if p.startswith(("cy", "dee"))] == ["cy/tiny/tiny.ipynb", "dee/tiny/tiny.ipynb"]
    assert len([p for p in taken if p.startswith("ed")]) == 201
    said = "\n".join(done.refused)
    assert "ann: tiny.ipynb: a zip bomb: 5 MB, at most 2 are taken" in said
    assert "bob: b.bin: 1 MB" in said and "cy: zeros: a zip bomb: 20 MB" in said and "ed: more than 200 files" in said
    assert not [p for p in (course / "submitted").rglob(".*")]
    assert not (course / "submitted" / "ann").exists()


def test_an_archive_that_lies_about_its_sizes(course, tmp_path):
    path = archive(tmp_path / "in.zip", {"ann/tiny.ipynb": b"0" * 100_000, "bob/tiny.ipynb": RIGHT})
    content = bytearray(path.read_bytes())
    true, false = (100_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    while (at := content.find(true)) >= 0:
        content[at:at + 4] = false
    path.write_bytes(content)
    done = collect(course, "tiny", path)
    assert files(course) == ["bob/tiny/tiny.ipynb"] and done.refused[0].startswith("ann: tiny.ipynb: ")


def test_encrypted_and_broken_members(course, tmp_path):
    path = archive(tmp_path / "in.zip", {"ann/tiny.ipynb": RIGHT, "bob/tiny.ipynb": RIGHT})
    content = bytearray(path.read_bytes())
    first, second = content.find(b"PK\x01\x02"), content.find(b"PK\x03\x04", 10)
    content[first + 8] |= 1  # the flag of encryption, in the directory
    content[second + 60] ^= 0xff  # within the packed bytes of the second
    path.write_bytes(content)
    done = collect(course, "tiny", path)
    assert files(course) == [] and len(done.refused) == 2
    assert "encrypted" in done.refused[0]


def test_what_is_no_hand_in_is_said(course, tmp_path):
    with pytest.raises(GanlabError, match=r"there is no .*nothing\.zip; give what"):
        collect(course, "tiny", tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(GanlabError, match=r"text\.zip is neither a folder nor a zip file"):
        collect(course, "tiny", tmp_path / "text.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GanlabError, match=r"holds no hand-in of tiny"):
        collect(course, "tiny", tmp_path / "empty")
    (tmp_path / "in" / "ann").mkdir(parents=True)
    (tmp_path / "in" / "ann" / "essay.pdf").write_bytes(b"%PDF")
    assert collect(course, "tiny", tmp_path / "in").refused == ["ann: no notebook in it"]
    source = archive(tmp_path / "in.zip", {"Ann Bell_1003_assignsubmission_file_/essay.pdf": b"%PDF"})
    assert collect(course, "tiny", source).refused == ["1003 (Ann Bell): no notebook in it"]


@pytest.mark.parametrize("given,kept", [("ann", "ann"), ("Ann-Marie O'Neil", "Ann-Marie-O-Neil"),
                                        (" x@y.org ", "x@y.org"), ("../../etc", "etc"), ("a/b\\c", "a-b-c"),
                                        ("=cmd()", "cmd"), ("a+b", "a-b")])
def test_the_name_of_a_student(given, kept):
    assert student_id(given) == kept


@pytest.mark.parametrize("given", ["", "..", "///", "con", "NUL.txt", "x" * 100])
def test_no_name_of_a_student(given):
    with pytest.raises(collecting.Refused):
        student_id(given)


def test_a_roster_that_is_broken_is_begun_again(course):
    (course / "roster.json").write_text("[1")
    assert roster(course) == {}
    (course / "roster.json").write_text(json.dumps(["a"]))
    assert roster(course) == {}

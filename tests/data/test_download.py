import os
import stat
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from ganlab.data import archive, download
from ganlab.data.catalogue import File
from ganlab.data.download import fetch, problem
from ganlab.errors import DataError

CONTENT = bytes(range(256)) * 8000  # 2 MB: several chunks


def failure(file: File, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        fetch("toy", file, folder)
    message = str(caught.value)
    assert "ganlab data get toy" in message and str(folder / file.name) in message
    return message


def test_a_file_is_downloaded_once(server, tmp_path):
    file = server.file(CONTENT, "ok")
    path = fetch("toy", file, tmp_path / "new" / "toy")
    assert path.read_bytes() == CONTENT
    assert fetch("toy", file, path.parent) == path
    assert server.requests == [("ok", None)]
    assert {p.name for p in path.parent.iterdir()} - {".lock"} == {"a.bin", "verified.json"}


@pytest.mark.parametrize(("behaviour", "told"), [
    ("404", "answered 404"), ("403", "answered 403"), ("500", "answered 500"), ("hangup", "hung up"),
    ("html", "a web page instead of the file"), ("disguised", "a web page instead of the file"),
    ("wrong", "wrong hash"), ("longer", "offers 2,048,004 bytes"), ("nothing", "hung up")])
def test_a_bad_address_is_explained_and_the_next_one_used(server, tmp_path, behaviour, told):
    alone = server.file(CONTENT, behaviour)
    message = failure(alone, tmp_path)
    assert told in message and alone.addresses[0] in message
    assert not (tmp_path / "a.bin").exists(), "an unverified file must never have the file's name"
    assert fetch("toy", server.file(CONTENT, behaviour, "ok"), tmp_path).read_bytes() == CONTENT


def test_every_address_is_named_when_all_fail(server, tmp_path):
    file = server.file(CONTENT, "404", "html", "wrong")
    message = failure(file, tmp_path)
    assert all(address in message for address in file.addresses)
    assert [b for b, _ in server.requests] == ["404", "html", "wrong"]


def test_no_network(tmp_path):
    file = File("a.bin", ("http://127.0.0.1:9/a.bin", "http://name.invalid/a.bin"), 10, "0" * 64)
    assert failure(file, tmp_path).count("no connection") == 2


def test_a_cut_connection_is_resumed(server, tmp_path):
    path = fetch("toy", server.file(CONTENT, "cut", "ok"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [b for b, _ in server.requests] == ["cut"] * download.TRIES + ["ok"]
    starts = [int(r[len("bytes="):-1]) for _, r in server.requests[1:]]
    assert starts == sorted(set(starts)) and starts[0] > 0.4 * len(CONTENT) and starts[-1] > 0.9 * len(CONTENT)


def test_a_download_goes_on_in_the_next_process(server, tmp_path):
    assert "cut after" in failure(server.file(CONTENT, "cut"), tmp_path)
    have = (tmp_path / "a.bin.part").stat().st_size
    server.requests.clear()
    fetch("toy", server.file(CONTENT, "ok"), tmp_path)
    assert server.requests == [("ok", f"bytes={have}-")] and have > 0.9 * len(CONTENT)


@pytest.mark.parametrize("part", [CONTENT[:1000], b"x" * 1000, b"x" * (len(CONTENT) + 1), b"x" * len(CONTENT)])
@pytest.mark.parametrize("behaviour", ["ok", "norange"])
def test_whatever_lies_in_the_partial_file_the_result_is_right(server, tmp_path, part, behaviour):
    (tmp_path / "a.bin.part").write_bytes(part)
    assert fetch("toy", server.file(CONTENT, behaviour), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("content", "told"), [
    (b"<html>quota</html>", "(a web page)"), (CONTENT[:-1], "2,047,999 bytes"), (bytes(len(CONTENT)), "wrong hash")])
def test_a_wrong_file_on_disk_is_named_and_replaced_only_by_the_right_one(server, tmp_path, content, told):
    (tmp_path / "a.bin").write_bytes(content)
    assert told in failure(server.file(CONTENT, "404"), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == content
    assert fetch("toy", server.file(CONTENT, "ok"), tmp_path).read_bytes() == CONTENT


def test_the_hash_is_computed_once_and_again_after_a_change(server, tmp_path, monkeypatch):
    file = server.file(CONTENT, "ok")
    path = fetch("toy", file, tmp_path)
    hashed = []
    real_hash = download.pooch.file_hash
    monkeypatch.setattr(download.pooch, "file_hash", lambda p: hashed.append(p) or real_hash(p))
    assert problem(file, tmp_path) == "" and hashed == []
    assert problem(file, tmp_path, hash_again=True) == "" and len(hashed) == 1
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(1, 1))
    assert "wrong hash" in problem(file, tmp_path)


def test_without_a_published_hash_the_first_download_decides(server, tmp_path):
    path = fetch("toy", server.file(CONTENT, "ok", hashed=False), tmp_path)
    os.remove(path)
    changed = server.file(CONTENT[::-1], "ok", hashed=False)
    message = failure(changed, tmp_path)
    assert "not the one downloaded first" in message and "verified.json" in message and not path.exists()
    assert fetch("toy", server.file(CONTENT, "ok", hashed=False), tmp_path).read_bytes() == CONTENT
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))
    assert "wrong hash" in problem(changed, tmp_path)


def test_without_a_published_hash_nothing_is_resumed(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    assert fetch("toy", server.file(CONTENT, "ok", hashed=False), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("ok", None)]


def test_of_several_who_want_a_file_one_downloads_it(server, tmp_path):
    file = server.file(CONTENT, "ok")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch("toy", file, tmp_path), range(4)))
    assert server.requests == [("ok", None)] and paths[0].read_bytes() == CONTENT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full, the disk that is always full")
def test_a_full_disk(server, tmp_path):
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    assert "the disk is full" in failure(server.file(CONTENT, "ok"), tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to stand for a full disk")
def test_what_arrived_before_the_disk_was_full_is_kept(server, tmp_path):
    import resource
    file = server.file(CONTENT, "ok")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        message = failure(file, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the disk is full" in message and "GANLAB_DATA" in message
    server.requests.clear()
    fetch("toy", file, tmp_path)
    assert server.requests == [("ok", "bytes=1000000-")]


def test_too_little_room_is_noticed_before_the_download(server, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    message = failure(server.file(CONTENT, "ok"), tmp_path)
    assert "the disk is full" in message and "2.05 MB are needed, 1 kB are free" in message


def test_no_right_to_write(server, tmp_path, monkeypatch):
    file = server.file(CONTENT, "ok")
    (tmp_path / "file").write_text("a file where a folder should be")
    assert "no right to write" in failure(file, tmp_path / "file" / "toy")
    (tmp_path / "locked").mkdir()
    if sys.platform != "win32":
        (tmp_path / "locked").chmod(0o555)
        assert "the folder is read-only" in failure(file, tmp_path / "locked" / "toy")
        assert not (tmp_path / "locked" / "toy").exists()
    monkeypatch.setattr(download.os, "access", lambda *_: False)
    assert "GANLAB_DATA" in failure(file, tmp_path)
    assert server.requests == []


def zip_of(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name == link else stat.S_IFREG) | 0o644) << 16
            z.writestr(info, content)
    return path


def tar_of(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as t:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == link:
                info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
            t.addfile(info, BytesIO(content))
    return path


MAKERS = pytest.mark.parametrize("make", [zip_of, tar_of])
GOOD = {"inner/a.txt": b"first", "inner/deep er/b.txt": b"second", "elsewhere/c.txt": b"third"}


@MAKERS
def test_an_archive_is_unpacked(tmp_path, make):
    inner = archive.unpack("toy", make(tmp_path / "x", GOOD), tmp_path, "inner")
    assert {p.relative_to(inner).as_posix(): p.read_bytes() for p in inner.rglob("*") if p.is_file()} == {
        "a.txt": b"first", "deep er/b.txt": b"second"}
    assert {p.name for p in tmp_path.iterdir()} - {".lock"} == {"x", "inner"}


def refused(path: Path, **limits: int) -> str:
    """Asserts that nothing of the archive is left anywhere, and gives the message."""
    before = {p for p in path.parent.parent.rglob("*") if p.name != ".lock"}
    with pytest.raises(DataError) as caught:
        archive.unpack("toy", path, path.parent, "inner", **limits)
    assert {p for p in path.parent.parent.rglob("*") if p.name != ".lock"} == before
    return str(caught.value)


@MAKERS
@pytest.mark.parametrize("name", ["../evil.txt", "inner/../../evil.txt", "/tmp/ganlab-evil.txt", "C:/evil.txt",
                                  "..\\evil.txt", "\\evil.txt"])
def test_a_path_that_escapes_is_refused(tmp_path, make, name):
    (tmp_path / "sub").mkdir()
    message = refused(make(tmp_path / "sub" / "x", GOOD | {name: b"evil"}))
    assert "leads out of the folder" in message
    assert not Path("/tmp/ganlab-evil.txt").exists()


@MAKERS
def test_a_link_is_refused(tmp_path, make):
    assert "a link" in refused(make(tmp_path / "x", GOOD | {"inner/link": b"/etc/passwd"}, link="inner/link"))


@MAKERS
def test_a_bomb_is_refused(tmp_path, make):
    assert "more than 1 MB" in refused(make(tmp_path / "x", GOOD | {"inner/zeros": bytes(10**7)}), max_bytes=10**6)
    assert "more than 2 files" in refused(make(tmp_path / "y", GOOD), max_files=2)


@MAKERS
def test_a_damaged_or_foreign_archive_is_refused(tmp_path, make):
    noise = {"inner/noise": os.urandom(100_000)}
    whole = make(tmp_path / "x", GOOD | noise).read_bytes()
    for content in (whole[:60_000], whole[:50_000] + bytes(20_000) + whole[70_000:], b"", b"<html>quota</html>"):
        (tmp_path / "x").write_bytes(content)
        message = refused(tmp_path / "x")
        assert "is damaged" in message and "ganlab data get toy" in message
    assert "does not hold a folder 'inner'" in refused(make(tmp_path / "x", {"other/a.txt": b""}))


def test_an_interrupted_extraction_leaves_nothing(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "x", GOOD)
    monkeypatch.setattr(archive.os, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        archive.unpack("toy", path, tmp_path, "inner")
    assert {p.name for p in tmp_path.iterdir()} - {".lock"} == {"x"}


def test_a_page_in_a_jpeg_is_not_mistaken_for_a_page(server, tmp_path):
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG", comment=b"<html>")
    assert fetch("toy", server.file(picture.getvalue(), "ok"), tmp_path).read_bytes() == picture.getvalue()

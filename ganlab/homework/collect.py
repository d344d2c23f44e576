"""Bring what students handed in to `submitted/`: from folders, a learning platform's zip file, or nbgrader's exchange.

What each kind looks like:

- nbgrader's exchange (a folder `inbound`): `STUDENT+ASSIGNMENT+TIME+RANDOM/` with the files.
- Moodle (a zip file, or its folder): `Full Name_1234567_assignsubmission_file_/notebook.ipynb`, or without folders
  `Full Name_1234567_assignsubmission_file_notebook.ipynb`. The number names the student.
- Canvas: `lastnamefirst_LATE_12345_67890_notebook-1.ipynb`; the first number names the student.
- else a folder (or zip file) with a folder a student, or one notebook a student, named after the student.

Nothing is unpacked as it stands: each member is checked by its name, its kind and its size, and written as a new file.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ganlab.errors import GanlabError
from ganlab.homework.clean import line
from ganlab.homework.grading import MAX_FILE_BYTES, MAX_FILES, MAX_NOTEBOOK, write_atomically

MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?P<kind>file|onlinetext)(?:_(?P<file>.*))?")
CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<submission>\d+)_(?P<file>.+)")
EXCHANGE = re.compile(r"(?P<id>[^+]+)\+(?P<assignment>[^+]+)\+(?P<time>[^+]+ [^+]+)(?:\+.*)?")
AGAIN = re.compile(r"(-\d+| ?\(\d+\))(?=\.[^.]+$)")  # what platforms and browsers add to a name that was there before
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
# What reading a damaged archive raises, and its kin with a method or a password that is not known here.
BROKEN = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
BOMB = 100  # how many times smaller than its content a file is that is called one


class Refused(Exception):
    """A file or a student's hand-in is not taken; the message says why, in one line."""


@dataclass
class HandIn:
    """What one student handed in: how to open each file, by its name within the hand-in."""

    student: str
    name: str = ""
    late: bool = False
    time: str = ""
    files: dict[str, "Member"] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def who(self) -> str:
        """The student as messages name them, with the full name if the platform told it."""
        return f"{self.student} ({self.name})" if self.name else self.student


@dataclass(frozen=True)
class Member:
    """A file to be taken, on disk or in a zip file."""

    size: int
    path: Path | None = None
    archive: zipfile.ZipFile | None = None
    info: zipfile.ZipInfo | None = None

    def open(self) -> IO[bytes]:
        """The content; a file that has become a link meanwhile is not followed."""
        if self.archive is not None and self.info is not None:
            return self.archive.open(self.info)
        assert self.path is not None
        return open(os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb")


@dataclass
class Collected:
    """What `collect` did: students taken, by id, with their names; and lines for what was refused."""

    students: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def collect(course: Path, name: str, source: Path) -> Collected:
    """Take hand-ins of an assignment over into `submitted/STUDENT/NAME`.

    A student's earlier one is replaced; if it differs, it is kept as `earlier/STUDENT/TIME/NAME`.

    Args:
        course: the course folder.
        name: of the assignment.
        source: a folder or a zip file; see above.

    Raises:
        GanlabError: there is no such source, or nothing in it looks like a hand-in.
    """
    done = Collected()
    if not source.exists():
        raise GanlabError(f"there is no {source}; give what the learning platform exports, a folder with a folder a "
                          "student, or the exchange's inbound")
    if source.is_dir():
        members = list(_on_disk(source, done.refused))
        _take_all(course, name, _sort(members, name, done), done)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            _take_all(course, name, _sort(list(_zipped(archive, done.refused)), name, done), done)
    else:
        raise GanlabError(f"{source} is neither a folder nor a zip file; give what the learning platform exports, "
                          "a folder with a folder a student, or the exchange's inbound")
    if done.students:
        update_roster(course, done)
    if not done.students and not done.refused:
        raise GanlabError(f"{source} holds no hand-in of {name}; a hand-in is a folder, or a notebook, a student")
    return done


def roster(course: Path) -> dict[str, str]:
    """The full names of students, by id, as far as a platform told them."""
    try:
        names = json.loads((course / "roster.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {}


def update_roster(course: Path, done: Collected) -> None:
    """Add the names that came with hand-ins."""
    names = roster(course) | {student: name for student, name in done.students.items() if name}
    if names:
        text = json.dumps(names, ensure_ascii=False, indent=1, sort_keys=True)
        write_atomically(course / "roster.json", text + "\n")


def _on_disk(top: Path, refused: list[str]) -> Iterator[tuple[PurePosixPath, Member]]:
    for parent, folders, names in os.walk(top):
        for entry in sorted(folders):
            if Path(parent, entry).is_symlink():
                refused.append(f"{line(Path(parent, entry).relative_to(top))}: a link")
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not Path(parent, f).is_symlink())
        for entry in sorted(names):
            path = Path(parent, entry)
            state = path.lstat()
            relative = PurePosixPath(path.relative_to(top).as_posix())
            if not stat.S_ISREG(state.st_mode):
                what = "a link" if stat.S_ISLNK(state.st_mode) else "not a plain file"
                refused.append(f"{line(relative)}: {what}")
            elif state.st_nlink > 1:
                refused.append(f"{line(relative)}: a hard link")
            elif not entry.startswith("."):
                yield relative, Member(state.st_size, path=path)


def _zipped(archive: zipfile.ZipFile, refused: list[str]) -> Iterator[tuple[PurePosixPath, Member]]:
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        path = PurePosixPath(name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or path.name.startswith(".") or path.parts[:1] == ("__MACOSX",):
            continue
        reason = ""
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in info.orig_filename:
            reason = "its path leads out of the archive"
        elif kind not in (0, stat.S_IFREG):
            reason = "a link" if kind == stat.S_IFLNK else "not a plain file"
        elif info.flag_bits & 1:
            reason = "encrypted"
        if reason:
            refused.append(f"{line(name)}: {reason}")
        else:
            yield path, Member(info.file_size, archive=archive, info=info)


def _sort(members: list[tuple[PurePosixPath, Member]], name: str, done: Collected) -> dict[str, HandIn]:
    """The files by student; of the platforms' kinds, that which fits the names."""
    hand_ins: dict[str, HandIn] = {}
    tops = {path.parts[0] for path, _ in members}
    # An archive often has all within one folder of its own.
    if len(tops) == 1 and not any(kind.fullmatch(min(tops)) for kind in (MOODLE, EXCHANGE)) and (
            all(len(path.parts) > 2 and path.parts[1] != name for path, _ in members)
            or all(len(path.parts) > 1 and (MOODLE.fullmatch(path.parts[1]) or CANVAS.fullmatch(path.parts[1]))
                   for path, _ in members)):
        members = [(PurePosixPath(*path.parts[1:]), member) for path, member in members]
    exchange: dict[str, str] = {}
    for path, _ in members:
        if (match := EXCHANGE.fullmatch(path.parts[0])) and match["assignment"] == name:
            exchange[match["id"]] = max(exchange.get(match["id"], ""), path.parts[0])
    for path, member in members:
        first, rest = path.parts[0], path.parts[1:]
        late, time, full = False, "", ""
        if match := EXCHANGE.fullmatch(first):
            if exchange.get(match["id"]) != first:
                continue  # of another assignment, or an earlier one
            student, time = match["id"], match["time"].replace("_", " ")
        elif (match := MOODLE.fullmatch(first)) and (rest or match["file"]):
            if match["kind"] == "onlinetext":
                continue
            student, full = match["id"], match["name"]
            rest = rest or (match["file"],)
        elif not rest and (match := CANVAS.fullmatch(first)):
            student, full, late, rest = match["id"], match["name"], bool(match["late"]), (match["file"],)
        elif not rest:
            student, rest = PurePosixPath(first).stem, (f"{name}.ipynb",) if first.endswith(".ipynb") else (first,)
        else:
            student = first
            rest = rest[1:] if len(rest) > 1 and rest[0] == name else rest
        try:
            key = student_id(student)
        except Refused as refused:
            done.refused.append(f"{line(path)}: {refused}")
            continue
        hand_in = hand_ins.setdefault(key, HandIn(key, line(full), late, time))
        inner_name = "/".join(rest)
        if inner_name == "timestamp.txt" and member.size < 100:
            with member.open() as f:
                hand_in.time = line(f.read(100).decode(errors="replace"))
        elif problem := _bad_name(inner_name):
            hand_in.refused.append(f"{line(path)}: {problem}")
        else:
            hand_in.files[inner_name] = member
    return hand_ins


def student_id(text: str) -> str:
    """The name as it is used for folders and in the gradebook.

    Raises:
        Refused: nothing is left of it, or it is no name for a folder.
    """
    text = unicodedata.normalize("NFC", text).strip()
    clean_text = re.sub(r"[^\w.@-]+", "-", text).strip("-.")
    if not clean_text or len(clean_text) > 80 or RESERVED.match(clean_text):
        raise Refused(f"{line(text, 40)!r} cannot name a student")
    return clean_text


def _bad_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or any("\\" in part or ":" in part for part in parts):
        return "its path leads out of the hand-in"
    if len(parts) > 5 or len(name.encode("utf-8", "replace")) > 200 or any(
            RESERVED.match(part) or ord(min(part)) < 32 for part in parts):
        return "no name for a file"
    return ""


def _take_all(course: Path, name: str, hand_ins: dict[str, HandIn], done: Collected) -> None:
    """Write each student's files; who cannot be taken is refused by name."""
    for student, hand_in in sorted(hand_ins.items()):
        done.refused += hand_in.refused
        target = course / "submitted" / student / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{name}-"))
        try:
            _take(hand_in, name, temporary, done)
            temporary.chmod(0o755)
            if target.is_symlink() or target.exists():
                same = _contents(target) == _contents(temporary)
                aside = target.parent if same else course / "earlier" / student
                aside.mkdir(parents=True, exist_ok=True)
                old = Path(tempfile.mkdtemp(dir=aside, prefix=f"{'.' * same}{datetime.now(UTC):%Y-%m-%d-%H%M%S}-"))
                os.replace(target, old / name)
                if same:
                    shutil.rmtree(old)
                done.replaced.append(student)
            os.replace(temporary, target)
            done.students[student] = hand_in.name
            if hand_in.late:
                done.late.append(student)
        except Refused as refused:
            done.refused.append(f"{hand_in.who}: {refused}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if not any(target.parent.iterdir()):
                target.parent.rmdir()


def _contents(folder: Path) -> dict[str, bytes]:
    """A hash of each file of a hand-in; the time of handing in is none of it."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).digest()
            for path in folder.rglob("*") if path.is_file() and path.name != "timestamp.txt"}


def _take(hand_in: HandIn, name: str, folder: Path, done: Collected) -> None:
    files = _unpacked(hand_in, done)
    notebooks = [inner for inner in files if inner.lower().endswith(".ipynb")]
    if not notebooks:
        raise Refused("no notebook in it")
    best = _notebook(notebooks, name)
    left = MAX_FILE_BYTES
    for number, (inner, member) in enumerate(sorted(files.items(), key=lambda item: item[0] != best)):
        limit = MAX_NOTEBOOK if inner == best else left
        out = folder / (f"{name}.ipynb" if inner == best else inner)
        if number > MAX_FILES:
            done.refused.append(f"{hand_in.who}: more than {MAX_FILES} files; the rest is left out")
            break
        if inner != best and out == folder / f"{name}.ipynb":
            continue
        try:
            written = _copy(member, out, limit)
        except (Refused, *BROKEN) as error:
            out.unlink(missing_ok=True)
            if inner == best:
                raise Refused(f"{line(inner, 60)}: {line(error)}") from error
            done.refused.append(f"{hand_in.who}: {line(inner, 60)}: {line(error)}")
            continue
        left -= 0 if inner == best else written
    time = hand_in.time or _newest(files)
    if time:
        write_atomically(folder / "timestamp.txt", time)


def _notebook(notebooks: list[str], name: str) -> str:
    """The one that is meant: named like the assignment, nearest to the top, and of several uploads the last."""
    def rank(inner: str) -> tuple[Any, ...]:
        last = PurePosixPath(inner).name
        again = AGAIN.search(last)
        return (AGAIN.sub("", last) != f"{name}.ipynb", name.lower() not in last.lower(), inner.count("/"),
                -int(re.sub(r"\D", "", again[0])) if again else 0, inner)

    return min(notebooks, key=rank)


def _unpacked(hand_in: HandIn, done: Collected) -> dict[str, Member]:
    """The files, with zip files that students handed in opened, once."""
    files: dict[str, Member] = {}
    for inner, member in hand_in.files.items():
        if not inner.lower().endswith(".zip"):
            files[inner] = member
            continue
        if member.size > MAX_FILE_BYTES:
            done.refused.append(f"{hand_in.who}: {line(inner, 60)}: larger than {MAX_FILE_BYTES // 10**6} MB")
            continue
        packed: list[str] = []
        try:
            spooled = tempfile.TemporaryFile()  # noqa: SIM115
            with member.open() as f:
                shutil.copyfileobj(f, spooled)
            for path, within in _zipped(zipfile.ZipFile(spooled), packed):
                if problem := _bad_name(str(path)):
                    packed.append(f"{line(path)}: {problem}")
                elif len(files) <= MAX_FILES:
                    files.setdefault(str(path), within)
        except BROKEN as error:
            packed.append(line(error))
        done.refused += [f"{hand_in.who}: {line(inner, 60)}: {why}" for why in packed[:20]]
    return files


def _copy(member: Member, out: Path, limit: int) -> int:
    if member.size > limit:
        bomb = member.info is not None and member.size > BOMB * max(member.info.compress_size, 1)
        raise Refused(f"{'a zip bomb: ' * bomb}{member.size / 1e6:.0f} MB, at most {limit / 1e6:.0f} are taken")
    out.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as f, open(out, "xb") as to:
        while block := f.read(2**20):
            written += len(block)
            if written > limit:  # whatever the archive said
                raise Refused(f"larger than {limit / 1e6:.0f} MB")
            to.write(block)
    return written


def _newest(files: dict[str, Member]) -> str:
    """The latest time of the files on disk; archives keep local times without saying whose."""
    times = [member.path.stat().st_mtime for member in files.values() if member.path is not None]
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M:%S} UTC" if times else ""

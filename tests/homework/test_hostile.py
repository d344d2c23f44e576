"""A class that hands in all that can be handed in: each gets what is fair, in bounded time, and harms nobody."""

import hashlib
import json
import socket
import threading
from pathlib import Path

import pytest

from ganlab.homework import Assignment, feedback, gradebook, grading
from tests.homework import handins
from tests.homework.test_feedback import acting, leaks

NAMES = list(handins.cases(Path("/nowhere"), 1))


def hashes(folder):
    """What every plain file below a folder holds, and where every link leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def running(word):
    """The command lines of this machine's processes in which a word occurs."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if word in line]


@pytest.fixture(scope="module")
def listener():
    """A server that counts who reaches it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def listen():
            try:
                while True:
                    calls.append(server.accept())
            except OSError:
                pass

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def graded(isolation, made_course, tmp_path_factory, listener):
    """The course folder after grading the whole class, the outcome, and what was there before and after."""
    import shutil

    course = tmp_path_factory.mktemp("class") / "course"
    shutil.copytree(made_course, course)
    for name, case in handins.cases(course, listener[0]).items():
        folder = course / "submitted" / name / "tiny"
        folder.mkdir(parents=True)
        if callable(case.content):
            case.content(folder, course)
        else:
            (folder / "tiny.ipynb").write_bytes(case.content)
        for file, content in case.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
    before = hashes(course)
    outcome = grading.grade(course, "tiny", isolation, jobs=2, progress=False)
    after = {path: value for path, value in hashes(course).items() if not path.startswith("results/")}
    return course, outcome, before, after


def test_everyone_is_graded(graded):
    _, outcome, _, _ = graded
    assert not outcome.failed
    assert set(outcome.results) == set(NAMES)


def test_nothing_of_the_course_is_changed(graded):
    _, _, before, after = graded
    assert after == before


def test_no_call_arrives(graded, listener):
    assert listener[1] == []


def test_no_process_is_left(graded):
    assert running("left-behind") == []
    assert running("kernel.py") == []


@pytest.mark.parametrize("name", NAMES)
def test_fair(graded, name):
    course, outcome, _, _ = graded
    case, result = handins.cases(course, 1)[name], outcome.results[name]
    least, most = case.score if isinstance(case.score, tuple) else (case.score, case.score)
    assert least <= result["score"] <= most, result
    assert case.reason in result["reason"], result
    assert result["reason"] and "\n" not in result["reason"] and len(result["reason"]) <= 300
    assert case.bonus is None or result["bonus"] == case.bonus, result
    assert result["seconds"] < 100
    file = grading.result_file(course, "tiny", name)
    assert file.stat().st_size < 8_000_000
    stored = file.read_text()
    shown = json.dumps([cell.get("outputs", cell["source"]) for cell in json.loads(stored)["notebook"]["cells"]])
    for text in case.stored:
        assert text not in shown, text


def test_the_gradebook_takes_all_of_it(graded):
    """As the last step of grading does, for notebooks of every kind; the hand-ins stay as they are."""
    course, outcome, before, _ = graded
    assert gradebook.fill(course, Assignment.find(course, "tiny"), outcome.results) == len(NAMES)
    with gradebook.opened(course) as opened:
        scores = {submission.student.id: submission.score for submission in opened.assignment_submissions("tiny")}
    assert scores == {name: pytest.approx(result["score"] + result["bonus"])
                      for name, result in outcome.results.items()}
    kept = {path: value for path, value in hashes(course).items() if path.split("/")[0] in ("source", "submitted")}
    assert kept == {path: value for path, value in before.items() if path.split("/")[0] in ("source", "submitted")}


def test_the_feedback_of_all_of_it(graded):
    """Everyone gets a page, in which nothing acts, nothing hidden is, and which is small."""
    course, _, _, _ = graded
    written = feedback.feedback(course, Assignment.find(course, "tiny"))
    assert set(written.pages) == set(NAMES) and not written.missing
    for name, path in written.pages.items():
        page = path.read_text(encoding="utf-8")
        assert acting(page) == [] and leaks(page) == [] and len(page) < 2_000_000, name

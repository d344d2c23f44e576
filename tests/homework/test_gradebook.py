"""nbgrader reads what was graded, and what people entered there stays."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganlab.errors import GanlabError
from ganlab.homework import Assignment, gradebook, grading
from ganlab.homework.build import set_up
from tests.homework import handins
from tests.homework.handins import notebook


@pytest.fixture
def graded(course, isolation):
    """A course in which two have handed in, and a function that grades and fills anew."""
    def fill(names=None, **contents):
        for student, content in contents.items():
            folder = course / "submitted" / student / "tiny"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "tiny.ipynb").write_bytes(content)
            (folder / "timestamp.txt").write_text("2026-02-03 04:05:06 UTC")
        outcome = grading.grade(course, "tiny", isolation, resume=True, progress=False)
        return gradebook.fill(course, Assignment.find(course, "tiny"), outcome.results, names)

    assert fill(ann=handins.file(notebook(why="Because.")), bob=handins.file(notebook(mean=handins.NO_MEAN)),
                names={"ann": ("Ann", "Bell")}) == 2
    return course, fill


def entries(course, student):
    """Of each graded cell: automatic and manual score, and whether someone must look; and the comments."""
    with gradebook.opened(course) as book:
        submitted = book.find_submission_notebook("tiny", "tiny", student)
        grades = {grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
                  for grade in submitted.grades}
        return grades, {comment.name: comment.auto_comment for comment in submitted.comments}


def test_what_stands_in_it(graded):
    course, _ = graded
    grades, comments = entries(course, "ann")
    assert grades == {"test_mean": (2, None, False), "test_clamp": (3, None, False), "test_softmax": (6, None, False),
                      "why": (None, None, True), "curve": (0, None, False)}
    assert comments == dict.fromkeys(("mean", "clamp", "softmax", "why", "curve")) | {"train": "No response."}
    grades, comments = entries(course, "bob")
    assert grades["test_mean"] == (0, None, False) and grades["why"] == (0, None, False)
    assert comments["mean"] == "try numbers of either sign, and one alone" and comments["why"] == "No response."
    with gradebook.opened(course) as book:
        assert book.find_student("ann").last_name == "Bell"
        assert str(book.find_submission("tiny", "ann").timestamp) == "2026-02-03 04:05:06"
        assert book.find_assignment("tiny").max_score == 14


def test_a_second_time_changes_nothing(graded):
    course, fill = graded
    before = {path: path.stat().st_mtime_ns for path in (course / "autograded").rglob("*")}
    assert fill(names={"ann": ("Ann", "Bell"), "bob": ("Bob", "Coe")}) == 0
    with gradebook.opened(course) as book:
        assert book.find_student("bob").last_name == "Coe"
    assert {path: path.stat().st_mtime_ns for path in (course / "autograded").rglob("*")} == before


def test_a_lost_gradebook_is_filled_again(graded):
    course, fill = graded
    before = entries(course, "ann")
    (course / "gradebook.db").unlink()
    assert fill() == 2
    assert entries(course, "ann") == before


def test_what_people_entered_stays(graded):
    course, fill = graded
    with gradebook.opened(course) as book:
        for student in ("ann", "bob"):
            for cell, score in (("why", 1.5), ("curve", 2.0), ("test_mean", 1.0)):
                grade = book.find_grade(cell, "tiny", "tiny", student)
                grade.manual_score, grade.needs_manual_grade, grade.extra_credit = score, False, 0.5
        book.find_comment("mean", "tiny", "tiny", "bob").manual_comment = "nearly"
        book.db.commit()
    bob = entries(course, "bob")
    assert fill(ann=handins.file(notebook(why="Another reason.", mean=handins.NO_MEAN))) == 1
    grades, _ = entries(course, "ann")
    assert grades["why"] == (None, 1.5, True)  # the answer is another one
    assert grades["curve"] == (0, 2.0, False)
    assert grades["test_mean"] == (0, 1.0, True)
    assert grades["test_clamp"] == (3, None, False)
    assert entries(course, "bob") == bob
    with gradebook.opened(course) as book:
        assert book.find_grade("why", "tiny", "tiny", "ann").extra_credit == 0.5
        assert book.find_comment("mean", "tiny", "tiny", "bob").comment == "nearly"


def test_a_task_waits_for_a_person_where_something_stands_below_it(graded):
    course, fill = graded
    added = notebook()
    added["cells"].append(handins.code("print('my curve')"))
    fill(ann=handins.file(notebook(train="def train(steps):\n    return steps")), bob=handins.file(added))
    for student in ("ann", "bob"):
        assert entries(course, student)[0]["curve"] == (None, None, True)


def test_a_notebook_that_cannot_be_read_waits_for_nobody(graded):
    course, fill = graded
    fill(cy=b"<html>")
    grades, comments = entries(course, "cy")
    assert all(grade == (0, None, False) for grade in grades.values())
    assert comments["mean"] == "No response."


def test_an_assignment_that_has_changed_under_its_submissions(graded, tmp_path):
    course, _ = graded
    import shutil

    shutil.copytree(handins.HERE / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "source" / "tiny.ipynb"
    path.write_text(path.read_text().replace('"grade_id": "why"', '"grade_id": "reason"'))
    with pytest.raises(GanlabError, match=r"Cannot add or remove cells .*another name"):
        set_up(Assignment.find(tmp_path / "tiny"), course)


def nbgrader(course, *words):
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                                "HOME": str(course)}
    done = subprocess.run([sys.executable, "-m", "nbgrader", *words], cwd=course, env=environment, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_nbgrader_exports_and_writes_feedback(graded):
    course, _ = graded
    nbgrader(course, "export", "--to", "grades.csv")
    with open(course / "grades.csv", newline="") as f:
        rows = {row["student_id"]: row for row in csv.DictReader(f)}
    assert float(rows["ann"]["score"]) == 11 and float(rows["bob"]["score"]) == 9
    assert float(rows["ann"]["max_score"]) == 14 and rows["ann"]["first_name"] == "Ann"
    nbgrader(course, "generate_feedback", "tiny")
    page = (course / "feedback" / "bob" / "tiny" / "tiny.html").read_text()
    assert "try numbers of either sign" in page and "BEGIN SOLUTION" not in page
    files = sorted(path.name for path in (course / "feedback" / "bob" / "tiny").iterdir())
    assert files == ["timestamp.txt", "tiny.html"]

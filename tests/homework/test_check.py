"""What students and instructors type around the grading: build and check."""

from pathlib import Path

import pytest

from ganlab.cli import main
from ganlab.errors import GanlabError
from ganlab.homework import build
from ganlab.homework.assignment import Assignment
from ganlab.homework.check import check

TINY = Path(__file__).with_name("tiny")


@pytest.fixture(scope="module")
def tiny() -> Assignment:
    return Assignment.find(TINY)


def test_the_reference_passes_the_visible_tests_and_the_empty_version_is_told_what_is_missing(tiny, tmp_path):
    names = [cell.metadata.nbgrader.grade_id for cell in tiny.source.cells
             if cell.metadata.get("nbgrader", {}).get("grade") and not cell.metadata.nbgrader.solution]
    before = tiny.notebook.read_bytes()
    assert check(tiny.notebook) == dict.fromkeys(names, "")
    assert tiny.notebook.read_bytes() == before
    empty = tmp_path / "tiny.ipynb"
    empty.write_text(build.student_version(tiny), encoding="utf-8")
    said = check(empty)
    assert list(said) == names and all(said.values())


def test_what_takes_longer_than_grading_allows_is_said(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ganlab.homework.check.GRADING", 2.0)
    path = tmp_path / "tiny.ipynb"
    path.write_text(tiny.notebook.read_text().replace("def mean(values):",
                                                      "import time; time.sleep(3)\\ndef mean(values):"))
    said = check(path)
    assert "took 3 s; at grading a cell is stopped after 2" in said.pop("test_mean") and not any(said.values())


def test_the_kernel_warns_of_nothing_and_tells_of_errors(tiny, tmp_path, capfd):
    path = tmp_path / "tiny.ipynb"
    path.write_text(tiny.notebook.read_text().replace("def mean(values):",
                                                      "import os; os.write(2, b'an error')\\ndef mean(values):"))
    check(path)
    said = capfd.readouterr().err
    assert "WARNING" not in said and "an error" in said


def test_what_is_no_assignment_is_refused(tmp_path):
    with pytest.raises(GanlabError, match="cannot read .*none.ipynb as a notebook"):
        check(tmp_path / "none.ipynb")
    (tmp_path / "page.ipynb").write_text("<html></html>")
    with pytest.raises(GanlabError, match="cannot read .*page.ipynb as a notebook"):
        check(tmp_path / "page.ipynb")


def test_build_makes_a_course_and_the_commands_say_what_they_did(tiny, tmp_path, capsys):
    assert main(["homework", "build", str(TINY), "--course", str(tmp_path / "course")]) == 0
    made = tmp_path / "course" / "release" / "tiny" / "tiny.ipynb"
    assert str(made) in capsys.readouterr().out
    assert made.read_text(encoding="utf-8") == build.student_version(tiny) and "BEGIN SOLUTION" not in made.read_text()
    assert (tmp_path / "course" / "gradebook.db").exists()
    assert 'course_id = "course"' in (tmp_path / "course" / "nbgrader_config.py").read_text()
    assert main(["homework", "check", str(made)]) == 1
    assert "wrong" in capsys.readouterr().out

"""What an instructor writes is checked when it is loaded; what a student's process gives, number by number."""

import json

import numpy as np
import pytest

from ganlab.errors import GanlabError
from ganlab.homework import Assignment, Judge, close
from ganlab.homework.judging import Wrong, load, numbers
from tests.homework import handins


@pytest.mark.parametrize("value,shape", [(3, ()), (True, ()), ([], (0,)), ([1, 2.5], (2,)), ([[1], [2]], (2, 1)),
                                         ([[], []], (2, 0)), ([[[0.0]] * 3], (1, 3, 1))])
def test_numbers(value, shape):
    array = numbers(value)
    assert array.shape == shape and array.dtype == np.float64


@pytest.mark.parametrize("value,said", [
    ("1", "something else"), (None, "something else"), ({"a": 1}, "something else"), ([1, "2"], "something else"),
    ([[1], 2], "different lengths"), ([[1, 2], [3]], "different lengths"), (float("nan"), "not finite"),
    ([1, float("inf")], "not finite"), (10**400, "too large"), ([[[[[[[[[[1]]]]]]]]]], "something else")])
def test_no_numbers(value, said):
    with pytest.raises(Wrong, match=said):
        numbers(value)


def test_too_many_numbers(monkeypatch):
    monkeypatch.setattr("ganlab.homework.judging.MAX_NUMBERS", 5)
    numbers([1] * 5)
    with pytest.raises(Wrong, match="too many"):
        numbers([1] * 6)


def test_close():
    assert close(np.array([1.0, 2.0]), [1, 2.00001])
    assert not close(np.array([1.0, 2.0]), [1, 2.001])
    assert not close(np.array([1.0]), [1.0, 1.0]) and not close(np.array(1.0), [1.0])
    assert not close(np.array([np.nan]), [np.nan])


def test_a_check_needs_points_and_a_name_of_its_own():
    judge = Judge()
    with pytest.raises(GanlabError, match=r"above 0, not 0"):
        judge.check("a", 0)
    judge.check("a", 1)(lambda ask, rng: True)
    with pytest.raises(GanlabError, match=r"two checks named <lambda>"):
        judge.check("b", 1)(lambda ask, rng: True)
    with pytest.raises(GanlabError, match=r"seconds and memory must be above 0, not 0"):
        Judge(seconds=0)


@pytest.mark.parametrize("text,said", [
    ("judge = 1", "defines no judge"), ("1 / 0", "ZeroDivisionError: division by zero"), ("def (", "SyntaxError"),
    ("from ganlab.homework import Judge\njudge = Judge()\n@judge.check('a', 1)\ndef f(ask):\n    return 1",
     "f must take two arguments")])
def test_a_judge_that_cannot_be_used(tmp_path, text, said):
    (tmp_path / "judge.py").write_text(text)
    with pytest.raises(GanlabError, match=said):
        load(tmp_path / "judge.py")


def test_no_judge(tmp_path):
    with pytest.raises(GanlabError, match="there is no .*judge.py; a graded assignment needs one"):
        load(tmp_path / "judge.py")


def written(folder, change=lambda notebook: None, judge="from ganlab.homework import Judge\njudge = Judge()"):
    """An assignment in a folder, from the tiny one's notebook."""
    (folder / "new" / "source").mkdir(parents=True)
    notebook = json.loads(handins.TINY.notebook.read_text())
    change(notebook)
    (folder / "new" / "source" / "new.ipynb").write_text(json.dumps(notebook))
    (folder / "new" / "judge.py").write_text(judge)
    return Assignment.find(folder / "new")


def test_the_tiny_assignment(tiny):
    assert tiny.points == {"test_mean": 2, "test_clamp": 3, "test_softmax": 5}
    assert tiny.manual == {"why": 2, "curve": 2} and len(tiny.judge.of("test_clamp")) == 2


def test_points_that_do_not_add_up(tmp_path):
    with pytest.raises(GanlabError, match=r"test_mean is worth 2 points .* add up to something else"):
        _ = written(tmp_path).judge


def test_a_check_of_a_cell_that_is_not_there(tmp_path):
    text = "from ganlab.homework import Judge\njudge = Judge()\n@judge.check('tset_mean', 2)\ndef f(ask, rng): return 1"
    with pytest.raises(GanlabError, match=r"checks tset_mean, which .* test_mean, test_clamp, test_softmax"):
        _ = written(tmp_path, judge=text).judge


def test_a_notebook_with_an_id_twice(tmp_path):
    assignment = written(tmp_path, lambda made: made["cells"][3]["metadata"]["nbgrader"].update(grade_id="setup"))
    with pytest.raises(GanlabError, match=r"Duplicate grade id: setup"):
        _ = assignment.source


def test_a_solution_without_an_end(tmp_path):
    assignment = written(tmp_path, lambda made: made["cells"][3].update(source="### BEGIN SOLUTION\nx = 1"))
    with pytest.raises(GanlabError, match=r"no end solution statement found"):
        _ = assignment.release


def test_no_assignment(tmp_path, made_course):
    with pytest.raises(GanlabError, match=r"there is no .*new.ipynb$"):
        Assignment.find(tmp_path / "new")
    with pytest.raises(GanlabError, match=r"there is no .*; assignments: tiny$"):
        Assignment.find(made_course, "new")


def test_the_student_version_holds_no_solution_and_no_mark_scheme(tiny):
    text = json.dumps(tiny.release)
    for word in ("SOLUTION", "math.exp", "sum(values)", "MARK SCHEME", "1 point for a curve", "read as probabilities"):
        assert word not in text
        assert word in tiny.notebook.read_text()
    assert all("checksum" in cell["metadata"]["nbgrader"] for cell in tiny.release.cells
               if cell["metadata"].get("nbgrader", {}).get("grade"))

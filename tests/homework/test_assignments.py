"""The assignments of this course: their student versions are current and hide what they should; the reference gets full
marks, and so does every other right answer tried here; typical mistakes are told by the visible checks and cost points.

`GANLAB_SEEDS=20 pytest tests/homework/test_assignments.py` (`make prove`) tries twenty seeds, and trains what is
trained at grading for every right answer; without it, two seeds, and the training of the reference alone.
"""

import csv
import json
import os
import re
import shutil
import sys
import tomllib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from ganlab import schedule
from ganlab.homework import Assignment, grading, judging, rebuild
from ganlab.homework.assignment import KEEP, flag
from ganlab.homework.build import student_version
from ganlab.homework.kernel import Kernel
from ganlab.homework.session import _sendable
from tests.homework import typical
from tests.homework.test_rebuild import as_read

ROOT = Path(__file__).parents[2]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
NAMES = sorted(path.parent.name for path in (ROOT / "homework").glob("*/judge.py"))
RIGHT, WRONG = typical.RIGHT, typical.WRONG
SEEDS = int(os.environ.get("GANLAB_SEEDS", "2"))
SLOW = {"obeys"}  # checks that train for half a minute


@pytest.fixture(autouse=True, scope="module")
def schedules_as_they_were():
    """What the answers and checks that run here derive from `Schedule` enters itself for the whole process."""
    before = dict(schedule.SCHEDULES)
    yield
    schedule.SCHEDULES.clear()
    schedule.SCHEDULES.update(before)


@cache
def assignment(name: str) -> Assignment:
    return Assignment.find(ROOT / "homework" / name)


@pytest.fixture(params=NAMES)
def given(request) -> Assignment:
    return assignment(request.param)


@pytest.fixture
def at(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Go to a folder that holds what the reference of that assignment hands in besides the notebook."""

    def go(name: str) -> Path:
        folder = tmp_path / name
        files = ROOT / "homework" / name / "reference"
        shutil.copytree(files, folder) if files.is_dir() else folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    return go


class Here:
    """What a check asks, answered in this process, by the code that answers it in the isolation."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def __call__(self, code: str, /, *, each: bool = False, seconds: float | None = None, **inputs: Any) -> Any:
        kernel, shown = Kernel(), (sys.stdout, sys.stderr)
        kernel.marks["here"] = self.names
        try:
            value = json.loads(json.dumps(kernel.ask(None, code=code, mark="here", inputs=json.loads(  # type: ignore
                json.dumps({name: _sendable(v) for name, v in inputs.items()})))["value"]))
        except Exception as error:
            raise judging.Wrong(f"raises {type(error).__name__}: {error}") from error
        finally:
            sys.stdout, sys.stderr = shown
        if not each:
            return judging.numbers(value)
        return {k: judging.numbers(v) for k, v in value.items()} if isinstance(value, dict) else \
            [judging.numbers(v) for v in value]

    alone = __call__


@cache
def lesson(name: str) -> dict[str, Any]:
    """The names after the parameters and the cell that begins, in profile ci."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in assignment(name).source.cells[:3]:
        if cell.cell_type == "code" and KEEP not in cell.metadata.get("tags", ()):
            exec(TransformerManager().transform_cell(cell.source.replace('profile = ""', 'profile = "ci"')), names)
    return names


class Solved:
    """The notebook, run here with the reference answers but for those given; graded cells fail without stopping it.

    Attributes:
        marks: the names after each graded cell.
        said: by graded cell, what its visible check failed with.
    """

    def __init__(self, name: str, answers: dict[str, str | dict[str, str]], keep: bool = False) -> None:
        self.assignment = assignment(name)
        self.marks: dict[str, dict[str, Any]] = {}
        self.said: dict[str, str] = {}
        names = dict(lesson(name))
        for cell in self.assignment.source.cells[3:]:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            if cell.cell_type != "code" or (KEEP in cell.metadata.get("tags", ()) and not keep):
                continue
            source = exchanged(cell.source, answers.get(grade_id, {}))
            try:
                exec(compile(TransformerManager().transform_cell(source), f"<{grade_id}>", "exec"), names)
            except AssertionError as error:
                self.said[grade_id] = str(error)
            except Exception as error:
                self.said[grade_id] = f"{type(error).__name__}: {error}"
            if grade_id in self.assignment.points:
                self.marks[grade_id] = dict(names)

    def share(self, check: judging.Check, seed: int) -> float:
        rng = np.random.default_rng([seed, zlib.crc32(check.name.encode())])
        try:
            return float(check.credit(Here(self.marks[check.cell]), rng))
        except judging.Wrong:
            return 0.0

    def lost(self, seed: int, but: set[str] = frozenset()) -> dict[str, float]:  # type: ignore[assignment]
        """The checks that do not give full marks, but for those left out."""
        checks = [check for check in self.assignment.judge.checks if check.name not in but]
        return {check.name: share for check in checks if (share := self.share(check, seed)) < 1}


def exchanged(source: str, answer: str | dict[str, str]) -> str:
    if isinstance(answer, str):
        return answer
    for old, new in answer.items():
        assert old in source or new == "", f"{old!r} is not in the reference any more"
        source = source.replace(old, new)
    return source


# ---- what is committed ----------------------------------------------------------------------------------------------


def test_there_are_four():
    assert NAMES == ["conditional", "dcgan", "take_turns", "weights"]


def test_a_bonus_waits_for_a_person_only_where_it_was_tried(given):
    tasks = [cell.metadata["nbgrader"]["grade_id"] for cell in given.release.cells if flag(cell, "task")]
    look = grading.Examination.__new__(grading.Examination)
    look.assignment = given
    for tried in (False, True):
        made = {"cells": [*given.release.cells, *[nbformat.v4.new_code_cell("print('tried')")] * tried]}
        look.cells, _ = rebuild.rebuild(given.release, as_read(made))
        waits = [look._answered(i) for i, cell in enumerate(look.cells) if cell.grade_id in tasks]
        assert waits == [tried], "the bonus is the last question of each assignment"


def test_points_and_form(given):
    assert sum(given.points.values()) > 0 and sum(given.manual.values()) >= 8
    assert sum(check.points for check in given.judge.checks if not check.bonus) == sum(given.points.values())
    notebook = given.source
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.metadata["tags"] == ["parameters"] and first.source.startswith('profile = ""')
    assert all(line.count("=") == 1 for line in first.source.splitlines())
    colab = SOURCE.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"({colab}/blob/main/homework/{given.name}/{given.name}.ipynb)" in notebook.cells[0].source
    for word in ("**You will**", "**You need**", "**Time.**", "**Points.**"):
        assert word in notebook.cells[0].source


def test_the_student_version_is_current(given):
    path = ROOT / "homework" / given.name / f"{given.name}.ipynb"
    assert path.read_text(encoding="utf-8") == student_version(given), f"ganlab homework build homework/{given.name}"


def test_nothing_hidden_is_left(given):
    handed_out = (ROOT / "homework" / given.name / f"{given.name}.ipynb").read_text(encoding="utf-8")
    assert not re.search("BEGIN|END (SOLUTION|MARK)|MARK SCHEME", handed_out)
    text = "\n".join(cell.source for cell in given.release.cells)
    region = re.compile(r"### BEGIN (SOLUTION|MARK SCHEME)\n(.*?)### END \1", re.DOTALL)
    source = "\n".join(cell.source for cell in given.source.cells)
    open_to_all, hidden = region.sub("", source), 0
    for line in "\n".join(match[2] for match in region.finditer(source)).splitlines():
        # A line that also stands in the open says nothing.
        if len(line := line.strip()) > 16 and line not in open_to_all:
            assert line not in text, f"{line!r} is left in {given.name}"
            hidden += 1
    assert hidden > 20
    judge = given.judge_file.read_text(encoding="utf-8")
    for check in given.judge.checks:
        assert check.hint and check.hint not in text and check.hint in judge


def test_the_student_version_gets_nothing(given, tmp_path, monkeypatch):
    """All answers as they are given out, and no files."""
    monkeypatch.chdir(tmp_path)
    answers = {cell.metadata.nbgrader.grade_id: cell.source for cell in given.release.cells if flag(cell, "solution")}
    empty = Solved(given.name, answers)
    assert set(empty.said) >= set(given.points), "a visible check is content with no answer"
    for check in given.judge.checks:
        assert empty.share(check, 0) == 0, check.name


def test_lies_are_told_of_a_copy_of_the_data():
    names = dict(lesson("conditional"))
    exec("from ganlab.data.images import Images", names)
    true = names["lesson"].data.labels.clone()
    starter = next(cell.source for cell in assignment("conditional").release.cells
                   if cell.metadata.get("nbgrader", {}).get("grade_id") == "lies")
    with pytest.raises(NotImplementedError):
        exec(starter, names)
    assert names["liars"].labels.equal(true)
    names["liars"].labels.zero_()
    assert names["lesson"].data.labels.equal(true)


def test_at_grading_steps_are_counted_and_not_the_seconds_of_a_slow_machine(monkeypatch):
    class Counted:
        step = 0

        def __init__(self, *_: Any, **__: Any) -> None:
            type(self).step = 0

        def run(self, steps: int, **_: Any) -> None:
            Counted.step += steps
            clock[0] += 60.0

    names, clock = reference("conditional").marks["test_obeys"], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("ganlab.training.Training", Counted)
    (check,) = assignment("conditional").judge.of("test_obeys")
    for wanted, made in ((300, 300), (5000, 600)):
        check.credit(Here(names | {"settings": names["settings"] | {"steps": wanted}}), np.random.default_rng(0))
        assert Counted.step == made


# ---- the reference --------------------------------------------------------------------------------------------------


@cache
def reference(name: str) -> Solved:
    return Solved(name, {})


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_reference_gets_full_marks(given, seed, at):
    at(given.name)
    solved = reference(given.name)
    assert not solved.said
    assert not solved.lost(seed, SLOW if seed and SEEDS < 20 else set())


def test_each_visible_test_stands_on_its_own(given, at):
    """It passes where no other one has been run, so nothing that another left behind can mislead it."""
    at(given.name)
    for cell in given.points:
        assert not Solved(given.name, dict.fromkeys(set(given.points) - {cell}, "")).said


# ---- typical answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", RIGHT, ids=lambda right: f"{right.assignment}: {right.what}")
def test_another_right_answer_gets_full_marks(right, at):
    at(right.assignment)
    solved = Solved(right.assignment, right.answers)
    assert not solved.said
    for seed in range(1 if SEEDS < 20 else 5):
        assert not solved.lost(seed, SLOW if SEEDS < 20 else set())


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.assignment}: {wrong.cell}, {wrong.what}")
def test_a_typical_mistake(wrong, at):
    at(wrong.assignment)
    solved = Solved(wrong.assignment, {wrong.cell: wrong.answer})
    first = next(iter(solved.said.values()), "")
    assert not wrong.said or any(said in first for said in wrong.said.split("|")), f"said {first!r}"
    lost = {check.name: solved.share(check, 0) for check in solved.assignment.judge.checks
            if check.name in wrong.loses and (check.name not in SLOW or len(wrong.loses) == 1 or SEEDS >= 20)}
    assert all(share < 1 for share in lost.values()), lost
    assert solved.said or lost, "nobody notices"


def test_schedules_of_ones_own_cost_their_own_questions_alone():
    solved = Solved("take_turns", {name: f"class {kind}(Schedule):\n    pass"
                                   for name, kind in (("by_epochs", "ByEpochs"), ("by_loss", "ByLoss"))})
    assert set(solved.lost(0)) == {"by_epochs", "by_loss"}


# ---- files that are handed in ---------------------------------------------------------------------------------------


def arrays(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        with np.load(folder / "samples.npz") as file:
            found = dict(file)
        change(found)
        np.savez_compressed(folder / "samples.npz", **found)
    return rewrite


def rows(name: str, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        with open(folder / name, newline="") as file:
            changed = change(list(csv.DictReader(file)))
        with open(folder / name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(changed[0]) if changed else ["step", "kind", "name", "value"])
            writer.writeheader()
            writer.writerows(changed)
    return rewrite


def exchange(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / old).write_bytes((folder / new).read_bytes()) and None


def put(name: str, make: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Callable[[Path], None]:
    return arrays(lambda found: found.update({name: make(found)}))


NOISE = np.random.default_rng(0)
FILES = [
    ("dcgan", "none", lambda folder: shutil.rmtree(folder) or folder.mkdir(), "not found beside the notebook",
     {"arrays", "different", "no_noise", "histories"}),
    ("dcgan", "a pickle", put("best", lambda f: np.array([{}] * 100, object)), "Object arrays cannot be loaded",
     {"arrays", "different", "no_noise"}),
    ("dcgan", "no zip file", lambda folder: (folder / "samples.npz").write_text("hello") and None, "Error",
     {"arrays", "different", "no_noise"}),
    ("dcgan", "floats", put("best", lambda f: f["best"] / 255), "uint8", {"arrays"}),
    ("dcgan", "ten of them", put("best", lambda f: f["best"][:10]), "should be 100 images", {"arrays", "different"}),
    ("dcgan", "channels last", put("best", lambda f: f["best"].transpose(0, 2, 3, 1)), "another shape", {"arrays"}),
    ("dcgan", "one picture", put("best", lambda f: f["best"][:1].repeat(100, 0)), "collapsed", {"different"}),
    ("dcgan", "one picture with a trace of noise", put("best", lambda f: (
        f["best"][:1].repeat(100, 0) ^ NOISE.integers(0, 2, f["best"].shape).astype(np.uint8))), "", {"different"}),
    ("dcgan", "noise", put("best", lambda f: NOISE.integers(0, 256, f["best"].shape).astype(np.uint8)), "",
     {"no_noise"}),
    ("dcgan", "real images", put("best", lambda f: f["real"]), "", {"different"}),
    ("dcgan", "one run twice", exchange("best.csv", "first.csv"), "", {"histories"}),
    ("dcgan", "no history", lambda folder: (folder / "best.csv").write_text("a,b\n1,2\n") and None, "is no history",
     {"histories"}),
    ("dcgan", "steps backwards", rows("best.csv", lambda r: r[::-1]), "", {"histories"}),
    ("weights", "none", lambda folder: shutil.rmtree(folder) or folder.mkdir(), "not found beside the notebook",
     {"samples", "measured", "histories", "steered"}),
    ("weights", "one run's pictures twice", put("without_cam", lambda f: f["all_four"]), "the same pictures",
     {"samples"}),
    ("weights", "the inputs as translations", put("without_adversarial", lambda f: f["inputs"]), "the same pictures",
     {"samples", "measured"}),
    ("weights", "a table of other pictures", rows("ablation.csv", lambda r: [
        row | {"changed": str(float(row["changed"]) / 2)} for row in r]), "", {"measured"}),
    ("weights", "one seed", rows("ablation.csv", lambda r: [row for row in r if row["seed"] == r[0]["seed"]]),
     "at least two seeds", {"measured"}),
    ("weights", "a run is missing", rows("ablation.csv", lambda r: [row for row in r if row["run"] != "without_cam"]),
     "lacks without_cam", {"measured"}),
    ("weights", "nothing was switched off", exchange("without_cycle.csv", "all_four.csv"), "is not always 0",
     {"histories"}),
    ("weights", "all four were not", exchange("all_four.csv", "without_cam.csv"), "", {"histories"}),
    ("weights", "no move", rows("steered.changes.csv", lambda r: []), "at least two moves", {"steered"}),
    ("weights", "moves that never were", rows("steered.changes.csv", lambda r: [row | {"value": "7.5"} for row in r]),
     "", {"steered"}),
]


@pytest.mark.parametrize("name,what,change,said,loses", FILES, ids=[f"{case[0]}: {case[1]}" for case in FILES])
def test_files_that_are_not_right(name, what, change, said, loses, at):
    change(at(name))
    solved = Solved(name, {})
    assert said in solved.said.get("test_hand_in", "") and bool(said) == ("test_hand_in" in solved.said), solved.said
    assert set(solved.lost(0, SLOW)) >= loses

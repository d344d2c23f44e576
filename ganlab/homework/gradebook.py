"""Write results where nbgrader reads them: `gradebook.db` and `autograded/`. One writer, after all is graded."""

import contextlib
import copy
import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError
from ganlab.homework.assignment import INSTALL, Assignment, flag
from ganlab.homework.grading import load_result, result_file, write_atomically

NO_RESPONSE = "No response."


@contextlib.contextmanager
def opened(course: Path) -> Iterator[Any]:
    """nbgrader's gradebook of a course folder, made if it is not there.

    Raises:
        GanlabError: nbgrader is missing, or the file is locked or damaged.
    """
    try:
        from nbgrader.api import Gradebook
    except ImportError as error:
        raise GanlabError(INSTALL) from error
    path = os.environ.get("PATH", os.defpath)
    # nbgrader calls alembic by name, also from an environment that is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    try:
        with Gradebook(f"sqlite:///{course.resolve() / 'gradebook.db'}") as gradebook, gradebook.db.no_autoflush:
            yield gradebook
    except Exception as error:
        if not isinstance(cause := getattr(error, "orig", None), sqlite3.DatabaseError):
            raise
        raise GanlabError(f"{course / 'gradebook.db'}: {cause}. If it is locked, close formgrader and try again. "
                          "If it is damaged, put a copy of it back; or move it away, and `ganlab homework grade NAME "
                          "--resume` fills a new one, in which what was entered by hand is missing") from error
    finally:
        os.environ["PATH"] = path


def register(course: Path, assignment: Assignment) -> None:
    """Enter an assignment with its cells, as `nbgrader generate_assignment` does, but without hidden parts.

    Raises:
        GanlabError: there are submissions already, and the cells are others than they were for them.
    """
    with opened(course) as gradebook:
        gradebook.update_or_create_assignment(assignment.name)
        from nbgrader.preprocessors import SaveCells

        resources = {"nbgrader": {"notebook": assignment.name, "assignment": assignment.name,
                                  "db_url": f"sqlite:///{course.resolve() / 'gradebook.db'}"}}
        try:
            SaveCells().preprocess(copy.deepcopy(assignment.release), resources)
        except RuntimeError as error:
            raise GanlabError(f"{error}: give the changed assignment another name") from error


def fill(course: Path, assignment: Assignment, results: Mapping[str, Mapping[str, Any]],
         names: Mapping[str, tuple[str, str]] | None = None) -> int:
    """Enter results, and write the notebooks to `autograded/`; how many were new or changed.

    What people entered stays: manual scores, extra credit, comments. Where an answer changed after it was graded by
    hand, it is marked for another look, as nbgrader does. Nothing else of the gradebook is touched.

    Args:
        results: as `grading.grade` returns them, by student; the notebooks come from the result files.
        names: first and last names, by student, where they are known.
    """
    register(course, assignment)
    written = 0
    with opened(course) as gradebook:
        for student, result in results.items():
            folder = course / "autograded" / student / assignment.name
            file = folder / f"{assignment.name}.ipynb"
            known = {"first_name": names[student][0], "last_name": names[student][1]} \
                if names and student in names else {}
            gradebook.update_or_create_student(student, **known)
            if _entered(gradebook, assignment.name, student) and _fingerprint(file) == result["fingerprint"]:
                continue
            before = _sources(file)
            stamp = course / "submitted" / student / assignment.name / "timestamp.txt"
            time = _timestamp(stamp)
            gradebook.update_or_create_submission(assignment.name, student, **({"timestamp": time} if time else {}))
            notebook = _read(result_file(course, assignment.name, student))["notebook"]
            notebook["metadata"]["ganlab"] = {"fingerprint": result["fingerprint"]}
            _enter(gradebook, assignment, student, result, before, _sources_of(notebook))
            write_atomically(file, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
            if time:
                write_atomically(folder / "timestamp.txt", time)
            written += 1
    return written


@dataclass(frozen=True)
class Question:
    """What the gradebook holds of one graded cell; `points` counts what people entered, and `extra` is within them."""

    points: float
    max: float
    extra: float
    by_hand: bool
    waiting: bool


@dataclass(frozen=True)
class Entry:
    """What the gradebook holds of one submission.

    Attributes:
        timestamp: when it was handed in, in UTC, or empty.
        questions: by grade id, in the order of the notebook.
        comments: by grade id of the answer: what people wrote, else what was found.
        penalty: points taken off for lateness.
        score: of all questions, less the penalty, as `nbgrader export` has it.
    """

    student: str
    first_name: str
    last_name: str
    email: str
    timestamp: str
    questions: dict[str, Question]
    comments: dict[str, str]
    penalty: float
    score: float
    max_score: float

    @property
    def waiting(self) -> list[str]:
        """Questions that people still have to look at."""
        return [name for name, question in self.questions.items() if question.waiting]


def entries(course: Path, assignment: Assignment) -> dict[str, Entry]:
    """All that the gradebook holds of an assignment, by student.

    Raises:
        GanlabError: nothing of it is graded.
    """
    nothing = GanlabError(f"nothing of {assignment.name} is graded in {course / 'gradebook.db'}; "
                          f"`ganlab homework grade {assignment.name}` does that")
    if not (course / "gradebook.db").is_file():
        raise nothing
    order = [cell.metadata.nbgrader.grade_id for cell in assignment.source.cells if "nbgrader" in cell.metadata]
    found = dict[str, Entry]()
    with opened(course) as gradebook:
        for submission in gradebook.assignment_submissions(assignment.name):
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
            grades.sort(key=lambda grade: order.index(grade.name) if grade.name in order else len(order))
            questions = {grade.name: Question(grade.score, grade.max_score, grade.extra_credit or 0.0,
                                              grade.manual_score is not None, grade.needs_manual_grade)
                         for grade in grades}
            comments = {comment.name: comment.comment for notebook in submission.notebooks
                        for comment in notebook.comments if comment.comment}
            student, penalty = submission.student, submission.late_submission_penalty or 0.0
            found[student.id] = Entry(
                student.id, student.first_name or "", student.last_name or "", student.email or "",
                f"{submission.timestamp:%Y-%m-%d %H:%M:%S}" if submission.timestamp else "", questions, comments,
                penalty, max(0.0, submission.score - penalty), submission.max_score)
    if not found:
        raise nothing
    return dict(sorted(found.items()))


def notebook(course: Path, assignment: Assignment, student: str) -> dict[str, Any]:
    """What `fill` wrote to `autograded/`, also if a person has saved it since; empty if it cannot be read."""
    import nbformat

    try:
        return nbformat.read(course / "autograded" / student / assignment.name / f"{assignment.name}.ipynb",
                             as_version=4)
    except (OSError, ValueError):
        return {}


def found(course: Path, assignment: Assignment, student: str) -> dict[str, Any]:
    """The result that `fill` entered; empty if the file is gone, or is of another run."""
    result = load_result(result_file(course, assignment.name, student)) or {}
    graded = notebook(course, assignment, student).get("metadata", {}).get("ganlab", {}).get("fingerprint")
    return result if graded and result.get("fingerprint") == graded else {}


def _enter(gradebook: Any, assignment: Assignment, student: str, result: Mapping[str, Any],
           before: dict[str, str], now: dict[str, str]) -> None:
    where = (assignment.name, assignment.name, student)
    for cell, question in result["questions"].items():
        grade = gradebook.find_grade(cell, *where)
        # The bonus is part of the score and not nbgrader's extra credit, which belongs to people.
        score = question["points"] + question["bonus"]
        grade.needs_manual_grade = grade.manual_score is not None and grade.auto_score != score
        grade.auto_score = score
    for cell, question in result["manual"].items():
        grade = gradebook.find_grade(cell, *where)
        grade.auto_score = None if question["answered"] else 0
        changed = cell in before and before[cell] != now.get(cell)
        grade.needs_manual_grade = question["answered"] and (
            grade.manual_score is None or changed or grade.needs_manual_grade)
    for name, said in _comments(assignment, result, now).items():
        gradebook.find_comment(name, *where).auto_comment = said
    gradebook.db.commit()


def _comments(assignment: Assignment, result: Mapping[str, Any], now: dict[str, str]) -> dict[str, str | None]:
    """What stands beside each answer: that there is none, or what was found at the next graded cell."""
    comments, last = dict[str, str | None](), ""
    for cell in assignment.release.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if flag(cell, "task"):
            comments[name] = None
        elif flag(cell, "solution"):
            comments[name], last = (NO_RESPONSE if now.get(name) == cell.source else None), name
        elif name in result["questions"] and last and comments[last] is None:
            comments[last] = result["questions"][name]["reason"] or None
    return comments


def _entered(gradebook: Any, name: str, student: str) -> bool:
    from nbgrader.api import MissingEntry

    try:
        gradebook.find_submission(name, student)
    except MissingEntry:
        return False
    return True


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _fingerprint(file: Path) -> str:
    return _read(file).get("metadata", {}).get("ganlab", {}).get("fingerprint", "")


def _sources(file: Path) -> dict[str, str]:
    return _sources_of(_read(file))


def _sources_of(notebook: Mapping[str, Any]) -> dict[str, str]:
    """The sources of the cells that have a grade id."""
    cells = {cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"): cell["source"]
             for cell in notebook.get("cells", ())}
    return {name: source for name, source in cells.items() if name}


def _timestamp(file: Path) -> str:
    """When it was handed in, if the file says so in a way that nbgrader reads."""
    from nbgrader.utils import parse_utc

    try:
        if file.is_symlink() or file.stat().st_size > 100:
            return ""
        text = file.read_text().strip()
        parse_utc(text)
    except Exception:
        return ""
    return text

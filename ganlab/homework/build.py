"""Make the student version of an assignment, and the course folder in which it is handed out and graded."""

import re
import shutil
from pathlib import Path

from ganlab.homework import gradebook
from ganlab.homework.assignment import Assignment
from ganlab.homework.grading import write_atomically

CONFIG = '''"""Read by nbgrader where it is started here: `jupyter lab` with its Formgrader, or `nbgrader export`."""

c = get_config()  # noqa: F821
c.CourseDirectory.root = "."
c.CourseDirectory.course_id = "{name}"  # names it in the exchange
'''


def student_version(assignment: Assignment) -> str:
    """The notebook that students get, as the text of its file."""
    import nbformat

    return nbformat.writes(assignment.release).rstrip() + "\n"


def set_up(assignment: Assignment, course: Path) -> None:
    """Enter an assignment into a course folder in nbgrader's layout; made if it is not there.

    `source/NAME/` and `release/NAME/` get the notebooks and the files beside the source, `judges/NAME.py` the checks,
    and `gradebook.db` the cells.

    Raises:
        GanlabError: the judge does not fit the notebook, or students have handed in another version.
    """
    assert assignment.judge is not None
    gradebook.register(_made(course), assignment)
    for step in ("source", "release"):
        folder = course / step / assignment.name
        folder.mkdir(parents=True, exist_ok=True)
        for path in assignment.notebook.parent.iterdir():
            if path.is_file() and path.suffix != ".ipynb" and not path.name.startswith("."):
                shutil.copyfile(path, folder / path.name)
    write_atomically(course / "source" / assignment.name / f"{assignment.name}.ipynb",
                     assignment.notebook.read_text(encoding="utf-8"))
    write_atomically(course / "release" / assignment.name / f"{assignment.name}.ipynb", student_version(assignment))
    write_atomically(course / "judges" / f"{assignment.name}.py", assignment.judge_file.read_text(encoding="utf-8"))


def _made(course: Path) -> Path:
    course.mkdir(parents=True, exist_ok=True)
    if not (course / "nbgrader_config.py").exists():
        name = re.sub(r"[^\w.-]+", "-", course.resolve().name) or "course"  # the exchange parts its names by "+"
        write_atomically(course / "nbgrader_config.py", CONFIG.format(name=name))
    return course

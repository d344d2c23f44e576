"""An assignment: the instructor's notebook, what students get of it, and the judge beside it."""

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError
from ganlab.homework import judging

INSTALL = 'the homework tools need nbgrader: pip install "ganlab[homework]"'
KEEP = "keep"


@dataclass(frozen=True)
class Assignment:
    """One assignment, of one notebook.

    In a clone: `homework/NAME/source/NAME.ipynb` (with solutions), `homework/NAME/judge.py`, and the student version
    `homework/NAME/NAME.ipynb`. In a course folder, which is nbgrader's: `source/NAME/NAME.ipynb`,
    `judges/NAME.py` (where nbgrader does not release it), and the student version `release/NAME/NAME.ipynb`.

    The notebook carries nbgrader's cell metadata, version 3. Kinds of cells, by their flags:

    - grade: checked automatically. A code cell with visible assertions, run for their messages alone. Its points come
      from the checks in `judge.py`.
    - solution: the student's answer; `### BEGIN SOLUTION` to `### END SOLUTION` is cut out of the student version.
    - grade and solution: an answer that is graded by hand, text or code.
    - task: a description of work that is graded by hand, whose answer may be several cells.
    - locked: the instructor's, taken over as it is. So are cells without metadata.

    A cell tagged "keep" is not run at grading; the outputs that were handed in with it stay. It is for trainings and
    their pictures, on which nothing else may depend.
    """

    name: str
    notebook: Path
    judge_file: Path

    @classmethod
    def find(cls, place: str | Path, name: str = "") -> "Assignment":
        """The assignment in a folder `homework/NAME`, or the one with that name in a course folder.

        Raises:
            GanlabError: there is none.
        """
        place = Path(place).resolve()
        if name:
            found = cls(name, place / "source" / name / f"{name}.ipynb", place / "judges" / f"{name}.py")
        else:
            found = cls(place.name, place / "source" / f"{place.name}.ipynb", place / "judge.py")
        if not found.notebook.is_file():
            there = sorted(p.parent.name for p in place.glob("source/*/*.ipynb") if p.stem == p.parent.name)
            raise GanlabError(f"there is no {found.notebook}" + (f"; assignments: {', '.join(there)}" if there else ""))
        return found

    @cached_property
    def judge(self) -> judging.Judge:
        """The checks, each of a cell that there is, with points that add up to the cell's.

        Raises:
            GanlabError: they do not; the message says where.
        """
        judge, points = judging.load(self.judge_file), self.points
        if unknown := sorted({check.cell for check in judge.checks} - set(points)):
            raise GanlabError(f"{self.judge_file} checks {', '.join(unknown)}, which {self.notebook} does not have; "
                              f"its automatically graded cells: {', '.join(points) or 'none'}")
        for cell, worth in points.items():
            if abs(sum(check.points for check in judge.of(cell) if not check.bonus) - worth) > 1e-9:
                raise GanlabError(f"{cell} is worth {worth:g} points in {self.notebook}; its checks in "
                                  f"{self.judge_file} add up to something else")
        return judge

    @cached_property
    def points(self) -> dict[str, float]:
        """The points of the cells that are graded automatically, in their order."""
        return {cell.metadata.nbgrader.grade_id: float(cell.metadata.nbgrader.points) for cell in self.source.cells
                if flag(cell, "grade") and not flag(cell, "solution")}

    @cached_property
    def manual(self) -> dict[str, float]:
        """The points of the cells that are graded by hand, in their order."""
        return {cell.metadata.nbgrader.grade_id: float(cell.metadata.nbgrader.points) for cell in self.source.cells
                if (flag(cell, "grade") and flag(cell, "solution")) or flag(cell, "task")}

    @cached_property
    def source(self) -> Any:
        """The instructor's notebook, checked.

        Raises:
            GanlabError: it cannot be read, or its metadata is not nbgrader's version 3.
        """
        try:
            import nbformat
            from nbgrader.nbgraderformat import MetadataValidator
        except ImportError as error:
            raise GanlabError(INSTALL) from error
        try:
            notebook = nbformat.read(self.notebook, as_version=4)
            MetadataValidator().validate_nb(notebook)
        except Exception as error:
            raise GanlabError(f"{self.notebook}: {str(error).splitlines()[0]}") from error
        return notebook

    @cached_property
    def release(self) -> Any:
        """The student version: without solutions, hidden tests, mark schemes and outputs, and with checksums."""
        from nbgrader import preprocessors as steps

        resources: dict[str, Any] = {}
        notebook = copy.deepcopy(self.source)
        for step in (steps.LockCells, steps.ClearSolutions, steps.ClearOutput, steps.ClearHiddenTests,
                     steps.ClearMarkScheme, steps.ComputeChecksums, steps.CheckCellMetadata):
            try:
                notebook, resources = step().preprocess(notebook, resources)
            except Exception as error:
                raise GanlabError(f"{self.notebook}: {error}") from error
        return notebook


def flag(cell: Any, name: str) -> bool:
    """Whether a cell of the instructor's is marked as grade, solution, task or locked."""
    return bool(cell.metadata.get("nbgrader", {}).get(name, False))

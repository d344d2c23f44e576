"""Run the visible tests of a notebook, as a student does before handing it in."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError
from ganlab.homework.judging import Judge

GRADING = Judge().seconds  # what a cell of a question has at grading, unless the assignment's judge says otherwise


def check(path: Path, seconds: float = 600.0) -> dict[str, str]:
    """Run a student's notebook from top to bottom in a process of its own, in profile ci, whatever fails on the way.

    It runs with all the rights of whoever calls it: for a notebook of one's own. Cells tagged "keep" are left out, as
    at grading.

    Args:
        path: the notebook; it is not changed.
        seconds: for each cell.

    Returns:
        Name of each cell with visible tests to what its error says, or that it or its answer took longer than grading
        allows; empty where all is right.

    Raises:
        GanlabError: no such notebook, or one without tests.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        raise GanlabError(f"cannot read {path} as a notebook ({type(error).__name__}); give the .ipynb file that you "
                          "would hand in") from None
    if not any(map(_is_test, notebook.cells)):
        raise GanlabError(f"{path} has no cells with tests: is it the assignment's notebook, with its marks?")
    notebook.cells = [cell for cell in notebook.cells if "keep" not in cell.metadata.get("tags", ())]
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", allow_errors=True,
                            interrupt_on_timeout=True,
                            # A warning that nothing is encrypted between two processes of one machine helps nobody.
                            extra_arguments=["--IPKernelApp.log_level=ERROR"])
    profile = os.environ.get("GANLAB_PROFILE")
    os.environ["GANLAB_PROFILE"] = "ci"
    try:
        client.execute(cwd=str(path.absolute().parent))
    except CellTimeoutError as error:
        raise GanlabError(f"a cell of {path} took more than {seconds:.0f} s: {str(error).splitlines()[0]}") from None
    finally:
        if profile is None:
            del os.environ["GANLAB_PROFILE"]
        else:
            os.environ["GANLAB_PROFILE"] = profile
    said, longest = dict[str, str](), 0.0
    for cell in notebook.cells:
        if cell.cell_type == "code" and (_is_test(cell) or cell.metadata.get("nbgrader", {}).get("solution")):
            longest = max(longest, _seconds(cell))
        if _is_test(cell):
            slow = f"took {longest:.0f} s; at grading a cell is stopped after {GRADING:.0f}, and its question is lost"
            said[cell.metadata.nbgrader.grade_id] = _said(cell) or (slow if longest > GRADING else "")
            longest = 0.0
    return said


def _is_test(cell: Any) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and bool(marks.get("grade")) and not marks.get("solution")


def _seconds(cell: Any) -> float:
    """How long the cell ran, by nbclient's record; an empty cell has none."""
    times = cell.metadata.get("execution", {})
    begun, ended = (times.get(name) for name in ("iopub.status.busy", "iopub.status.idle"))
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() if begun and ended else 0.0


def _said(cell: Any) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return f"{errors[0].ename}: {errors[0].evalue}".strip(": ") if errors else ""

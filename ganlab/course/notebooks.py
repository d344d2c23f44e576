"""Run the lessons from top to bottom, and bring executed notebooks into the form that is committed."""

import base64
import io
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError

MAX_BYTES = 1_500_000
PROGRESS_BAR = re.compile(r"\d+%\|")
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDED = {"injected-parameters", "papermill-error-cell-tag"}
KEPT_METADATA = {"tags", "jupyter", "slideshow", "cellView", "editable", "deletable"}
INSTALL = 'running lessons needs papermill: pip install "ganlab[lab]"'


@dataclass(frozen=True)
class Result:
    """How one lesson went; `failure` names the failed cell and the error, and is empty if all is well."""

    lesson: str
    profile: str
    seconds: float
    failure: str = ""


def folder() -> Path:
    """Where the lessons are: in the current folder, or in the clone that ganlab was installed from."""
    places = [Path.cwd() / "lessons", Path.cwd(), Path(__file__).parents[2] / "lessons"]
    for place in places:
        if place.is_dir() and any(place.glob("[0-9][0-9]_*.ipynb")):
            return place
    raise GanlabError("no lessons found; looked for NN_name.ipynb in " + ", ".join(map(str, places))
                      + ". Clone the repository and call this from its folder.")


def find(lessons: Iterable[str | Path] = ()) -> list[Path]:
    """The notebooks that are meant, all lessons if none is named.

    Args:
        lessons: paths of notebooks, or beginnings of lessons' names such as "03" or "03_gan".

    Raises:
        GanlabError: no such lesson; the message lists those there are.
    """
    if not (words := [str(word) for word in lessons]):
        return sorted(folder().glob("[0-9][0-9]_*.ipynb"))
    found = []
    for word in words:
        if (path := Path(word)).is_file() and path.suffix == ".ipynb":
            found.append(path)
        elif (name := word.removesuffix(".ipynb")) and (
                matches := sorted(path for path in folder().glob("*.ipynb") if path.name.startswith(name))):
            found += matches
        else:
            names = ", ".join(path.stem for path in find())
            raise GanlabError(f"there is no lesson {word!r}; lessons: {names}")
    return found


def run(lessons: Iterable[str | Path] = (), profile: str = "", out: str | Path = "runs", *,
        update: bool = False, progress: bool = True) -> list[Result]:
    """Execute lessons with papermill, each in a fresh kernel; a failing one does not stop the others.

    Args:
        lessons: as in `find`.
        profile: given to every lesson's parameters cell; empty: each chooses for itself.
        out: folder for the executed notebooks.
        update: also write those that succeeded, cleaned, over the originals, and their `gallery` picture beside them.
        progress: show a bar for each lesson.

    Raises:
        GanlabError: papermill is missing, no such lesson, or an executed notebook would take the place of a lesson or
            of another one.
    """
    try:
        import nbformat
        import papermill
    except ImportError as error:
        raise GanlabError(INSTALL) from error
    results = []
    target = Path(out).absolute()
    paths = list(dict.fromkeys(path.absolute() for path in find(lessons)))
    for path in paths:
        if (target / path.name).exists() and path.samefile(target / path.name):
            raise GanlabError(f"the executed notebook would take the place of {path} itself; give another folder than "
                              f"{target} with --out")
        if same := [other for other in paths if other.name == path.name and other != path]:
            raise GanlabError(f"{path} and {same[0]} have one name, and so would the executed notebooks; run them one "
                              "by one, each with an --out of its own")
    target.mkdir(parents=True, exist_ok=True)
    for path in paths:
        executed = target / path.name
        executed.unlink(missing_ok=True)
        failure, start = "", time.monotonic()
        try:
            papermill.execute_notebook(path, executed, {"profile": profile} if profile else None, cwd=path.parent,
                                       kernel_name="python3",
                                       progress_bar=progress and {"desc": path.stem, "leave": False})
        except Exception as error:  # of the lesson, or of a kernel that died or did not start
            reason = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
            failure = f"{_failed_cell(executed)}: {reason.splitlines()[0]}"
        seconds = time.monotonic() - start
        if update and not failure:
            notebook = clean(nbformat.read(executed, as_version=4))
            nbformat.write(notebook, path)
            if picture := gallery(notebook):
                (path.parent / "gallery").mkdir(exist_ok=True)
                (path.parent / "gallery" / f"{path.stem[:2]}.png").write_bytes(picture)
        results.append(Result(path.stem, profile or os.environ.get("GANLAB_PROFILE", "") or "automatic",
                              seconds, failure))
    return results


def gallery(notebook: Any) -> bytes | None:
    """The first picture (PNG) of the cell tagged "gallery", which stands for the lesson in the README."""
    pictures = [output.data["image/png"] for cell in notebook.cells if "gallery" in cell.metadata.get("tags", ())
                for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
    return base64.b64decode(pictures[0]) if pictures else None


def table(results: Sequence[Result]) -> str:
    """The results as lines of text: lesson, profile, seconds, and ok or what failed."""
    width = max([len(r.lesson) for r in results] + [6])
    lines = [f"{'lesson':{width}}  profile    seconds  result"]
    lines += [f"{r.lesson:{width}}  {r.profile:9}  {r.seconds:7.1f}  {r.failure or 'ok'}" for r in results]
    return "\n".join(lines)


def _failed_cell(path: Path) -> str:
    """The last cell that was begun, numbered from 1 as in the lesson, with its first line of code."""
    import nbformat

    cells = _own_cells(nbformat.read(path, as_version=4)) if path.exists() else []
    begun = [n for n, cell in enumerate(cells, 1) if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return "before the first cell"
    return f"cell {begun[-1]} ({cells[begun[-1] - 1].source.strip().partition(chr(10))[0]})"


def _own_cells(notebook: Any) -> list[Any]:
    """The cells that papermill has not added."""
    return [cell for cell in notebook.cells if not ADDED & set(cell.metadata.get("tags", ()))]


def clean(notebook: Any) -> Any:
    """Strip an executed notebook of all that should not be committed, in place, and return it.

    Goes: widget state and widget views (a panel keeps its picture), progress bars, timings, what papermill and
    front ends add. Stays: all the rest, PNGs with at most 256 colours.

    Raises:
        GanlabError: an output is an error, or the notebook stays over 1.5 MB; the message names the cell.
    """
    cells, sizes, count = _own_cells(notebook), {}, 0
    for number, cell in enumerate(cells, 1):
        cell.metadata = type(cell.metadata)({k: v for k, v in cell.metadata.items() if k in KEPT_METADATA})
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if _keep(output, number)]
        count += cell.execution_count is not None
        cell.execution_count = None if cell.execution_count is None else count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
        sizes[number] = len(str(cell.outputs))
    notebook.cells = cells
    notebook.metadata = type(notebook.metadata)(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"})
    if (size := sum(sizes.values())) > MAX_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        raise GanlabError(f"the outputs take {size / 1e6:.1f} MB, allowed are {MAX_BYTES / 1e6}; most is that of "
                          f"cell {largest} ({sizes[largest] / 1e6:.1f} MB): draw fewer or smaller pictures")
    return notebook


def _keep(output: Any, number: int) -> bool:
    """Slim one output down; False if nothing is left to keep."""
    if output.output_type == "error":
        raise GanlabError(f"cell {number} ends with {output.ename}: {output.evalue}")
    if output.output_type == "stream":
        return not (output.name == "stderr" and PROGRESS_BAR.search(output.text))
    output.metadata.pop(WIDGET, None)
    if output.data.pop(WIDGET, None) is not None and set(output.data) <= {"text/plain"}:
        return False
    if "image/png" in output.data:
        output.data["image/png"] = smaller_png(output.data["image/png"])
    return True


def smaller_png(encoded: str) -> str:
    """A base64 PNG on white with at most 256 colours, or the given one where that would not be smaller."""
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    if image.mode == "P":
        return encoded
    if "A" in image.mode:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    buffer = io.BytesIO()
    image.convert("RGB").quantize(256, kmeans=2).save(buffer, "PNG", optimize=True)
    small = base64.b64encode(buffer.getvalue()).decode()
    return small if len(small) < len(encoded) else encoded

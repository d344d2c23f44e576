"""What runs inside the isolation: it does as it is told, one line of JSON at a time, and judges nothing.

It shares its process with the student's code, which may therefore change all of it. That is harmless: whoever reads the
answers (`session.py`) takes them for what a student says. It needs Python's own library alone until a cell is run.
"""

import ast
import base64
import io
import json
import os
import random
import sys
from typing import Any, BinaryIO

MAX_TEXT, MAX_IMAGE, MAX_IMAGES, MAX_VALUES = 50_000, 2_000_000, 4_000_000, 1_000_001
MAX_CELLS, MAX_SOURCE = 2_000, 1_000_000


def main() -> None:
    """Take on the limits given as the one argument, then answer requests until there are no more."""
    job, files = os.getpid(), os.dup(0)
    replies, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    confine(json.loads(sys.argv[1]))
    requests = os.fdopen(files, "rb")
    kernel = Kernel()
    while line := requests.readline():
        request = json.loads(line)
        number = request.pop("number")
        try:
            reply = getattr(kernel, request.pop("do"))(requests, **request)
            text = json.dumps(reply | {"number": number})
        except BaseException as error:
            reply = {"error": type(error).__name__, "message": str(error)[:200], "number": number}
            text = json.dumps(reply)
        if os.getpid() != job:  # a child of a cell's fork has come out of it too
            os._exit(0)
        write(replies, text.encode() + b"\n")


def write(to: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(to, view):]


def confine(limits: dict[str, Any]) -> None:
    """Soft and hard limits of this process and its children; another user where this one is root."""
    try:
        import resource
    except ImportError:  # Windows
        return
    if uid := limits.pop("uid", 0):
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


class Kernel:
    """The requests, by name; each answers with a dict that becomes JSON."""

    def __init__(self) -> None:
        self.shell: Any = None
        self.seed: int | None = None
        self.outputs: list[dict[str, Any]] = []
        self.text = self.images = 0
        self.marks: dict[str, dict[str, Any]] = {}

    def hello(self, requests: BinaryIO, *, folder: str = "", seed: int = 0, shell: bool = False) -> dict[str, Any]:
        """Be ready; with `shell`, to run cells in this folder."""
        if folder:
            os.makedirs(folder, exist_ok=True)
            os.chdir(folder)
        if shell:
            self.seed = seed
            self.start()
        return {}

    def file(self, requests: BinaryIO, *, name: str, size: int) -> dict[str, Any]:
        """Lay a file that was handed in, whose bytes follow, into the folder."""
        content = requests.read(size)
        if folder := os.path.dirname(name):
            os.makedirs(folder, exist_ok=True)
        with open(name, "wb") as f:
            f.write(content)
        return {}

    def read(self, requests: BinaryIO, *, size: int) -> dict[str, Any]:
        """The cells of the notebook whose bytes follow; `error` says in one line why it cannot be read."""
        content = requests.read(size)
        if not content.strip(b" \t\r\n\0"):
            return {"error": "an empty file"}
        if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            return {"error": "a web page (HTML or XML), not a notebook"}
        for encoding in ("utf-8-sig", "utf-16"):
            try:
                text = content.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
        else:
            return {"error": "not a notebook: not a text in UTF-8"}
        del content
        try:
            notebook = json.loads(text)
        except json.JSONDecodeError as error:
            return {"error": f"not a notebook: broken JSON in line {error.lineno}"}
        except (RecursionError, ValueError, MemoryError):
            return {"error": "not a notebook: JSON that cannot be read"}
        del text
        return cells_of(notebook)

    def run(self, requests: BinaryIO, *, source: str) -> dict[str, Any]:
        """Run a cell; what it showed, and the name of its error."""
        if self.seed is not None and "numpy" in sys.modules:  # PyTorch begins with a fixed seed by itself
            sys.modules["numpy"].random.seed(self.seed)
            self.seed = None
        self.outputs, self.text = [], 0
        sys.stdout, sys.stderr = Stream(self, "stdout"), Stream(self, "stderr")
        result = self.shell.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        return {"outputs": self.outputs, "error": None if error is None else type(error).__name__}

    def mark(self, requests: BinaryIO, *, name: str) -> dict[str, Any]:
        """Keep the names as they are now, for questions about this place of the notebook."""
        self.marks[name] = dict(self.shell.user_ns)
        return {}

    def ask(self, requests: BinaryIO, *, code: str, inputs: dict[str, Any], mark: str) -> dict[str, Any]:
        """The value of the last expression as plain numbers, or the name of the error."""
        sys.stdout = sys.stderr = Stream(None, "")
        names = {"__name__": "__main__", **self.marks.get(mark, {}), **inputs}
        tree = ast.parse(code)
        last = tree.body.pop()
        assert isinstance(last, ast.Expr), "a probe must end with an expression"
        exec(compile(tree, "<probe>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<probe>", "eval"), names)
        return {"value": plain(value, [MAX_VALUES])}

    def start(self) -> None:
        """An IPython shell that collects what cells show."""
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.history import HistoryManager
        from IPython.core.interactiveshell import InteractiveShell

        kernel = self

        class Publisher(DisplayPublisher):
            def publish(self, data: Any, *_: Any, **__: Any) -> None:
                kernel.show("display_data", data)

            def clear_output(self, wait: bool = False) -> None:
                kernel.outputs, kernel.text = [], 0

        class Hook(DisplayHook):
            def write_output_prompt(self) -> None:
                pass

            def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
                kernel.show("execute_result", format_dict)

        class Shell(InteractiveShell):
            displayhook_class, display_pub_class = Hook, Publisher

            def init_history(self) -> None:
                self.history_manager = HistoryManager(shell=self, parent=self, enabled=False)

            def enable_gui(self, gui: Any = None) -> None:
                """There is no window; `%matplotlib inline` asks nevertheless."""

            def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
                kernel.add({"output_type": "error", "ename": str(getattr(etype, "__name__", etype)),
                            "evalue": str(evalue)[:1000], "traceback": [str(line) for line in stb][:200]})

        self.shell = Shell.instance(colors="NoColor")
        self.shell.display_formatter.active_types = ["text/plain", "image/png", "image/jpeg"]
        self.shell.system = self.shell.system_piped
        sys.path.append(os.getcwd())  # last: what is handed in must not stand in for an installed package
        sys.argv = [""]
        random.seed(self.seed)

    def show(self, kind: str, data: dict[str, Any]) -> None:
        self.add({"output_type": kind, "data": data})

    def add(self, output: dict[str, Any]) -> None:
        """Keep an output in its small form, as long as there is room."""
        for small in slim([output]):
            size = len(json.dumps(small))
            if "image/png" in small.get("data", ()) or "image/jpeg" in small.get("data", ()):
                self.images += size
                if self.images > MAX_IMAGES:
                    continue
            else:
                self.text += size
                if self.text > 2 * MAX_TEXT:
                    continue
            self.outputs.append(small)


class Stream(io.TextIOBase):
    """What a cell prints, up to a limit; what goes beyond is dropped."""

    def __init__(self, kernel: "Kernel | None", name: str) -> None:
        self.kernel, self.name = kernel, name

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        kernel = self.kernel
        if kernel is not None and kernel.text <= MAX_TEXT and text:
            room = text[:MAX_TEXT - kernel.text]
            kernel.text += len(text)
            if kernel.text > MAX_TEXT:
                room += "\n... (too long to keep)\n"
            if kernel.outputs and kernel.outputs[-1].get("name") == self.name:
                kernel.outputs[-1]["text"] += room
            else:
                kernel.outputs.append({"output_type": "stream", "name": self.name, "text": room})
        return len(text)


def plain(value: Any, left: list[int]) -> Any:
    """Numbers, and lists and dicts of numbers; anything else is a TypeError."""
    left[0] -= 1
    if left[0] < 0:
        raise OverflowError("too many numbers")
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(item, left) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item, left) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain((value.detach() if hasattr(value, "detach") else value).tolist(), left)
    raise TypeError(f"not a number: {type(value).__name__}")


def cells_of(notebook: Any) -> dict[str, Any]:
    """The cells of a parsed notebook of any format: type, source, grade id, and outputs in their small form."""
    if not isinstance(notebook, dict):
        return {"error": "not a notebook: no JSON object"}
    if not isinstance(notebook.get("cells"), list):
        if not isinstance(notebook.get("worksheets"), list):
            return {"error": "not a notebook: it has no cells"}
        sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        notebook = {"cells": [cell for sheet in sheets for cell in (sheet.get("cells") or [])]}
    cells, source_left = [], MAX_SOURCE
    for cell in notebook["cells"][:MAX_CELLS]:
        if not isinstance(cell, dict):
            continue
        source = text_of(cell.get("source", cell.get("input")))[:source_left]
        source_left -= len(source)
        metadata = cell.get("metadata")
        nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
        kind = cell.get("cell_type")
        outputs = cell.get("outputs")
        cells.append({"type": kind if kind in ("code", "raw") else "markdown", "source": source,
                      "grade_id": grade_id if isinstance(grade_id, str) and len(grade_id) < 200 else None,
                      "outputs": slim(outputs) if isinstance(outputs, list) else []})
    budget = MAX_IMAGES + 20 * MAX_TEXT
    for cell in cells:
        budget -= len(json.dumps(cell["outputs"]))
        if budget < 0:
            cell["outputs"] = []
    return {"cells": cells}


def text_of(value: Any) -> str:
    """A text that notebooks may also write as a list of lines, in characters that can be written again."""
    text = "".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else value
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else ""


def slim(outputs: list[Any]) -> list[dict[str, Any]]:
    """Outputs of any format, with texts cut to a length and nothing but texts, errors and pictures kept."""
    small: list[dict[str, Any]] = []
    for output in outputs[:200]:
        if not isinstance(output, dict):
            continue
        kind = output.get("output_type")
        if kind == "stream":
            name = "stderr" if "stderr" in (output.get("name"), output.get("stream")) else "stdout"
            small.append({"output_type": "stream", "name": name, "text": cut(text_of(output.get("text")))})
        elif kind in ("error", "pyerr"):
            lines = output.get("traceback")
            small.append({"output_type": "error", "ename": text_of(output.get("ename"))[:200],
                          "evalue": text_of(output.get("evalue"))[:1000],
                          "traceback": cut("\n".join(map(text_of, lines))).split("\n")
                          if isinstance(lines, list) else []})
        else:
            data = output.get("data")
            data = data if isinstance(data, dict) else output  # before format 4 they stood beside the type
            kept = {}
            for mime, old in (("image/png", "png"), ("image/jpeg", "jpeg"), ("text/plain", "text")):
                value = data.get(mime, data.get(old))
                text = text_of(base64.b64encode(value).decode() if isinstance(value, bytes) else value)
                if mime == "text/plain":
                    text = cut(text)
                if 0 < len(text) <= MAX_IMAGE:
                    kept[mime] = text
            if kept:
                small.append({"output_type": "display_data", "data": kept})
    return small


def cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n... (too long to keep)\n"


if __name__ == "__main__":
    main()

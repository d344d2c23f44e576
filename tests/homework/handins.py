"""Notebooks as students hand them in: right ones, broken ones, and hostile ones, each with what is fair."""

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ganlab.homework import Assignment

HERE = Path(__file__).parent

RIGHT = {
    "mean": "def mean(values):\n    return sum(values) / len(values)",
    "clamp": "def clamp(values, low, high):\n    return [min(max(value, low), high) for value in values]",
    "softmax": "def softmax(logits):\n    powers = [math.exp(x - max(logits)) for x in logits]\n"
               "    return [power / sum(powers) for power in powers]",
}
NO_MEAN = "def mean(values):\n    return 0.5"
NO_CLAMP = "def clamp(values, low, high):\n    return [0.5]"
NO_SOFTMAX = "def softmax(logits):\n    return [0.5]"
TINY = Assignment.find(HERE / "tiny")


@dataclass
class Case:
    """A hand-in, what a fair grader gives, and what the one-line reason must say.

    Attributes:
        score: of ten; a number, or (least, most) where a cheat may do itself harm.
        reason: a part of it.
        bonus: of one point; nothing is asked of it where it is None.
        content: bytes of the notebook, or a function that lays the hand-in into its folder, given the course folder.
        files: further files, by name.
        stored: texts that must not be in what is stored.
    """

    content: bytes | Callable[[Path, Path], None]
    score: float | tuple[float, float]
    reason: str = ""
    bonus: float | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    stored: tuple[str, ...] = ()


def notebook(*added: str, **answers: str) -> dict[str, Any]:
    """The tiny notebook with right answers, but for those given by grade id, and further code cells at the end."""
    made = json.loads(json.dumps(TINY.release))
    for cell in made["cells"]:
        name = grade_id(cell)
        if name in RIGHT or name in answers:
            cell["source"] = answers.get(name, RIGHT.get(name, ""))
    made["cells"] += [code(source) for source in added]
    return made


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": list(outputs), "execution_count": None,
            "id": os.urandom(4).hex()}


def text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source, "id": os.urandom(4).hex()}


def grade_id(cell: dict[str, Any]) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def file(made: Any) -> bytes:
    return json.dumps(made).encode()


def changed(change: Callable[[dict[str, Any]], Any], **answers: str) -> bytes:
    """The notebook after a change to its dict."""
    made = notebook(**answers)
    return file(change(made) or made)


def each(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(cell for cell in made["cells"] if grade_id(cell) == name)


def place(made: dict[str, Any], name: str) -> int:
    return made["cells"].index(each(made, name))


def at(made: dict[str, Any], name: str, *cells: dict[str, Any]) -> None:
    """Put cells before the one with that grade id."""
    position = place(made, name)
    made["cells"][position:position] = cells


def before(name: str, *sources: str, **answers: str) -> bytes:
    made = notebook(**answers)
    at(made, name, *map(code, sources))
    return file(made)


def twice(name: str, source: str | None = None, *, first: bool = False) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        again = copy.deepcopy(each(made, name))
        again["source"] = again["source"] if source is None else source
        made["cells"].insert(place(made, name) + (not first), again)
    return change


def without_metadata(made: dict[str, Any], which: slice = slice(None)) -> None:
    for cell in made["cells"][which]:
        cell["metadata"] = {}


def half_metadata(made: dict[str, Any]) -> None:
    for number, cell in enumerate(made["cells"]):
        if "nbgrader" in cell["metadata"]:
            nbgrader = cell["metadata"]["nbgrader"]
            [nbgrader.clear, lambda n=nbgrader: n.pop("grade_id"), lambda n=nbgrader: n.pop("schema_version"),
             lambda n=nbgrader: n.update(points="many", grade_id=7)][number % 4]()


def as_version_3(made: dict[str, Any]) -> dict[str, Any]:
    cells = []
    for cell in made["cells"]:
        cell = {key: value for key, value in cell.items() if key not in ("id", "execution_count")}
        if cell["cell_type"] == "code":
            cell |= {"input": cell.pop("source").splitlines(keepends=True), "language": "python", "collapsed": False}
        cells.append(cell)
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}


def edited(name: str, source: str, kind: str = "code") -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        cell = each(made, name)
        cell["source"], cell["cell_type"] = source, kind
        if kind != "code":
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    return change


def removed(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        made["cells"] = [cell for cell in made["cells"] if grade_id(cell) not in names]
    return change


def laid(content: bytes, links: dict[str, str]) -> Callable[[Path, Path], None]:
    """The notebook, and symbolic links by name to paths below the course folder, or to absolute ones."""
    def lay(folder: Path, course: Path) -> None:
        if content:
            (folder / "tiny.ipynb").write_bytes(content)
        for name, target in links.items():
            (folder / name).symlink_to(course / target)
    return lay


STREAM = {"output_type": "stream", "name": "stdout", "text": "x" * 100_000_000}
EVIL_OUTPUTS = [
    {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<script>alert(1)</script>",
                                                             "application/javascript": "alert(2)",
                                                             "image/svg+xml": "<svg onload='alert(3)'/>",
                                                             "text/latex": "$\\href{javascript:alert(4)}{x}$"}},
    {"output_type": "display_data", "metadata": {"image/png": {"width": "1\" onerror=\"alert(5)"}},
     "data": {"image/png": "\"><script>alert(6)</script>", "text/plain": "<img src=x onerror=alert(7)>"}},
]
EVIL_MARKDOWN = """Because <script>alert(1)</script> <img src=x onerror="alert(2)"> [x](javascript:alert(3))
[y](java&#115;cript:alert(4)) [z](JaVa\\script:alert(5)) ![p](data:text/html;base64,PHNjcmlwdD4=) <svg/onload=alert(6)>
&lt;script&gt; &#60;script&#62;alert(7)&#60;/script&#62; [r]: vbscript:alert(8)
$a<b$, and x < y."""
ACTIVE = ("<script", "<img", "<svg", "javascript:", "vbscript:", "data:text", "image/svg", '"text/html"', "&#60;")


@cache
def cases(course: Path, port: int) -> dict[str, Case]:
    """All of them, by the name of their student.

    Args:
        course: the course folder, whose files they try to read and change.
        port: of a listener on this machine, which nobody may reach.
    """
    return honest() | broken() | endless() | greedy() | prying(course, port) | cheating() | loud()


def honest() -> dict[str, Case]:
    return {
        "right": Case(file(notebook()), 10, "right", 1),
        "right-in-a-new-cell": Case(before("test_mean", RIGHT["mean"], mean=TINY.release.cells[3].source), 10),
        "with-a-helper": Case(before("mean", "def half(x):\n    return x / 2", "# a note to myself",
                                     mean="def mean(values):\n    return half(2 * sum(values) / len(values))"), 10),
        "other-name": Case(lambda folder, course: (folder / "my homework (2).ipynb").write_bytes(file(notebook())), 10),
        "with-magics": Case(file(notebook("%time 1\n!echo hello", mean="%matplotlib inline\n" + RIGHT["mean"])), 10),
        "wrong": Case(file(notebook(mean=NO_MEAN, clamp=NO_CLAMP, softmax=NO_SOFTMAX)), 0, "either sign", 0),
        "partly-right": Case(file(notebook(
            clamp="def clamp(values, low, high):\n    values[:] = [min(max(value, low), high) for value in values]\n"
                  "    return values",
            softmax="def softmax(logits):\n    powers = [math.exp(x) for x in logits]\n"
                    "    return [power / sum(powers) for power in powers]")), 9, "stay as it was", 0),
        "empty": Case(file(json.loads(json.dumps(TINY.release))), 0, "test_mean: not answered", 0),
        "syntax-error": Case(file(notebook(mean="def mean(values:\n    return 1")), 8, "raises SyntaxError"),
        "error-in-an-answer": Case(file(notebook(mean="def mean(values):\n    return values.mean()")), 8,
                                   "raises AttributeError"),
        "warns": Case(file(notebook(mean="import sys, warnings\nwarnings.warn('careful')\n"
                                         "print('note', file=sys.stderr)\n" + RIGHT["mean"])), 10),
        "exits": Case(file(notebook("exit()", "import sys; sys.exit(1)", mean=RIGHT["mean"] + "\nquit()")), 10),
        "asks": Case(file(notebook("input('go on?')")), 10),
    }


def broken() -> dict[str, Case]:
    stub = TINY.release.cells[3].source
    return {
        "test-deleted": Case(changed(removed("test_mean", "test_softmax")), 10),
        "test-deleted-and-wrong": Case(changed(removed("test_mean"), mean=NO_MEAN), 8),
        "test-edited": Case(changed(edited("test_mean", "assert True"), mean=NO_MEAN), 8),
        "test-edited-right": Case(changed(edited("test_mean", "print(mean([1]))")), 10),
        "test-markdown": Case(changed(edited("test_mean", "assert mean", "markdown")), 10),
        "test-twice": Case(changed(twice("test_mean")), 10),
        "setup-edited": Case(changed(edited("setup", "import os\nmath = None\nnear = lambda a, b: True")), 10),
        "setup-deleted": Case(changed(removed("setup")), 10),
        "solution-twice": Case(changed(twice("mean")), 10),
        "solution-and-stub": Case(changed(twice("mean", stub)), 10),
        "stub-and-solution": Case(changed(twice("mean", stub, first=True)), 10),
        "solution-deleted": Case(changed(removed("mean")), 8, "test_mean: "),
        "solution-markdown": Case(changed(edited("mean", RIGHT["mean"], "markdown")), 10),
        "metadata-gone": Case(changed(without_metadata), 10),
        "metadata-gone-and-notes": Case(changed(lambda made: (without_metadata(made), at_all(made)) and made), 10),
        "metadata-half": Case(changed(half_metadata), 10),
        "metadata-of-half-the-cells": Case(changed(lambda made: without_metadata(made, slice(0, 6))), 10),
        "metadata-swapped": Case(changed(swap("mean", "softmax")), 10),
        "metadata-no-dict": Case(changed(lambda made: [
            cell.update(metadata=[1]) for cell in made["cells"]] and made), 10),
        "cells-shuffled": Case(changed(lambda made: made["cells"].reverse()), (0, 10)),
        "only-answers": Case(file({"cells": [code(source) for source in RIGHT.values()]}), 10),
        "version-3": Case(changed(as_version_3), 10),
        "version-5": Case(changed(lambda made: made | {"nbformat": 5}), 10),
        "sources-as-lists": Case(changed(lambda made: [
            cell.update(source=cell["source"].splitlines(keepends=True)) for cell in made["cells"]] and made), 10),
        "byte-order-mark": Case(b"\xef\xbb\xbf" + file(notebook()), 10),
        "utf-16": Case(json.dumps(notebook()).encode("utf-16"), 10),
        "windows-lines": Case(changed(lambda made: [
            cell.update(source=cell["source"].replace("\n", "\r\n")) for cell in made["cells"]] and made), 10),
        "odd-cells": Case(changed(lambda made: made["cells"].extend(
            [None, 7, {}, {"cell_type": 3, "source": 4}, {"cell_type": "code", "source": ["1", 2, None], "outputs": 5},
             {"cell_type": "raw", "source": "x", "metadata": {"nbgrader": []}}, code("\ud800 = '\0'"),
             {"cell_type": "code", "source": "1", "outputs": [None, {"output_type": ["stream"], "text": {"a": 1}}]}])),
            10),
        "broken-json": Case(file(notebook())[:-200], 0, "broken JSON in line 1"),
        "web-page": Case(b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", 0, "a web page"),
        "no-bytes": Case(b"", 0, "an empty file"),
        "a-picture": Case(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), 0, "not a notebook"),
        "a-list": Case(b"[1, 2, 3]", 0, "no JSON object"),
        "no-cells": Case(b'{"cells": 3, "nbformat": 4}', 0, "it has no cells"),
        "deep": Case(b"[" * 5_000_000, 0, "not a notebook"),
        "deep-object": Case(b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, 0, "not a notebook"),
        "long-number": Case(b'{"cells": ' + b"9" * 100_000 + b"}", 0, "not a notebook"),
        "no-notebook": Case(lambda folder, course: (folder / "essay.pdf").write_bytes(b"%PDF"), 0, "no notebook"),
        "two-notebooks": Case(lambda folder, course: [(folder / name).write_bytes(file(notebook()))
                                                      for name in ("a.ipynb", "b.ipynb")], 0, "2 notebooks"),
        "huge": Case(lambda folder, course: os.truncate(_touch(folder / "tiny.ipynb"), 10**9), 0, "larger than 256 MB"),
        "link-to-the-source": Case(laid(b"", {"tiny.ipynb": "source/tiny/tiny.ipynb"}), 0, "a link"),
        "links": Case(laid(file(notebook()), {"data.csv": "gradebook.db", "others": "submitted", "root": "/"}), 10),
        "a-pipe": Case(lambda folder, course: ((folder / "tiny.ipynb").write_bytes(file(notebook())),
                                               os.mkfifo(folder / "pipe.csv")), 10),
    }


def at_all(made: dict[str, Any]) -> None:
    for number in range(len(made["cells"]), 0, -1):
        made["cells"].insert(number, text(f"a note, number {number}"))


def swap(one: str, other: str) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        a, b = each(made, one), each(made, other)
        a["metadata"], b["metadata"] = b["metadata"], a["metadata"]
    return change


def _touch(path: Path) -> Path:
    path.touch()
    return path


def endless() -> dict[str, Case]:
    slow, died = "took longer than 2 s", "ended its process"
    stubborn = ("import signal\nfor number in range(1, 64):\n    try: signal.signal(number, signal.SIG_IGN)\n"
                "    except (OSError, ValueError): pass\ndef mean(values):\n    while True:\n        try:\n"
                "            while True: pass\n        except BaseException: pass")
    return {
        "endless": Case(file(notebook(mean="def mean(values):\n    while True: pass")), 8, slow),
        "endless-at-once": Case(file(notebook(mean="while True: pass")), 8, slow),
        "endless-in-a-new-cell": Case(before("softmax", "while True: pass"), 10),
        "endless-once-hidden": Case(file(notebook(
            clamp="def clamp(values, low, high):\n    while len(values) > 3: pass\n    return [-1, 0, 1]")), 7, slow),
        "stubborn": Case(file(notebook(mean=stubborn)), 8, slow),
        "sleeps": Case(file(notebook(mean="import time\ndef mean(values):\n    time.sleep(1000)")), 8, slow),
        "endless-regex": Case(file(notebook(mean="import re\ndef mean(values):\n"
                                                 "    return re.match('(a+)+$', 'a' * 64 + 'b')")), 8, slow),
        "exits-hard": Case(file(notebook(softmax="import os\ndef softmax(logits):\n    os._exit(0)")), 5, died),
        "kills-itself": Case(file(notebook(mean="import os\nos.kill(os.getpid(), 9)")), 8, died),
        "kills-all": Case(file(notebook(mean="import os\ndef mean(values):\n    try: os.kill(-1, 9)\n"
                                             "    except OSError: os.abort()")), 8, died),
        "crashes": Case(file(notebook(mean="import ctypes\ndef mean(values):\n    ctypes.string_at(0)")), 8, died),
        "closes-all": Case(file(notebook(mean="import os\ndef mean(values):\n    os.closerange(0, 4096)")), 8, died),
        "recursive": Case(file(notebook(mean="import sys\nsys.setrecursionlimit(10**9)\n"
                                             "def mean(values):\n    return mean(values)")), 8, "test_mean"),
    }


def greedy() -> dict[str, Case]:
    bomb = "def mean(values):\n    kept = []\n    while True: kept.append(bytearray(10**7))"
    forks = ("import os\ndef mean(values):\n    while True:\n        try: os.fork()\n        except OSError: pass")
    shared = ("import mmap\ndef mean(values):\n    kept = []\n    while True:\n"
              "        kept.append(mmap.mmap(-1, 10**8))\n        kept[-1][:] = bytes(10**8)")
    children = ("import os, time\ndef mean(values):\n    for _ in range(40):\n        if not os.fork():\n"
                "            kept = bytearray(b'x' * 10**8)\n            time.sleep(1000)\n    time.sleep(1000)")
    left = ("import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)',"
            " 'left-behind'], start_new_session=True)\n" + RIGHT["mean"])
    daemon = ("import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(1000)\n"
              "    os._exit(0)\n" + RIGHT["mean"])
    disk = ("import os\ndef mean(values):\n    for folder in ('/tmp', '/dev/shm', '.'):\n        try:\n"
            "            with open(folder + '/full', 'wb') as f:\n                while True: f.write(bytes(10**7))\n"
            "        except OSError: pass\n    return 0")
    return {
        "memory-bomb": Case(file(notebook(mean=bomb)), 8, "test_mean: "),
        "memory-bomb-at-once": Case(file(notebook(mean="x = ' ' * 10**12\n" + RIGHT["mean"])), 8, "raises MemoryError"),
        "shared-memory-bomb": Case(file(notebook(mean=shared)), 8, "test_mean: "),
        "memory-of-children": Case(file(notebook(mean=children)), 8, "test_mean: "),
        "fork-bomb": Case(file(notebook(mean=forks)), 8, "test_mean: "),
        "thread-bomb": Case(file(notebook(mean="import threading, time\ndef mean(values):\n    while True:\n"
                                               "        threading.Thread(target=time.sleep, args=[1000]).start()")),
                            8, "test_mean: "),
        "background": Case(file(notebook(mean=left)), 10),
        "daemon": Case(file(notebook(mean=daemon)), 10),
        "fills-the-disk": Case(file(notebook(mean=disk)), 8, "test_mean: "),
    }


def loud() -> dict[str, Case]:
    return {
        "many-lines": Case(file(notebook(
            mean=RIGHT["mean"] + "\nfor _ in range(10):\n    print('line\\n' * 2_000_000)")), 10),
        "one-line": Case(file(notebook(mean=RIGHT["mean"] + "\nprint('x' * 100_000_000)")), 10),
        "loud-below": Case(file(notebook(mean=RIGHT["mean"] + "\nimport os\nos.write(1, b'x' * 10**8)\n"
                                                              "os.write(2, b'x' * 10**8)")), 10),
        "loud-error": Case(file(notebook(mean=RIGHT["mean"], softmax="raise ValueError('x' * 100_000_000)")), 5,
                           "raises ValueError"),
        "loud-value": Case(file(notebook(mean="def mean(values):\n    return [0] * 10**7")), 8, "test_mean: "),
        "loud-in-the-file": Case(lambda folder, course: (folder / "tiny.ipynb").write_bytes(
            changed(lambda made: each(made, "mean").update(outputs=[STREAM]))), 10),
        "many-pictures": Case(file(notebook("import base64\nfrom IPython.display import Image, display\n"
                                            "png = b'\\x89PNG\\r\\n\\x1a\\n' + bytes(1_000_000)\n"
                                            "for _ in range(50): display(Image(png, format='png'))")), 10),
        "many-cells": Case(changed(lambda made: made["cells"].extend(code("1") for _ in range(5000))), 10),
        "scripts": Case(changed(lambda made: (made["cells"].extend([code("1", *EVIL_OUTPUTS), text(EVIL_MARKDOWN)]),
                                              each(made, "train").update(outputs=EVIL_OUTPUTS),
                                              each(made, "why").update(source=EVIL_MARKDOWN)) and made), 10,
                        stored=ACTIVE),
        "scripts-when-run": Case(file(notebook(
            "from IPython.display import HTML, Javascript, SVG, Markdown, display\n"
            "display(HTML('<script>alert(1)</script>'), Javascript('alert(1)'), Markdown('<script>'))\n"
            "display({'text/html': '<script>', 'image/svg+xml': '<svg onload=alert(1)>',"
            " 'image/png': '\"><script>'}, raw=True)")), 10,
            stored=("text/html", "image/svg", "application/javascript", "text/markdown", "\\\"><script>")),
        "escapes": Case(file(notebook("print('\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mred')")), 10,
                        stored=("\\u001b]", "\\u001b[2J", "\x1b", "\x07")),
    }


def prying(course: Path, port: int) -> dict[str, Case]:
    root = str(course)
    reads = (f"import glob, os\nfound = []\nfor pattern in ({root!r} + '/**', '/' + 'root/*', '/' + 'home/*',"
             f" '/etc/shadow', '/proc/[0-9]*/environ'):\n    found += glob.glob(pattern, recursive=True)\n"
             "for path in found:\n    try: print(path, open(path, errors='replace').read()[:20_000])\n"
             "    except OSError as error: print(path, error)\n")
    writes = (f"import os, shutil, sqlite3\nroot = {root!r}\n"
              "for path in (root + '/gradebook.db', root + '/source/tiny/tiny.ipynb', root + '/judges/tiny.py',"
              " root + '/submitted/right/tiny/tiny.ipynb', root + '/results/tiny/right.json'):\n"
              "    try:\n        os.makedirs(os.path.dirname(path), exist_ok=True)\n"
              "        open(path, 'w').write('owned')\n    except OSError: pass\n"
              "try:\n    shutil.rmtree(root)\nexcept OSError: pass\n")
    network = ("import socket, urllib.request\ndef mean(values):\n    for host in ('127.0.0.1', 'localhost'):\n"
               f"        try: socket.create_connection((host, {port}), timeout=1).close()\n"
               "        except OSError: pass\n    return urllib.request.urlopen('http://example.com', timeout=1)")
    frames = ("import gc, inspect, sys\ndef mean(values):\n    frame, seen = inspect.currentframe(), []\n"
              "    while frame:\n        seen.append(str({**frame.f_globals, **frame.f_locals})[:5000])\n"
              "        frame = frame.f_back\n    print(seen)\n"
              "    numbers = [o for o in gc.get_objects() if isinstance(o, float)]\n"
              "    raise ValueError('LEAK ' + str(seen))")
    keeps = ("import inspect\nSEEN = []\ndef mean(values):\n    frame = inspect.currentframe().f_back\n"
             "    SEEN.append('LEAK ' + str(frame.f_code.co_consts) + str(frame.f_locals)[:2000])\n"
             "    return sum(values) / len(values)")
    return {
        "reads-the-course": Case(file(notebook(mean=reads + NO_MEAN)), 8, stored=("LOOK AWAY", "BEGIN SOLUTION")),
        "writes-the-course": Case(file(notebook(mean=writes + NO_MEAN)), 8),
        "calls-out": Case(file(notebook(mean=network)), 8, "test_mean: "),
        "reads-frames": Case(file(notebook(mean=frames)), 8, "raises ValueError", stored=("[mean(row)", "rows")),
        "keeps-what-it-sees": Case(file(notebook("print(SEEN)", mean=keeps)), 10, stored=("rows", "[mean(row)")),
        "names-an-error": Case(file(notebook(mean="def mean(values):\n    raise type('LEAK' + str(len(values)),"
                                                  " (Exception,), {})(values)")), 8, "raises an exception"),
        "kills-the-grader": Case(file(notebook(
            mean="import os\nfor pid in range(1, 5000):\n    if pid != os.getpid():\n        try: os.kill(pid, 9)\n"
                 "        except OSError: pass\n" + RIGHT["mean"])), (8, 10)),
        "namespaces": Case(file(notebook(mean="import ctypes, os\nlibc = ctypes.CDLL(None)\n"
                                              "assert libc.unshare(0x10000000) != 0\n"
                                              "assert libc.mount(b'x', b'/tmp', b'tmpfs', 0, b'') != 0\n"
                                              "assert libc.ptrace(16, 1, 0, 0) != 0\n"
                                              "try:\n    os.setuid(0)\nexcept OSError: pass\nelse: assert os.getuid()\n"
                                              + RIGHT["mean"])), 10),
    }


def cheating() -> dict[str, Case]:
    everything = "class Same(float):\n" + "".join(
        f"    def __{name}__(self, *_): return True\n" for name in ("eq", "le", "ge", "lt", "gt", "bool")) + \
        "    def __ne__(self, *_): return False\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n" \
        "    def tolist(self): return self\n    def __abs__(self): return 0.0\n"
    shell = "shell = get_ipython()\n"
    forge = ("import json, os\ndef mean(values):\n    for fd in range(3, 64):\n        for number in range(200):\n"
             "            try: os.write(fd, json.dumps({'number': number, 'value': [0.5] * 20, 'outputs': [],"
             " 'error': None}).encode() + b'\\n')\n            except OSError: break\n    return 0.5")
    kernel = ("import gc, sys\nmain = sys.modules['__main__']\nfor thing in gc.get_objects():\n"
              "    if type(thing).__name__ == 'Kernel':\n"
              "        type(thing).ask = lambda self, *_, **inputs: {'value': [0.5] * 20}\n")
    return {
        "near-patched": Case(before("test_mean", "near = lambda a, b: True", mean=NO_MEAN), 8),
        "assert-patched": Case(file(notebook(
            mean="import ast, builtins\nclass Off(ast.NodeTransformer):\n    def visit_Assert(self, node):\n"
                 "        return ast.Pass()\nget_ipython().ast_transformers.append(Off())\n"
                 "builtins.AssertionError = type('Never', (Exception,), {})\n" + NO_MEAN)), 8),
        "math-patched": Case(file(notebook(
            mean="import math, builtins\nmath.isclose = lambda *_, **__: True\nbuiltins.abs = lambda x: 0\n"
                 "builtins.all = builtins.any = lambda *_: True\n" + NO_MEAN)), 8),
        "transformer": Case(file(notebook(
            mean=shell + "shell.input_transformers_cleanup.append(lambda lines: ['pass\\n'] if any('assert' in l for l"
                         " in lines) else lines)\n" + NO_MEAN)), 8),
        "transformer-blanks-all": Case(file(notebook(
            mean=shell + "shell.input_transformers_post.append(lambda lines: ['pass\\n'])\n" + RIGHT["mean"])),
            (2, 10)),
        "run-cell-patched": Case(file(notebook(
            mean=shell + "type(shell).run_cell = lambda *_, **__: type('Fine', (), {'error_before_exec': None,"
                         " 'error_in_exec': None, 'success': True})()\n" + NO_MEAN)), (0, 8)),
        "display-hook": Case(file(notebook(
            mean="import sys\nsys.displayhook = lambda value: print(10)\n" + NO_MEAN)), 8),
        "traced": Case(file(notebook(
            mean="import sys\ndef skip(frame, event, arg):\n    frame.f_trace_lines = False\n    return skip\n"
                 "sys.settrace(skip)\nsys.setprofile(lambda *_: None)\n" + NO_MEAN)), 8),
        "equals-everything": Case(file(notebook(
            mean=everything + "def mean(values):\n    return Same(0)\ndef near(a, b):\n    return True")), 8),
        "no-number": Case(file(notebook(mean="def mean(values):\n    return '0.5'")), 8, "raises TypeError"),
        "not-finite": Case(file(notebook(mean="def mean(values):\n    return float('nan')")), 8, "not finite"),
        "infinite": Case(file(notebook(mean="def mean(values):\n    return 10**400")), 8, "too large"),
        "ragged": Case(file(notebook(mean="calls = [0]\ndef mean(values):\n    calls[0] += 1\n"
                                          "    return [0.5] * calls[0]")), 8, "different lengths"),
        "a-loop-of-lists": Case(file(notebook(mean="def mean(values):\n    x = []\n    x.append(x)\n    return x")), 8,
                                "test_mean: "),
        "forges-answers": Case(file(notebook(mean=forge)), (0, 8)),
        "patches-the-kernel": Case(file(notebook(mean=kernel + NO_MEAN)), (0, 8)),
        "patches-json": Case(file(notebook(
            mean="import json\nold = json.dumps\njson.dumps = lambda o, **k: old(o | {'value': [0.5] * 20}"
                 " if isinstance(o, dict) and 'number' in o else o, **k)\n" + NO_MEAN)), (0, 8)),
        "patches-builtins": Case(file(notebook(
            mean="import builtins\nbuiltins.isinstance = lambda *_: True\nbuiltins.compile = builtins.eval = "
                 "builtins.exec = lambda *_, **__: 0.5\n" + NO_MEAN)), (0, 8)),
        "forks-and-stays": Case(file(notebook(mean="import os\nos.fork()\nos.fork()\n" + RIGHT["mean"])), 10),
        "deletes-the-rest": Case(file(notebook("for name in ('mean', 'clamp', 'softmax'): del globals()[name]")), 10),
        "ships-modules": Case(file(notebook("import numpy, json, random\nassert numpy.__version__ and json.loads")), 10,
                              files={f"{name}.py": b"raise SystemExit('shadowed')" for name in (
                                  "numpy", "json", "random", "IPython", "math", "ast", "sitecustomize", "conftest",
                                  "ganlab/__init__", "traitlets")}),
        "ships-a-helper": Case(file(notebook(mean="from helper import mean")), 10,
                               files={"helper.py": RIGHT["mean"].encode()}),
        "reads-its-own-file": Case(file(notebook("assert open('data/numbers.csv').read() == '1,2'\nHERE = True",
                                                 "assert HERE")), 10, files={"data/numbers.csv": b"1,2"}),
    }

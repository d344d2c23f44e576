"""Feedback pages: what each student gets back, with points, reasons and comments, and in which nothing acts.

They stand where nbgrader looks for them, `feedback/STUDENT/NAME/NAME.html`, beside what `nbgrader release_feedback`
needs of the exchange. Its own `generate_feedback` also reads what was graded here, but its pages load scripts from
elsewhere, take over HTML in comments, and grow with what was printed. Here nbconvert makes HTML of Markdown and code,
bleach lets formatting through and nothing else, the page forbids the browser to run or to load anything, and its size
is bounded. What a page is made of is the notebook in `autograded/`, which holds no hidden check, and the gradebook.
"""

import functools
import html
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError
from ganlab.homework import clean, gradebook
from ganlab.homework.assignment import Assignment
from ganlab.homework.collect import roster
from ganlab.homework.grading import write_atomically

MAX_PAGE, MAX_OUTPUT, MAX_CELL, MAX_FORMATTED = 4_000_000, 5_000, 15_000, 150_000
TAGS = frozenset(["a", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2",
                  "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "span", "strong", "sub",
                  "summary", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"])
LINK = re.compile(r"(https?|mailto):[^\x00-\x20]*", re.IGNORECASE)
PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]+")
SECRET = re.compile(r"[0-9a-f]{16,256}")


@dataclass
class Written:
    """What `feedback` did.

    Attributes:
        pages: by student.
        waiting: students of whom something still has to be graded by hand; their pages say so.
        missing: students in the gradebook of whom there is no notebook to show.
    """

    pages: dict[str, Path] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def feedback(course: Path, assignment: Assignment, students: Iterable[str] = ()) -> Written:
    """Write a page for everyone who is in the gradebook; earlier pages are replaced.

    Args:
        students: these alone; all if none is named.

    Raises:
        GanlabError: nothing is graded yet, or not that student's.
    """
    entries, done = gradebook.entries(course, assignment), Written()
    if unknown := sorted(set(students) - set(entries)):
        raise GanlabError(f"{', '.join(unknown)}: no {assignment.name} of theirs is graded; `ganlab homework grade "
                          f"{assignment.name}` does that")
    for student in students or entries:
        notebook = gradebook.notebook(course, assignment, student)
        if not notebook.get("cells"):
            done.missing.append(student)
            continue
        found = gradebook.found(course, assignment, student).get("questions", {})
        folder = course / "feedback" / student / assignment.name
        write_atomically(folder / f"{assignment.name}.html", page(assignment, entries[student], notebook["cells"],
                         {name: question["reason"] for name, question in found.items()}))
        for name, pattern in (("timestamp.txt", re.compile(r"[\w :.+/-]{1,60}")), ("submission_secret.txt", SECRET)):
            if text := _kept(course / "submitted" / student / assignment.name / name, pattern):
                write_atomically(folder / name, text)
        done.pages[student] = folder / f"{assignment.name}.html"
        if entries[student].waiting:
            done.waiting.append(student)
    return done


def pack(course: Path, name: str, pages: dict[str, Path], target: Path) -> None:
    """All pages in one zip file, in folders as Moodle names them: it takes the file back as feedback files.

    Raises:
        GanlabError: the file is there already.
    """
    names = roster(course)
    try:
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
            for student, path in pages.items():
                full = re.sub(r'[_/\\:*?"<>|\x00-\x1f]+', " ", names.get(student, "")).strip(" .")
                moodle = student.isdecimal() and full
                folder = f"{full}_{student}_assignsubmission_file" if moodle else student
                archive.write(path, f"{folder}/{name}.html")
    except FileExistsError:
        raise GanlabError(f"{target} is there already; move it away or give another name") from None


def page(assignment: Assignment, entry: gradebook.Entry, cells: list[dict[str, Any]],
         reasons: dict[str, str] | None = None) -> str:
    """The page of one student.

    Args:
        cells: of the notebook in `autograded/`.
        reasons: what was found, by question.
    """
    from jinja2 import Environment

    template = resources.files("ganlab.homework").joinpath("feedback.html").read_text(encoding="utf-8")
    formatting, questions = Formatting(), list[dict[str, str]]()
    for name, question in entry.questions.items():
        said = [clean.line((reasons or {}).get(name, "")) if question.points < question.max else "",
                "graded by hand" * question.by_hand, "waits to be graded by hand" * question.waiting,
                f"{question.extra:g} of them extra" if question.extra else ""]
        questions.append({"name": name, "anchor": f"q-{name}", "points": f"{question.points:g}",
                          "max": f"{question.max:g}", "said": "; ".join(filter(None, said))})
    return Environment(autoescape=True, trim_blocks=True).from_string(template).render(
        name=assignment.name, student=_named(entry), score=f"{entry.score:g}", max_score=f"{entry.max_score:g}",
        penalty=f"{entry.penalty:g}" if entry.penalty else "", waiting=bool(entry.waiting), questions=questions,
        cells=[_shown(cell, entry, formatting) for cell in cells])


def _named(entry: gradebook.Entry) -> str:
    full = f"{entry.first_name} {entry.last_name}".strip()
    return clean.line(f"{full} ({entry.student})" if full else entry.student)


def _shown(cell: dict[str, Any], entry: gradebook.Entry, formatting: "Formatting") -> dict[str, Any]:
    """What the template shows of a cell."""
    name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
    question = entry.questions.get(name)
    code = cell["cell_type"] == "code"
    shown = dict[str, Any](anchor="", heading="", outputs=[], comment="")
    if question:
        shown |= {"anchor": f"q-{name}", "heading": f"{name}: {question.points:g} of {question.max:g} points"}
    elif name and name in entry.comments:
        shown["heading"] = name
    shown["source"] = (formatting.code if code else formatting.markdown)(cell["source"], cell.get("attachments"))
    for output in clean.outputs(cell.get("outputs"), max(formatting.room, 0)) if code else ():
        shown["outputs"].append(formatting.output(output))
    if said := entry.comments.get(name):
        shown["comment"] = formatting.markdown(said)
    return shown


class Formatting:
    """Text to HTML, as plain text where it is long, and nothing more where the page is full."""

    def __init__(self) -> None:
        self.room, self.formatted = MAX_PAGE, MAX_FORMATTED

    def markdown(self, text: str, attachments: Any = None) -> str:
        return self._made(_markdown, text, attachments)

    def code(self, text: str, _: Any = None) -> str:
        return self._made(_code, text)

    def output(self, output: dict[str, Any]) -> dict[str, str]:
        """An output that `clean.outputs` has made."""
        data = output.get("data", {})
        text = data.get("text/plain") or output.get("text") or "\n".join(output.get("traceback", ())) \
            or f"{output.get('ename', '')}: {output.get('evalue', '')}".strip(": ")
        kind = next((kind for kind in clean.PICTURES if kind in data), "")
        picture = data.get(kind, "").replace("\n", "")
        text = clean.line(text) or "a picture" if picture else clean.plain(text, MAX_OUTPUT)
        self.room -= len(picture) + len(text)
        if self.room < 0:
            return {"text": "... (left out: the page is full)"}
        return {"text": text, "kind": kind, "picture": picture}

    def _made(self, function: Callable[..., str], text: str, *more: Any) -> str:
        text = clean.plain(text)
        self.formatted -= len(text)
        made = ""
        if len(text) <= MAX_CELL and self.formatted >= 0:
            try:
                made = function(text, *more)
            except Exception:  # a text that nobody else's program can take apart is shown as it is
                made = ""
        if not made or len(made) > self.room:
            made = f"<pre>{html.escape(text)}</pre>" if text.strip() else ""
        self.room -= len(made)
        return made if self.room >= 0 else "<p>... (left out: the page is full)</p>"


def _markdown(text: str, attachments: Any = None) -> str:
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True, attachments=attachments or {})
    made = _cleaner().clean(MarkdownWithMath(renderer=renderer).render(text))
    return re.sub(r'<img(?: alt="([^"]*)")?>', r"[picture: \1]", made)  # one that would have been loaded


def _code(text: str) -> str:
    from nbconvert.filters.highlight import Highlight2HTML

    return _cleaner().clean(Highlight2HTML()(text, metadata={}))


@functools.cache
def _cleaner() -> Any:
    import bleach

    def allowed(tag: str, name: str, value: str) -> bool:
        if tag == "img":
            return name == "alt" or (name == "src" and bool(PICTURE.fullmatch(value)))
        return name == "class" or (tag == "a" and name == "href" and bool(LINK.fullmatch(value))) or (
            tag == "ol" and name == "start")

    return bleach.Cleaner(tags=TAGS, attributes=allowed, protocols=["http", "https", "mailto", "data"], strip=True,
                          strip_comments=True)


def _kept(file: Path, pattern: re.Pattern[str]) -> str:
    """The text of a small plain file, if it is what it should be."""
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > 300:
            return ""
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return text if pattern.fullmatch(text) else ""

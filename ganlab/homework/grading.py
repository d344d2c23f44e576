"""Grade what was handed in: each notebook rebuilt, run in isolation, judged here; one result a submission."""

import contextlib
import copy
import fnmatch
import hashlib
import itertools
import json
import math
import os
import queue
import stat
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganlab import __version__
from ganlab.errors import GanlabError
from ganlab.homework import clean, rebuild, sandbox
from ganlab.homework.assignment import Assignment, flag
from ganlab.homework.judging import Check, Wrong
from ganlab.homework.session import START, Lost, NotStarted, Session

MAX_NOTEBOOK, MAX_FILES, MAX_FILE_BYTES = 256_000_000, 200, 100_000_000
READING = sandbox.Limits(memory=2.0, seconds=60, processes=8)
GIVEN = 60.0  # seconds for a cell of the instructor's, which may import a lot
# Checks may draw from generators of the whole process, as torch's: one of them computes at a time, while others wait
# for their students' answers.
JUDGING = threading.Lock()
SECTIONS = ("questions", "notes", "reason", "score", "max_score", "bonus", "manual")


@dataclass(frozen=True)
class Submission:
    """What a student handed in, read once; `trouble` says in one line why there is nothing to grade."""

    student: str
    notebook: bytes
    files: Mapping[str, bytes]
    trouble: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, name: str, accepted: Iterable[str] = ("*",)) -> "Submission":
        """From a student's folder: plain files alone, no link followed, nothing too large.

        Args:
            folder: `submitted/STUDENT/NAME`.
            name: of the assignment; its notebook should be `NAME.ipynb`, any other will do if it is the only one.
            accepted: patterns of the names of the further files that are taken.
        """
        student, notes = folder.parent.name, list[str]()
        files, notebooks, left = dict[str, bytes](), dict[str, Path](), MAX_FILE_BYTES
        for path in _plain_files(folder, notes):
            relative = path.relative_to(folder).as_posix()
            if path.suffix.lower() == ".ipynb":
                notebooks[relative] = path
            elif relative != "timestamp.txt" and any(fnmatch.fnmatch(relative, pattern) for pattern in accepted):
                content = _content(path, left)
                if content is None or len(files) >= MAX_FILES:
                    notes.append(f"{clean.line(relative, 60)} was left out: too many or too large files")
                    continue
                left -= len(content)
                files[relative] = content
        chosen = notebooks.get(f"{name}.ipynb")
        if chosen is None and notebooks:
            close = [path for relative, path in notebooks.items() if name.lower() in relative.lower()]
            chosen = (close or list(notebooks.values()))[0]
            if len(notebooks) > 1 and len(close) != 1:
                return cls(student, b"", {}, f"{len(notebooks)} notebooks, none named {name}.ipynb", tuple(notes))
        if chosen is None:
            return cls(student, b"", {}, f"no notebook {name}.ipynb" + (f" ({notes[0]})" if notes else ""))
        content = _content(chosen, MAX_NOTEBOOK)
        if content is None:
            return cls(student, b"", {}, f"the notebook is larger than {MAX_NOTEBOOK // 10**6} MB", tuple(notes))
        return cls(student, content, files, "", tuple(notes))

    def digest(self) -> str:
        """A hash of all of it."""
        total = hashlib.sha256(self.trouble.encode() + b"\0" + self.notebook)
        for name, content in sorted(self.files.items()):
            total.update(name.encode("utf-8", "surrogateescape") + b"\0" + hashlib.sha256(content).digest())
        return total.hexdigest()


def _plain_files(folder: Path, notes: list[str]) -> Iterator[Path]:
    seen = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names) + folders:
            path = Path(parent, name)
            mode = path.lstat().st_mode
            seen += 1
            if seen > 10 * MAX_FILES:
                notes.append("there are too many files; the rest was left out")
                return
            if name.startswith(".") or stat.S_ISDIR(mode):
                continue
            if stat.S_ISREG(mode):
                yield path
            else:
                what = "a link" if stat.S_ISLNK(mode) else "not a plain file"
                notes.append(f"{clean.line(path.relative_to(folder), 60)} was left out: it is {what}")
        folders[:] = [name for name in folders if not Path(parent, name).is_symlink()]


def _content(path: Path, limit: int) -> bytes | None:
    """The bytes of a plain file, unless it is larger; nothing if it cannot be read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    with open(descriptor, "rb") as f:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > limit:
            return None
        content = f.read(limit + 1)
    return content if len(content) <= limit else None


class Examination:
    """One submission, run and ready to be asked; a context that leaves nothing running.

    Attributes:
        cells: of the rebuilt notebook, with the outputs of this run.
        notes: what was mended, for the instructor.
        lost: graded cells whose visible assertions never ended; what is hidden is not tried then.
        trouble: why there are no cells, in one line.
    """

    def __init__(self, assignment: Assignment, submission: Submission, isolation: sandbox.Isolation, seed: int,
                 readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> None:
        self.assignment, self.submission, self.isolation = assignment, submission, isolation
        self.judge = assignment.judge
        self.limits = sandbox.Limits(memory=self.judge.memory)
        self.readable, self.hidden, self.seed = readable, hidden, seed
        self.notes, self.trouble = list(submission.notes), submission.trouble
        self.cells: list[rebuild.Cell] = []
        self.reasons: dict[str, list[str]] = {cell: [] for cell in assignment.points}
        self.lost: set[str] = set()
        steps = len(assignment.release.cells) + len(self.judge.checks) + 10
        self.until = time.monotonic() + 2 * (START + steps * self.judge.seconds)
        self.session, self.beside = self._session(submission.files), self._session(submission.files)

    def _session(self, files: Mapping[str, bytes]) -> Session:
        return Session(self.isolation, self.limits, files, self.seed, self.until, self.readable, self.hidden)

    def __enter__(self) -> "Examination":
        try:
            self.run()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.session.close()
        self.beside.close()

    def run(self) -> None:
        """Rebuild the notebook and run its cells."""
        handed_in: list[dict[str, Any]] = []
        if not self.trouble:
            handed_in, self.trouble = read_notebook(self.submission.notebook, self.isolation)
        self.cells, notes = rebuild.rebuild(self.assignment.release, handed_in)
        if self.trouble:
            return
        self.notes += notes
        pending, room = list[str](), clean.MAX_TOTAL
        answers = list[bool]()
        for number, cell in enumerate(self.cells):
            graded = cell.grade_id in self.reasons
            if cell.kind == "extra":
                cell.cell["id"] = f"added-{number}"
            if cell.kind == "answer":
                answers.append(cell.answered)
            if cell.cell.cell_type == "code":
                outputs, reason = self._run(cell, graded)
                cell.cell.outputs = _nodes(clean.outputs(outputs, room))
                room -= len(str(cell.cell.outputs))
                pending += [reason] if reason else []
            if graded:
                self.session.mark(cell.grade_id)
                self.reasons[cell.grade_id] = pending or (["not answered"] if answers and not any(answers) else [])
                pending, answers = [], []

    def _run(self, cell: rebuild.Cell, graded: bool) -> tuple[Any, str]:
        """The outputs of a cell, and what it did that ends a question."""
        if not cell.runs:
            return cell.handed_in, ""
        seconds = GIVEN if cell.kind == "given" and not graded else self.judge.seconds
        try:
            outputs, error = self.session.run(cell.cell.source, max(seconds, self.judge.seconds))
        except Lost as lost:
            self.lost |= {cell.grade_id} if graded else set()
            shown = {"output_type": "error", "ename": "Stopped", "evalue": str(lost), "traceback": [f"Stopped: {lost}"]}
            return [shown], str(lost)
        # An error in an answer is told where nothing better can be; those of visible checks show in the notebook.
        return outputs, f"raises {error}" if error and cell.kind == "answer" and cell.answered else ""

    def _answered(self, number: int) -> bool:
        """Whether there is something for a person to grade; a task is answered in the cells below it."""
        if not flag(self.cells[number].cell, "task"):
            return self.cells[number].answered
        below = itertools.takewhile(
            lambda cell: cell.grade_id not in self.assignment.manual | self.assignment.points, self.cells[number + 1:])
        return any(cell.kind != "given" and cell.answered for cell in below)

    def ask(self, mark: str) -> "Asking":
        return Asking(self, mark)

    def result(self, seed: int) -> dict[str, Any]:
        """The questions with their points and reasons, as the hidden checks find with this seed."""
        questions = dict[str, dict[str, Any]]()
        for cell, worth in self.assignment.points.items():
            earned, bonus, failed = 0.0, 0.0, list[str]()
            for check in self.judge.of(cell):
                share, reason = (0.0, "") if self.trouble or cell in self.lost else self._share(check, seed)
                if check.bonus:
                    bonus += check.points * share
                    continue
                earned += check.points * share
                failed += [reason] if share < 1 and reason else []
            first = self.reasons[cell]
            failed = [why for why in failed if not (first and why.startswith("raises"))]  # which follows from it
            reasons = [] if earned >= worth - 1e-9 else list(dict.fromkeys(first + failed))
            reasons = [self.trouble] if self.trouble else reasons
            if reasons[:1] == ["not answered"]:
                reasons = reasons[:1]
            questions[cell] = {"points": round(earned, 6), "max": worth, "bonus": round(bonus, 6),
                               "reason": clean.line("; ".join(reasons))}
        manual = {cell.grade_id: {"max": self.assignment.manual[cell.grade_id],
                                  "answered": not self.trouble and self._answered(number)}
                  for number, cell in enumerate(self.cells) if cell.grade_id in self.assignment.manual}
        score = sum(question["points"] for question in questions.values())
        total = sum(question["max"] for question in questions.values())
        said = [f"{cell}: {question['reason'] or 'not all of it is right'}" for cell, question in questions.items()
                if question["points"] < question["max"]]
        return {"score": round(score, 6), "max_score": total,
                "bonus": round(sum(question["bonus"] for question in questions.values()), 6),
                "reason": clean.line(self.trouble or "; ".join(said) or "right", 300),
                "questions": questions, "manual": manual, "notes": [clean.line(note) for note in self.notes[:20]]}

    def _share(self, check: Check, seed: int) -> tuple[float, str]:
        rng = np.random.default_rng([seed, zlib.crc32(check.name.encode())])
        asking = self.ask(check.cell)
        try:
            with JUDGING:
                share = float(check.credit(asking, rng))
        except Wrong as wrong:
            return 0.0, str(wrong)
        except Exception as error:
            # What came back has a form that the check does not expect; with a right answer the assignment's own test
            # shows that it never happens.
            self.notes.append(f"check {check.name}: {type(error).__name__}: {error}")
            return 0.0, check.hint or "gives something of another form"
        return (min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0), check.hint

    def notebook(self) -> Any:
        """The rebuilt notebook with its outputs, in which nothing acts."""
        from nbformat.v4 import new_notebook

        notebook = new_notebook(cells=[cell.cell for cell in self.cells],
                                metadata=copy.deepcopy(self.assignment.release.metadata))
        return notebook


class Asking:
    """What a check gets as `ask`: see `judging.Ask`."""

    def __init__(self, examination: Examination, mark: str) -> None:
        self._examination, self._mark = examination, mark

    def __call__(self, code: str, /, *, each: bool = False, seconds: float | None = None, **inputs: Any) -> Any:
        e = self._examination
        with _others_compute():
            return e.session.ask(self._mark, code, inputs, seconds or e.judge.seconds, each)

    def alone(self, code: str, /, *, each: bool = False, **inputs: Any) -> Any:
        e = self._examination
        with _others_compute():
            return e.beside.ask("", code, inputs, e.judge.seconds, each)


@contextlib.contextmanager
def _others_compute() -> Iterator[None]:
    JUDGING.release()
    try:
        yield
    finally:
        JUDGING.acquire()


def _nodes(outputs: list[dict[str, Any]]) -> list[Any]:
    from nbformat import from_dict

    return [from_dict(output) for output in outputs]


def read_notebook(content: bytes, isolation: sandbox.Isolation) -> tuple[list[dict[str, Any]], str]:
    """The cells of a notebook, read within the isolation, where a hostile file may do its worst; or what is wrong."""
    reason = ""
    for _ in range(2):
        try:
            job = isolation.start(READING)
        except OSError as error:
            reason = str(error)
            continue
        try:
            job.exchange({"do": "hello"}, seconds=START)
        except sandbox.Died as died:
            reason = str(died)
            job.close()
            continue
        try:
            reply = job.exchange({"do": "read", "size": len(content)}, content, seconds=START)
        except sandbox.Died as died:
            return [], f"the notebook cannot be read: it {died}"
        finally:
            job.close()
        if "cells" in reply:
            return reply["cells"], ""
        if reply.get("error") in ("MemoryError", "RecursionError"):
            return [], "the notebook cannot be read: it is too large or nested too deeply"
        return [], str(reply.get("error"))
    raise NotStarted(reason)


def examine(assignment: Assignment, submission: Submission, isolation: sandbox.Isolation, seed: int = 0,
            readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> dict[str, Any]:
    """Grade one submission; what goes into its result file.

    Raises:
        NotStarted: the isolation failed; no fault of the submission's.
    """
    begun = time.monotonic()
    with Examination(assignment, submission, isolation, seed, readable, hidden) as examination:
        result = examination.result(seed)
        return {"student": submission.student, "assignment": assignment.name, **result, "seed": seed,
                "isolation": isolation.name, "memory_bound": isolation.memory_bound,
                "fingerprint": fingerprint(assignment, submission, isolation, seed),
                "seconds": round(time.monotonic() - begun, 2), "notebook": examination.notebook()}


def fingerprint(assignment: Assignment, submission: Submission, isolation: sandbox.Isolation, seed: int) -> str:
    """A hash of all that a result depends on."""
    parts = [__version__, assignment.name, str(seed), isolation.name, submission.digest(),
             hashlib.sha256(assignment.notebook.read_bytes()).hexdigest(),
             hashlib.sha256(assignment.judge_file.read_bytes()).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def prove(assignment: Assignment, isolation: sandbox.Isolation, seeds: Iterable[int] = range(20)) -> None:
    """Grade the instructor's own solution with many seeds, and the empty student version.

    Raises:
        GanlabError: the solution misses points, or the student version gets some; the message says which.
    """
    import nbformat

    solved = copy.deepcopy(assignment.release)
    for cell, source in zip(solved.cells, assignment.source.cells, strict=True):
        if flag(cell, "solution"):
            cell.source = source.source
    content = nbformat.writes(solved).encode()
    # What comes with the solution lies beside `source/`, whose files are given to students.
    files = {path.name: path.read_bytes() for path in (assignment.notebook.parents[1] / "reference").glob("*")}
    with Examination(assignment, Submission("solution", content, files), isolation, 0) as examination:
        for seed in seeds:
            result = examination.result(seed)
            full = sum(check.points for check in assignment.judge.checks if check.bonus)
            if result["score"] < result["max_score"] - 1e-9 or result["bonus"] < full - 1e-9 or examination.notes:
                why = result["reason"] if result["score"] < result["max_score"] else "a bonus is missing"
                raise GanlabError(f"{assignment.name}: with seed {seed} the solution gets {result['score']:g} of "
                                  f"{result['max_score']:g} points and {result['bonus']:g} of {full:g} bonus ({why}); "
                                  f"notes: {'; '.join(examination.notes) or 'none'}")
    empty = Submission("empty", nbformat.writes(assignment.release).encode(), {})
    result = examine(assignment, empty, isolation)
    if result["score"] or result["bonus"]:
        raise GanlabError(f"{assignment.name}: the student version gets {result['score'] + result['bonus']:g} points "
                          "without an answer")


def submissions(course: Path, name: str) -> list[Path]:
    """The folders of all who handed in, by student."""
    return sorted(folder for folder in (course / "submitted").glob(f"*/{name}") if folder.is_dir()
                  and not folder.is_symlink() and not folder.parent.is_symlink())


def result_file(course: Path, name: str, student: str) -> Path:
    return course / "results" / name / f"{student}.json"


def load_result(path: Path) -> dict[str, Any] | None:
    """A result, if it is there and whole."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and all(key in result for key in SECTIONS) else None


def write_atomically(path: Path, text: str) -> None:
    """All of it, or the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with open(descriptor, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@dataclass(frozen=True)
class Outcome:
    """What a run of `grade` did.

    Attributes:
        results: of all submissions of this run, by student, also those that were there already; their notebooks stay
            in the files.
        skipped: how many of them were there already.
        failed: reasons, by student, of submissions that could not be graded through no fault of theirs.
    """

    results: dict[str, dict[str, Any]]
    skipped: int
    failed: dict[str, str]
    seconds: float


def grade(course: Path, name: str, isolation: sandbox.Isolation, *, jobs: int = 1, resume: bool = False,
          shard: tuple[int, int] = (1, 1), seed: int = 0, students: Iterable[str] = (),
          progress: bool = True) -> Outcome:
    """Grade what is in `submitted/`, and write one file a submission to `results/`; no gradebook is touched.

    Args:
        course: the course folder.
        name: of the assignment.
        isolation: from `sandbox.choose`.
        jobs: how many at a time.
        resume: keep results of the same submission, notebook, judge, seed and isolation.
        shard: (k, n): the k-th of n parts of the submissions, for as many machines on one course folder.
        seed: of the hidden inputs.
        students: these alone; all if none is named.
        progress: show a bar.

    Raises:
        GanlabError: no such assignment, nothing handed in, or an impossible shard.
    """
    from tqdm import tqdm

    assignment = Assignment.find(course, name)
    judge, begun = assignment.judge, time.monotonic()
    assert assignment.release is not None  # made once, before threads ask for it
    folders = _chosen(submissions(course, name), name, shard, list(students))
    readable, hidden = data_folders(judge.data), [course]
    work: queue.SimpleQueue[Path] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[str, dict[str, Any] | None, str]] = queue.SimpleQueue()

    def one(folder: Path) -> tuple[dict[str, Any], bool]:
        submission = Submission.read(folder, name, judge.files)
        file = result_file(course, name, submission.student)
        old = load_result(file) if resume else None
        if old and old.get("fingerprint") == fingerprint(assignment, submission, isolation, seed):
            return old, True
        result = examine(assignment, submission, isolation, seed, readable, hidden)
        write_atomically(file, json.dumps(result, ensure_ascii=False, indent=1))
        return result, False

    def worker() -> None:
        while True:
            try:
                folder = work.get_nowait()
            except queue.Empty:
                return
            try:
                result, kept = one(folder)
                result.pop("notebook", None)
                finished.put((folder.parent.name, result, "kept" if kept else ""))
            except Exception as error:  # of ours or of the machine's: the others go on, and this one is named
                finished.put((folder.parent.name, None, f"{type(error).__name__}: {error}"))

    for folder in folders:
        work.put(folder)
    # Daemons: whoever interrupts need not wait, and each process in isolation ends with the thread that started it.
    for _ in range(min(jobs, len(folders))):
        threading.Thread(target=worker, daemon=True).start()
    results, failed, skipped = dict[str, dict[str, Any]](), dict[str, str](), 0
    with tqdm(total=len(folders), desc=name, unit="", disable=not progress) as bar:
        for _ in folders:
            student, result, said = _next(finished)
            if result is None:
                failed[student] = said
            else:
                results[student] = result
                skipped += said == "kept"
            bar.update()
    return Outcome(dict(sorted(results.items())), skipped, failed, time.monotonic() - begun)


def _next(finished: "queue.SimpleQueue[Any]") -> Any:
    """Waits in short turns: Ctrl-C just before a wait would not end it."""
    while True:
        with contextlib.suppress(queue.Empty):
            return finished.get(timeout=0.2)


def _chosen(folders: list[Path], name: str, shard: tuple[int, int], students: list[str]) -> list[Path]:
    k, n = shard
    if not 1 <= k <= n:
        raise GanlabError(f"--shard {k}/{n} is no part of a whole; use 1/{n} to {n}/{n}" if n > 0 else
                          f"--shard {k}/{n}: there must be at least one part")
    if not folders:
        raise GanlabError(f"nobody has handed in {name}: there is no submitted/STUDENT/{name}; "
                          "`ganlab homework collect` puts hand-ins there")
    there = {folder.parent.name for folder in folders}
    if unknown := sorted(set(students) - there):
        raise GanlabError(f"{', '.join(unknown)} handed in no {name}")
    return [folder for folder in folders if zlib.crc32(folder.parent.name.encode("utf-8", "surrogateescape")) % n
            == k - 1 and (not students or folder.parent.name in students)]


def data_folders(names: Sequence[str]) -> list[Path]:
    """Where the data sets are that a notebook may read.

    Raises:
        GanlabError: one is not on disk.
    """
    if not names:
        return []
    from ganlab.data import root

    folders = [root() / name for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise GanlabError(f"grading needs the data in {folder}: ganlab data get {folder.name}")
    return folders


def table(outcome: Outcome, questions: Sequence[str]) -> str:
    """A line a student: points of each question, sum, bonus, and the reason."""
    width = min(max([len(student) for student in (*outcome.results, *outcome.failed)] + [7]), 40)
    columns = [max(len(question), 5) for question in questions]
    lines = [f"{'student':{width}}  " + "  ".join(f"{q:>{w}}" for q, w in zip(questions, columns, strict=True))
             + "    sum  bonus  reason"]
    for student, result in outcome.results.items():
        student = clean.line(student, width)
        points = [f"{result['questions'][q]['points']:>{w}g}" for q, w in zip(questions, columns, strict=True)]
        lines.append(f"{student:{width}}  {'  '.join(points)}  {result['score']:>5g}  {result['bonus']:>5g}  "
                     f"{clean.line(result['reason'], 90)}")
    lines += [f"{clean.line(student, width):{width}}  not graded: {clean.line(why)}"
              for student, why in sorted(outcome.failed.items())]
    return "\n".join(lines)


def summary(outcome: Outcome, isolation: sandbox.Isolation) -> str:
    """What the run did, and how it was kept apart from this machine."""
    scores = [result["score"] for result in outcome.results.values()]
    full = max((result["max_score"] for result in outcome.results.values()), default=0)
    said = [f"{len(scores)} graded ({outcome.skipped} as before), {len(outcome.failed)} failed, "
            f"{outcome.seconds:.0f} s"]
    if scores:
        said.append(f"points: mean {np.mean(scores):.1f}, median {np.median(scores):g} of {full:g}, before what is "
                    "graded by hand")
    said.append("NOT ISOLATED: students' code ran with all rights of this user" if isolation.name == "none" else
                f"isolated by {isolation.name}; memory bounded by {isolation.memory_bound}")
    return "\n".join(said)

"""Grades out of the gradebook: a table for spreadsheets, and a filled column in a learning platform's own file.

What the platforms export, and take back:

- Canvas (Grades, Export): columns Student, ID, SIS User ID, SIS Login ID, Section, then assignments as "Name (123)",
  and above the students a row "Points Possible". ID is the number by which `collect` names Canvas's students.
- Moodle (assignment, Download grading worksheet): columns Identifier ("Participant 123"), Full name, Email address,
  Status, Grade, Maximum Grade, Grade can be changed, ... The number is the one in the names of handed-in files, by
  which `collect` names students; it differs from assignment to assignment.

Other files serve if their columns are named.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ganlab.errors import GanlabError
from ganlab.homework import gradebook
from ganlab.homework.assignment import Assignment
from ganlab.homework.clean import line
from ganlab.homework.collect import Refused, student_id
from ganlab.homework.gradebook import Entry

STUDENTS = ("ID", "Identifier", "SIS User ID", "SIS Login ID", "ID number", "Username", "Email address")
UNSEEN = r"\s\x00-\x1f\u200b-\u200f\u202a-\u202e\u2060\ufeff"
FORMULA = re.compile(rf"'*[{UNSEEN}]*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")
POSSIBLE = "Points Possible"


def table(course: Path, assignment: Assignment, entries: Mapping[str, Entry]) -> str:
    r"""The grades of one assignment, a row for everyone who handed in, as CSV that no spreadsheet takes for a program.

    Columns: student, names, email, assignment, time of the hand-in (UTC), each question, penalty, score, max_score,
    `waiting` (questions still to be graded by hand), and the one-line reason.

    How it is made safe: Python's `csv` quotes commas, quotes and line breaks. A spreadsheet runs a text that begins
    with `=`, `+`, `-`, `@` (also after what is blank or not to be seen, or in the wide form of East Asian keyboards),
    a tab or a line break; such a text gets an apostrophe before it, by which spreadsheets mark texts. So does one that
    has the apostrophe already: taking one off gives back what it was. Points are written as bare numbers, a negative
    one too, and every text in quotes. Excel wants a byte order mark to read UTF-8, and CR LF line ends: both are there.
    """
    questions = next(iter(entries.values())).questions
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["student", "last_name", "first_name", "email", "assignment", "timestamp", *map(_safe, questions),
                     "penalty", "score", "max_score", "waiting", "reason"])
    for student, entry in entries.items():
        reason = gradebook.found(course, assignment, student).get("reason", "")
        texts = (student, entry.last_name, entry.first_name, entry.email, assignment.name, entry.timestamp)
        points = [entry.questions[question].points for question in questions]
        writer.writerow([*map(_safe, texts), *map(_plain, (*points, entry.penalty, entry.score, entry.max_score)),
                         *map(_safe, (", ".join(entry.waiting), reason))])
    return "\ufeff" + out.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def _plain(points: float) -> float | int:
    points = round(points, 6)
    return int(points) if points == int(points) else points


@dataclass
class Filled:
    """What `fill` made of a platform's file.

    Attributes:
        text: of the new file.
        column, by: the column that is filled, and the one by which students are known.
        grades: what was entered, by student.
        replaced: students whose cell held something else before, with both.
        kept: students whose cell is left as it was, with the reason.
        absent: students with a grade who are not in the file.
        without: rows of the file without a grade here, by what stands in their first cell and in column `by`.
        notes: what else should be looked at.
    """

    text: str = ""
    column: str = ""
    by: str = ""
    grades: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fill(text: str, name: str, entries: Mapping[str, Entry], *, column: str = "", by: str = "", scale: bool = False,
         waiting: bool = False) -> Filled:
    """A platform's file with the scores of one assignment in its column; all other cells are as they were, to the byte.

    Left as they are, and named: grades of students of whom something waits to be graded by hand, cells that say N/A
    (not assigned) or EX (excused), and those of which the file says that the grade cannot be changed.

    Args:
        text: of the file.
        name: of the assignment.
        column: the heading of the column to be filled; found by itself in files of Canvas, if the column is named
            like the assignment, and Moodle.
        by: the heading of the column that says who it is; by default the one of `STUDENTS` in which most are found.
        scale: multiply the scores so that full marks are what the file says; else they are entered as they are.
        waiting: enter also what is not wholly graded.

    Raises:
        GanlabError: it is no such file, the columns are not clear, or nobody in it is known here.
    """
    mark, rows = _split(text)
    if len(rows) < 2 or len(rows[0].values) < 2:
        raise GanlabError("there is no table in the file; give what Canvas (Grades, Export) or Moodle (Download "
                          "grading worksheet) exports, as it was downloaded")
    header, body = rows[0].values, [row for row in rows[1:] if any(row.values)]
    if odd := next((row for row in body if len(row.values) != len(header)), None):
        raise GanlabError(f"row {rows.index(odd) + 1} of the file has {len(odd.values)} cells and not {len(header)} as "
                          "the first; download it again and give it as it is")
    possible = next((n for n, row in enumerate(body[:5]) if row.values[0].strip() == POSSIBLE), -1)
    target = _find(header, name, column, possible >= 0)
    maximum = _number(body[possible].values[target]) if possible >= 0 else None
    body = body[possible + 1:]
    known = _known_by(header, [row.values for row in body], entries, by)
    done = Filled(column=header[target], by=header[known])
    limits, locks = _place(header, "maximum grade"), _place(header, "grade can be changed")
    again = {key for key, number in Counter(_key(row.values[known]) for row in body).items() if number > 1}
    full, seen, others = next(iter(entries.values())).max_score, set[str](), set[float]()
    for row in body:
        key, was = _key(row.values[known]), row.values[target].strip()
        if key not in entries:
            done.without.append(line(row.values[0] + (f" ({row.values[known]})" if known else "")))
            continue
        seen.add(key)
        locked = locks >= 0 and row.values[locks].strip().lower() == "no"
        if why := ("is in the file more than once" if key in again else
                   f"the file says {was}" if was.upper() in ("N/A", "EX") else
                   "the file says that it cannot be changed" if locked else
                   f"waits to be graded by hand: {', '.join(entries[key].waiting)}"
                   if entries[key].waiting and not waiting else ""):
            done.kept[key] = why
            continue
        limit = _number(row.values[limits]) if limits >= 0 else maximum
        others |= {limit} if limit is not None and limit != full else set()
        score = entries[key].score * (limit / full if scale and limit and full else 1)
        row.cells[target][0] = done.grades[key] = f"{round(score, 2):.10g}"
        if was and _number(was) != round(score, 2):
            done.replaced[key] = f"{line(was, 20)} -> {done.grades[key]}"
        if limits >= 0 and limit is not None and score > limit:
            done.notes.append(f"{key} has {score:g} points, and Moodle takes none above {limit:g}: raise the "
                              "assignment's maximum")
    if others and not scale:
        done.notes.append(f"full marks are {full:g} here and {', '.join(f'{o:g}' for o in sorted(others))} in the "
                          "file: change the platform's, or let --scale convert")
    done.absent = sorted(set(entries) - seen)
    done.text = mark + "".join(cell + end for row in rows for cell, end in row.cells)
    return done


@dataclass
class Row:
    """A row of a CSV file: what its cells mean, and how each is written, with what ends it."""

    values: list[str]
    cells: list[list[str]]


def _split(text: str) -> tuple[str, list[Row]]:
    """The byte order mark, if there is one, and the rows; what is written, joined, is the text again.

    Raises:
        GanlabError: the csv module reads it otherwise.
    """
    mark = "\ufeff" * text.startswith("\ufeff")
    text = text.removeprefix(mark)
    first = text.partition("\n")[0]
    comma = max(",;\t", key=first.count)
    cell = re.compile(rf'("[^"]*(?:""[^"]*)*"[^{comma}\r\n]*|[^{comma}\r\n]*)({comma}|\r\n|\n|\r|\Z)')
    rows, row, at, end = list[list[list[str]]](), list[list[str]](), 0, ""
    while at < len(text) or end == comma:
        match = cell.match(text, at)
        assert match is not None  # its second part takes whatever there is
        at, end = match.end(), match[2]
        row.append([match[1], end])
        if end != comma:
            rows.append(row)
            row = []
    try:
        values = list(csv.reader(io.StringIO(text, newline=""), delimiter=comma))
    except csv.Error as error:
        raise GanlabError(f"the file is no CSV file that could be filled in: {error}") from error
    if [len(row) or 1 for row in values] != [len(row) for row in rows]:
        raise GanlabError("the file is no CSV file that could be filled in: a quote is not closed; download it again")
    return mark, [Row(meant, written) for meant, written in zip(values, rows, strict=True)]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _place(header: list[str], heading: str) -> int:
    return next((n for n, text in enumerate(header) if text.strip().lower() == heading), -1)


def _find(header: list[str], name: str, column: str, canvas: bool) -> int:
    """Which column is to be filled."""
    assignments = [text for text in header if re.search(r" \(\d+\)$", text)] if canvas else \
        [text for text in header if text.strip().lower() == "grade"]
    if column:
        found = [n for n, text in enumerate(header) if text == column]
    elif canvas:
        found = [n for n, text in enumerate(header) if text in assignments and _loose(text[:text.rindex(" (")])
                 == _loose(name)]
    else:
        found = [n for n, text in enumerate(header) if text in assignments]
    if len(found) != 1:
        what, which = f"{len(found)} columns" if found else "no column", repr(column) if column else f"for {name}"
        raise GanlabError(f"the file has {what} {which}; say which by --column, one of: "
                          + "; ".join(line(text, 60) for text in (assignments or header)))
    return found[0]


def _loose(text: str) -> str:
    return re.sub(r"\W|_", "", text).casefold()


def _known_by(header: list[str], body: list[list[str]], entries: Mapping[str, Entry], by: str) -> int:
    """Which column says who it is."""
    if by and by not in header:
        raise GanlabError(f"the file has no column {by!r}; it has: {'; '.join(line(text, 60) for text in header)}")
    columns = [header.index(by)] if by else [n for heading in STUDENTS if (n := _place(header, heading.lower())) >= 0]
    counts = {n: sum(_key(values[n]) in entries for values in body) for n in columns}
    if not any(counts.values()):
        examples = "; ".join(f"{header[n]}: {line(body[0][n], 40)}" for n in columns if body)
        raise GanlabError(f"nobody in the file is known here: students here are named {', '.join(list(entries)[:3])} "
                          f"..., the file has {examples or 'no column that says who it is'}; is it this assignment's? "
                          "--by names the column that says who it is")
    return max(counts, key=lambda n: counts[n])


def _key(text: str) -> str:
    """A cell as `collect` would name the student: "Participant 123" is 123."""
    numbered = re.fullmatch(r"\D+ (\d+)", text.strip())
    try:
        return student_id(numbered[1] if numbered else text)
    except Refused:
        return ""

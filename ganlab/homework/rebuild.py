"""Put a student's answers into the instructor's notebook, whatever became of the cells on the way.

Nothing of the instructor's is taken from what was handed in. Of the student's, a cell is an answer if it still has the
grade id; else if it defines what the answer should define; or, for texts, if it stands where the answer should be. All
other cells with code are kept where they stood, since answers may use what they define.
"""

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from ganlab.homework import clean
from ganlab.homework.assignment import KEEP, flag

DEFINED = re.compile(r"^(?:async +)?(?:def|class) +(\w+)|^(\w+) *(?::[^=\n]+)?=(?!=)", re.MULTILINE)
MAX_EXTRA, MAX_COPIES = 100, 10


@dataclass
class Cell:
    """A cell of the rebuilt notebook.

    Attributes:
        cell: in notebook format 4, with the instructor's metadata if it is one of the instructor's places.
        grade_id: of the place, or empty.
        kind: "given" by the instructor, "answer", or "extra".
        handed_in: outputs that came with the answer.
        answered: False for an answer that is as it was given out, or is not there.
    """

    cell: Any
    grade_id: str
    kind: str
    handed_in: list[dict[str, Any]] = field(default_factory=list)
    answered: bool = True

    @property
    def runs(self) -> bool:
        """Whether it is code that is run at grading."""
        return self.cell.cell_type == "code" and KEEP not in self.cell.metadata.get("tags", ())


def rebuild(release: Any, handed_in: list[dict[str, Any]]) -> tuple[list[Cell], list[str]]:
    """The cells of the student version with the answers in them, and a line for each thing that was mended.

    Args:
        release: the student version, as it was given out.
        handed_in: the student's cells, as `kernel.py` reads them: type, source, grade_id, outputs.
    """
    places = [_place(cell) for cell in release.cells]
    notes: list[str] = []
    claimed, spare = _claim_given(places, handed_in, notes)
    taken: dict[int, list[int]] = {}
    named = [defined(student["source"]) for student in handed_in]
    _claim_by_id(places, handed_in, named, claimed, taken, notes)
    _claim_by_name(places, handed_in, named, claimed, spare, taken, notes)
    _claim_by_position(places, handed_in, claimed, taken, notes)

    extras: dict[int, list[Cell]] = {}
    number, here = 0, -1
    for index, student in enumerate(handed_in):
        if index in claimed:
            here = claimed[index]
        elif index not in spare and student["source"].strip() and student["type"] != "raw":
            number += 1
            if number <= MAX_EXTRA:
                extras.setdefault(here, []).append(_extra(student))
    if number > MAX_EXTRA:
        notes.append(f"{number} cells were added; the first {MAX_EXTRA} are kept")

    rebuilt = extras.get(-1, [])
    for place, target in enumerate(places):
        answers = [handed_in[index] for index in taken.get(place, ())]
        if target.kind == "answer" and answers:
            first, *more = answers[:MAX_COPIES]
            if target.cell.cell_type == "code":
                target.cell.source = first["source"]
            else:
                target.cell.source = clean.markdown("\n\n".join(answer["source"] for answer in (first, *more)))
                more = []
            target.handed_in = clean.outputs(first["outputs"])
            target.answered = True
            rebuilt += [target, *map(_extra, more)]
        else:
            rebuilt.append(target)
        rebuilt += extras.get(place, [])
    return rebuilt, notes


def _place(cell: Any) -> Cell:
    solution = flag(cell, "solution")
    return Cell(copy.deepcopy(cell), cell.metadata.get("nbgrader", {}).get("grade_id", ""),
                "answer" if solution else "given", answered=not solution)


def _extra(student: dict[str, Any]) -> Cell:
    from nbformat.v4 import new_code_cell, new_markdown_cell

    code = student["type"] == "code"
    cell = new_code_cell(student["source"]) if code else new_markdown_cell(clean.markdown(student["source"]))
    return Cell(cell, "", "extra", clean.outputs(student["outputs"]) if code else [])


def normal(source: str) -> str:
    """A source without what editors change by themselves."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def defined(source: str) -> set[str]:
    """The names that a source binds in its outermost lines. By the look of them: it need not even be Python."""
    return {name for match in DEFINED.finditer(source) for name in match.groups() if name}


def _claim_given(places: list[Cell], handed_in: list[dict[str, Any]],
                 notes: list[str]) -> tuple[dict[int, int], set[int]]:
    """Which place each copy of a given cell stands for, by id or source; and the cells that pretend to be one."""
    by_id = {place.grade_id: n for n, place in enumerate(places) if place.grade_id and place.kind == "given"}
    by_source = {normal(place.cell.source): n for n, place in enumerate(places) if place.kind == "given"}
    answers = {place.grade_id for place in places if place.kind == "answer"}
    claimed, spare, seen = dict[int, int](), set[int](), set[int]()
    for index, student in enumerate(handed_in):
        grade_id, place = student["grade_id"], None
        if grade_id in by_id:
            place = by_id[grade_id]
            target = places[place].cell
            if normal(student["source"]) != normal(target.source) or student["type"] != target.cell_type:
                spare.add(index)
                notes.append(f"{clean.line(grade_id, 60)} was changed; the original is used")
        elif grade_id not in answers:
            place = by_source.get(normal(student["source"]))
        if place is not None:
            if place in seen and places[place].grade_id:
                notes.append(f"{places[place].grade_id} is there more than once")
            claimed[index] = place
            seen.add(place)
    missing = [place.grade_id for n, place in enumerate(places)
               if place.kind == "given" and place.grade_id and n not in seen]
    notes += [f"{grade_id} was missing; the original is used" for grade_id in missing]
    return claimed, spare


def _is_stub(place: Cell, student: dict[str, Any]) -> bool:
    return not student["source"].strip() or normal(student["source"]) == normal(place.cell.source)


def _claim_by_id(places: list[Cell], handed_in: list[dict[str, Any]], named: list[set[str]], claimed: dict[int, int],
                 taken: dict[int, list[int]], notes: list[str]) -> None:
    """Answers that still have their grade id. Of several, those that were filled in, in their order.

    Ids change places, too: a cell is left to be found by name if it has this id, and another one defines what the
    answer should define.
    """
    anywhere = set[str]().union(*named)
    for n, place in enumerate(places):
        if place.kind != "answer":
            continue
        names = defined(place.cell.source) & anywhere if place.cell.cell_type == "code" else set[str]()
        found = [i for i, student in enumerate(handed_in)
                 if student["grade_id"] == place.grade_id and (not names or names & named[i])]
        if len(found) > 1:
            notes.append(f"{place.grade_id} is there more than once")
        claimed.update(dict.fromkeys(found, n))
        if filled := [i for i in found if not _is_stub(place, handed_in[i])]:
            taken[n] = filled


def _claim_by_name(places: list[Cell], handed_in: list[dict[str, Any]], named: list[set[str]],
                   claimed: dict[int, int], spare: set[int], taken: dict[int, list[int]], notes: list[str]) -> None:
    """Answers in code that lost their grade id, and are known by the function or name that they define."""
    for n, place in enumerate(places):
        if place.kind != "answer" or n in taken or place.cell.cell_type != "code":
            continue
        names = defined(place.cell.source)
        free = [i for i in range(len(handed_in)) if (i not in claimed or i in spare) and names & named[i]]
        claimed.update(dict.fromkeys(free, n))
        spare.difference_update(free)
        if filled := [i for i in free if not _is_stub(place, handed_in[i])]:
            taken[n] = filled
            notes.append(f"{place.grade_id} had lost its id and was found by what it defines")


def _claim_by_position(places: list[Cell], handed_in: list[dict[str, Any]], claimed: dict[int, int],
                       taken: dict[int, list[int]], notes: list[str]) -> None:
    """Answers that lost their id and define nothing, and texts that were written below the place for them."""
    for n, place in enumerate(places):
        if place.kind != "answer" or n in taken or (n in claimed.values() and place.cell.cell_type == "code"):
            continue
        before = max((i for i, p in claimed.items() if p <= n), default=-1)
        after = min((i for i, p in claimed.items() if p > n and i > before), default=len(handed_in))
        kind = place.cell.cell_type
        free = [i for i in range(before + 1, after) if i not in claimed and handed_in[i]["type"] == kind]
        claimed.update(dict.fromkeys(free, n))
        if filled := [i for i in free if not _is_stub(place, handed_in[i])]:
            taken[n] = filled
            notes.append(f"{place.grade_id} was found by its place")

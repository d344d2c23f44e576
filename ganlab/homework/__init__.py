"""Homework: assignments, and grading them fairly whatever is handed in. `judge.py` imports from here.

In the order of reading: `assignment` (a notebook and its judge), `judging` (what a judge may ask), `collect` (what is
handed in), `rebuild` (answers into the instructor's notebook), `kernel` (runs inside the isolation, judges nothing),
`sandbox` (the isolation), `session` (a notebook as it runs, whatever hangs or dies), `grading` (one result a
submission), `clean` (nothing that is kept acts), `gradebook` (nbgrader's files), `feedback` and `export` (what goes
back).
"""

from ganlab.homework.assignment import Assignment
from ganlab.homework.judging import Ask, Check, Judge, Wrong, close

__all__ = ["Ask", "Assignment", "Check", "Judge", "Wrong", "close"]

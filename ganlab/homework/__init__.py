"""Homework: assignments, and grading them fairly whatever is handed in. `judge.py` imports from here."""

from ganlab.homework.assignment import Assignment
from ganlab.homework.judging import Ask, Check, Judge, Wrong, close

__all__ = ["Ask", "Assignment", "Check", "Judge", "Wrong", "close"]

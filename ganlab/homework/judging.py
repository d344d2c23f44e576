"""How an assignment's `judge.py` says what is expected: probes run beside the student's code, verdicts are found here.

    judge = Judge(seconds=10)

    @judge.check("test_mean", points=2, hint="negative numbers count too")
    def mean(ask, rng):
        values = rng.normal(size=7)
        return close(ask("mean(values)", values=values), values.mean())

The text given to `ask` runs in the student's process, inside the isolation, on random inputs that the student has never
seen, and only plain numbers come back. What is expected is computed in `judge.py`, which never enters that process: no
patched `assert`, comparison or shell, and no look at frames or files, can change or learn a verdict. Whoever returns
the right numbers has computed them.
"""

import importlib.util
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ganlab.errors import GanlabError

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
MAX_NUMBERS = 1_000_000


class Wrong(Exception):
    """What the student's code gave back cannot be right; the message is one line for the student."""


class Ask(Protocol):
    """How a check asks the student's process; see `__call__`."""

    def __call__(self, code: str, /, *, each: bool = False, seconds: float | None = None, **inputs: Any) -> Any:
        """Run code where the student's names are known and return the value of its last expression.

        Args:
            code: Python, one or more lines, the last an expression. It may use every name that stood in the notebook
                below the graded cell, and the inputs by their names. What it binds is forgotten afterwards.
                Tensors and arrays in the value come back by their `.tolist()`; write no expected value into it.
            each: the value is a dict of results by name, or a list of results of different shapes.
            seconds: of computing, for this probe in place of the judge's; above 0.
            inputs: numbers, texts, arrays, or lists of these; in the code, arrays are lists.

        While it waits, other submissions are judged: seed a generator of the whole process, as torch's, after it.

        Returns:
            The numbers as a float64 array, of no dimension for a single number; with `each`, a dict or list of arrays.

        Raises:
            Wrong: the code raised, took too long, killed its process, or gave something else than finite numbers in a
                rectangular array. Let it pass: the check then counts as failed, with that reason.
        """
        ...

    def alone(self, code: str, /, *, each: bool = False, **inputs: Any) -> Any:
        """The same in a process in which nothing of the student's has run, with the handed-in files in its folder.

        For `samples.npz`, `history.csv` and the like: read them here (`allow_pickle=False`), never in `judge.py`.
        """
        ...


@dataclass(frozen=True)
class Check:
    """One hidden check of a graded cell; `credit` returns True, False or a share between 0 and 1 of the points."""

    name: str
    cell: str
    points: float
    hint: str
    bonus: bool
    credit: Callable[[Ask, np.random.Generator], bool | float] = field(repr=False)


class Judge:
    """The checks of one assignment, and what a student's process may use.

    Args:
        seconds: of computing, for each cell and each probe; three times as many by the clock.
        memory: in GiB, for all processes of a submission together.
        data: names of data sets (as in `ganlab.data`) that the notebook may read.
        files: names, with `*`, of the files besides the notebook that count as handed in; others are left out.
    """

    def __init__(self, *, seconds: float = 30.0, memory: float = 2.0, data: Sequence[str] = (),
                 files: Iterable[str] = ("*",)) -> None:
        if seconds <= 0 or memory <= 0:
            raise GanlabError(f"seconds and memory must be above 0, not {seconds} and {memory}")
        self.seconds, self.memory, self.data, self.files = float(seconds), float(memory), tuple(data), tuple(files)
        self.checks: list[Check] = []

    def check(self, cell: str, points: float, *, hint: str = "", bonus: bool = False) -> Callable[[Any], Any]:
        """A decorator: the function is a check of the graded cell with that grade id.

        Args:
            cell: the grade id. The points of its checks, without a bonus, must add up to those of the cell.
            points: what the check is worth.
            hint: shown to the student where the check fails, without saying what was checked; one line.
            bonus: the points come on top of the cell's.
        """
        if not points > 0:
            raise GanlabError(f"the points of a check must be above 0, not {points}")

        def register(function: Callable[[Ask, np.random.Generator], bool | float]) -> Any:
            if any(function.__name__ == other.name for other in self.checks):
                raise GanlabError(f"there are two checks named {function.__name__}; rename one")
            self.checks.append(Check(function.__name__, cell, float(points), hint, bonus, function))
            return function

        return register

    def of(self, cell: str) -> list[Check]:
        """The checks of one graded cell."""
        return [check for check in self.checks if check.cell == cell]


def close(got: Numbers, expected: Any, *, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether both have the same shape, and each number is within atol + rtol * |expected|."""
    expected = np.asarray(expected, np.float64)
    return got.shape == expected.shape and bool(np.allclose(got, expected, rtol=rtol, atol=atol))


def numbers(value: Any) -> Numbers:
    """What came out of a student's process as a float64 array.

    Raises:
        Wrong: anything but finite numbers and truth values in a rectangular list, at most a million of them.
    """
    count = 0

    def walk(value: Any, depth: int) -> tuple[int, ...]:
        nonlocal count
        if type(value) in (bool, int, float):
            count += 1
            if count > MAX_NUMBERS:
                raise Wrong("gives too many numbers")
            return ()
        if type(value) is not list or depth > 8:
            raise Wrong("gives something else than numbers")
        shapes = {walk(item, depth + 1) for item in value}
        if len(shapes) > 1:
            raise Wrong("gives lists of different lengths where they should be equal")
        return (len(value), *(shapes.pop() if shapes else ()))

    shape = walk(value, 0)
    try:
        array = np.asarray(value, np.float64)
    except OverflowError:
        raise Wrong("gives numbers that are too large") from None
    if not np.isfinite(array).all():
        raise Wrong("gives numbers that are not finite")
    return array.reshape(shape)


def load(path: Path) -> Judge:
    """The judge that an instructor's `judge.py` defines as `judge`.

    Raises:
        GanlabError: the file is not there, fails, or has no `judge`.
    """
    if not path.is_file():
        raise GanlabError(f"there is no {path}; a graded assignment needs one, which says what is expected")
    spec = importlib.util.spec_from_file_location(f"judge_of_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GanlabError(f"{path} cannot be used: {type(error).__name__}: {error}") from error
    judge = getattr(module, "judge", None)
    if not isinstance(judge, Judge):
        raise GanlabError(f"{path} defines no judge; write `judge = Judge()` and decorate its checks")
    for check in judge.checks:
        if len(inspect.signature(check.credit).parameters) != 2:
            raise GanlabError(f"{path}: {check.name} must take two arguments, ask and rng")
    return judge

"""What a training records, and what may be turned while it runs."""

import math
import numbers
import os
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ganlab.errors import GanlabError, NotFinite

if TYPE_CHECKING:
    import pandas


V = TypeVar("V", float, str)


class Intervention(NamedTuple):
    """What was changed by hand: from this step on (counted from 0), this kind and name had this value.

    The kinds are those of `Controls`, and "turns": in this one step, only the player of that name has moved.
    """

    step: int
    kind: str
    name: str
    value: float | str


def finite(name: str, value: Any) -> float:
    """The value as a float; anything but a finite number is a `GanlabError` that calls it `name`."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise GanlabError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """The same of a number that must be 0 or more."""
    if finite(name, value) < 0:
        raise GanlabError(f"{name} must be 0 or more, not {value!r}")
    return float(value)


class Controls(MutableMapping[str, V]):
    """Named values that any thread may set at any time; the training takes them over at its next step.

    Args:
        kind: "weights", "learning_rates" (numbers) or "rules" (words), as in `Intervention`.
        values: the names and their first values; no others can be added.
        check: given what to call a value and the value, what to keep, or a `GanlabError`.
    """

    def __init__(self, kind: str, values: Mapping[str, V], check: Callable[[str, Any], V]) -> None:
        self.kind = kind
        self._check: Callable[[str, Any], V] = check
        self._lock = threading.Lock()
        self._values: dict[str, V] = {name: check(f"{kind}[{name!r}]", value) for name, value in values.items()}
        self._taken: dict[str, V] = dict(self._values)

    def __getitem__(self, name: str) -> V:
        return self._values[name]

    def __setitem__(self, name: str, value: V) -> None:
        if name not in self._values:
            raise GanlabError(f"{self.kind} has no {name!r}; there are {', '.join(self._values) or 'none'}")
        value = self._check(f"{self.kind}[{name!r}]", value)
        with self._lock:
            self._values[name] = value

    def __delitem__(self, name: str) -> None:
        raise GanlabError(f"{self.kind}[{name!r}] cannot be removed; a number can be set to 0")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{self.kind}({self._values})"

    def take(self, step: int) -> tuple[dict[str, V], list[Intervention]]:
        """The values for this step, and what was changed since the last call."""
        with self._lock:
            before, self._taken = self._taken, dict(self._values)
            changed = sorted(name for name, value in self._taken.items() if before[name] != value)
            return dict(self._taken), [Intervention(step, self.kind, name, self._taken[name]) for name in changed]


class History:
    """Rows of numbers, one every `log_every` steps: each value is the mean over the steps since the row before.

    Terms stay tensors on the device until a row is closed, so that recording never waits for the device. It may be
    read from any thread while the training runs.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._pending: list[tuple[int, dict[str, Tensor]]] = []

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> dict[str, list[float]]:
        """Name to values, one for each row; NaN where a row has none. The first column is `step`."""
        rows = list(self.rows)
        names = dict.fromkeys(name for row in [{"step": 0.0}, *rows] for name in list(row))
        return {name: [row.get(name, math.nan) for row in rows] for name in names}

    def __getitem__(self, column: str) -> list[float]:
        columns = self.columns
        if column not in columns:
            raise GanlabError(f"the history has no column {column!r}; columns: {', '.join(columns)}")
        return columns[column]

    def record(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Keep the terms of one step (counted from 1) for the next row."""
        self._pending.append((step, dict(terms)))

    def close_row(self, step: int, values: Mapping[str, float], reduce: Any = None) -> dict[str, float]:
        """Read what was recorded, add a row and return it; an empty one if nothing was recorded.

        Args:
            step: how many steps have been done.
            values: what the loop knows without asking the device: weights, learning rates.
            reduce: averages a tensor over all processes, where there are several.

        Raises:
            NotFinite: a recorded term is NaN or infinite; names the first one and its step.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return {}
        stacked = torch.stack([t.detach().float() for _, terms in pending for t in terms.values()])
        flat: list[float] = (reduce(stacked) if reduce else stacked).tolist()
        gathered: dict[str, list[float]] = {}
        for (at, name), value in zip([(s, n) for s, terms in pending for n in terms], flat, strict=True):
            if not math.isfinite(value):
                raise not_finite(name, value, at)
            gathered.setdefault(name, []).append(value)
        row = {"step": float(step), **{n: sum(v) / len(v) for n, v in gathered.items()}, **values}
        self.rows.append(row)
        return row

    def state(self) -> dict[str, Any]:
        """Everything recorded so far, as plain values."""
        return {"rows": list(self.rows),
                "pending": [(step, {n: t.item() for n, t in terms.items()}) for step, terms in self._pending]}

    def restore(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from an earlier `state`."""
        self.rows = list(state["rows"])
        self._pending = [(step, {n: torch.tensor(v, device=device) for n, v in terms.items()})
                         for step, terms in state["pending"]]

    def frame(self) -> "pandas.DataFrame":
        """The history as a table: a row per record, `step` as its index."""
        import pandas
        return pandas.DataFrame(self.columns).astype({"step": int}).set_index("step")

    def csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, one column a value, NaN as an empty field."""
        self.frame().to_csv(path, float_format="%.9g")


def not_finite(name: str, value: float, step: int) -> NotFinite:
    """The error for a term that went wrong at a step (counted from 1)."""
    return NotFinite(f"{name} became {value} at step {step}, and the run has stopped. Restore the last checkpoint and "
                     "lower the learning rate or the weight of that term; with precision='fp16' try 'bf16'.")

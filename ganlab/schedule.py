"""Who moves when. A schedule names the players that take a turn in a step; a step is one batch of data."""

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from ganlab.errors import GanlabError
from ganlab.history import finite

SCHEDULES: dict[str, type["Schedule"]] = {}
"""Every schedule by name; a class that derives from `Schedule` enters itself."""


@dataclass
class Schedule:
    """Base of all schedules.

    Attributes:
        name: what `parse` and the command line call it.
        adversarial: it speaks of a discriminator and a generator, so the model must have both.
        reads_losses: it looks at the losses after every step, which costs a wait for the device.
    """

    name: ClassVar[str] = ""
    adversarial: ClassVar[bool] = True
    reads_losses: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        SCHEDULES[cls.name] = cls

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        """The players that move in this step, in their order.

        Args:
            step, epoch: counted from 0.
            players: all players of the model.
        """
        raise NotImplementedError

    def after(self, losses: Mapping[str, float]) -> None:
        """Told the weighted loss of every player that moved, if the schedule `reads_losses`."""

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on: whatever is not a constructor argument."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the state of an earlier run."""
        for key, value in state.items():
            setattr(self, key, value)

    def __str__(self) -> str:
        values = ", ".join(str(getattr(self, f.name)) for f in fields(self))
        return f"{self.name}({values})" if values else self.name


@dataclass
class Alternate(Schedule):
    """Every player moves once in every step (arXiv:1406.2661, algorithm 1 with k = 1)."""

    name = "alternate"
    adversarial = False

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        return players


@dataclass
class DiscriminatorSteps(Schedule):
    """The discriminator moves in every step, each on a new batch; the generator only in every k-th
    (arXiv:1406.2661, algorithm 1; k = 5 in arXiv:1701.07875)."""

    k: int = 5
    name = "discriminator_steps"

    def __post_init__(self) -> None:
        _positive(self, k=self.k)

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        return players if (step + 1) % self.k == 0 else ("discriminator",)


@dataclass
class Epochs(Schedule):
    """Take turns by epochs: the discriminator alone for so many, then the generator alone, and again."""

    discriminator: int = 1
    generator: int = 1
    name = "epochs"

    def __post_init__(self) -> None:
        _positive(self, **asdict(self))

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        return ("discriminator",) if epoch % (self.discriminator + self.generator) < self.discriminator \
            else ("generator",)


@dataclass
class Threshold(Schedule):
    """Take turns by loss: one player moves alone until its loss is below its threshold, then the other.

    A player that cannot get there hands over after `patience` steps, so that no run hangs.
    """

    discriminator: float = 0.5
    generator: float = 1.0
    patience: int = 100
    name = "threshold"
    reads_losses = True

    def __post_init__(self) -> None:
        _positive(self, patience=self.patience)
        for player in ("discriminator", "generator"):
            finite(f"{self.name}: {player}", getattr(self, player))
        self.turn, self.moved = "discriminator", 0

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        return (self.turn,)

    def after(self, losses: Mapping[str, float]) -> None:
        self.moved += 1
        if losses[self.turn] < getattr(self, self.turn) or self.moved >= self.patience:
            self.turn = "generator" if self.turn == "discriminator" else "discriminator"
            self.moved = 0

    def state(self) -> dict[str, Any]:
        return {"turn": self.turn, "moved": self.moved}


@dataclass
class WarmUp(Schedule):
    """The generator moves alone for the first `steps` steps; from then on the schedule `then` decides."""

    steps: int = 100
    then: Schedule | str = "alternate"
    name = "warm_up"

    def __post_init__(self) -> None:
        _positive(self, steps=self.steps)
        self.inner = parse(self.then)

    @property
    def reads_losses(self) -> bool:  # type: ignore[override]
        return self.inner.reads_losses

    def movers(self, step: int, epoch: int, players: Sequence[str]) -> Sequence[str]:
        self.warm = step < self.steps
        return ("generator",) if self.warm else self.inner.movers(step, epoch, players)

    def after(self, losses: Mapping[str, float]) -> None:
        if not self.warm:
            self.inner.after(losses)

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.inner.restore(state)


def parse(text: "str | Schedule") -> Schedule:
    """A schedule from its name and arguments: "alternate", "discriminator_steps(5)", "epochs(1, 2)",
    "threshold(0.5, 1.0, patience=50)", "warm_up(100, discriminator_steps(2))". A schedule is copied, with its state.

    Raises:
        GanlabError: unknown name or wrong arguments.
    """
    if isinstance(text, Schedule):
        return copy.deepcopy(text)
    try:
        schedule = _build(ast.parse(text, mode="eval").body)
        if not isinstance(schedule, Schedule):
            raise ValueError("a value, not a schedule")
        return schedule
    except (SyntaxError, TypeError, ValueError, KeyError) as error:
        known = ", ".join(str(cls()) for cls in SCHEDULES.values())
        raise GanlabError(f"cannot read the schedule {text!r} ({error}); schedules: {known}") from None


def _build(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return SCHEDULES[node.id]()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        keywords = {k.arg or "": _build(k.value) for k in node.keywords}
        return SCHEDULES[node.func.id](*map(_build, node.args), **keywords)
    return ast.literal_eval(node)


def _positive(schedule: Schedule, **values: float) -> None:
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GanlabError(f"{schedule.name}: {key} must be a whole number of at least 1, not {value!r}")

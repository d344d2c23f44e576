"""Two runs over each other."""

import os
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ganlab.checkpoint import read
from ganlab.errors import GanlabError
from ganlab.history import History, Intervention
from ganlab.plots import COLOURS
from ganlab.training import Training


class Run(NamedTuple):
    """What a comparison looks at."""

    model: str
    history: History
    interventions: list[Intervention]
    log_every: int

    @classmethod
    def of(cls, run: Training | str | os.PathLike[str]) -> "Run":
        """A training's, or that of a checkpoint."""
        if isinstance(run, Training):
            return cls(run.model.name, run.history, list(run.interventions), run.log_every)
        content, history = read(run), History()
        history.restore(content["history"])
        return cls(content["model"], history, [Intervention(*i) for i in content["interventions"]],
                   content["log_every"])


def compare(a: Training | str | os.PathLike[str], b: Training | str | os.PathLike[str],
            names: tuple[str, str] = ("a", "b")) -> Figure:
    """The histories of two runs over each other, a plot for every term that both recorded: a solid, b dashed.
    Dotted lines mark where something was turned by hand, in the colour of the run.

    Args:
        a, b: trainings, or paths of their checkpoints.
        names: what to call them.

    Raises:
        GanlabError: they have no recorded term in common, or a file is no checkpoint.
    """
    runs = Run.of(a), Run.of(b)
    histories = [run.history.columns for run in runs]
    shared = [n for n in histories[0] if n in histories[1]
              and n != "step" and not n.startswith(("weight/", "learning_rate/", "images/"))]
    if not shared:
        raise GanlabError("nothing to compare: {0.model} and {1.model} have recorded no term of the same name; train "
                          "both first, at least log_every ({0.log_every}, {1.log_every}) steps".format(*runs))
    across = min(3, len(shared))
    down = -(-len(shared) // across)
    # Without pyplot, which belongs to the main thread: a panel may ask from another.
    figure = Figure((3.3 * across, 2.4 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for ax in axes.flat[len(shared):]:
        ax.axis("off")
    for ax, column in zip(axes.flat, shared, strict=False):
        for run, history, name, colour, line in zip(runs, histories, names, COLOURS, ("-", "--"), strict=False):
            values = np.asarray(history[column])
            shown = ~np.isnan(values)
            ax.plot(np.asarray(history["step"])[shown], values[shown], line, color=colour, label=name)
            for step in sorted({entry.step for entry in run.interventions}):
                ax.axvline(step, color=colour, linewidth=0.8, linestyle=":")
        if all(min((v for v in h[column] if v == v), default=0.0) > 0 for h in histories):
            ax.set_yscale("log")
        ax.set_title(column, fontsize=10)
        ax.set_xlabel("step")
    axes.flat[0].legend(frameon=False)
    return figure

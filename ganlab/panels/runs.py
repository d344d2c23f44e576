"""Two runs over each other."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ganlab.errors import GanlabError
from ganlab.plots import COLOURS
from ganlab.training import Training


def compare(a: Training, b: Training, names: tuple[str, str] = ("a", "b")) -> Figure:
    """The histories of two trainings over each other, a plot for every term that both recorded: a solid, b dashed.
    Dotted lines mark where a number was turned by hand, in the colour of the run.

    Args:
        names: what to call them.

    Raises:
        GanlabError: they have no recorded term in common.
    """
    histories = [t.history.columns for t in (a, b)]
    shared = [n for n in histories[0] if n in histories[1]
              and n != "step" and not n.startswith(("weight/", "learning_rate/", "images/"))]
    if not shared:
        raise GanlabError(f"nothing to compare: {a.model.name} and {b.model.name} have recorded no term of the same "
                          f"name; train both first, at least log_every ({a.log_every}, {b.log_every}) steps")
    across = min(3, len(shared))
    down = -(-len(shared) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.3 * across, 2.4 * down), squeeze=False, layout="constrained")
    for ax in axes.flat[len(shared):]:
        ax.axis("off")
    for ax, column in zip(axes.flat, shared, strict=False):
        for run, history, name, colour, line in zip((a, b), histories, names, COLOURS, ("-", "--"), strict=False):
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
    plt.close(figure)
    return figure

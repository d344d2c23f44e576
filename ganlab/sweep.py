"""Ablations: the same training over a grid of settings, times seeds, into one table and one figure."""

import ast
import contextlib
import inspect
import itertools
import json
import math
import os
import queue
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas
import torch
from filelock import FileLock, Timeout
from matplotlib.figure import Figure

from ganlab import checkpoint, cli, models
from ganlab.errors import CheckpointError, GanlabError
from ganlab.plots import COLOURS

OPTIONS = ("data", "size", "channels", "batch_size", "lr", "objective", "schedule", "decay", "precision", "steps",
           "augment", "small")
"""What of `ganlab train` may vary, beside the weights of terms and the arguments of the model."""


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes:
        setting: its values in the grid.
        words: the rest of `ganlab train`.
        path: a JSON file with these words and, once the run is done, what it has reached. The checkpoint (.pt) and
            what was said (.log) lie beside it.
    """

    setting: dict[str, Any]
    seed: int
    words: list[str]
    path: Path

    @property
    def label(self) -> str:
        """The setting in words."""
        return ", ".join(f"{name}={value}" for name, value in self.setting.items()) or "all"

    @property
    def values(self) -> dict[str, float]:
        """What it has reached, by name; empty until it is done."""
        return _read(self.path).get("values", {})


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(aside, path)


def dimension(text: str) -> tuple[str, list[Any]]:
    """"cycle=0,1,10" as ("cycle", [0, 1, 10]); what is no Python literal stays text. Else a `GanlabError`."""
    name, _, listed = text.partition("=")
    if not (name and listed):
        raise GanlabError(f"a grid is NAME=VALUE,VALUE,... such as cycle=0,1,10, not {text!r}")
    try:
        return name.replace("-", "_"), list(ast.literal_eval(f"({listed},)"))
    except (ValueError, SyntaxError):
        values: list[str] = []
        for part in listed.split(","):
            if values and values[-1].count("(") > values[-1].count(")"):
                values[-1] += f",{part}"
            else:
                values.append(part)
        return name.replace("-", "_"), values


def plan(model: str, grid: Mapping[str, Sequence[Any]], seeds: int, words: Sequence[str], folder: Path) -> list[Run]:
    """The runs of a sweep, the seeds 0, 1, ... of a setting together.

    Args:
        grid: name to values; a name of a term's weight, of `OPTIONS`, or of an argument of the model.
        words: options of `ganlab train` that all runs have.

    Raises:
        GanlabError: nothing of that name can vary, two settings would have one file, or the folder holds such a run
            with other words.
    """
    cls: Any = models.MODELS.get(model) or models.create(model)  # which raises, and says which there are
    arguments = [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "shape")]
    if unknown := sorted(grid.keys() - {*cls.weights, *OPTIONS, *arguments}):
        raise GanlabError(f"{model} has no {unknown[0]!r} to vary; there are the weights {', '.join(cls.weights)}, its "
                          f"arguments {', '.join(arguments)}, and the options {', '.join(OPTIONS)}")

    def option(name: str, value: Any) -> list[str]:
        if name not in OPTIONS:
            return ["--weight" if name in cls.weights else "--set", f"{name}={value}"]
        return [f"--{name}"] * value if isinstance(value, bool) else [f"--{name.replace('_', '-')}", str(value)]

    runs: list[Run] = []
    for chosen, seed in itertools.product(itertools.product(*grid.values()), range(seeds)):
        setting = dict(zip(grid, chosen, strict=True))
        name = ",".join(f"{name}={value}" for name, value in [*setting.items(), ("seed", seed)])
        run = Run(setting, seed, [model, *words, *(w for pair in setting.items() for w in option(*pair)),
                                  "--seed", str(seed)], folder / "runs" / (re.sub(r"[^\w.,=+-]", "_", name) + ".json"))
        if same := [other for other in runs if other.path == run.path]:
            raise GanlabError(f"{same[0].label} and {run.label} would both be kept in {run.path}: leave one out, or "
                              "give them names that differ in more than special characters")
        if (made := _read(run.path).get("words", run.words)) != run.words:
            raise GanlabError(f"{run.path} is of another sweep, ganlab train {' '.join(made)}: give another --out")
        runs.append(run)
    return runs


def execute(path: str | os.PathLike[str]) -> None:
    """Train the run of this file, or go on with it, and write into the file what it has reached.

    Raises:
        GanlabError: it has failed, or another process is training it.
    """
    from ganlab.measure import measure
    from ganlab.training import Training

    path = Path(path)
    words, out = _read(path)["words"], path.with_suffix(".pt")
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            try:
                checkpoint.read(out)
                how = "--resume"
            except CheckpointError:
                how = "--force"
            if cli.main(["train", *words, "--out", str(out), how]):
                raise GanlabError(f"ganlab train {' '.join(words)} has failed")
            training = Training.restore(out, device=cli.parser().parse_args(["train", *words]).device)
            last = training.history.frame().tail(max(1, len(training.history) // 10)).mean()
            terms = {name: float(value) for name, value in last.items()
                     if name != "images/s" and not str(name).startswith(("weight/", "learning_rate/"))}
            _write(path, {"words": words, "values": measure(training) | terms})
    except Timeout:
        raise GanlabError(f"another process is training {path.stem}") from None


def sweep(runs: Sequence[Run], folder: Path, jobs: int = 1, slurm: Mapping[str, Any] | None = None,
          cluster: str = "slurm") -> list[Run]:
    """Train every run that is not done, each in a process of its own, and write `table.csv` (a row for each run) and
    `figure.png` into the folder.

    Args:
        jobs: how many at once; each has one GPU, where there are several.
        slurm: parameters of submitit, by which the runs become an array of Slurm jobs; an interrupt cancels them.
        cluster: submitit's name of where they run.

    Returns:
        The runs that have failed.
    """
    waiting = [run for run in runs if not run.values]
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them done, in {folder}", flush=True)
    for run in waiting:
        _write(run.path, {"words": run.words})
    _start(waiting, jobs) if slurm is None else _submit(waiting, folder, jobs, slurm, cluster)
    if done := [run for run in runs if run.values]:
        rows = [run.setting | {"seed": run.seed} | run.values for run in done]
        pandas.DataFrame(rows).to_csv(folder / "table.csv", index=False, float_format="%.6g")
        figure(done).savefig(folder / "figure.png", dpi=120)
    return [run for run in runs if not run.values]


def _start(runs: Sequence[Run], jobs: int) -> None:
    cards = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))).split(",")
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(jobs):
        places.put(place)

    def one(run: Run) -> None:
        place, log, env = places.get(), run.path.with_suffix(".log"), dict(os.environ)
        if jobs > 1:
            env = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | env
            env |= {"CUDA_VISIBLE_DEVICES": cards[place % len(cards)]}
        with open(log, "w") if jobs > 1 else contextlib.nullcontext() as file:  # a single one shows its progress
            code = subprocess.call([sys.executable, "-m", "ganlab.sweep", run.path], env=env, stdout=file, stderr=file)
        places.put(place)
        print(f"{run.path.stem}: {'done' if code == 0 else f'failed, {log}' if jobs > 1 else 'failed'}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(one, runs))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _submit(runs: Sequence[Run], folder: Path, jobs: int, slurm: Mapping[str, Any], cluster: str) -> None:
    try:
        import submitit
    except ImportError:
        raise GanlabError('jobs for Slurm need submitit: pip install "ganlab[train]"') from None
    try:
        executor = submitit.AutoExecutor(folder / "jobs", cluster=cluster)
    except RuntimeError as error:
        raise GanlabError(f"Slurm cannot be used here: {error}. Start this on a login node, or use --jobs") from None
    common = ("cpus_per_task", "gpus_per_node", "mem_gb", "nodes", "tasks_per_node", "timeout_min")
    most = {"slurm_array_parallelism": jobs} if jobs > 1 else {}
    executor.update_parameters(name="ganlab-sweep", **{"timeout_min": 720} | most | {
        name if name in common else f"slurm_{name}": value for name, value in slurm.items()})
    array = executor.map_array(execute, [str(run.path.absolute()) for run in runs])
    try:
        for run, job in zip(runs, array, strict=True):
            print(f"{run.path.stem}: {'failed, ' + str(job.paths.stderr) if job.exception() else 'done'}", flush=True)
    except KeyboardInterrupt:
        for job in array:
            job.cancel()
        raise


def figure(runs: Sequence[Run]) -> Figure:
    """Of runs that are done: what was measured, a dot for each seed and a line at their mean, and below it the curves,
    their means over the seeds. Runs without a name, or without a checkpoint any more, are left out of its panel."""
    labels = list(dict.fromkeys(run.label for run in runs))
    colours = COLOURS if len(labels) <= len(COLOURS) else plt.get_cmap("viridis")(np.linspace(0, 0.9, len(labels)))
    histories: dict[Path, pandas.DataFrame] = {}
    for run in runs:
        with contextlib.suppress(CheckpointError):  # its checkpoint may be gone, and with it its curves
            rows = checkpoint.read(run.path.with_suffix(".pt"))["history"]["rows"]
            histories[run.path] = pandas.DataFrame(rows)
    names = list(dict.fromkeys(name for run in runs for name in run.values))
    curves = [name for name in names if any(name in history for history in histories.values())]
    measured = [name for name in names if name not in curves]
    across = min(4, max(len(measured), len(curves)))
    panels = [*measured, *[""] * (-len(measured) % across), *curves]
    down = math.ceil(len(panels) / across)
    size = across * 2.8 + 0.5, down * max(2.2, 0.2 * len(labels)) + 0.4
    picture, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for i, (ax, name) in enumerate(zip(axes.flat, [*panels, *[""] * across], strict=False)):
        ax.set_title(name, fontsize=9)
        ax.tick_params(labelsize=7)
        ax.locator_params(axis="x", nbins=4)
        if not name:
            ax.axis("off")
        elif name in curves:
            ax.set_xlabel("step", fontsize=8)
        else:
            ax.set_yticks(range(len(labels)), labels if i % across == 0 else [""] * len(labels))
            ax.set_ylim(len(labels) - 0.4, -0.6)
        for at, (label, colour) in enumerate(zip(labels, colours, strict=False)):
            mine = [run for run in runs if run.label == label]
            if name in curves:
                if drawn := [histories[run.path] for run in mine if name in histories.get(run.path, ())]:
                    mean = pandas.concat(drawn).groupby("step")[name].mean().dropna()
                    ax.plot(mean.index, mean, color=colour, linewidth=1)
            elif reached := [run.values[name] for run in mine if name in run.values]:
                ax.plot(reached, [at] * len(reached), "o", color=colour, markersize=4, alpha=0.6)
                ax.vlines(np.mean(reached), at - 0.3, at + 0.3, color=colour)
    columns = max(1, int(size[0] / (1 + 0.08 * max(map(len, labels)))))
    picture.legend([plt.Line2D([], [], color=colour) for colour in colours[:len(labels)]], labels, fontsize=8,
                   frameon=False, loc="outside lower center", ncols=columns)
    plt.close(picture)
    return picture


if __name__ == "__main__":
    try:
        execute(sys.argv[1])
    except GanlabError as error:
        sys.exit(f"ganlab: {error}")

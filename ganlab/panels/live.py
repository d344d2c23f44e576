"""A panel for any training: every weight and learning rate as a control, and what the model makes of them."""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import html
import io
import itertools
import math
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

from ganlab.diagnosis import Finding, diagnose
from ganlab.errors import CheckpointError, GanlabError
from ganlab.history import Intervention
from ganlab.objectives import OBJECTIVES
from ganlab.panels import draw
from ganlab.panels.controls import Choice, Control, Row, widgets
from ganlab.panels.names import names, section
from ganlab.panels.runs import compare
from ganlab.panels.shown import CHUNK, Shown, close, pictures_from_threads, somebody_is_there
from ganlab.schedule import SCHEDULES
from ganlab.training import Training

SHARE = 0.03
"""The part of the time that drawing may take."""

DOCTOR, FIRST = 0.005, 15.0
"""The part of the time that the doctor may take, and seconds of training before its first look."""

LARGE = 50_000_000
"""Parameters from which on the doctor looks on the press of the button alone: it needs room for a second model."""

KEEP = 60.0
"""Seconds between two automatic saves, at least; together they take at most a hundredth of the time."""

TICK = 0.25
"""Seconds between two looks at the training."""

WIDTH, CURVES = 270, (420, 330)
"""Of the pictures, and of the curves if they are at most three multiples, in pixels of the page: together they fit
into a page of 900."""

_PANELS: weakref.WeakSet[Panel] = weakref.WeakSet()


def train(training: Training, steps: int | None = None, script: Sequence[tuple[int, str, float | str]] = (), *,
          live: bool | None = None, foreground: bool | None = None) -> Panel:
    """A panel to start, pause, steer and watch a training; show it by making it the last line of a cell.

    Where nobody can press a button (papermill, nbval, plain Python), the same call trains the steps at once, moves the
    controls as the script says, and shows the last pictures. Called again for the same training, it shows another
    panel of the same run; run again in the same cell, it replaces the panel that stood there.

    Args:
        training: of any model; may be running already.
        steps: so many from the press of Start; by default until Stop, and without a person `CHUNK`.
        script: (steps done in this call, name of a weight, "learning_rate/<player>", "objective" or "schedule",
            value): the moves of the hand, made where nobody is there to make them.
        live: whether somebody is there; by default, in a kernel whose front end can ask for input (papermill's and
            nbval's cannot), unless GANLAB_PROFILE is "ci" or GANLAB_PANELS is "off".
        foreground: train in chunks on the press of a button, with a picture after each, since pictures from a thread
            do not arrive; by default in Colab.

    Raises:
        GanlabError: the script names no control, or a training without a person failed.
    """
    live = somebody_is_there() if live is None else live
    panel = Panel(training, steps, live, not pictures_from_threads() if foreground is None else foreground)
    if not live:
        panel.play(CHUNK if steps is None else steps, script)
    return panel


class Panel(Shown):
    """What `train` shows. `view` is its widget; `close` takes it away and leaves the training as it is.

    A run is kept in a file beside the one that is named, `<name>.auto.pt`, about every minute and whenever it pauses or
    ends; one of an earlier run that was not restored is moved to `<name>.earlier.pt`.

    Attributes:
        rows: the controls by name: terms, "learning_rate/<player>", and "objective" and "schedule" where there are.
        findings: what the doctor has said last.
    """

    def __init__(self, training: Training, steps: int | None = None, live: bool = True,
                 foreground: bool = False) -> None:
        self.training, self.steps, self.live = training, steps, live
        self._until: int | None = None
        self._drawn, self._next = -1, 0.0
        self._closed, self._drawing, self._thread_lock = threading.Event(), threading.Lock(), threading.Lock()
        self._viewer: threading.Thread | None = None
        self._busy, self._foreground = False, foreground
        self._second: Training | None = None
        self._kept, self._next_keep = -1, time.monotonic() + KEEP
        self.findings: list[Finding] = []
        self._examined, self._next_look = -1, 0.0
        model = training.model
        self._makes = draw.Pictures(model, training.data, WIDTH)
        self._size = sum(p.numel() for p in model.parameters())
        self._groups = [*model.players, *([draw.WATCHED] if model.watched else [])]
        self._multiple = CURVES[0], max(110, min(240, CURVES[1] // len(self._groups)))
        # What is watched first, so that D(x) and D(G(z)) are as in `plots.curves` and the playground.
        self._colours = dict(zip([*model.watched, *model.weights], draw.COLOURS * 9, strict=False))
        paper = {**training._initial["weights"], **type(model).weights}
        self.rows: dict[str, Control] = {
            name: Row(training.weights, name, paper[name], self._colours[name], self._report, self._moved)
            for name in training.weights}
        self.rows |= {f"learning_rate/{name}": Row(training.learning_rates, name, rate, "", self._report, self._moved)
                      for name, rate in training._initial["learning_rates"].items()}
        choices = {"objective": list(OBJECTIVES), "schedule": [str(cls()) for cls in SCHEDULES.values()]}
        self.rows |= {name: Choice(training.rules, name, choices[name], name == "schedule", self._report, self._moved)
                      for name in training.rules}
        self._build(foreground)
        self.follow()
        self._take_place()
        self._name = self.file.value = str(training.checkpoint or self._free_name())
        _PANELS.add(self)
        if live and not training.step and not self.message.value and self._automatic.exists():
            hint = "" if self._file.exists() else "; Restore brings it back"
            self._say(f"{self._automatic} keeps an earlier run{hint}")
        self.draw()
        if live:
            _listen()
            self.attend()

    # ---- widgets ------------------------------------------------------------------------------------------------

    def _build(self, foreground: bool) -> None:
        def button(text: str, icon: str, tip: str, action: Callable[[], Any], width: str = "86px") -> widgets.Button:
            made = widgets.Button(description=text, icon=icon, tooltip=tip, layout={"width": width, "flex": "0 0 auto"})
            made.on_click(lambda _: self._do(action))
            return made

        start = button("Start", "play", "train in the background", self.start)
        self._pause = button("Pause", "pause", "finish the step and wait, or go on", self._pause_or_resume, "100px")
        chunk = self.steps or CHUNK
        ahead = button(f"Train {chunk} more steps", "play", "train, with a new picture now and then",
                       lambda: self.play(chunk), "200px")
        self.buttons = {"start": start, "pause": self._pause, "ahead": ahead,
                        "step": button("Step", "step-forward", "make one step and wait", self._one_step),
                        "stop": button("Stop", "stop", "end the run after its step", self.stop),
                        "save": button("Save", "save", "save the training to this file", self._save, "80px"),
                        "restore": button("Restore", "folder-open", "bring the training to the state in this file",
                                          self._restore, "96px"),
                        "doctor": button("Doctor", "stethoscope", "look at this training now", self.examine, "96px"),
                        "replay": button("Replay", "repeat", "make the same run again, with every change at its step, "
                                         "and compare the weights; pressed again, stop that", self._replay, "96px"),
                        "compare": button("Compare", "columns", "lay the run in the file over this one",
                                          self._compare, "104px"),
                        "history": button("History as CSV", "table", "write the curves beside the file",
                                          lambda: self._export("history"), "150px"),
                        "changes": button("Changes as CSV", "list", "write the changes beside the file",
                                          lambda: self._export("changes"), "150px"),
                        "figure": button("Figure as PNG", "image", "write pictures, curves and changes beside the "
                                         "file", lambda: self._export("figure"), "140px")}
        first = ["ahead", "step"] if foreground else ["start", "pause", "step", "stop"]
        players = list(self.training.model.players) if len(self.training.model.players) > 1 else []
        self.buttons |= {f"turn/{name}": button(name, "step-forward", f"make one step in which only the {name} moves",
                                                functools.partial(self._one_step, name), "150px") for name in players}
        self.file = widgets.Text(description="file", style={"description_width": "30px"}, layout={"width": "300px"})
        self.status, self.message, self.log = widgets.HTML(), widgets.HTML(), widgets.HTML()
        looks = "" if self._size >= LARGE or not self.live or foreground else "looks now and then while it trains; "
        self.doctor = widgets.HTML(f"<i>{looks}press it for a look now</i>",
                                   layout={"width": "620px", "height": "64px", "overflow": "auto"})
        self.compared = widgets.Image(format="png", layout={"display": "none", "max_width": "860px"})
        self.images = {name: widgets.Image(format="png") for name in self._makes.names}
        # No tooltip for images: with one, ipywidgets 8 fails to draw them. Their captions stand above them.
        left = [part for name, image in self.images.items() for part in (widgets.HTML(html.escape(name)), image)]
        height = self._multiple[1] * len(self._groups) + draw.BOTTOM
        self.curves = widgets.Image(format="png", width=str(self._multiple[0]), height=str(height))
        told = names([*((image, name) for name, image in self.images.items()),
                      (self.curves, "curves over the steps: " + ", ".join(self._colours)),
                      (self.compared, "curves of two runs over each other")])
        wrap = {"flex_flow": "row wrap", "align_items": "center"}

        def line(*parts: str | widgets.Widget) -> widgets.HBox:
            return widgets.HBox([self.buttons[p] if isinstance(p, str) else p for p in parts], layout=wrap)

        def controls(kind: str) -> list[widgets.Widget]:
            return [row.view for row in self.rows.values() if row.controls.kind == kind]

        turns = [name for name in self.buttons if name.startswith("turn/")]
        rules = [section("Objective and schedule", widgets.VBox(controls("rules")))] if self.training.rules else []
        self.view = widgets.VBox([
            line(*first, self.status), *([line(widgets.Label("one turn of"), *turns)] if turns else []),
            self.message,
            widgets.HBox([widgets.VBox(left, layout={"width": f"{WIDTH + 10}px"}), self.curves],
                         layout={"flex_flow": "row wrap", "align_items": "flex-start"}),
            widgets.HBox([self.buttons["doctor"], self.doctor], layout={"align_items": "flex-start"}),
            *controls("weights"), section("Learning rates", widgets.VBox(controls("learning_rates"))), *rules,
            section("Experiment log", widgets.VBox([
                self.log, line("replay", "compare", "history", "changes", "figure"), self.compared])),
            line(self.file, "save", "restore"), told])

    @property
    def title(self) -> str:
        return f"Training panel: {self.training.model.name} on {self.training.data.name}"

    def _replaced(self, by: Shown) -> str:
        self.close()
        training = self.training
        if getattr(by, "training", None) is training or training.state not in ("running", "paused"):
            return ""
        training._end()
        self._keep()
        return f"the run that this cell showed before was stopped at step {training.step}; {self._automatic} keeps it"

    # ---- what the buttons do ------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], Any]) -> None:
        """An action of a button; what goes wrong is said in the panel."""
        self._say("")
        try:
            action()
        except Exception as error:
            self._report(error)
        for panel in _panels_of(self.training):
            panel.attend()

    def _moved(self) -> None:
        for panel in _panels_of(self.training):
            for row in panel.rows.values():
                row.follow()

    def start(self) -> None:
        """Train in the background, on to where the last Start wanted to go if Stop was pressed on the way."""
        if self.training.state == "paused":
            self.training.resume()
            return
        self._no_replay()
        at = self.training.step
        if self._until is None or self._until <= at:
            self._until = None if self.steps is None else at + self.steps
        self.training.start(None if self._until is None else self._until - at)

    def stop(self) -> None:
        """End the background run; an error that had ended it is shown."""
        self.training.stop()

    def _pause_or_resume(self) -> None:
        if self.training.state == "paused":
            self.training.resume()
        elif self.training.state == "running":
            self.training.pause()

    def _one_step(self, player: str = "") -> None:
        self._no_replay()
        if self.training.state in ("running", "paused"):
            self.training.stop()
        if player:
            self.training.turn(player)
        else:
            self.training.run(1, progress=False)
        self.draw()

    def _free_name(self) -> str:
        """A file for the run; it has a number where the panel of another run, side by side with this, has the name."""
        stem = re.sub(r"[^\w.-]+", "_", f"{self.training.model.name}-{self.training.data.name}")
        taken = {panel._file for panel in list(_PANELS) if panel.training is not self.training}
        names = (f"runs/{stem}{end}.pt" for end in itertools.chain([""], map("-{}".format, itertools.count(2))))
        return next(name for name in names if Path(name) not in taken)

    @property
    def _file(self) -> Path:
        return Path(self.file.value.strip() or self._name)

    @property
    def _automatic(self) -> Path:
        return self._file.with_name(f"{self._file.stem}.auto{self._file.suffix}")

    def _save(self) -> None:
        self.training.save(self._file)
        self._say(f"saved step {self.training.step} to {self._file}")

    def _restore(self) -> None:
        self._no_replay()
        # Not stop(), which would raise again the error that somebody wants to come back from.
        self.training._end()
        path = self._automatic if self._automatic.exists() and not self._file.exists() else self._file
        self.training.load(path)
        self._until = None
        if path == self._automatic:
            self._kept = self.training.step
        self.draw()
        newer = path == self._file and self._automatic.exists() and \
            self._automatic.stat().st_mtime > path.stat().st_mtime
        self._say(f"back at step {self.training.step}, from {path}" + f"; {self._automatic} is newer" * newer)

    def _keep(self) -> None:
        """Save the run beside the file, so that it outlives the kernel."""
        path = self._automatic
        if self._kept < 0 and path.exists():
            os.replace(path, path.with_name(f"{self._file.stem}.earlier{path.suffix}"))
        self._kept, began = self.training.step, time.monotonic()
        # A run that ended in NaN has nothing to keep, and has said so.
        with contextlib.suppress(*[CheckpointError] * (self.training.error is not None)):
            self.training.save(path)
        self._next_keep = time.monotonic() + max(KEEP, 100 * (time.monotonic() - began))

    def _no_replay(self) -> None:
        if self._second is not None:
            raise GanlabError("a replay is running; wait for it, or press Replay again to stop it")

    def _replay(self) -> None:
        if self._second is not None:
            second, self._second = self._second, None
            second.stop()
            self._say(f"the replay was stopped at step {second.step}")
            return
        training = self.training
        if training.state in ("running", "paused"):
            raise GanlabError(f"the training is {training.state}; press Stop, then Replay")
        recording = training.recording()
        if not recording["step"]:
            raise GanlabError("there is nothing to replay yet; train first")
        self._second = Training.replay(recording, training.data, str(training.device), run=False)
        if self._foreground or not self.live:
            self._second.run(recording["step"], progress=False)
            self._replayed()
        else:
            self._second.start(recording["step"])

    def _replayed(self) -> None:
        second, self._second = self._second, None
        assert second is not None
        second.wait()
        ours, theirs = self.training.model.state_dict(), second.model.state_dict()
        apart = max(float((a.double() - theirs[name].double()).abs().max()) for name, a in ours.items() if a.numel())
        self._say(f"replayed {second.step:,} steps with {len(second.interventions)} changes: the weights are "
                  + ("equal, bit for bit" if apart == 0 else f"up to {apart:.2g} apart"))
        self._show_compared(compare(self.training, second, ("this run", "its replay")))

    def _compare(self) -> None:
        self._show_compared(compare(self.training, self._file, ("this run", self._file.name)))

    def _show_compared(self, figure: Figure) -> None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90, facecolor="white")
        self.compared.value = buffer.getvalue()
        self.compared.layout.display = None

    def _export(self, what: str) -> None:
        path = self._file.with_suffix(f".{what}.png" if what == "figure" else f".{what}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "history":
            self.training.history.csv(path)
        elif what == "figure":
            self.picture(log=True).save(path)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("step", "kind", "name", "value"), *self.training.interventions])
        self._say(f"wrote {path}")

    def play(self, steps: int, script: Sequence[tuple[int, str, float | str]] = ()) -> None:
        """Train so many steps in the foreground, with new pictures now and then, the controls moved by the script.

        Raises:
            GanlabError: the script names no control, or moves one after the last step.
        """
        for at, name, _ in script:
            if name not in self.rows or not 0 <= at < steps:
                raise GanlabError(f"the script has {name!r} at step {at}; it can move {', '.join(self.rows)} at steps "
                                  f"0 to {steps - 1}")
        self._no_replay()
        begin = self.training.step
        self._until = begin + steps
        # Pictures on the way are for somebody who looks; whole rows of the history, since each run closes its last.
        every = max(1, -(-steps // (8 * self.training.log_every)) * self.training.log_every if self.live else steps)
        stops = sorted({*range(0, steps, every), *(at for at, _, _ in script), steps})
        try:
            for at, until in itertools.pairwise(stops):
                for name, value in [move[1:] for move in script if move[0] == at]:
                    row = self.rows[name]
                    row.box.value = value
                    if row.controls[row.name] != value:
                        raise GanlabError(f"the script sets {name} to {value!r}, which its box does not take")
                self._busy = True
                self.training.run(until - at, progress=False)
                if self.live:
                    self.draw()
        finally:
            self._busy = False
            self.draw()
        if self.live:
            self._keep()
        elif len(self.training.history):
            self.examine()

    def examine(self) -> float:
        """Ask the doctor (`ganlab.diagnosis`), show what it says, and return the seconds that it took."""
        began, self._examined = time.perf_counter(), self.training.step
        self.findings = diagnose(self.training)
        said = "".join(f"<li><b>{html.escape(f.symptom)}</b>, {f.words}: {html.escape(f.seen)}. "
                       f"<i>Next:</i> {html.escape(f.advice)}.</li>" for f in self.findings)
        self.doctor.value = f"<div role='status'>step {self._examined:,}: " + \
            (f"<ul style='margin:0;line-height:1.4'>{said}</ul>" if said else "nothing unusual") + "</div>"
        return time.perf_counter() - began

    # ---- what is shown ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Bring controls, buttons and words up to date; costs about a millisecond."""
        training, state = self.training, self.training.state
        for row in self.rows.values():
            row.follow()
        if state == "failed" and training.error is not None:
            self._report(training.error)
        self._pause.description, self._pause.icon = \
            ("Resume", "play") if state == "paused" else ("Pause", "pause")
        self._pause.disabled = state not in ("running", "paused")
        self.buttons["start"].disabled = self.buttons["ahead"].disabled = state == "running"
        words = "running" if self._busy else {"idle": "stopped" if training.step else "ready",
                                              "failed": "stopped by an error"}.get(state, state)
        speed = training.history.rows[-1].get("images/s") if training.history.rows else None
        parts = [f"<b>{words}</b>", f"step {training.step:,}"]
        if speed and math.isfinite(speed):
            parts.append(f"{speed:,.0f} images/s")
            if self._until is not None and training.step < self._until:
                left = round((self._until - training.step) * training.batch_size / speed)
                parts.append(f"{datetime.timedelta(seconds=left)} left of {self._until:,} steps")
        self.status.value = "&ensp;" + " &middot; ".join(parts)
        self.log.value = _table(training)

    def draw(self) -> float:
        """New pictures; returns the seconds that it kept the processor, without the wait for a step to end."""
        with self._drawing:
            with self.training.model.lock:
                if self.training.device.type == "cuda":
                    torch.cuda.synchronize(self.training.device)  # the steps that it has still to do are no drawing
                began = time.perf_counter()
                self._drawn = self.training.step
                made = self._makes.made()
            shown = self._makes.drawn(made)
            for name, (picture, (width, height)) in shown.items():
                image = self.images[name]
                lossless = picture.mode == "P" or picture.width * picture.height * len(picture.getbands()) < 400_000
                image.format = "png" if lossless else "jpeg"
                image.width, image.height = str(width), str(height)
                image.value = draw.encode(picture, lossless)
            self._still = shown
            self.curves.value = draw.encode(self._curves())
        self.follow()
        return time.perf_counter() - began

    def _curves(self) -> Image.Image:
        marks = [(entry.step, self._colours[entry.name] if entry.kind == "weights" else draw.GREY)
                 for entry in list(self.training.interventions)]
        return draw.curves(self.training.history, self._groups, self._colours, marks, self._multiple)

    def picture(self, log: bool = False) -> Image.Image:
        """A still of the last pictures and of what the doctor said last, on white; with `log`, of all changes too."""
        t = self.training
        said = [str(finding) for finding in self.findings] or ["nothing unusual"]
        below = [f"Doctor, step {self._examined:,}: {text}" for text in said if self._examined >= 0]
        below += [f"from step {e.step:,}: {_what(e)} {_value(e)}".rstrip() for e in t.interventions if log]
        return draw.join([(name, picture, size[0]) for name, (picture, size) in self._still.items()], self._curves(),
                         f"{t.model.name} on {t.data.name}, seed {t.seed}, step {t.step:,}", below)

    # ---- the view thread ----------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Follow the training in a thread until it ends or `close` is called; at once if it does not run."""
        with self._thread_lock:
            going = self.live and not self._closed.is_set() and self._going
            if going and (self._viewer is None or not self._viewer.is_alive()):
                self._next_keep = time.monotonic() + KEEP
                self._next_look = max(self._next_look, time.perf_counter() + FIRST)
                self._viewer = threading.Thread(target=self._watch, daemon=True, name="ganlab-panel")
                self._viewer.start()
        if not self._closed.is_set():
            self.follow()

    @property
    def _going(self) -> bool:
        return self.training.state in ("running", "paused") or self._second is not None

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            # Asked first, so that the last pictures are of the end.
            going, state, step = self._going, self.training.state, self.training.step
            try:
                self.follow()
                if self._second is not None:
                    self._say(f"replaying: step {self._second.step:,} of {step:,}")
                    if self._second.state != "running":
                        self._replayed()
                if self._drawn != step and (time.perf_counter() >= self._next or not going):
                    took = self.draw()
                    self._next = time.perf_counter() + took * (1 - SHARE) / SHARE
                if 100 <= step != self._examined and self._size < LARGE and \
                        (time.perf_counter() >= self._next_look or not going):
                    self._next_look = math.inf  # not again, if this fails
                    self._next_look = self.examine() / DOCTOR + time.perf_counter()
                if step != self._kept and (state != "running" or time.monotonic() >= self._next_keep):
                    self._keep()
            except Exception as error:
                self._report(error)
                self._next = time.perf_counter() + 10
            with self._thread_lock:
                if not going and not self._going:
                    self._viewer = None
                    return

    def close(self) -> None:
        """Take the panel away and end its thread; the training goes on."""
        self._closed.set()
        _PANELS.discard(self)
        viewer = self._viewer
        if viewer is not None and viewer is not threading.current_thread():
            viewer.join(10)
        for widget in (self.view, *self.buttons.values()):  # some of them are not in this panel's view
            close(widget)


def _table(training: Training) -> str:
    last = list(training.interventions)[-8:][::-1]
    if not last:
        return "none yet"
    head = "".join(f"<th style='text-align:left;padding-right:2em'>{h}</th>" for h in ("step", "what", "value"))
    body = "".join(f"<tr><td>{e.step:,}</td><td style='padding-right:2em'>"
                   f"{html.escape(_what(e))}</td><td>{html.escape(_value(e))}</td></tr>" for e in last)
    return f"<table><tr>{head}</tr>{body}</table>"


def _what(entry: Intervention) -> str:
    return {"weights": "weight of {}", "learning_rates": "learning rate of {}", "turns": "a turn of the {} alone"}.get(
        entry.kind, "{}").format(entry.name)


def _value(entry: Intervention) -> str:
    return "" if entry.kind == "turns" else entry.value if isinstance(entry.value, str) else f"{entry.value:g}"


def _panels_of(training: Training) -> list[Panel]:
    return [panel for panel in list(_PANELS) if panel.training is training]


@functools.cache
def _listen() -> None:
    """After each cell, look whether its code has started a training or set a number."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.events.register("post_run_cell", _attend_all)


def _attend_all(*_: Any) -> None:
    for panel in list(_PANELS):
        panel.attend()

"""A panel for any training: every weight and learning rate as a control, and what the model makes of them."""

from __future__ import annotations

import base64
import csv
import functools
import html
import itertools
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganlab.errors import GanlabError
from ganlab.history import Controls
from ganlab.panels import draw
from ganlab.training import Training

try:
    import ipywidgets as widgets
except ImportError:
    raise GanlabError('the panels need ipywidgets: pip install "ipywidgets>=7.7,<9", then restart the kernel') from None

SHARE = 0.03
"""The part of the time that drawing may take."""

TICK = 0.25
"""Seconds between two looks at the training."""

STEP = 0.05
"""Of the sliders, in powers of ten."""

CHUNK = 200
"""Steps of the button that trains in the foreground, and of a panel that nobody can press, unless told otherwise."""

WIDTH, CURVES = 270, (420, 330)
"""Of the pictures, and of the curves if they are at most three multiples, in pixels of the page: together they fit
into a page of 900."""

WIDGET = "application/vnd.jupyter.widget-view+json"
_PANELS: weakref.WeakSet[Panel] = weakref.WeakSet()


def train(training: Training, steps: int | None = None, script: Sequence[tuple[int, str, float]] = (), *,
          live: bool | None = None, foreground: bool | None = None) -> Panel:
    """A panel to start, pause, steer and watch a training; show it by making it the last line of a cell.

    Where nobody can press a button (papermill, nbval, plain Python), the same call trains the steps at once, moves the
    controls as the script says, and shows the last pictures. Called again for the same training, it shows another
    panel of the same run; run again in the same cell, it replaces the panel that stood there.

    Args:
        training: of any model; may be running already.
        steps: so many from the press of Start; by default until Stop, and without a person `CHUNK`.
        script: (steps done in this call, name of a weight or "learning_rate/<player>", value): the moves of the hand,
            made where nobody is there to make them.
        live: whether somebody is there; by default, in a kernel whose front end can ask for input (papermill's and
            nbval's cannot), unless GANLAB_PROFILE is "ci" or GANLAB_PANELS is "off".
        foreground: train in chunks on the press of a button, with a picture after each, since pictures from a thread
            do not arrive; by default in Colab.

    Raises:
        GanlabError: the script names no control, or a training without a person failed.
    """
    live = somebody_is_there() if live is None else live
    panel = Panel(training, steps, live, "google.colab" in sys.modules if foreground is None else foreground)
    if not live:
        panel.play(CHUNK if steps is None else steps, script)
    return panel


def somebody_is_there() -> bool:
    """Whether a front end with a person is likely: see `train`."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    return (kernel is not None and getattr(kernel, "_allow_stdin", True)
            and os.environ.get("GANLAB_PROFILE") != "ci" and os.environ.get("GANLAB_PANELS") != "off")


def _snapped(value: float) -> float:
    """The nearest value that a slider can stand at: a front end moves its handle there and says so, which would
    replace an exact number by a round one."""
    return float(10 ** (round(math.log10(value) / STEP) * STEP))


class Row:
    """The controls of one number: slider, exact box, switch, and a button back to where it began.

    Any thread may call `follow`; what a person does arrives in `controls` at once.
    """

    def __init__(self, controls: Controls, name: str, paper: float, colour: str = "",
                 report: Callable[[BaseException], None] = lambda error: None,
                 moved: Callable[[], None] = lambda: None) -> None:
        self.controls, self.name, self.report, self.moved = controls, name, report, moved
        self._lock, self._follower = threading.RLock(), 0
        self._seen = self._before = math.nan
        exponent = math.log10(paper) if paper > 0 else 0.0
        self.slider = widgets.FloatLogSlider(
            value=_snapped(paper or 1.0), base=10, min=math.floor(exponent) - 2, max=math.ceil(exponent) + 2, step=STEP,
            description=name, readout=False, style={"description_width": "110px"}, layout={"width": "400px"})
        box = widgets.BoundedFloatText if controls.kind == "learning_rates" else widgets.FloatText
        self.box = box(description="value", step=None, style={"description_width": "40px"}, layout={"width": "150px"},
                       **({"min": 0, "max": 1e6} if box is widgets.BoundedFloatText else {}))
        self.switch = widgets.Checkbox(description="on", indent=False, layout={"width": "54px"})
        self.reset = widgets.Button(description=f"{paper:g}", icon="undo", layout={"width": "90px"},
                                    tooltip=f"set {name} back to {paper:g}")
        # Set as attributes, since ipywidgets 7 does not know them for these.
        self.slider.tooltip = self.switch.tooltip = name
        self.box.tooltip = f"the exact value of {name}"
        swatch = f'<span style="color:{colour}">&#9632;</span>' if colour else ""
        self.view = widgets.HBox([widgets.HTML(swatch, layout={"width": "14px"}), self.slider, self.box, self.switch,
                                  self.reset], layout={"align_items": "center"})
        self.follow()
        self.slider.observe(lambda change: self._slide(change.new, change.old), "value")
        self.box.observe(lambda change: self._write(change.new), "value")
        self.switch.observe(lambda change: self._switch(change.new), "value")
        self.reset.on_click(lambda _: self._write(paper))

    def _write(self, value: float) -> None:
        with self._lock:
            # What `follow` does to the widgets, in whichever thread, is no wish of a person.
            if self._follower:
                return
            try:
                self.controls[self.name] = value
            except GanlabError as error:
                self.report(error)
            self._seen = math.nan
            self.follow()
        self.moved()

    def _slide(self, value: float, before: float) -> None:
        # A front end answers with where it has put the handle, the same but for the last digits; a move is a step.
        if not math.isclose(value, before, rel_tol=1e-3):
            self._write(float(f"{value:.3g}"))

    def _switch(self, on: bool) -> None:
        if on != (self.controls[self.name] != 0):
            self._write(self._before if on else 0.0)

    def follow(self) -> None:
        """Show the number as it is now, if it is not what was shown last."""
        with self._lock:
            value = self.controls[self.name]
            if value == self._seen:
                return
            self._follower += 1
            try:
                self._seen = value
                if value != 0 or math.isnan(self._before):
                    self._before = value or self.slider.value
                if value > 0:
                    s = self.slider
                    nearest = _snapped(min(max(value, s.base ** s.min), s.base ** s.max))
                    if not math.isclose(s.value, nearest, rel_tol=1e-3):
                        s.value = nearest
                self.box.value, self.switch.value = value, value != 0
            finally:
                self._follower -= 1


class Panel:
    """What `train` shows. `view` is its widget; `close` takes it away and leaves the training as it is.

    Attributes:
        rows: the controls of every number by name: terms, and "learning_rate/<player>".
    """

    def __init__(self, training: Training, steps: int | None = None, live: bool = True,
                 foreground: bool = False) -> None:
        self.training, self.steps, self.live = training, steps, live
        self._until: int | None = None
        self._drawn, self._next = -1, 0.0
        self._closed, self._drawing, self._thread_lock = threading.Event(), threading.Lock(), threading.Lock()
        self._viewer: threading.Thread | None = None
        self._busy = False
        model = training.model
        self._makes = draw.Pictures(model, training.data, WIDTH)
        self._groups = [*model.players, *([draw.WATCHED] if model.watched else [])]
        self._multiple = CURVES[0], max(110, min(240, CURVES[1] // len(self._groups)))
        self._colours = dict(zip([*model.weights, *model.watched], draw.COLOURS * 9, strict=False))
        paper = {**training._initial["weights"], **type(model).weights}
        self.rows = {name: Row(training.weights, name, paper[name], self._colours[name], self._report, self._moved)
                     for name in training.weights}
        self.rows |= {f"learning_rate/{name}": Row(training.learning_rates, name, rate, "", self._report, self._moved)
                      for name, rate in training._initial["learning_rates"].items()}
        self._build(foreground)
        self.follow()
        self._cell = _cell()
        for other in list(_PANELS):
            if live and self._cell and other._cell == self._cell:
                other.close()
                if other.training is not training and other.training.state in ("running", "paused"):
                    other.training._end()
                    self._say(f"the run that this cell showed before was stopped at step {other.training.step}")
        _PANELS.add(self)
        self.draw()
        if live:
            _listen()
            self.attend()

    # ---- widgets ------------------------------------------------------------------------------------------------

    def _build(self, foreground: bool) -> None:
        def button(text: str, icon: str, tip: str, action: Callable[[], None], width: str = "86px") -> widgets.Button:
            made = widgets.Button(description=text, icon=icon, tooltip=tip, layout={"width": width})
            made.on_click(lambda _: self._do(action))
            return made

        start = button("Start", "play", "train in the background", self.start)
        self._pause = button("Pause", "pause", "finish the step and wait, or go on", self._pause_or_resume)
        chunk = self.steps or CHUNK
        ahead = button(f"Train {chunk} more steps", "play", "train, with a new picture now and then",
                       lambda: self.play(chunk), "200px")
        self.buttons = {"start": start, "pause": self._pause, "ahead": ahead,
                        "step": button("Step", "step-forward", "make one step and wait", self._one_step),
                        "stop": button("Stop", "stop", "end the run after its step", self.stop),
                        "save": button("Save", "save", "save the training to this file", self._save, "80px"),
                        "restore": button("Restore", "folder-open", "bring the training to the state in this file",
                                          self._restore, "96px"),
                        "history": button("History as CSV", "table", "write the curves beside this file",
                                          lambda: self._export("history"), "150px"),
                        "changes": button("Changes as CSV", "list", "write the changes beside this file",
                                          lambda: self._export("changes"), "150px")}
        first = ["ahead", "step"] if foreground else ["start", "pause", "step", "stop"]
        self.file = widgets.Text(str(self.training.checkpoint or f"runs/{self.training.model.name}.pt"),
                                 description="file", style={"description_width": "30px"}, layout={"width": "190px"})
        self.status, self.message, self.log = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.images = {name: widgets.Image(format="png") for name in self._makes.names}
        # No tooltip for images: with one, ipywidgets 8 fails to draw them. Their captions stand above them.
        left = [part for name, image in self.images.items() for part in (widgets.HTML(html.escape(name)), image)]
        height = self._multiple[1] * len(self._groups) + draw.BOTTOM
        self.curves = widgets.Image(format="png", width=str(self._multiple[0]), height=str(height))
        rates = widgets.Accordion([widgets.VBox([row.view for name, row in self.rows.items() if "/" in name])],
                                  selected_index=None)
        rates.set_title(0, "Learning rates")
        record = widgets.Accordion([self.log], selected_index=None)
        record.set_title(0, "Changes made while training")
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        self.view = widgets.VBox([
            widgets.HBox([self.buttons[name] for name in first] + [self.status], layout=wrap), self.message,
            widgets.HBox([widgets.VBox(left, layout={"width": f"{WIDTH + 10}px"}), self.curves],
                         layout={"flex_flow": "row wrap", "align_items": "flex-start"}),
            *(row.view for name, row in self.rows.items() if "/" not in name), rates, record,
            widgets.HBox([self.file, *(self.buttons[n] for n in ("save", "restore", "history", "changes"))],
                         layout=wrap)])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        name = self.training.model.name
        bundle: dict[str, Any] = {"text/plain": f"Training panel: {name} on {self.training.data.name}",
                                  "image/png": base64.b64encode(draw.encode(self.picture())).decode()}
        if self.live:
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return bundle

    # ---- what the buttons do ------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], None]) -> None:
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

    def _one_step(self) -> None:
        if self.training.state in ("running", "paused"):
            self.training.stop()
        self.training.run(1, progress=False)
        self.draw()

    def _save(self) -> None:
        self.training.save(self.file.value)
        self._say(f"saved step {self.training.step} to {self.file.value}")

    def _restore(self) -> None:
        self.training.stop()
        self.training.load(self.file.value)
        self._until = None
        self.draw()
        self._say(f"back at step {self.training.step}, from {self.file.value}")

    def _export(self, what: str) -> None:
        path = Path(self.file.value).with_suffix(f".{what}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "history":
            self.training.history.csv(path)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("step", "kind", "name", "value"), *self.training.interventions])
        self._say(f"wrote {path}")

    def play(self, steps: int, script: Sequence[tuple[int, str, float]] = ()) -> None:
        """Train so many steps in the foreground, with new pictures now and then, the controls moved by the script.

        Raises:
            GanlabError: the script names no control, or moves one after the last step.
        """
        for at, name, _ in script:
            if name not in self.rows or not 0 <= at < steps:
                raise GanlabError(f"the script has {name!r} at step {at}; it can move {', '.join(self.rows)} at steps "
                                  f"0 to {steps - 1}")
        begin = self.training.step
        self._until = begin + steps
        # Pictures on the way are for somebody who looks; whole rows of the history, since each run closes its last.
        every = -(-steps // (8 * self.training.log_every)) * self.training.log_every if self.live else max(1, steps)
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

    # ---- what is shown ------------------------------------------------------------------------------------------

    def _say(self, text: str, error: bool = False) -> None:
        mark = f'<span style="color:{draw.COLOURS[1]}">&#9650;</span> ' if error else ""
        self.message.value = f"<div role='status'>{mark}{html.escape(text)}</div>" if text else ""

    def _report(self, error: BaseException) -> None:
        self._say(f"{type(error).__name__}: {error}", error=True)

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
                left = (self._until - training.step) * training.batch_size / speed
                parts.append(f"{left // 60:.0f}:{left % 60:02.0f} left of {self._until:,} steps")
        self.status.value = "&ensp;" + " &middot; ".join(parts)
        self.log.value = _table(training)

    def draw(self) -> float:
        """New pictures; returns the seconds that it kept the processor, without the wait for a step to end."""
        with self._drawing:
            with self.training.model.lock:
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

    def picture(self) -> Image.Image:
        """A still of the last pictures, on white."""
        t = self.training
        return draw.join([(name, picture, size[0]) for name, (picture, size) in self._still.items()], self._curves(),
                         f"{t.model.name} on {t.data.name}, step {t.step:,}")

    # ---- the view thread ----------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Follow the training in a thread until it ends or `close` is called; at once if it does not run."""
        with self._thread_lock:
            going = self.live and not self._closed.is_set() and self.training.state in ("running", "paused")
            if going and (self._viewer is None or not self._viewer.is_alive()):
                self._viewer = threading.Thread(target=self._watch, daemon=True, name="ganlab-panel")
                self._viewer.start()
        if not self._closed.is_set():
            self.follow()

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            # Asked first, so that the last pictures are of the end.
            going = self.training.state in ("running", "paused")
            try:
                self.follow()
                if self._drawn != self.training.step and (time.perf_counter() >= self._next or not going):
                    took = self.draw()
                    self._next = time.perf_counter() + took * (1 - SHARE) / SHARE
            except Exception as error:
                self._report(error)
                self._next = time.perf_counter() + 10
            with self._thread_lock:
                if not going and self.training.state not in ("running", "paused"):
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
            _close(widget)


def _table(training: Training) -> str:
    last = list(training.interventions)[-8:][::-1]
    if not last:
        return "none yet"
    head = "".join(f"<th style='text-align:left;padding-right:2em'>{h}</th>" for h in ("step", "what", "value"))
    body = "".join(f"<tr><td>{e.step:,}</td><td style='padding-right:2em'>"
                   f"{'weight' if e.kind == 'weights' else 'learning rate'} of {html.escape(e.name)}</td>"
                   f"<td>{e.value:g}</td></tr>" for e in last)
    return f"<table><tr>{head}</tr>{body}</table>"


def _panels_of(training: Training) -> list[Panel]:
    return [panel for panel in list(_PANELS) if panel.training is training]


def _cell() -> str:
    """The front end's name for the cell that is being run, empty if there is none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    parent: dict[str, Any] = getattr(getattr(shell, "kernel", None), "get_parent", dict)()
    return str(parent.get("metadata", {}).get("cellId", ""))


@functools.cache
def _listen() -> None:
    """After each cell, look whether its code has started a training or set a number."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.events.register("post_run_cell", _attend_all)


def _attend_all(*_: Any) -> None:
    for panel in list(_PANELS):
        panel.attend()


def _close(widget: widgets.Widget) -> None:
    for child in getattr(widget, "children", ()):
        _close(child)
    for part in (widget, widget.layout, getattr(widget, "style", None)):
        if part is not None:
            part.close()

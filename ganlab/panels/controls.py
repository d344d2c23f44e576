"""What a person turns: a number, or a choice, of a training."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ganlab.errors import GanlabError
from ganlab.history import Controls
from ganlab.panels.names import names

try:
    import ipywidgets as widgets
except ImportError:
    raise GanlabError('the panels need ipywidgets: pip install "ipywidgets>=7.7,<9", then restart the kernel') from None

STEP = 0.05
"""Of the sliders, in powers of ten."""


def snapped(value: float) -> float:
    """The nearest value that a slider can stand at: a front end moves its handle there and says so, which would
    replace an exact number by a round one."""
    return float(10 ** (round(math.log10(value) / STEP) * STEP))


class Control:
    """Base: the widgets of one entry of `Controls`. Any thread may call `follow`; what a person does arrives at once.

    Attributes:
        box: the widget that holds the value as it is.
        reset: a button back to the value that the paper, or the run, began with.
        view: all of it in a line.
    """

    box: Any
    view: widgets.Widget

    def __init__(self, controls: Controls[Any], name: str, paper: Any, report: Callable[[BaseException], None],
                 moved: Callable[[], None], width: str) -> None:
        self.controls, self.name, self.report, self.moved = controls, name, report, moved
        self._lock, self._follower, self._seen = threading.RLock(), 0, None
        shown = f"{paper:g}" if isinstance(paper, float) else str(paper)
        self.reset = widgets.Button(description=shown, icon="undo", layout={"width": width},
                                    tooltip=f"set {name} back to {shown}")
        self.reset.on_click(lambda _: self._write(paper))

    def _begin(self) -> None:
        self.follow()
        self.box.observe(lambda change: self._write(change.new), "value")

    def _write(self, value: Any) -> None:
        with self._lock:
            # What `follow` does to the widgets, in whichever thread, is no wish of a person.
            if self._follower:
                return
            try:
                self.controls[self.name] = value
            except GanlabError as error:
                self.report(error)
            self._seen = None
            self.follow()
        self.moved()

    def follow(self) -> None:
        """Show the value as it is now, if it is not what was shown last."""
        with self._lock:
            value = self.controls[self.name]
            if value == self._seen:
                return
            self._follower += 1
            try:
                self._seen = value
                self._show(value)
            finally:
                self._follower -= 1

    def _show(self, value: Any) -> None:
        self.box.value = value


class Row(Control):
    """A number: slider, exact box, switch, and a button back to where it began."""

    def __init__(self, controls: Controls[float], name: str, paper: float, colour: str = "",
                 report: Callable[[BaseException], None] = lambda error: None,
                 moved: Callable[[], None] = lambda: None) -> None:
        super().__init__(controls, name, float(paper), report, moved, "90px")
        self._before = math.nan
        exponent = math.log10(paper) if paper > 0 else 0.0
        self.slider = widgets.FloatLogSlider(
            value=snapped(paper or 1.0), base=10, min=math.floor(exponent) - 2, max=math.ceil(exponent) + 2, step=STEP,
            description=name, readout=False, style={"description_width": "110px"}, layout={"width": "400px"})
        box = widgets.BoundedFloatText if controls.kind == "learning_rates" else widgets.FloatText
        self.box = box(description="value", step=None, style={"description_width": "40px"}, layout={"width": "150px"},
                       **({"min": 0, "max": 1e6} if box is widgets.BoundedFloatText else {}))
        self.switch = widgets.Checkbox(description="on", indent=False, layout={"width": "54px"})
        # Set as attributes, since ipywidgets 7 does not know them for these.
        self.slider.tooltip = self.switch.tooltip = name
        self.box.tooltip = f"the exact value of {name}"
        swatch = f'<span style="color:{colour}">&#9632;</span>' if colour else ""
        said = name if controls.kind == "weights" else f"learning rate of {name}"
        told = names([(self.slider, f"{said}, as a power of ten"), (self.box, f"{said} value"),
                      (self.switch, f"{said} on"), (self.reset, self.reset.tooltip)])
        self.view = widgets.HBox([widgets.HTML(swatch, layout={"width": "14px"}), self.slider, self.box, self.switch,
                                  self.reset, told], layout={"align_items": "center", "flex_flow": "row wrap"})
        self._begin()
        self.slider.observe(lambda change: self._slide(change.new, change.old), "value")
        self.switch.observe(lambda change: self._switch(change.new), "value")

    def _slide(self, value: float, before: float) -> None:
        # A front end answers with where it has put the handle, the same but for the last digits; a move is a step.
        if not math.isclose(value, before, rel_tol=1e-3):
            self._write(float(f"{value:.3g}"))

    def _switch(self, on: bool) -> None:
        if on != (self.controls[self.name] != 0):
            self._write(self._before if on else 0.0)

    def _show(self, value: float) -> None:
        if value != 0 or math.isnan(self._before):
            self._before = value or self.slider.value
        if value > 0:
            s = self.slider
            nearest = snapped(min(max(value, s.base ** s.min), s.base ** s.max))
            if not math.isclose(s.value, nearest, rel_tol=1e-3):
                s.value = nearest
        self.box.value, self.switch.value = value, value != 0


class Choice(Control):
    """A rule of the game: a list to choose from and, where `free`, any text that the training can read."""

    def __init__(self, controls: Controls[str], name: str, options: Sequence[str], free: bool = False,
                 report: Callable[[BaseException], None] = lambda error: None,
                 moved: Callable[[], None] = lambda: None) -> None:
        first = controls[name]
        super().__init__(controls, name, first, report, moved, "200px")
        options = list(dict.fromkeys([first, *options]))
        arguments = {"options": options, "value": first, "description": name, "layout": {"width": "400px"},
                     "style": {"description_width": "110px"}}
        self.box = widgets.Combobox(**arguments, continuous_update=False) if free else widgets.Dropdown(**arguments)
        self.box.tooltip = name
        told = names([(self.box, name), (self.reset, self.reset.tooltip)])
        self.view = widgets.HBox([widgets.HTML(layout={"width": "14px"}), self.box, self.reset, told],
                                 layout={"align_items": "center", "flex_flow": "row wrap"})
        self._begin()

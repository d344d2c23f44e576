"""A GAN in the plane that can be watched and steered while it learns: any distribution, also one drawn by hand."""

from __future__ import annotations

import atexit
import collections
import math
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from ganlab import metrics, models, objectives
from ganlab.data import toys
from ganlab.errors import DataError, GanlabError
from ganlab.models.gan import GAN
from ganlab.objectives import OBJECTIVES, Objective
from ganlab.panels import draw, field
from ganlab.panels.controls import Choice, Control, Row, widgets
from ganlab.panels.names import names, section
from ganlab.panels.pad import Event, Pad
from ganlab.panels.shown import CHUNK, Shown, close, pictures_from_threads, somebody_is_there
from ganlab.schedule import SCHEDULES
from ganlab.training import Training

PLANE, CURVES = 370, (316, 112)
"""Of the picture, and of each multiple of the curves, in pixels of the page: together they fit into a page of 900."""

PERIOD, LONGEST = 1 / 15, 1 / 12
"""Seconds between two pictures, and what they become where drawing would take more than half of the time."""

HIDDEN, BATCH = (64, 64), 64
"""Of the networks and of a step: small enough for hundreds of steps a second, wide enough for a ring."""

KINDS: dict[str, dict[str, Any]] = {
    "gan": {"rate": 1e-3, "longer": 10 ** 0.5, "weights": {}},
    "wgan": {"rate": 1e-3, "longer": 1e5, "weights": {}},
    # The 10 of the paper is for images; its authors' own code has 0.1 for mixtures in the plane.
    "wgangp": {"rate": 1e-3, "longer": 1.0, "weights": {"gradient_penalty": 0.1}}}
"""Models by name, with the learning rate, the length of the arrows and the weights that suit the plane."""

PACES = {"2 steps a second": 2.0, "5 steps a second": 5.0, "15 steps a second": 15.0, "50 steps a second": 50.0,
         "150 steps a second": 150.0, "as fast as it goes": math.inf}
"""From slow to fast."""

BY_HAND = "drawn by hand"
COLOURS = {"D(x)": field.REAL, "D(G(z))": field.GENERATED, "adversarial": draw.COLOURS[2],
           "gradient_penalty": draw.COLOURS[3], "wasserstein": draw.COLOURS[4]}

_OPEN: weakref.WeakSet[Playground] = weakref.WeakSet()


def playground(distribution: str = "ring", objective: str | None = None, *, model: str = "gan",
               schedule: str | None = None, steps: int | None = None,
               script: Sequence[tuple[int, str, float | str]] = (), seed: int = 0, live: bool | None = None,
               foreground: bool | None = None) -> Playground:
    """A GAN of points in the plane to play with; show it by making it the last line of a cell.

    The picture shows what D says of every place, the generator's plane of latents as a bent grid, samples of both
    sides, and as arrows where D pushes the generated ones: minus the gradient of the generator's term at each. Either
    player can be moved alone, objective, schedule and learning rates can be changed on the way, and
    `playground.training` has recorded all of it: `panels.train` shows its log and replays it.

    Where nobody can press a button (see `panels.train`), the same call trains the steps at once, moves the controls as
    the script says, and shows the last picture.

    Args:
        distribution: a name in `ganlab.data.toys.TOYS`, or strokes "x,y x,y ...; x,y ..." as the panel writes them
            when they are drawn by hand (see `field.drawn`).
        objective, schedule: as for a `Training`; by default the model's.
        model: "gan", "wgan" or "wgangp".
        steps: so many from the press of Run; by default until Pause, and without a person 200.
        script: (steps done in this call, name, value), where nobody is there; a name is that of a weight,
            "learning_rate/<player>", "objective", "schedule", or "turn", whose value is the player that moves alone.
        seed: of the first weights, and of everything random in the training.
        live, foreground: as for `panels.train`.

    Raises:
        GanlabError: a name that is not known, strokes that cannot be read, or a training without a person that failed.
    """
    live = somebody_is_there() if live is None else live
    foreground = not pictures_from_threads() if foreground is None else foreground
    made = Playground(distribution, objective, model, schedule, steps, seed, live, foreground)
    if not live:
        made.play(CHUNK if steps is None else steps, script)
    return made


def read_strokes(text: str) -> list[list[tuple[float, float]]]:
    """Strokes from "x,y x,y ...; x,y ...": points of the plane, lines between spaces, strokes between semicolons.

    Raises:
        DataError: it cannot be read so, or a point lies outside of the picture.
    """
    try:
        strokes = [[(float(x), float(y)) for x, y in (point.split(",") for point in stroke.split())]
                   for stroke in text.split(";") if stroke.strip()]
        if not all(abs(value) <= field.HALF for stroke in strokes for point in stroke for value in point):
            raise ValueError
    except ValueError:
        raise DataError(f"cannot read the strokes {text!r}; write points from {-field.HALF:g} to {field.HALF:g} as "
                        "'x,y x,y', and a semicolon between two strokes: '-1,0 1,0; 0,2'") from None
    return strokes


class Playground(Shown):
    """What `playground` shows. `view` is its widget; `close` ends the run and takes it away.

    It drives its training itself, in a thread of its own between Run and Pause, by `Training.run` and `Training.turn`.

    Attributes:
        training: the one that is shown; another distribution, another model and Reset begin a new one.
        rows: the controls by name: terms, "learning_rate/<player>", "objective" and "schedule".
        strokes: what is drawn by hand.
    """

    training: Training

    def __init__(self, distribution: str = "ring", objective: str | None = None, model: str = "gan",
                 schedule: str | None = None, steps: int | None = None, seed: int = 0, live: bool = True,
                 foreground: bool = False) -> None:
        if model not in KINDS:
            raise GanlabError(f"the playground has no model {model!r}; it has {', '.join(KINDS)}")
        if not 0 <= seed <= 2 ** 31:
            raise GanlabError(f"the playground's seed must be from 0 to 2,147,483,648, not {seed}")
        self.live, self.steps, self._foreground = live, steps, foreground
        by_name = distribution in toys.TOYS
        if not by_name and "," not in distribution:
            raise DataError(f"no distribution is called {distribution!r}; there are {', '.join(toys.TOYS)}, and "
                            "strokes such as '-1,0 1,0; 0,2'")
        self.strokes = [] if by_name else read_strokes(distribution)
        self._stroke: list[tuple[float, float]] = []
        self._hands, self._drawing, self._quiet = threading.RLock(), threading.Lock(), 0
        self._driver: threading.Thread | None = None
        self._halt, self._busy = threading.Event(), False
        self._per_step, self._took, self._next_curves = 0.005, 0.0, 0.0
        self._frames = collections.deque[tuple[float, int]](maxlen=30)
        self._probe: tuple[float, float] | None = None
        self.rows: dict[str, Control] = {}
        self._build(distribution if by_name else BY_HAND, model, seed)
        self._begin(objective, schedule)
        self._take_place()
        _OPEN.add(self)

    # ---- widgets ------------------------------------------------------------------------------------------------

    def _build(self, distribution: str, model: str, seed: int) -> None:
        def button(text: str, icon: str, tip: str, action: Callable[[], Any], width: str = "86px") -> widgets.Button:
            made = widgets.Button(description=text, icon=icon, tooltip=tip, layout={"width": width})
            made.on_click(lambda _: self._do(action))
            return made

        def chosen(kind: type[widgets.Widget], text: str, width: str, action: Callable[[Any], Any],
                   **more: Any) -> widgets.Widget:
            made = kind(description=text, style={"description_width": "initial"}, layout={"width": width}, **more)
            made.observe(lambda change: self._do(lambda: action(change.new)) if not self._quiet else None, "value")
            return made

        ahead = self.steps or CHUNK
        self.buttons = {
            "run": button("Run", "play", "", self._run_or_pause),
            "ahead": button(f"Run {ahead} steps", "play", "train, with pictures on the way",
                            lambda: self.play(ahead), "130px"),
            "discriminator": button("Step D", "step-forward", "one step in which only the discriminator moves",
                                    lambda: self.step("discriminator")),
            "generator": button("Step G", "step-forward", "one step in which only the generator moves",
                                lambda: self.step("generator")),
            "both": button("Step both", "step-forward", "a turn of the discriminator, then one of the generator",
                           self.step, "110px"),
            "reset": button("Reset", "refresh", "begin again, with the weights of this seed", self.reset),
            "clear": button("Clear", "eraser", "take away what was drawn", self._clear)}
        first = ["ahead" if self._foreground else "run", "discriminator", "generator", "both", "reset"]
        self.status, self.message = widgets.HTML(), widgets.HTML(layout={"min_height": "28px"})
        self.distribution = chosen(widgets.Dropdown, "distribution", "210px", lambda _: self._renew(),
                                   value=distribution, options=[*toys.TOYS, BY_HAND])
        self.kind = chosen(widgets.Dropdown, "model", "130px", lambda _: self._renew(), value=model,
                           options=list(KINDS))
        self.seed = widgets.BoundedIntText(seed, min=0, max=2**31, description="seed", layout={"width": "110px"},
                                           style={"description_width": "initial"})
        self.pace = widgets.SelectionSlider(options=list(PACES.items()), value=math.inf, description="pace",
                                            style={"description_width": "initial"}, layout={"width": "330px"})
        self.text = chosen(widgets.Text, "strokes", "520px", self._written, continuous_update=False,
                           placeholder="-2,0 -1,1 0,0 1,1 2,0; 0,-2", value=_written(self.strokes))
        self.at = chosen(widgets.Text, "D at", "150px", self._ask, continuous_update=False, placeholder="x, y")
        self.told = widgets.HTML()
        self.longer = chosen(widgets.FloatLogSlider, "their length", "250px", lambda _: self.draw(), base=10, min=-1,
                             max=6, step=0.5, value=1.0, readout_format=".1g")
        self.layers = {name: chosen(widgets.Checkbox, text, "auto", lambda _: self.draw(), value=True, indent=False)
                       for name, text in field.LAYERS.items()}
        self.pad = Pad((PLANE, PLANE), "The plane: what D says of every place, data and generated samples. The numbers "
                       "are beside it.", self._pointed)
        self.bar = widgets.HTML(layout={"width": f"{PLANE}px", "height": "40px", "margin": "4px 0"})
        self.curves = widgets.Image(format="png", width=str(CURVES[0]),
                                    height=str(3 * CURVES[1] + draw.BOTTOM), layout={"max_width": "none"})
        self.coverage = widgets.HTML(layout={"height": "50px", "width": f"{CURVES[0]}px"})
        self._rules, self._numbers = widgets.VBox(), widgets.VBox()
        told = names([(self.curves, "curves of the terms over the steps"), (self.distribution, "distribution"),
                      (self.kind, "model"), (self.seed, "seed"), (self.pace, "pace"), (self.text, "strokes"),
                      (self.at, "D at x, y"), (self.longer, "length of the arrows, as a power of ten"),
                      *((box, field.LAYERS[name]) for name, box in self.layers.items())])
        wrap = {"flex_flow": "row wrap", "align_items": "center"}

        def line(*parts: widgets.Widget) -> widgets.HBox:
            return widgets.HBox(list(parts), layout=wrap)

        marks = {name: widgets.HTML(mark, layout={"width": "20px"}) for name, mark in _MARKS.items()}
        self.view = widgets.VBox([
            line(*(self.buttons[name] for name in first), self.status),
            line(self.distribution, self.kind, self.seed, *([] if self._foreground else [self.pace])),
            self.message,
            widgets.HBox([widgets.VBox([self.pad.view, self.bar], layout={"width": f"{PLANE + 6}px"}),
                          widgets.VBox([self.curves, self.coverage], layout={"width": f"{CURVES[0] + 6}px"})],
                         layout={"flex_flow": "row wrap", "align_items": "flex-start"}),
            line(self.at, self.told),
            line(*(widgets.HBox([marks[name], box], layout={"margin": "0 16px 0 0"})
                   for name, box in self.layers.items()), self.longer),
            line(self.text, self.buttons["clear"]), self._rules, section("Learning rates and weights", self._numbers),
            told])

    def _control(self) -> None:
        """Controls of this kind of model."""
        training, kind = self.training, KINDS[self.kind.value]
        choices = {"objective": list(OBJECTIVES), "schedule": [str(cls()) for cls in SCHEDULES.values()]}
        old, begin = list(self.rows.values()), {**training.model.weights}
        self.rows = {name: Choice(training.rules, name, options, name == "schedule", self._report, self._moved)
                     for name, options in choices.items()}
        self.rows |= {f"learning_rate/{name}": Row(training.learning_rates, name, kind["rate"], "", self._report,
                                                  self._moved)
                      for name in training.learning_rates}
        self.rows |= {name: Row(training.weights, name, value, COLOURS[name], self._report, self._moved)
                      for name, value in begin.items()}
        self._rules.children = [self.rows[name].view for name in choices]
        self._numbers.children = [row.view for name, row in self.rows.items() if name not in choices]
        for row in old:
            close(row.view)

    @property
    def title(self) -> str:
        return f"Playground: {self.training.model.name} on {self.training.data.name}"

    def _replaced(self, by: Shown) -> str:
        was = self.running
        self.close()
        return f"the run that this cell showed before was stopped at step {self.training.step}" if was else ""

    # ---- a new training -----------------------------------------------------------------------------------------

    def _begin(self, objective: str | None = None, schedule: str | None = None) -> None:
        """A new model and a new training on the distribution that is chosen. Rules, learning rates and weights stay as
        they are; of another kind of model they are those that suit it."""
        before = getattr(self, "training", None)
        afresh = before is None or before.model.name != self.kind.value
        if not afresh:
            objective, schedule = self.training.rules["objective"], self.training.rules["schedule"]
        kind, name = KINDS[self.kind.value], self.distribution.value
        data = field.drawn(self.strokes) if name == BY_HAND else toys.TOYS[name]("train")
        model = models.create(self.kind.value, shape=(2,), latent=2, hidden=HIDDEN, seed=self.seed.value,
                              weights=kind["weights"] if afresh else dict(self.training.weights),
                              **({"objective": objective} if objective else {}))
        rates = kind["rate"] if afresh else dict(self.training.learning_rates)
        training = Training(model, data, self.seed.value, batch_size=BATCH, learning_rate=rates,
                            schedule=schedule, device="cpu")
        assert isinstance(model, GAN)
        self.training, self._gan, self._real = training, model, data.images[:field.SAMPLES]
        self._groups = [*model.players, draw.WATCHED]
        self._modes = self._where(name)
        if afresh:
            self._control()
            self._set(self.longer, kind["longer"])
        for row in self.rows.values():
            row.controls = getattr(training, row.controls.kind)
            row.follow()
        self._next_curves = 0.0
        self._frames.clear()
        self.draw()

    def _where(self, name: str) -> tuple[torch.Tensor, float] | None:
        """The modes of the distribution and their radius, where it has some."""
        if name == BY_HAND:
            dots = all(len(stroke) == 1 for stroke in self.strokes)
            return (torch.tensor([stroke[0] for stroke in self.strokes]), 3 * field.NOISE) if dots else None
        try:
            return toys.modes(name)
        except DataError:
            return None

    def _renew(self, go_on: bool = True) -> None:
        """A new training in the place of this one, which goes on if this one did."""
        going = self.running
        self.pause()
        if self._waits:
            self.draw()
            self._say("Draw with the mouse in the picture, a click for a mode, or write strokes below.")
            return
        self._begin()
        if going and go_on:
            self.run()

    @property
    def _waits(self) -> bool:
        return self.distribution.value == BY_HAND and not self.strokes

    def reset(self) -> None:
        """Begin again with new weights from the seed, everything else as it is, and wait."""
        self._renew(go_on=False)

    # ---- the mouse and its alternatives -------------------------------------------------------------------------

    def _pointed(self, event: Event) -> None:
        def act() -> None:
            if event.kind == "move" or (event.kind != "leave" and self.distribution.value != BY_HAND):
                self._probe = _place(event.x, event.y)
                self._answer()
            elif event.kind != "leave":
                self._stroke = _thinned([_place(x, y) for x, y in event.stroke])
                if event.kind == "up":
                    self._take([*self.strokes, self._stroke])
                elif not self.running:
                    self.draw()
        self._do(act, quiet=event.kind in ("move", "leave"))

    def _take(self, strokes: list[list[tuple[float, float]]]) -> None:
        self.strokes, self._stroke = strokes, []
        self._set(self.text, _written(strokes))
        if strokes or self.distribution.value == BY_HAND:
            self._set(self.distribution, BY_HAND)
            self._renew()

    def _written(self, text: str) -> None:
        self._take(read_strokes(text))

    def _clear(self) -> None:
        self._take([])

    def _ask(self, text: str) -> None:
        stroke = read_strokes(re.sub(r"\s*,\s*", ",", text.strip()))
        self._probe = stroke[0][0] if stroke else None
        self._answer()

    def _answer(self) -> None:
        """Say what D says at the place that was asked for."""
        if self._probe is None:
            self.told.value = ""
            return
        gan, objective, point = self._gan, self._objective, torch.tensor([self._probe])
        value, (x, y) = float(field.judged(gan, objective, point)), field.pulls(gan, objective, point)[0]
        self.told.value = (f"({self._probe[0]:.2f}, {self._probe[1]:.2f}): D(x) = {value:.3g}, "
                           f"push ({float(x):.2g}, {float(y):.2g})")

    def _moved(self) -> None:
        if not self.running:
            self.draw()

    def _set(self, widget: widgets.Widget, value: Any) -> None:
        """Show a value that no person has chosen."""
        self._quiet += 1
        try:
            widget.value = value
        finally:
            self._quiet -= 1

    # ---- running ------------------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], Any], quiet: bool = False) -> None:
        """What a person asks for, one thing at a time; what goes wrong is said in the panel."""
        with self._hands:
            if not quiet:
                self._say("")
            try:
                action()
            except Exception as error:
                self._report(error)
            self.follow()

    @property
    def running(self) -> bool:
        """Whether it is between Run and Pause."""
        return self._driver is not None and self._driver.is_alive()

    def _run_or_pause(self) -> None:
        if self.running:
            self.pause()
        else:
            self.run()

    def run(self) -> None:
        """Train in the background until `pause`, or for the steps that were asked for."""
        self._ready()
        with self._hands:
            if not self.running:
                self._halt.clear()
                self._driver = threading.Thread(target=self._drive, daemon=True, name="ganlab-playground")
                atexit.register(self.pause)
                self._driver.start()
        self.follow()

    def pause(self) -> None:
        """Finish the step and the picture, and wait."""
        self._halt.set()
        driver = self._driver
        if driver is not None and driver is not threading.current_thread():
            driver.join()

    def step(self, player: str = "") -> None:
        """One step in which only this player moves, or a turn of each."""
        self._ready()
        self.pause()
        try:
            if player:
                self.training.turn(player)
            elif self.training.rules["schedule"] == "alternate":
                self.training.run(1, progress=False)
            else:
                for name in self.training.model.players:
                    self.training.turn(name)
        finally:
            self._next_curves = 0.0
            self.draw()

    def _ready(self) -> None:
        if self._waits:
            raise GanlabError("nothing is drawn yet; draw with the mouse in the picture, or write strokes below it")

    def _advance(self, most: float) -> float:
        """Some steps, at most so many, and a picture, in a time in which pictures still follow each other; returns how
        many steps."""
        begin = time.perf_counter()
        took = self._took
        left = max(PERIOD - took, min(took, LONGEST - took))
        steps = max(1, min(int(left / self._per_step), int(min(most, 1000))))
        self.training.run(steps, progress=False)
        self._per_step = 0.8 * self._per_step + 0.2 * (time.perf_counter() - begin) / steps
        self.draw()
        self._frames.append((time.perf_counter(), self.training.step))
        return steps

    def _drive(self) -> None:
        training = self.training
        until = math.inf if self.steps is None else training.step + self.steps
        due = time.perf_counter()
        try:
            while not self._halt.is_set() and training.step < until:
                pace = self.pace.value
                most = min(until - training.step, max(1.0, pace * PERIOD))
                due = max(due + self._advance(most) / pace, time.perf_counter() - PERIOD)
                # Short waits, so that another pace is taken at once.
                while (self.pace.value == pace and (left := due - time.perf_counter()) > 0
                       and not self._halt.wait(min(left, 0.1))):
                    pass
                due = due if self.pace.value == pace else time.perf_counter()
        except Exception as error:
            self._report(error)
        finally:
            self._halt.set()
            self._next_curves = 0.0
            try:
                self.draw()
            except Exception as error:
                self._report(error)
            self._driver = None
            atexit.unregister(self.pause)
            self.follow()

    def play(self, steps: int, script: Sequence[tuple[int, str, float | str]] = ()) -> None:
        """Train so many steps in the foreground, the controls moved by the script; with pictures, if somebody looks.

        Raises:
            GanlabError: the script names no control, or moves one after the last step.
        """
        players = list(self.training.model.players)
        for at, name, value in script:
            if name not in (*self.rows, "turn") or not 0 <= at < steps or (name == "turn" and value not in players):
                raise GanlabError(f"the script has {name!r}, {value!r} at step {at}; it can move "
                                  f"{', '.join(self.rows)}, and 'turn' ({' or '.join(players)}) at steps 0 to "
                                  f"{steps - 1}")
        self._ready()
        self._busy = True
        end = self.training.step + steps
        moves = collections.deque(sorted(((self.training.step + at, n, v) for at, n, v in script), key=lambda m: m[0]))
        try:
            while self.training.step < end:
                while moves and moves[0][0] <= self.training.step:
                    self._move(*moves.popleft()[1:])
                until = min([end, *(at for at, *_ in moves)]) - self.training.step
                if self.live:
                    self._advance(until)
                else:
                    self.training.run(until, progress=False)
        finally:
            self._busy, self._next_curves = False, 0.0
            self.draw()

    def _move(self, name: str, value: float | str) -> None:
        if name == "turn":
            self.training.turn(str(value))
            return
        row = self.rows[name]
        row.box.value = value
        if row.controls[row.name] != value:
            raise GanlabError(f"the script sets {name} to {value!r}, which its box does not take")

    # ---- what is shown ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Bring controls, buttons and words up to date."""
        for row in self.rows.values():
            row.follow()
        running = self.running or self._busy
        run = self.buttons["run"]
        run.description, run.icon, run.tooltip = ("Pause", "pause", "finish the picture and wait") if running else \
            ("Run", "play", "train, with a picture as often as there is time")
        parts = ["<b>running</b>" if running else "<b>paused</b>" if self.training.step else "<b>ready</b>",
                 f"step {self.training.step:,}"]
        if running and len(self._frames) > 5:
            (first, at), (last, step) = self._frames[0], self._frames[-1]
            parts += [f"{(step - at) / (last - first):,.0f} steps/s",
                      f"{(len(self._frames) - 1) / (last - first):.0f} frames/s"]
        self.status.value = "&ensp;" + " &middot; ".join(parts)

    def draw(self) -> None:
        """A new picture, and now and then new curves."""
        with self._drawing:
            began = time.perf_counter()
            self._seen = field.look(self._gan, self._objective, self._real)
            self.pad.image.value = draw.encode(self._plane())
            self._took = time.perf_counter() - began
            if time.perf_counter() >= self._next_curves:
                self._slowly()
                # A tenth of the time at most, and three times a second.
                self._next_curves = time.perf_counter() + max(0.3, 10 * (time.perf_counter() - began))

    @property
    def _objective(self) -> Objective:
        """The one that the next step will have."""
        return objectives.get(self.training.rules["objective"])

    def _plane(self) -> Image.Image:
        layers = [] if self._waits else [name for name, box in self.layers.items() if box.value]
        strokes = [self._stroke] if self._stroke else []
        return field.picture(self._seen, self._real.numpy(), PLANE, layers, self.longer.value, strokes)

    def _slowly(self) -> None:
        """What need not be new in every picture: curves, modes, the scale of D, words."""
        self.curves.value = draw.encode(self._curves())
        self.coverage.value = "<div style='line-height:1.4'>" + "<br>".join(self._covered()) + "</div>"
        self.bar.value = _bar(self._seen.scale)
        self._answer()
        self.follow()

    def _covered(self) -> list[str]:
        if self._modes is None:
            return ["this distribution has no modes to count"]
        found, good = metrics.mode_coverage(self._gan.sample(2500, seed=1), *self._modes)
        return [f"modes found: {found} of {len(self._modes[0])}",
                f"good samples, within {self._modes[1]:.2g} of a mode: {good:.0%}"]

    def _curves(self) -> Image.Image:
        marks = [(entry.step, COLOURS.get(entry.name, draw.GREY)) for entry in list(self.training.interventions)
                 if entry.kind != "turns"]
        return draw.curves(self.training.history, self._groups, COLOURS, marks, CURVES)

    def picture(self) -> Image.Image:
        """A still of the last picture, on white, with the curves."""
        training, scale = self.training, self._seen.scale
        below = ["blue dots: data; orange squares: generated; pink: a grid of latents, drawn through the generator;",
                 "arrows: where D pushes; ground: blue where D sees data, orange where it sees fakes;",
                 f"line: D(x) = {scale.level:.3g}; half of the colour: D(x) = {scale.low:.3g} and {scale.high:.3g}",
                 *self._covered()]
        title = f"{training.model.name} on {training.data.name}, {training.rules['objective']}, step {training.step:,}"
        plane = f"the plane from {-field.HALF:g} to {field.HALF:g}", self._plane(), PLANE
        return draw.join([plane], self._curves(), title, below).quantize(128)

    def close(self) -> None:
        """End the run and take the playground away."""
        self.pause()
        _OPEN.discard(self)
        for widget in (self.view, *self.buttons.values()):  # one of them is not in the view
            close(widget)


_MARKS = {"surface": f'<span style="background:linear-gradient(to right,{field.GENERATED},#fafafa,{field.REAL});'
                     'display:inline-block;width:16px;height:10px"></span>',
          **{name: f'<span style="color:{colour}">{mark}</span>' for name, colour, mark in (
              ("manifold", field.GRID, "&#9638;"), ("real", field.REAL, "&#9679;"),
              ("generated", field.GENERATED, "&#9632;"), ("pulls", "inherit", "&#10140;"))}}


def _bar(scale: field.Scale) -> str:
    """The colours of D(x) and what they stand for."""
    colours = ",".join(f"rgb({r},{g},{b}) {i / len(field.HEAT):.0%} {(i + 1) / len(field.HEAT):.0%}"
                       for i, (r, g, b) in enumerate(field.HEAT))
    numbers = "".join(f"<span>{value:.3g}</span>" for value in (scale.low, scale.level, scale.high))
    return (f"<div style='line-height:1.3'><div style='background:linear-gradient(to right,{colours});height:10px'>"
            "</div><div style='display:flex;justify-content:space-between'><span>generated</span>"
            f"{numbers}<span>real</span></div></div>")


def _place(x: float, y: float) -> tuple[float, float]:
    """The point of the plane under the pointer."""
    return round((2 * x - 1) * field.HALF, 2), round((1 - 2 * y) * field.HALF, 2)


def _thinned(stroke: Sequence[tuple[float, float]], apart: float = 0.1) -> list[tuple[float, float]]:
    """A stroke without the points that lie closer together; a click without its trembling."""
    kept = [stroke[0]]
    for point in stroke[1:]:
        if math.dist(point, kept[-1]) >= apart:
            kept.append(point)
    return kept


def _written(strokes: Sequence[Sequence[tuple[float, float]]]) -> str:
    return "; ".join(" ".join(f"{x:g},{y:g}" for x, y in stroke) for stroke in strokes)

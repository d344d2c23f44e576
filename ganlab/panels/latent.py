"""A panel for any model with a latent space: a map of it, walks between two points, and a slider for each dimension."""

from __future__ import annotations

import contextlib
import functools
import html
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganlab import latent, plots
from ganlab.data.images import Dataset, to_float
from ganlab.errors import GanlabError
from ganlab.metrics import Judge
from ganlab.models.base import Model
from ganlab.panels import draw
from ganlab.panels.names import names
from ganlab.panels.pad import Event, Pad, widgets
from ganlab.panels.shown import Shown, close, pictures_from_threads, somebody_is_there

MAP, PICTURE, WALK = 380, 150, 310
"""Of the map, of single pictures and of the walk, in pixels of the page: together they fit into a page of 900."""

STEPS, SHOWN = 101, 12
"""Places of the slider from A to B, and how many of them the strip shows."""

SLIDERS = 6
"""Dimensions that can be turned at a time."""

CLICK = 0.015
"""A stroke that goes no farther, as a share of the map, is a click."""

_OPEN: weakref.WeakSet[Explorer] = weakref.WeakSet()


def explore(model: Model, data: Dataset, judge: Judge | None = None, n: int | None = None,
            between: tuple[int, int] | None = None, *, live: bool | None = None,
            foreground: bool | None = None) -> Explorer:
    """A panel to look around in a latent space; show it by making it the last line of a cell.

    Its map has a dot for every real and a cross for every generated image. The image under the pointer is shown, a
    click picks it as the end A or B of a walk, and sliders go from A to B or along single dimensions.

    With two latent dimensions the map is their plane, and dragging goes anywhere in it: real images lie at their codes,
    generated ones at the latents from N(0, I) from which they are drawn. (Without an encoder only the latter can be
    shown.) Otherwise t-SNE makes the map, in which only neighbourhoods mean something:

    - where there is an encoder, of what it says of all images. (The latents themselves would not do for a VAE: those of
      generated images vary in every dimension, the means of real ones only in those that are used.)
    - without one, of the images themselves: of 50 principal components of a judge's features or, without a judge, of
      the pixels (at most 32 x 32). Features of the discriminator would not do: it is trained to hold both kinds apart.
      A real image has no latent here; a search finds one whose image comes near it (`latent.invert`).

    t-SNE of 1,000 points takes about 3 seconds, of 2,000 about 7, on two CPU cores; until it is there, the map shows
    two principal components. Where nobody can press a button (see `panels.train`), the same call waits for the map,
    makes a walk by itself, and shows the last pictures.

    Args:
        model: any with a latent space; may be training in the background. "Refresh" draws the map of what it is by
            then, of the same latents.
        data: images like those it is trained on.
        judge: reads generated images, for their colours on the map and to say what is shown.
        n: real images on the map, spread over the data, and as many generated ones; by default 500, without a person
            150.
        between: the numbers of the points A and B; real images are counted first.
        live: whether somebody is there; by default found out as for `panels.train`.
        foreground: wait for t-SNE, since pictures from a thread do not arrive; by default in Colab.

    Raises:
        GanlabError: a model without a latent space or that draws no images, data of another shape, fewer than two
            images, points that are not there.
    """
    live = somebody_is_there() if live is None else live
    foreground = not live or (not pictures_from_threads() if foreground is None else foreground)
    explorer = Explorer(model, data, judge, (500 if live else 150) if n is None else n, between, live, foreground)
    if not live:
        explorer.play()
    return explorer


class Explorer(Shown):
    """What `explore` shows. `view` is its widget; `close` takes it away.

    Events of the pointer and of controls come in through `_heard`, one at a time, in whichever thread.

    Attributes:
        z: the latent that is shown (of length `latent`).
        image: drawn from it, C x H x W in [-1, 1].
        codes: latents of all points, N x latent; NaN for real images of a model without an encoder.
        images: of all points, N x C x H x W.
        labels: int64 of all points, what it is, was asked for or is read as; -1 where nobody knows.
        places: of all points on the map, N x 2, from (0, 0) at the top left to (1, 1).
    """

    def __init__(self, model: Model, data: Dataset, judge: Judge | None = None, n: int = 500,
                 between: tuple[int, int] | None = None, live: bool = True, foreground: bool = False) -> None:
        self.model, self.data, self.judge, self.live = model, data, judge, live
        self._check(n)
        self.encodes = type(model).encode is not Model.encode
        self.conditional = model.expects == "labels"
        self.plane = model.config["latent"] == 2
        self._lock, self._quiet, self._foreground = threading.RLock(), 0, foreground
        self._mapper: threading.Thread | None = None
        self._closed = False
        here = torch.linspace(0, len(data) - 1, min(n, len(data)), dtype=torch.float64).long()
        images, labels = data.fetch(here)
        self._real = to_float(images).cpu(), torch.full((len(here),), -1) if labels is None else labels.cpu()
        self.real = 0 if self.plane and not self.encodes else len(here)
        self.classes = [str(name) for name in getattr(data, "classes", ())]
        self._gather(len(here))
        a, b = self._two() if between is None else between
        if not all(0 <= i < len(self.codes) and self._known(i) for i in (a, b)):
            raise GanlabError(f"no walk from point {a} to point {b}: points with a latent go from "
                              f"{0 if self.encodes else self.real} to {len(self.codes) - 1}")
        self._ends, self._under, self._ringed, self.z = {"A": a, "B": b}, a, False, self.codes[a]
        self._build()
        self._take_place()
        _OPEN.add(self)
        self._lead()
        self._lay()
        self._look(a)
        self._walk(0)
        self._leaf()
        self._map()

    def _check(self, n: int) -> None:
        model, shape = self.model, tuple(self.model.config.get("shape", ()))
        if "latent" not in model.config:
            raise GanlabError(f"{model.name} has no latent space to explore; gan, dcgan, cgan and vae have one, for "
                              "example")
        if len(shape) != 3:
            raise GanlabError(f"{model.name} with shape={shape} draws no images; the explorer shows images")
        if tuple(self.data.shape) != shape:
            raise GanlabError(f"{model.name} draws images of shape {shape}, but those of {self.data.name} are "
                              f"{tuple(self.data.shape)}; give the data it is trained on")
        if min(n, len(self.data)) < 2:
            raise GanlabError(f"{n} of the {len(self.data)} images of {self.data.name} are too few; a walk needs two")

    # ---- points -------------------------------------------------------------------------------------------------

    def _gather(self, drawn: int) -> None:
        """All points of the model as it is now, and how much each dimension says."""
        model, size = self.model, self.model.config["latent"]
        images, labels = (part[:self.real] for part in self._real)
        with model.lock:
            z = model.noise(drawn, size, model.seeded(0)).cpu()
            asked = torch.arange(drawn) % self._count() if self.conditional else torch.full((drawn,), -1)
            made = self._decode(z, asked)
            images = torch.cat([images, made])
            seen = latent.encode(model, images) if self.encodes else made
            if not seen.isfinite().all():
                raise GanlabError(f"{model.name} has become NaN or infinite; load a checkpoint from before that")
            known = torch.cat([seen[:self.real], z]) if self.encodes else z
            # What a typical step along each dimension does to two images.
            begin = z[:2].repeat_interleave(size + 1, 0).unflatten(0, (2, -1))
            begin[:, 1:] += torch.diag(known.std(0))
            moved = self._decode(begin.flatten(0, 1), asked[:2].repeat_interleave(size + 1)).unflatten(0, (2, -1))
        read, features = None, None
        if self.judge is not None:
            read, _, features = self.judge.read(images)
        self._read, self.images = read, images
        self.labels = torch.cat([labels, asked if self.conditional or read is None else read[self.real:]])
        self.codes = known if self.encodes else torch.cat([torch.full((self.real, size), math.nan), z])
        self.telling = (moved[:, 1:] - moved[:, :1]).abs().flatten(2).mean((0, 2)).argsort(descending=True).tolist()
        self._low, self._high = known.amin(0).clamp(max=-3), known.amax(0).clamp(min=3)
        if self.plane:
            self._put(self.codes.numpy())
            return
        from sklearn.decomposition import PCA
        if not self.encodes:
            # Small pictures say enough of what is alike.
            small = images if max(images.shape[2:]) <= 32 else F.adaptive_avg_pool2d(images, 32)
            seen = small if features is None else features
        flat = seen.flatten(1).float().numpy()
        flat = PCA(min(50, *flat.shape), random_state=0).fit_transform(flat)
        self._flat = torch.from_numpy(flat)
        self._put(np.pad(flat, ((0, 0), (0, 1)))[:, :2])

    def _put(self, points: np.ndarray) -> None:
        low, high = points.min(0), points.max(0)
        # In a plane both axes have one scale.
        self._middle, half = (low + high) / 2, (high - low) / 2
        self._half = np.maximum(half.max() if self.plane else half, 1e-6)
        self.places = self._place(points)

    def _place(self, points: np.ndarray) -> np.ndarray:
        return np.nan_to_num(0.5 + (points - self._middle) / self._half * (0.47, -0.47))

    def _map(self) -> None:
        """Bring more than two dimensions to two; what a person sees until then is on the page."""
        if self.plane:
            return
        n = len(self._flat)

        def work() -> None:
            try:
                points = latent.tsne(self._flat, perplexity=min(30.0, (n - 1) / 3), progress=False)
            except Exception as error:
                if self._foreground:
                    raise
                self._report(error)
                return
            with self._lock:
                if not self._closed:
                    self._put(points)
                    self._lay()
                    if "<progress" in self.message.value:
                        self._say("")

        about = f"t-SNE of {n:,} points takes about {math.ceil(6.7 * (n / 2000) ** 1.25)} s"
        if self._foreground:
            if self.live:
                print(about)
            work()
        else:
            self._say(f"{about}; until then the map shows two principal components.", more="<progress></progress>")
            self._mapper = threading.Thread(target=work, daemon=True, name="ganlab-map")
            self._mapper.start()

    def _count(self) -> int:
        return int(self.model.config.get("classes") or len(self.classes) or self._real[1].max() + 1)

    def _known(self, i: int) -> bool:
        return bool(self.codes[i].isfinite().all())

    def _two(self) -> tuple[int, int]:
        """The first point with a latent, and the next of another label or, if there is none, the farthest."""
        first = 0 if self.encodes else self.real
        other = (self.labels[first:] != self.labels[first]).nonzero()
        away = np.square(self.places[first:] - self.places[first]).sum(1).argmax()
        return first, first + int(other[0] if len(other) else away)

    def _decode(self, z: Tensor, labels: Tensor) -> Tensor:
        parts = zip(z.split(256), labels.split(256), strict=True)
        return torch.cat([self.model.decode(some, *([y] if self.conditional else [])).float().cpu()
                          for some, y in parts])

    def _named(self, label: int) -> str:
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def _what(self, i: int) -> str:
        kind, label = "real" if i < self.real else "generated", int(self.labels[i])
        words = f"point {i}, {kind}"
        if i < self.real or self.conditional:
            words += f": {self._named(label)}" if label >= 0 else ""
        if i >= self.real and self._read is not None:
            words += f", read as {self._named(int(self._read[i]))}"
        return words

    # ---- widgets ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        def slider(kind: type[widgets.Widget], text: str, move: Callable[[Any], None], **more: Any) -> widgets.Widget:
            made = kind(description=text, style={"description_width": "60px"}, layout={"width": f"{WALK}px"}, **more)
            made.observe(lambda change: self._heard(lambda: move(change.new)), "value")
            return made

        def button(text: str, icon: str, tip: str, action: Callable[[], None], width: str) -> widgets.Button:
            made = widgets.Button(description=text, icon=icon, tooltip=tip, layout={"width": width})
            made.on_click(lambda _: self._heard(action))
            return made

        kinds = "dots are real images, crosses generated ones" if self.real else "each cross is a generated image"
        self.map = Pad((MAP, MAP), f"Latent map: {kinds}. Points are picked by number below, too.",
                       lambda event: self._heard(lambda: self._pointed(event), keep=True))
        self.message = widgets.HTML(layout={"min_height": "32px"})
        text = {"width": f"{PICTURE + 4}px", "height": "56px", "overflow": "hidden"}
        self.captions = [widgets.HTML(layout=text) for _ in range(2)]
        self.under, self.now, self.strip = (widgets.Image(format="png", layout={"margin": "0 4px 0 0"})
                                            for _ in range(3))
        last = len(self.codes) - 1
        self.ends = {}
        for end in "AB":
            box = widgets.BoundedIntText(self._ends[end], min=0, max=last, description=end,
                                         style={"description_width": "16px"}, layout={"width": "100px"})
            box.observe(lambda change: self._heard(lambda: self._pick(change.owner.description, change.new)), "value")
            self.ends[end] = box
        self.turn = widgets.ToggleButtons(options=["A", "B"], style={"button_width": "40px"})
        self.walk = slider(widgets.IntSlider, "A to B, %", self._walk, min=0, max=STEPS - 1)
        # Codes lie where the encoder puts them; latents of N(0, I) lie on a shell, which straight lines leave.
        self.path = slider(widgets.Dropdown, "path", lambda _: self._lead_and_walk(), value=not self.encodes,
                           options=[("a straight line", False), ("a great circle", True)])
        asked = [(self._named(i), i) for i in range(self._count())] if self.conditional else []
        self.label = slider(widgets.Dropdown, "label", lambda _: self._relabel(), value=-1,
                            options=[("of A and B, mixed on the way", -1), *asked])
        parts = [list(range(i, min(i + SLIDERS, len(self.telling)))) for i in range(0, len(self.telling), SLIDERS)]
        self.page = widgets.Dropdown(description="dimensions", style={"description_width": "80px"}, options=[
            (f"the {len(part)} that change most" if not i else f"{part[0] + 1} to {part[-1] + 1} in that order", i)
            for i, part in enumerate(parts)], layout={"width": f"{WALK}px"})
        self.page.observe(lambda _: self._heard(self._leaf), "value")
        self.sliders = [slider(widgets.FloatSlider, "", functools.partial(self._turn, k), readout_format=".2f")
                        for k in range(min(SLIDERS, len(self.telling)))]
        told = names([
            (self.under, "the image of the point"), (self.now, "the image that is drawn"),
            (self.strip, f"{SHOWN} images from A to B"), (self.ends["A"], f"A, number of a point from 0 to {last}"),
            (self.ends["B"], f"B, number of a point from 0 to {last}"), (self.walk, "A to B in percent"),
            (self.path, "path"), (self.label, "label"), (self.page, "dimensions"), (self.turn, "a click picks")])
        self._dimensions = widgets.HTML(layout={"display": "none"})
        self.buttons = {
            "refresh": button("Refresh", "refresh", "draw the map of the model as it is now", self.refresh, "96px"),
            "search": button("Search its latent", "search", "look for the latent whose image comes nearest to the "
                             "real image that was clicked", self.search, "150px")}
        self.buttons["search"].disabled = True
        used = [self.buttons["refresh"], *([] if self.encodes or not self.real else [self.buttons["search"]])]
        column = {"align_items": "flex-start"}
        wrap = {"flex_flow": "row wrap", "align_items": "flex-start"}
        self.view = widgets.VBox([
            widgets.HBox([
                widgets.VBox([self.map.view, widgets.HTML(self._legend()),
                              widgets.HBox([widgets.HTML("a click picks &ensp;"), self.turn]), widgets.HBox(used)],
                             layout={**column, "width": f"{MAP + 16}px"}),
                widgets.VBox([widgets.HBox([widgets.VBox([self.captions[0], self.under], layout=column),
                                            widgets.VBox([self.captions[1], self.now], layout=column)]),
                              widgets.HTML("from A (first) to B (last)"), self.strip,
                              widgets.HBox(list(self.ends.values())), self.walk, self.path,
                              *([self.label] if self.conditional else [])],
                             layout={**column, "width": f"{WALK + 20}px"})], layout=wrap),
            self.message, *([self.page] if len(parts) > 1 else []), widgets.HBox(self.sliders, layout=wrap),
            told, self._dimensions])

    def _legend(self) -> str:
        real = "&#9679; real image &emsp; " if self.real else ""
        known = bool((self.labels[self.real:] >= 0).any())
        return f"{real}&#10005; generated image{'' if known or not self.real else ' (blue: unread)'}"

    @property
    def title(self) -> str:
        return f"Latent explorer: {self.model.name} on {self.data.name}"

    # ---- what people do -----------------------------------------------------------------------------------------

    def _heard(self, action: Callable[[], None], keep: bool = False) -> None:
        """What a control or the pointer asks for; what goes wrong is said in the panel."""
        with self._lock:
            # What the panel does to its own widgets is no wish of a person.
            if self._quiet or self._closed:
                return
            if not keep and "<progress" not in self.message.value:
                self._say("")
            try:
                action()
            except Exception as error:
                if not self.live:
                    raise
                self._report(error)

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        with self._lock:
            self._quiet += 1
            try:
                yield
            finally:
                self._quiet -= 1

    def _pointed(self, event: Event) -> None:
        way = np.abs(np.subtract(event.stroke or [(event.x, event.y)], (event.stroke or [(event.x, event.y)])[0])).max()
        if event.kind == "leave":
            self._pin(ring=False)
        elif way > CLICK:
            if self.plane:
                at = (np.array([event.x, event.y]) - 0.5) / (0.47, -0.47) * self._half + self._middle
                self.z = torch.from_numpy(at).float()
                self._draw("where the pointer was")
                self._follow()
                self._pin(ring=False)
        elif event.kind == "up":
            self._pick(self.turn.value, self._nearest(event))
        else:
            self._look(self._nearest(event))

    def _nearest(self, event: Event) -> int:
        return int(np.square(self.places - (event.x, event.y)).sum(1).argmin())

    def _look(self, i: int) -> None:
        """Show the image of a point, and a ring around it on the map."""
        if (i, True) != (self._under, self._ringed):
            self._under = i
            self._show(self.under, self.images[i:i + 1])
            self.captions[0].value = html.escape(self._what(i))
            self._pin()

    def _pick(self, end: str, i: int) -> None:
        self._look(i)
        self.buttons["search"].disabled = self._known(i)
        if not self._known(i):
            self._wanted = end, i
            self._say(f"{self.model.name} has no encoder, so that point {i}, a real image, has no latent; search one.")
            with self._unheard():
                self.ends[end].value = self._ends[end]
            return
        self._ends[end] = i
        with self._unheard():
            self.ends[end].value = i
            self.turn.value = "B" if end == "A" else "A"
        self._lead()
        self._walk(0 if end == "A" else STEPS - 1)
        self._pin(self._ringed)

    def _lead(self) -> None:
        """Latents from A to B, their labels or mixtures of labels, and some of their images."""
        a, b = self._ends["A"], self._ends["B"]
        z = latent.interpolate(self.codes[a], self.codes[b], STEPS, self.path.value)
        first, last = (int(self.labels[i]) if self.label.value < 0 else self.label.value for i in (a, b))
        y = torch.full((STEPS,), first)
        if first != last and self.conditional:
            ends = F.one_hot(torch.tensor([first, last]), self._count()).float()
            y = latent.interpolate(ends[0], ends[1], STEPS)
        some = torch.linspace(0, STEPS - 1, SHOWN).round().long()
        self._way, self._passed = (z, y), self._decode(z[some], y[some])
        self._show(self.strip, self._passed, SHOWN // 2, WALK)

    def _lead_and_walk(self) -> None:
        self._lead()
        self._walk(self.walk.value)

    def _relabel(self) -> None:
        """Only the label has changed: stay at z."""
        self._lead()
        self._y = self._way[1][self.walk.value:self.walk.value + 1]
        self._draw("with the labels of A and B" if self.label.value < 0 else f"as {self._named(self.label.value)}")

    def _walk(self, step: int) -> None:
        with self._unheard():
            self.walk.value = step
        self.z, self._y = self._way[0][step], self._way[1][step:step + 1]
        self._draw(f"{step} % from A to B")
        self._follow()
        if self.plane:
            self._pin(self._ringed)

    def _turn(self, k: int, value: float) -> None:
        d, slider = self._dimension(k), self.sliders[k]
        # A front end answers with where it has put the handle; a move is a step.
        if abs(value - _snapped(slider, float(self.z[d]))) < slider.step / 2:
            return
        self.z = self.z.clone()
        self.z[d] = value
        self._draw(f"z[{d}] = {value:.2f}")
        if self.plane:
            self._pin()

    def refresh(self) -> None:
        """Draw everything anew, of the model as it is now."""
        if self._mapper is not None and self._mapper.is_alive():
            self._say("the last map is still being drawn; refresh again when it is there")
            return
        self._gather(len(self.codes) - self.real)
        for end, i in zip("AB", self._two(), strict=True):
            if not self._known(self._ends[end]):
                self._ends[end] = i
                with self._unheard():
                    self.ends[end].value = i
        self._ringed = False
        self._lead()
        self._lay()
        self._look(self._under)
        self._walk(self.walk.value)
        self._leaf()
        self._map()

    def search(self) -> None:
        """Find the latent that comes nearest to the real image that was picked, and make it an end."""
        end, i = self._wanted
        self._say("searching ...", more="<progress></progress>")
        found = latent.invert(self.model, self.images[i:i + 1], self.labels[i:i + 1] if self.conditional else None)
        self.codes[i] = found.z[0]
        self._pick(end, i)
        self._say(f"found: its image is {(found.generated - self.images[i]).abs().mean() / 2:.1%} off, on average over "
                  "the pixels")

    def play(self) -> None:
        """What somebody would do who is there: point, pick, walk, turn and change the label."""
        at = {end: self.places[i] for end, i in self._ends.items()}
        for kind, end in (("move", "A"), ("up", "A"), ("move", "B"), ("up", "B")):
            self._pointed(Event(kind, *at[end]))
        for step in range(0, STEPS, STEPS // 4):
            self.walk.value = step
        self.sliders[0].value = self.sliders[0].min
        if self.conditional:
            self.label.value = 0
            self.label.value = -1
        self.walk.value = STEPS // 2

    # ---- what is shown ------------------------------------------------------------------------------------------

    def _show(self, image: widgets.Image, images: Tensor, columns: int = 1, width: int = PICTURE) -> None:
        picture, size = _tiled(images, columns, width)
        image.width, image.height = map(str, size)
        image.value = draw.encode(picture)

    def _draw(self, how: str) -> None:
        """The image of z."""
        images = self._decode(self.z[None], self._y)
        self.image = images[0]
        self._show(self.now, images)
        self._how = how
        if self.judge is not None:
            label, probability, _ = self.judge.read(images)
            how += f", read as {self._named(int(label))}, {float(probability):.0%}"
        self.captions[1].value = f"<div role='status'>drawn: {html.escape(how)}</div>"

    def _dimension(self, k: int) -> int:
        return self.telling[min(self.page.value * SLIDERS, len(self.telling) - len(self.sliders)) + k]

    def _leaf(self) -> None:
        """Turn to other dimensions."""
        self._follow()
        named = names([(slider, slider.description) for slider in self.sliders])
        self._dimensions.value = named.value
        close(named)

    def _follow(self) -> None:
        """The sliders of single dimensions, where z is."""
        with self._unheard():
            for k, slider in enumerate(self.sliders):
                d = self._dimension(k)
                # Sixteenths in 256 steps: a front end computes with them without rounding. Otherwise it answers every
                # value with a slightly other one, and an answer that comes late would be taken for a person's move.
                low = math.floor(16 * min(float(self._low[d]), float(self.z[d]))) / 16
                high = math.ceil(16 * max(float(self._high[d]), float(self.z[d]))) / 16
                with slider.hold_sync():
                    slider.min, slider.max, slider.step = low, high, (high - low) / 256
                    slider.description, slider.value = f"z[{d}]", _snapped(slider, float(self.z[d]))

    def _lay(self) -> None:
        """The map without pins."""
        colours = [plots.DIGIT_COLOURS[label % len(plots.DIGIT_COLOURS)] if label >= 0 else draw.COLOURS[0]
                   for label in self.labels.tolist()]
        first = slice(self.real or None)  # real images, if there are, say where a class is
        labels, places = self.labels[first].numpy(), self.places[first]
        written = {self._named(label): tuple(np.median(places[labels == label], axis=0))
                   for label in np.unique(labels).tolist() if label >= 0}
        self._base = draw.latent_map(self.places, colours, np.arange(len(self.places)) >= self.real, MAP, written)
        self._pin(self._ringed)

    def _pin(self, ring: bool = True) -> None:
        self._ringed = ring
        self.map.image.value = draw.encode(self._pinned(ring))

    def _pinned(self, ring: bool = True) -> Image.Image:
        pins = {end: tuple(self.places[i]) for end, i in self._ends.items()}
        line: list[tuple[float, float]] = []
        if self.plane:
            line = [tuple(p) for p in self._place(self._way[0].numpy())]
            pins["z"] = tuple(self._place(self.z.numpy()))
        return draw.pinned(self._base, pins, tuple(self.places[self._under]) if ring else None, line)

    def picture(self) -> Image.Image:
        """A still of the last pictures on white: the map, both images, the walk, and what the first dimensions do."""
        with self._lock:
            turned = self.z.repeat(3, SHOWN // 2, 1)[:len(self.telling)]
            for row, d in zip(turned, self.telling, strict=False):
                row[:, d] = torch.linspace(float(self._low[d]), float(self._high[d]), SHOWN // 2)
            turned = turned.flatten(0, 1)
            shown = [(f"drawn: {self._how}", self.image[None], 1, PICTURE),
                     ("from A (first) to B (last)", self._passed, SHOWN // 2, WALK),
                     ("a row for each: " + ", ".join(f"z[{d}]" for d in self.telling[:3]),
                      self._decode(turned, self._y.expand(len(turned), *self._y.shape[1:])), SHOWN // 2, WALK)]
            return draw.join([(text, _tiled(images, columns, width)[0], width)
                              for text, images, columns, width in shown], self._pinned(ring=False),
                             f"{self.model.name} on {self.data.name}: dots are real, crosses generated")

    def close(self) -> None:
        """Take the panel away; a map that is not there yet comes to nothing."""
        with self._lock:
            self._closed = True
        _OPEN.discard(self)
        for widget in (self.view, *self.buttons.values(), self.label, self.page):  # some are not in this panel's view
            close(widget)


def _snapped(slider: widgets.FloatSlider, value: float) -> float:
    return float(slider.min + round((value - slider.min) / slider.step) * slider.step)


def _tiled(images: Tensor, columns: int, width: int) -> tuple[Image.Image, tuple[int, int]]:
    """As `draw.strip`, but without a frame around a single image."""
    if columns > 1:
        return draw.strip(images, columns, width)
    picture = plots.tile(images, 1, gap=0, scale=math.ceil(width / images.shape[-1]))
    return picture, (width, round(picture.height * width / picture.width))

"""A picture that tells where the pointer is, of core ipywidgets alone."""

from __future__ import annotations

import html
import json
import secrets
import threading
from collections.abc import Callable
from typing import NamedTuple

from ganlab.errors import GanlabError

try:
    import ipywidgets as widgets
except ImportError:
    raise GanlabError('the panels need ipywidgets: pip install "ipywidgets>=7.7,<9", then restart the kernel') from None

WAIT = 40
"""Milliseconds between two messages while the pointer moves; what is pressed or let go is told at once."""

POINTS = 400
"""Of what a message repeats, at most; beyond it, every other point of its strokes is left out."""

_HANDLER = """
if (!event.isPrimary) return;
const layer = this, box = layer.getBoundingClientRect();
const pad = layer.pad || (layer.pad = {id: Math.random().toString(36).slice(2), n: 0, down: false, log: [], timer: 0});
const share = v => Math.round(1e4 * Math.min(1, Math.max(0, v))) / 1e4;
const note = (kind, e) => {
  const x = share((e.clientX - box.left) / box.width), y = share((e.clientY - box.top) / box.height);
  const last = pad.log[pad.log.length - 1];
  if (kind === 'drag' && last && Math.hypot((x - last[2]) * box.width, (y - last[3]) * box.height) < 3) return;
  if (kind === 'move' && last && last[1] === 'move') pad.log.pop();
  pad.log.push([++pad.n, kind, x, y]);
  if (pad.log.length > POINTS) pad.log = pad.log.filter((e, i) => e[1] !== 'drag' || i % 2).slice(-POINTS);
};
const send = () => {
  clearTimeout(pad.timer);
  pad.timer = 0;
  const input = layer.closest('.NAME').querySelector('input');
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(
    input, JSON.stringify([pad.id, pad.log]));
  input.dispatchEvent(new Event('input', {bubbles: true}));
};
if (event.type === 'pointerdown') {
  if (event.button) return;
  layer.setPointerCapture(event.pointerId);
  pad.down = true;
  note('down', event);
  send();
} else if (pad.down && (event.type !== 'pointermove' || !event.buttons)) {
  pad.down = false;
  note('up', event);
  send();
} else if (event.type === 'pointermove' || event.type === 'pointerleave') {
  const some = pad.down && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const e of some.length ? some : [event])
    note(pad.down ? 'drag' : event.type === 'pointermove' ? 'move' : 'leave', e);
  if (!pad.timer) pad.timer = setTimeout(send, WAIT);
}
"""


class Event(NamedTuple):
    """What the pointer did: x from 0 (left) to 1, y from 0 (top) to 1, also where it was dragged out of the picture.

    Attributes:
        kind: "move" without a button, "leave", or of a stroke "down", "drag" or "up".
        stroke: every point (x, y) since "down"; empty for "move" and "leave".
    """

    kind: str
    x: float
    y: float
    stroke: tuple[tuple[float, float], ...] = ()


class Pad:
    """A picture of fixed size that tells where the pointer is.

    Over the picture lies a transparent layer that never changes, so that nothing flickers. Its handlers write what
    happens into a hidden text box, which ipywidgets brings to the kernel like anything typed. ipywidgets may replace a
    value before it is sent; so each holds the last events again, and here no press, point of a stroke or release is
    lost or told twice: "down" comes first, "up" last, and only moves without a button, and drags that arrive together,
    become one.

    Tried with ipywidgets 8.1 in JupyterLab 4.6 and Notebook 7.6, and with 7.7 in classic Notebook 6.5 (ipykernel 6.17).
    A fast stroke of 100 points arrives whole in each of them, in about 30 messages. On two busy cores the answer to a
    move, a new picture of 380 pixels a side, is on the page after 0.1 seconds. Where callbacks run depends: with
    ipykernel 7 in a thread of their own, also while a cell runs; before it in the main thread, when the cell has ended.
    Colab and VS Code were not tried.

    A pointer alone shuts people out: whoever shows a pad offers the same by sliders, number boxes or buttons too. They
    are also what is left where a page forbids inline handlers. Without a front end it is a picture, and no event comes.

    Args:
        size: (width, height) in pixels of the page.
        label: what a screen reader says.
        on_event: called with each `Event`, one at a time, in whichever thread brings the message: set values under a
            lock, never print or display.

    Attributes:
        view: the widget to show.
        image: set its `value` to the bytes of a picture (its `format` is PNG until changed).
    """

    def __init__(self, size: tuple[int, int], label: str, on_event: Callable[[Event], None] | None = None) -> None:
        self.size, self.on_event = size, on_event
        self._lock, self._seen = threading.RLock(), ("", 0)
        self._stroke: tuple[tuple[float, float], ...] = ()
        width, height = (f"{length}px" for length in size)
        name = f"ganlab-pad-{secrets.token_hex(6)}"
        handler = _HANDLER.replace("NAME", name).replace("POINTS", str(POINTS)).replace("WAIT", str(WAIT))
        others = "".join(f" on{kind}='this.onpointermove(event)'"
                         for kind in ("pointerdown", "pointerup", "pointercancel", "pointerleave"))
        place = {"grid_area": "1 / 1 / 2 / 2", "width": width, "height": height, "margin": "0", "max_width": "none"}
        self.image = widgets.Image(format="png", width=str(size[0]), height=str(size[1]), layout=place)
        layer = widgets.HTML(
            f'<div role="img" aria-label="{html.escape(label)}" onpointermove="{html.escape(handler)}"{others} '
            f'style="width:{width};height:{height};cursor:crosshair;touch-action:pinch-zoom;user-select:none"></div>',
            layout={**place, "overflow": "hidden"})
        self._told = widgets.Text(layout={"display": "none"})
        self._told.observe(lambda change: self._hear(change.new), "value")
        self.view = widgets.GridBox([self.image, layer, self._told], layout={
            "grid_template_columns": width, "grid_template_rows": height, "width": width, "height": height,
            "overflow": "hidden", "flex": "0 0 auto"})
        self.view.add_class(name)

    def _hear(self, message: str) -> None:
        with self._lock:
            try:
                page, log = json.loads(message)
                # A page that was loaded again begins to count anew.
                seen = self._seen[1] if page == self._seen[0] else 0
                news = [Event(kind, x, y) for n, kind, x, y in log if n > seen]
                self._seen = page, max([seen, *(entry[0] for entry in log)])
            except (ValueError, TypeError):
                return
            for i, event in enumerate(news):
                if event.kind in ("move", "leave"):
                    self._stroke = ()
                elif event.kind == "down":
                    self._stroke = ((event.x, event.y),)
                elif self._stroke[-1:] != ((event.x, event.y),):
                    self._stroke += ((event.x, event.y),)
                together = news[i + 1:i + 2] and news[i + 1].kind == event.kind == "drag"
                if not together and self.on_event is not None:
                    self.on_event(event._replace(stroke=self._stroke))

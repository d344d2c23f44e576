"""What all panels share: who is there to see them, the cell they stand in, what they say, and their still picture."""

from __future__ import annotations

import base64
import html
import os
import sys
import weakref
from typing import Any

from PIL import Image

from ganlab.panels import draw

CHUNK = 200
"""Steps of a button that trains in the foreground, and of a panel that nobody can press, unless told otherwise."""

WIDGET = "application/vnd.jupyter.widget-view+json"
OPEN: weakref.WeakSet[Shown] = weakref.WeakSet()


def somebody_is_there() -> bool:
    """Whether a front end with a person is likely: in a kernel whose front end can ask for input (papermill's and
    nbval's cannot), unless GANLAB_PROFILE is "ci" or GANLAB_PANELS is "off"."""
    kernel = _kernel()
    return (kernel is not None and getattr(kernel, "_allow_stdin", True)
            and os.environ.get("GANLAB_PROFILE") != "ci" and os.environ.get("GANLAB_PANELS") != "off")


def pictures_from_threads() -> bool:
    """Whether pictures that a thread draws arrive on the page; in Colab they may not."""
    return "google.colab" not in sys.modules


def _kernel() -> Any:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def _cell() -> str:
    """The front end's name for the cell that is being run, empty if there is none."""
    parent: dict[str, Any] = getattr(_kernel(), "get_parent", dict)()
    return str(parent.get("metadata", {}).get("cellId", ""))


class Shown:
    """Base of the panels: a widget where somebody is there, a picture everywhere else.

    Attributes:
        live: whether somebody is there.
        view: the widget.
        message: what it has to say, in one line.
    """

    live: bool
    view: Any
    message: Any

    @property
    def title(self) -> str:
        """Words in the place of the panel, where there is neither a widget nor a picture."""
        raise NotImplementedError

    def picture(self) -> Image.Image:
        """A still of it, on white."""
        raise NotImplementedError

    def close(self) -> None:
        """Take it away."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": self.title,
                                  "image/png": base64.b64encode(draw.encode(self.picture())).decode()}
        if self.live:
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return bundle

    def _take_place(self) -> None:
        """Replace what the cell has shown before, if it is run again."""
        self._cell = _cell()
        for other in list(OPEN):
            if self.live and self._cell and other._cell == self._cell and (told := other._replaced(self)):
                self._say(told)
        OPEN.add(self)

    def _replaced(self, by: Shown) -> str:
        """Go, since the cell shows another panel; returns what is to be said of it."""
        self.close()
        return ""

    def _say(self, text: str, error: bool = False, more: str = "") -> None:
        mark = f'<span style="color:{draw.COLOURS[1]}">&#9650;</span> ' if error else ""
        self.message.value = f"<div role='status'>{mark}{html.escape(text)} {more}</div>" if text else ""

    def _report(self, error: BaseException) -> None:
        self._say(f"{type(error).__name__}: {error}", error=True)


def close(widget: Any) -> None:
    """Close a widget and all that is in it."""
    for child in getattr(widget, "children", ()):
        close(child)
    for part in (widget, widget.layout, getattr(widget, "style", None)):
        if part is not None:
            part.close()


__all__ = ["CHUNK", "OPEN", "WIDGET", "Shown", "close", "pictures_from_threads", "somebody_is_there"]

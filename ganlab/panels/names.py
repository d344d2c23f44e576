"""What core ipywidgets leave out for screen readers and the keyboard: names of controls, and sections that fold."""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Iterable

from ganlab.errors import GanlabError

try:
    import ipywidgets as widgets
except ImportError:
    raise GanlabError('the panels need ipywidgets: pip install "ipywidgets>=7.7,<9", then restart the kernel') from None

_SCRIPT = """
const names = window.ganlabNames = Object.assign(window.ganlabNames || {}, NEW);
const tell = () => {
  for (const [key, text] of Object.entries(names))
    for (const found of document.getElementsByClassName(key)) {
      const control = found.querySelector('[role=slider], .ui-slider-handle, input, select, textarea') || found;
      control.setAttribute('aria-label', text);
      control.setAttribute('data-lm-suppress-shortcuts', 'true');
    }
};
if (!window.ganlabNaming) {
  window.ganlabNaming = new MutationObserver(tell);
  window.ganlabNaming.observe(document.body, {childList: true, subtree: true});
}
tell();
"""


def names(texts: Iterable[tuple[widgets.DOMWidget, str]]) -> widgets.HTML:
    """An invisible widget that names others; put it into the same view.

    No trait names the handle of a slider, gives a picture its alternative text, or tells one number box from the next
    without more words on the page. So this widget holds an image that cannot be loaded, whose handler writes
    `aria-label` wherever these widgets are drawn, now or later. It also leaves them their keys: Notebook 7 would take
    the arrows of a slider or a list to move between cells. A page that forbids inline handlers lacks both.

    Args:
        texts: (widget, name); what is written on a control should be part of its name.
    """
    new = {}
    for widget, text in texts:
        key = f"ganlab-{secrets.token_hex(6)}"
        widget.add_class(key)
        new[key] = text
    script = html.escape(_SCRIPT.replace("NEW", json.dumps(new)))
    return widgets.HTML(f'<img src="data:," alt="" onerror="{script}">', layout={"display": "none"})


def section(title: str, content: widgets.Widget) -> widgets.VBox:
    """A section that a button shows and hides; the titles of an Accordion cannot be reached by keyboard."""
    button = widgets.Button(icon="caret-right", description=title, tooltip=f"show {title.lower()}",
                            layout={"width": "auto"})
    hidden = widgets.VBox([content], layout={"display": "none", "padding": "4px 0 4px 14px"})

    def turn(_: widgets.Button) -> None:
        shown = hidden.layout.display == "none"
        hidden.layout.display = "" if shown else "none"
        button.icon = "caret-down" if shown else "caret-right"
        button.tooltip = f"{'hide' if shown else 'show'} {title.lower()}"

    button.on_click(turn)
    return widgets.VBox([widgets.HBox([button]), hidden])

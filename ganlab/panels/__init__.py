"""Panels of core ipywidgets for notebooks: watch a training and turn its numbers while it runs."""

from ganlab.panels.live import Panel, train
from ganlab.panels.runs import compare

__all__ = ["Panel", "compare", "train"]

"""Panels of core ipywidgets for notebooks: watch a training and turn its numbers while it runs, look around in what it
has learned."""

from ganlab.panels.latent import Explorer, explore
from ganlab.panels.live import Panel, train
from ganlab.panels.pad import Pad
from ganlab.panels.playground import Playground, playground
from ganlab.panels.runs import compare

__all__ = ["Explorer", "Pad", "Panel", "Playground", "compare", "explore", "playground", "train"]

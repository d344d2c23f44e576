"""ganlab: a course on generative adversarial networks, and the small library behind it.

Every model is a set of players; on its turn each player minimises a weighted sum of named terms.
Start with `ganlab.models` (one paper, one file) and `ganlab.training` (the one training loop).
"""

__version__ = "0.1.0"

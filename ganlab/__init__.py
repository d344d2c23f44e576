"""ganlab: a course on generative adversarial networks, and the small library behind it.

Every model is a set of players; on its turn each player minimises a weighted sum of named terms.
Start with `ganlab.models` (one paper, one file) and `ganlab.training` (the one training loop).
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Modules are imported when they are first asked for: importing PyTorch takes seconds.
    if name in {"course", "data", "latent", "metrics", "models", "objectives", "plots", "schedule", "training"}:
        return importlib.import_module(f"ganlab.{name}")
    raise AttributeError(f"ganlab has no {name!r}")

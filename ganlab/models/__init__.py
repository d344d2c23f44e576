"""The models of the course, one paper a file. `MODELS` holds them by name; a new file here enters itself."""

import importlib
import inspect
import pkgutil
from typing import Any

from ganlab.errors import GanlabError
from ganlab.models.base import MODELS, Model

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MODELS", "Model", "create"]


def __getattr__(name: str) -> Any:
    for cls in MODELS.values():
        if cls.__name__ == name:
            return cls
    raise AttributeError(f"ganlab.models has no {name!r}; models: {', '.join(c.__name__ for c in MODELS.values())}")


def create(name: str, **config: Any) -> Model:
    """Build a model by name.

    Args:
        name: a key of `MODELS`.
        config: arguments of its constructor, for example `shape=(1, 28, 28)`, `latent=16`, `weights={"kl": 4.0}`.

    Raises:
        GanlabError: unknown name or argument; the message lists what there is.
    """
    if name not in MODELS:
        raise GanlabError(f"no model is called {name!r}; models: {', '.join(MODELS)}")
    allowed = [*list(inspect.signature(MODELS[name].__init__).parameters)[1:], "weights", "seed"]
    unknown = [key for key in config if key not in allowed]
    if unknown:
        raise GanlabError(f"{name} has no argument {', '.join(map(repr, unknown))}; it takes {', '.join(allowed)}")
    return MODELS[name](**config)

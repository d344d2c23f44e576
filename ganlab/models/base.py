"""What every model is: a set of players, each with its own named, weighted terms."""

import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganlab.errors import GanlabError
from ganlab.objectives import Objective
from ganlab.seeds import seeded

MODELS: dict[str, type["Model"]] = {}
"""Every model by name. A class that derives from `Model` enters itself."""

Round = SimpleNamespace
"""What one step's `play` has produced and every turn of that step shares; the fields are the model's own."""

Terms = dict[str, Tensor]
"""Name to scalar: the terms that a player minimises, and what is only watched."""


class Turnstile:
    """A lock that two threads take in turn, so that a busy training loop cannot starve a waiting reader.

    Reentrant: the thread that holds it may take it again.
    """

    def __init__(self) -> None:
        self._gate, self._lock = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._owner != threading.get_ident():
            with self._gate:
                self._lock.acquire()
            self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()


def inference(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run a model's method between two training steps, in eval mode and without gradients."""

    @functools.wraps(method)
    def call(self: "Model", *args: Any, **kwargs: Any) -> Any:
        with self.lock, torch.no_grad():
            training = self.training
            self.eval()
            try:
                return method(self, *args, **kwargs)
            finally:
                self.train(training)

    return call


class Recorded(type):
    """Builds a model so that it can be built again: keeps the arguments, and draws its first weights from a seed.

    What all models have in common stands here and not in the papers' files: `seed` and `weights`.
    """

    def __call__(cls, *args: Any, seed: int = 0, weights: Mapping[str, float] | None = None, **kwargs: Any) -> Any:
        with seeded(int(seed)):
            model = super().__call__(*args, **kwargs)
        arguments = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        arguments.apply_defaults()
        model.config = {name: plain(value) for name, value in list(arguments.arguments.items())[1:]}
        model.seed = int(seed)
        model.begin_with(weights or {})
        return model


def plain(value: Any) -> Any:
    """A configured value without NumPy or list types, so that it can be stored and compared."""
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    return value.item() if hasattr(value, "item") else value


class Model(nn.Module, metaclass=Recorded):
    """A set of players. To write a new paper down, derive from this class and give

    - `weights`: the name of every term and the paper's weight for it;
    - the players: every child network `name` that has a method `name_terms`, in the order of their turns;
    - `play(*batch)`: what all turns of a step share (a GAN's fakes), as a `Round`;
    - `<player>_terms(round)`: that player's terms as scalars, by name.

    On its turn a player minimises `sum(weights[name] * terms[name])` over its own parameters. Names listed in
    `watched` are recorded but not minimised. `learning_rate`, `betas`, `batch_size` and `schedule` are the paper's
    settings. `expects` says what a batch holds: "images" (their labels may be None), "labels" (images with labels),
    "domains" (images of two domains) or "pairs" (of two domains, image for image). `small` are arguments for a model
    that a CPU trains in minutes on images of 28 to 64 pixels, and `small_training` those of its `Training`; where they
    are empty, the paper's setting is small enough.
    Random numbers in `play` come from `noise`, or from `generator=self.rng`; dropout layers are seeded too.

    Every model takes two arguments more than its `__init__` has: `seed` (0), which alone decides its first weights,
    and `weights`, which replaces single weights of terms by name.

    Attributes:
        config: the arguments of `__init__`, plain values that build the same model again.
        objective: of the adversarial game, for models that have a choice.
        lock: held by the training during a step, and by `inference`.
    """

    weights: Mapping[str, float] = {}
    watched: ClassVar[tuple[str, ...]] = ()
    learning_rate: ClassVar[float] = 2e-4
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    batch_size: ClassVar[int] = 64
    schedule: ClassVar[str] = "alternate"
    expects: ClassVar[str] = "images"
    small: ClassVar[Mapping[str, Any]] = {}
    small_training: ClassVar[Mapping[str, Any]] = {}
    seed: int
    config: dict[str, Any]
    objective: Objective

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = MODELS.get(cls.__name__.lower())
        if known and known.__module__.startswith("ganlab.") and known.__module__ != cls.__module__:
            raise GanlabError(f"ganlab has a model called {cls.__name__.lower()} already; give your class another name")
        MODELS[cls.__name__.lower()] = cls

    def __init__(self) -> None:
        super().__init__()
        self.lock = Turnstile()
        self.share = (0, 1)
        self.trained = False
        self.rng: torch.Generator | None = None

    @property
    def name(self) -> str:
        """The model's name in `MODELS`."""
        return type(self).__name__.lower()

    @property
    def players(self) -> dict[str, nn.Module]:
        """Name to network of every player, in the order of their turns."""
        return {name: child for name, child in self.named_children() if hasattr(self, f"{name}_terms")}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def begin_with(self, weights: Mapping[str, float]) -> None:
        """Replace weights of terms by name; unknown names are a `GanlabError`."""
        if unknown := set(weights) - set(self.weights):
            raise GanlabError(f"{self.name} has no term {', '.join(map(repr, sorted(unknown)))}; "
                              f"its terms are {', '.join(map(repr, self.weights))}")
        # Read-only: while a training runs, `training.weights` is the place to change them.
        self.weights = MappingProxyType(dict(self.weights) | {n: plain(v) for n, v in weights.items()})

    def play(self, x: Tensor, labels: Tensor | None = None) -> Round:
        """What the turns of one step share. x: the batch of data, float; labels: int64 of length N or None.

        Where the model `expects` "domains", the two arguments are the images of A and of B.
        """
        raise NotImplementedError

    def moved(self, player: str) -> None:
        """Called after a player's turn, without gradients: the place to bring parameters back into their range."""

    def forward(self, player: str, round: Round) -> Terms:
        """The terms of one player in this round, float32 scalars by name."""
        terms: Terms = getattr(self, f"{player}_terms")(round)
        for name in terms:
            if name not in self.weights and name not in self.watched:
                raise GanlabError(f"{self.name}: the {player} has a term {name!r} without a weight; "
                                  f"weights: {list(self.weights)}, watched: {list(self.watched)}")
        return terms

    def optimizer(self, player: str, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """The paper's optimizer for one player: Adam (arXiv:1412.6980)."""
        return torch.optim.Adam(parameters, lr=learning_rate, betas=self.betas,
                                fused=self.device.type in ("cpu", "cuda"))

    def encode(self, x: Tensor) -> Tensor:
        """The codes (N x latent) of images (N x C x H x W in [-1, 1]), for models that have an encoder."""
        raise GanlabError(f"{self.name} has no encoder; the autoencoder and the vae have")

    def decode(self, z: Tensor) -> Tensor:
        """The images (N x C x H x W in [-1, 1]) of latents (N x latent)."""
        raise GanlabError(f"{self.name} draws nothing from noise, it translates images: use translate(images)")

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images (N x C x H x W in [-1, 1]) in the other domain, for models that translate.

        Args:
            to: the domain to arrive in, "b" or "a".
        """
        raise GanlabError(f"{self.name} translates no images; pix2pix, cyclegan and ugatit do")

    @inference
    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """n images (N x C x H x W in [-1, 1]) of latents drawn from N(0, I); the same again for the same seed.

        Without a seed the latents come from PyTorch's own random stream.
        """
        return self.decode(self.noise(n, self.config.get("latent", 0), self.seeded(seed)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images through their codes and back, N x C x H x W in [-1, 1]."""
        return self.decode(self.encode(x))

    def noise(self, n: int, size: int, rng: torch.Generator | None = None) -> Tensor:
        """n latents of `size` values from N(0, I) on the model's device.

        When several processes train together they draw the whole batch's noise and each keeps its own rows,
        so that the result does not depend on how many they are.
        """
        rank, world = self.share if rng is None else (0, 1)
        z = torch.randn(n * world, size, generator=rng or self.rng, device=self.device)
        return z[rank::world]

    def seeded(self, seed: int | None) -> torch.Generator | None:
        """A random stream of its own on the model's device; none if `seed` is None."""
        return None if seed is None else torch.Generator(self.device).manual_seed(seed)

    def __getstate__(self) -> dict[str, Any]:
        # Locks and random streams cannot be copied; a copy of a model gets its own.
        return {**self.__dict__, "lock": None, "rng": None, "weights": dict(self.weights)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.lock, self.weights = Turnstile(), MappingProxyType(dict(self.weights))


def mlp(*widths: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers from widths[0] to widths[-1], the activation between them and not after the last."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [activation()] * (i > 0) + [nn.Linear(a, b)]
    return nn.Sequential(*layers)

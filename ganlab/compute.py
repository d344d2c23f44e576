"""Three exchanges that change results by rounding at most: time for memory, and slow first steps for faster ones."""

import functools
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from ganlab.errors import GanlabError
from ganlab.models.base import Model


def networks(model: Model, *without: str) -> list[nn.Module]:
    """The networks that the players, without those named, are made of: CycleGAN's generator, for example, is two."""
    return [network for name, player in model.players.items() if name not in without
            for network in (player.children() if type(player).forward is nn.Module.forward else [player])]


def recompute(model: Model) -> None:
    """Keep only the input of each network for the gradient, and run it again there (arXiv:1604.06174, section 4).

    Networks whose forward pass changes something in them (running averages, the vectors of spectral norm) stay as
    they are: a second pass would change it a second time.

    Raises:
        GanlabError: none of the model's networks is left.
    """
    chosen = [network for network in networks(model) if not any(map(_remembers, network.modules()))]
    if not chosen:
        raise GanlabError(f"recompute would do nothing for {model.name}: batch norm's running averages or spectral "
                          "norm are in all its networks; use a smaller batch_size, or precision='bf16'")
    for network in chosen:
        # A partial is copied together with the network; a closure would run the one that the copy was made of.
        network.forward = functools.partial(_again, network)


def _again(network: nn.Module, *inputs: Any) -> Any:
    forward = functools.partial(type(network).forward, network)
    if torch.is_grad_enabled():
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=drops(network))
    return forward(*inputs)


def drops(module: nn.Module) -> bool:
    """Whether there is dropout in it, which draws from PyTorch's own random stream."""
    return any(isinstance(m, nn.modules.dropout._DropoutNd) for m in module.modules())


def _remembers(module: nn.Module) -> bool:
    return getattr(module, "track_running_stats", False) or is_parametrized(module)


def compile(model: Model) -> None:
    """Let `torch.compile` translate every network; the first steps then take minutes. On a CPU it needs a C++ compiler
    and gains nothing (`benchmarks/README.md`).

    A critic with a gradient penalty stays as it is: `torch.compile` knows no gradient of a gradient.
    """
    for network in networks(model, *["discriminator"] * ("gradient_penalty" in model.weights)):
        # Not `network.compile()`: PyTorch 2.11, for one, then overlooks networks of nothing but its own layers.
        network._compiled_call_impl = torch.compile(network.forward)


class Numbers(dict[str, Tensor]):
    """Numbers by name as scalars on a device, where what has been recorded reads them."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device, self._given = device, dict[str, float]()

    def take(self, values: Mapping[str, float]) -> None:
        """Let them be these from now on; only what differs is sent to the device."""
        for name, value in values.items():
            if name not in self:
                self[name] = torch.zeros((), device=self._device)
            if self._given.get(name) != value:
                self[name].fill_(value)
                self._given[name] = value


def without_graphs(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state as it would be where no step is recorded."""
    return {**state, "param_groups": [
        {**group, "lr": float(group["lr"]), **({"capturable": False} if "capturable" in group else {})}
        for group in state["param_groups"]]}


class Graphs:
    """Steps as CUDA graphs: some hundred kernels that the processor would launch one by one are launched at once.

    The first steps of every kind run as they are, so that libraries choose their kernels and optimizers make their
    averages; the next is recorded, and from then on repeated. What differs from one step to the next has to come
    through tensors that stay where they are. Random numbers go on as they would.

    Args:
        rng: the stream from which the steps draw, besides PyTorch's own.
        release: called before a recording, to let go of what a step makes anew, its gradients above all.

    Attributes:
        numbers: what a person may change, for the steps to read.
    """

    warm: ClassVar[int] = 3
    kept: ClassVar[int] = 8

    def __init__(self, rng: torch.Generator, release: Callable[[], object]) -> None:
        self._rng, self._stream, self.numbers = rng, torch.cuda.Stream(rng.device), Numbers(rng.device)
        self._release, self._seen = release, Counter[tuple[Hashable, int]]()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, list[Tensor], list[str], Tensor]] = {}

    def __call__(self, kind: Hashable, step: Callable[..., dict[str, Tensor]], *inputs: Tensor) -> dict[str, Tensor]:
        """What `step(*inputs)` returns: scalars by name.

        Args:
            kind: what decides which kernels a step launches. The `kept` kinds recorded last are kept.
        """
        if kind not in self._graphs:
            # In each thread anew: it has its own cuBLAS and cuDNN, which cannot be made during a recording.
            seen = kind, threading.get_ident()
            self._seen[seen] += 1
            if self._seen[seen] <= self.warm:
                return self._aside(step, *inputs)
            if len(self._graphs) == self.kept:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[kind] = self._record(step, [x.clone() for x in inputs])
        graph, held, names, values = self._graphs[kind]
        for place, x in zip(held, inputs, strict=True):
            place.copy_(x)
        graph.replay()
        return dict(zip(names, values.clone().unbind(), strict=True))

    def _aside(self, step: Callable[..., dict[str, Tensor]], *inputs: Tensor) -> dict[str, Tensor]:
        # Where it will be recorded, not on the stream of everything else, on which nothing can be.
        here = torch.cuda.current_stream(self._rng.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")  # it will be
            values = step(*inputs)
        here.wait_stream(self._stream)
        return values

    def _record(self, step: Callable[..., dict[str, Tensor]], held: list[Tensor]
                ) -> tuple[torch.cuda.CUDAGraph, list[Tensor], list[str], Tensor]:
        self._release()
        if not self._graphs:
            # They share their memory, where nothing is read after a step but its values, which are copied at once. It
            # ends with its last graph.
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(self._rng.device):
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._rng)
            # Other threads, a panel's for one, may go on using the device meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                values = step(*held)
                together = torch.stack([value.float() for value in values.values()])
        return graph, held, list(values), together

    def clear(self) -> None:
        """Forget what has been recorded: tensors that it reads have been put elsewhere."""
        self._graphs.clear()
        self._seen.clear()

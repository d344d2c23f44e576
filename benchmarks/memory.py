"""How much memory a training step needs at its peak, counted without doing the arithmetic and without a GPU.

    python benchmarks/memory.py [ugatit ugatit-light cyclegan pix2pix dcgan] [--size 256] [--batch-size 1]

Every tensor that a step makes is followed from its first to its last use: weights, gradients, Adam's two averages, the
batch, and what is kept for the gradient. A GPU needs more than that: workspaces of its libraries, what its allocator
keeps in reserve, and about half a GiB for CUDA itself. Counted are two steps, of which the second has it all.
"""

import argparse
import weakref
from typing import Any

import torch
from speed import WORKS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab import compute, models


class Living(TorchDispatchMode):
    """Follows the bytes of all storages made within it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = weakref.WeakKeyDictionary[Any, None]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.see(tensor)
        return out

    def see(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage, once, until nobody holds it any more."""
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known[storage] = None
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, size: int) -> None:
        self.now -= size


def peak(work_name: str, size: int | None, batch_size: int | None, bf16: bool, recompute: bool) -> float:
    """GiB at the peak of a step in which every player moves."""
    work = WORKS[work_name]
    size, n = size or work.size, batch_size or work.batch_size
    shape = (1 if work.size == 28 else 3, size, size)
    with FakeTensorMode(), Living() as living:
        model = models.create(work.model, shape=shape, **work.config)
        if recompute:
            compute.recompute(model)
        batch = [torch.randn(n, *shape) for _ in range(2 if model.expects in ("pairs", "domains") else 1)]
        optimizers = {player: model.optimizer(player, network.parameters(), 1e-4)
                      for player, network in model.players.items()}

        def autocast() -> torch.autocast:
            return torch.autocast("cpu", torch.bfloat16, enabled=bf16)

        for _ in range(2):
            with autocast():
                round = model.play(*batch)
            for player in model.players:
                for other, network in model.players.items():
                    network.requires_grad_(other == player)
                with autocast():
                    terms = model(player, round)
                optimizers[player].zero_grad()
                sum(terms[name] for name in model.weights if name in terms).backward()
                optimizers[player].step()
            for network in model.players.values():
                network.requires_grad_(True)
    return living.peak / 2 ** 30


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=["ugatit", "ugatit-light", "cyclegan", "pix2pix"])
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch-size", type=int)
    arguments = parser.parse_args()
    print("GiB at the peak of a step, counted; kept as usual, and with recompute=True")
    for name in arguments.works:
        for bf16 in (False, True):
            usual, less = (peak(name, arguments.size, arguments.batch_size, bf16, again) for again in (False, True))
            print(f"{name:14} {'bf16' if bf16 else 'float32':8} {usual:6.2f} {less:6.2f}", flush=True)


if __name__ == "__main__":
    main()

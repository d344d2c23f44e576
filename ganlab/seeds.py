"""PyTorch's own random streams, which first weights, dropout and some metrics draw from and nobody can pass on."""

import contextlib
import threading
from collections.abc import Iterator

import torch

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within it, the streams of the CPU and of this device begin at the seed; after it, they go on as they were.

    They belong to the whole process, so one thread at a time is let in. Whoever needs a model's lock, too, takes that
    first: a training does.
    """
    device = torch.device(device)
    with _ONE_AT_A_TIME, torch.random.fork_rng([device] if device.type == "cuda" else [],
                                               device_type="mps" if device.type == "mps" else "cuda"):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield

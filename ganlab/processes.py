"""What several processes of one training share, and what each has to itself."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganlab.errors import GanlabError
from ganlab.models.base import Model
from ganlab.models.cyclegan import Pool


def count() -> int:
    """How many processes train together, as the launcher has said it in the environment.

    Raises:
        GanlabError: `accelerate launch` was asked for several and started one, as it does where there is no GPU.
    """
    given = os.environ.get("WORLD_SIZE")
    if given is None and {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys():
        raise GanlabError("accelerate launch was asked for several processes and has started one, as it does on a CPU; "
                          "use torchrun --standalone --nproc_per_node 2 -m ganlab train ...")
    return int(given or 1)


def leave(accelerator: Any) -> None:
    """Take leave of the other processes, at the end of this one."""
    accelerator.state.destroy_process_group()
    # The threads that talked to them go on, since DistributedDataParallel never lets go of its group. One that has a
    # tensor left to give back needs the interpreter for it, and without one aborts the process: it gets the time.
    time.sleep(0.5)


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm by the mean and the variance of the batches of all processes, which are of one size.

    `torch.nn.SyncBatchNorm` does the same, but refuses the CPU, on which it could be tested here.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if world == 1 or not self.training:
            return super().forward(x)
        over, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        mean = all_reduce(x.float().mean(over)) / world
        centred = x.float() - mean.view(shape)
        variance = all_reduce(centred.square().mean(over)) / world
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            n = world * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * n / (n - 1), share)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape) if self.affine else y).to(x.dtype)


def all_reduce(x: Tensor) -> Tensor:
    """The sum of the processes' tensors; gradients flow back to all of them."""
    from torch.distributed.nn.functional import all_reduce
    return all_reduce(x)


def share_statistics(model: Model) -> None:
    """Let every batch norm of the model see the batches of all processes; alone, it is the batch norm it was."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = SharedBatchNorm  # which differs in what it does, not in what it holds


def gather_pools(model: Model) -> dict[str, list[Tensor]]:
    """The images in every process's pools, by the pool's name: a list over the processes, which all must call this."""
    from accelerate.utils import gather

    found = {}
    for name, pool in _pools(model).items():
        images, filled = gather(pool.images[None]), gather(pool.filled[None])
        found[name] = [some[:n].clone() for some, n in zip(images, filled.tolist(), strict=True)]
    return found


def share_out_pools(model: Model, saved: Mapping[str, Sequence[Tensor]] | None) -> None:
    """Fill this process's pools from those of all processes that saved.

    As many processes as before find their own again. Where there are more or fewer, all images are dealt out anew, each
    to one process, as many as its pool holds; a pool that is then not full goes on filling.

    Args:
        saved: what `gather_pools` returned; None if one process has saved, whose pools the model holds already.
    """
    rank, world = model.share
    for name, pool in _pools(model).items():
        parts = saved[name] if saved else [pool.images[:int(pool.filled)].clone()]
        images = parts[rank] if len(parts) == world else torch.cat(list(parts))[rank::world]
        images = images[:len(pool.images)]
        pool.images.zero_()[:len(images)] = images.to(pool.images.device)
        pool.filled.fill_(len(images))


def _pools(model: Model) -> dict[str, Pool]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Pool)}


@contextlib.contextmanager
def company(where: object) -> Iterator[None]:
    """Within it, the end of another process is a `GanlabError` that says how to go on, from the checkpoint `where`."""
    try:
        yield
    except RuntimeError as error:
        if not re.search(r"(?i)gloo|nccl|connection (closed|reset)|broken pipe", str(error)):
            raise
        saved = f"go on from the last checkpoint, {where}" if where else "it kept no checkpoint"
        raise GanlabError("another process of this training has ended, or cannot be reached any more: "
                          f"{saved}. ({str(error).splitlines()[0][:200]})") from None

"""How fast a training step is, beside the loop of a textbook with the same networks and losses (`textbook.py`).

    python benchmarks/speed.py [gan cgan dcgan wgangp pix2pix cyclegan ugatit-light ugatit] [--rounds 5] [--steps N]
                               [--size PIXELS] [--batch-size N] [--precision float32 bf16] [--threads N] [--device cuda]
                               [--compile [graphs]] [--recompute] [--channels-last] [--try-kernels] [--memory GIB]
    python benchmarks/speed.py gan dcgan --growth
    python benchmarks/speed.py ugatit --precision float32 --workers 0 --rounds 3 --apart
    python benchmarks/speed.py dcgan --batch-size 1024 --precision bf16 --account

Both loops run in one process, in turn, in alternating order. Printed are, for each work, our time for a step and the
images a second; how many times as fast as the textbook's loop that is (median of the rounds, lowest, highest), in
float32 as the textbook's and with the networks in other precisions (the losses stay float32); the time from the first
call to the end of the first step; the share of a step in which batches are made, and on a GPU the share in which the
processor prepares it; the peak of memory; how many times our arithmetic the textbook does; and what we do a second, as
a share of what a large matrix product reaches in the same precision. `--growth` prints how time and memory grow with
image size, batch and width instead, and `--account` where the time of a step goes, by the kind of operation. `--apart`
builds each loop anew for its turn, for works of which two do not fit into memory beside each other, and prints times
alone.
"""

import argparse
import dataclasses
import functools
import gc
import re
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from textbook import LOOPS
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganlab import data, models
from ganlab.training import PRECISIONS, Training, choose_device


class Work(NamedTuple):
    """What is trained: on a CPU the steps of a round are few, and U-GAT-IT's images small."""

    model: str
    images: str
    size: int
    batch_size: int
    steps: int
    config: dict[str, Any] = {}


WORKS = {"gan": Work("gan", "mnist", 28, 64, 60), "cgan": Work("cgan", "mnist", 28, 64, 60),
         "dcgan": Work("dcgan", "faces", 64, 128, 1), "wgangp": Work("wgangp", "mnist", 28, 64, 50),
         "pix2pix": Work("pix2pix", "fronts", 256, 1, 1), "cyclegan": Work("cyclegan", "fruit", 256, 1, 1),
         "ugatit-light": Work("ugatit", "faces", 256, 1, 1, {"light": True}),
         "ugatit": Work("ugatit", "faces", 256, 1, 1)}
GPU_STEPS = 50
# What an operation's or a kernel's name says of it; the first that fits.
KINDS = {"change of layout": r"nchwToNhwc|nhwcToNchw|transpose_|to_mkldnn|reorder",
         "convolution": r"conv|fprop|dgrad|wgrad|implicit|winograd|cudnn.*gemm",
         "matrix product": r"gemm|addmm|::mm|bmm|cutlass|cublas|nvjet|splitK",
         "normalisation": r"(?i)batch_?norm|bn_|layer_?norm|instance_?norm|welford|RowwiseMoments",
         "optimizer": r"(?i)adam|rmsprop|multi_tensor|foreach", "padding": r"(?i)reflection|pad",
         "copy": r"(?i)copy|cat|memcpy|memset|fill|zero|empty", "sum": r"(?i)reduce|sum|mean",
         "elementwise": r"(?i)elementwise|relu|tanh|softplus|sigmoid|mul|add|sub|div|pow|loss|where|abs|sign|neg"}


def images_for(work: Work) -> Any:
    """Real MNIST where it is on disk, else the embedded digits; drawn pictures for the others."""
    if work.images == "mnist":
        on_disk = (data.root() / "mnist" / "t10k-images-idx3-ubyte.gz").exists()
        return data.load("mnist", split="test") if on_disk else data.load("digits", split="all")
    # Large pictures take long to draw, and how many there are does not change the time of a step.
    pictures = data.load(work.images, size=work.size, split="test" if work.size > 64 else "train")
    if models.MODELS[work.model].expects in ("pairs", "domains"):
        return pictures
    times = -(-work.batch_size // len(pictures.a))
    return dataclasses.replace(pictures.a, images=pictures.a.images.repeat(times, 1, 1, 1), labels=None, truth={})


def build(work: Work, images: Any, device: torch.device, precision: str = "float32", how: dict[str, Any] | None = None,
          **config: Any) -> Training:
    """Our training of a work; `how` are more arguments of it, `config` more of the model."""
    how = dict(how or {})
    model = models.create(work.model, shape=images.shape, **work.config, **config)
    if how.pop("channels_last", False):
        model.to(memory_format=torch.channels_last)
    return Training(model, images, batch_size=work.batch_size, device=device, precision=precision, **how)


def textbook(work: Work, images: Any, device: torch.device, workers: int) -> Any:
    """The textbook's training of a work."""
    return LOOPS[work.model](models.create(work.model, shape=images.shape, **work.config), images, work.batch_size,
                             device, workers)


def in_turn(names: Iterable[str], rounds: int) -> Iterator[str]:
    """The names once a round, in alternating order."""
    for i in range(rounds):
        yield from list(names) if i % 2 == 0 else list(names)[::-1]


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, until the device has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product. (On a GPU, in float32, convolutions may do more
    than it, since PyTorch lets them alone round to TF32.)"""
    n = 8192 if device.type == "cuda" else 1536
    a, b = torch.randn(2, n, n, device=device, dtype=PRECISIONS[precision] or torch.float32)
    timed(lambda: a @ b, device)
    return 2 * n ** 3 / min(timed(lambda: a @ b, device) for _ in range(5))


class Flops(TorchDispatchMode):
    """Counts floating-point operations. (torch's own counter also follows the modules, and that ends with an error in a
    gradient of a gradient.)"""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if (count := flop_registry.get(function._overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def memory(device: torch.device) -> float:
    """GiB at the peak: what PyTorch has asked of the GPU since its counter was set back, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved() / 2 ** 30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20


def operations(training: Training) -> float:
    """Floating-point operations of a step, counted over a turn of each player, without CUDA graphs."""
    graphs, training._graphs = training._graphs, None
    if graphs:  # what was recorded keeps its memory, and a step as it is needs that once more
        graphs.clear()
        training._no_gradients()
        torch.cuda.empty_cache()
    steps = turns(training.model.name)
    with Flops() as counter:
        training.run(steps, progress=False)
    training._graphs = graphs
    return counter.total / steps


def turns(model: str) -> int:
    """Steps until every player of a model has moved."""
    return 5 if model.startswith("wgan") else 1


def account(name: str, work: Work, device: torch.device, precisions: list[str], how: dict[str, Any]) -> None:
    """Where the time of a step goes, printed."""
    steps = 5 if device.type == "cuda" else 2
    for precision in precisions:
        training = build(work, images_for(work), device, precision, how)
        training.run(6 if device.type == "cuda" else 1, progress=False)
        step = timed(lambda t=training: t.run(steps, progress=False), device) / steps
        with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")) as seen:
            training.run(steps, progress=False)
            if device.type == "cuda":
                torch.cuda.synchronize()
        spent = Counter[str]()
        for event in seen.key_averages():
            # On a GPU the kernels alone: an operation has the time of its kernels once more.
            if device.type == "cuda" and (event.device_type != DeviceType.CUDA or event.is_user_annotation):
                continue
            time_of = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
            kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, event.key)), "other")
            spent[kind] += time_of / steps / 1e6
        share = operations(training) / step / matrix_rate(device, precision)
        print(f"{name}, {precision}, {work.size} px, batch {work.batch_size}: {1e3 * step:,.1f} ms a step, "
              f"{share:.0%} of a matrix product's rate, {memory(device):.1f} GiB"
              + (f", kernels run {spent.total() / step:.0%} of the time" if device.type == "cuda" else "") + "\n  "
              + ", ".join(f"{kind} {seconds / spent.total():.0%}" for kind, seconds in spent.most_common()), flush=True)


def measure(name: str, work: Work, device: torch.device, precisions: list[str], rounds: int, workers: int,
            how: dict[str, Any]) -> None:
    """All figures of one work, printed."""
    images = images_for(work)
    print(f"\n{name} on {images.name}, {tuple(images.shape)}, batch {work.batch_size}, {work.steps} steps a round",
          flush=True)
    ours, first, peak = dict[str, Training](), dict[str, float](), 0.0
    for precision in precisions:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        ours[precision] = build(work, images, device, precision, how)
        timed(lambda t=ours[precision]: t.run(1, progress=False), device)
        first[precision] = time.perf_counter() - began
        if device.type == "cuda":  # libraries choose their kernels, graphs are recorded
            timed(lambda t=ours[precision]: t.run(10, progress=False), device)
        peak = peak or memory(device)  # of the first precision, with nothing beside it
    theirs = textbook(work, images, device, workers)
    timed(lambda: theirs.run(1 if device.type == "cpu" else 10), device)
    times: dict[str, list[float]] = {name: [] for name in ("textbook", *ours)}
    for who in in_turn(times, rounds):
        run = (lambda: theirs.run(work.steps)) if who == "textbook" else \
            (lambda t=ours[who]: t.run(work.steps, progress=False))
        times[who].append(timed(run, device) / work.steps)
    for precision, training in ours.items():
        ratios = [b / a for a, b in zip(times[precision], times["textbook"], strict=True)]
        step = statistics.median(times[precision])
        batches = timed(lambda t=training: [t.batches[i] for i in range(t.step, t.step + 20)], device) / 20
        host = ""
        if device.type == "cuda":
            training.log_every = 2 * GPU_STEPS  # a row of the history waits for the device
            began = time.perf_counter()
            for _ in range(GPU_STEPS):
                training._step()
            host = f"   host {(time.perf_counter() - began) / (GPU_STEPS * step):.0%}"
            torch.cuda.synchronize()
        done = operations(training) / step
        share = done / matrix_rate(device, precision)
        print(f"  {precision:8} {statistics.median(ratios):5.2f} x ({min(ratios):.2f} to {max(ratios):.2f})   "
              f"{1e3 * step:,.1f} ms a step, {work.batch_size / step:,.0f} images/s   first step "
              f"{first[precision]:.2f} s   data {batches / step:.1%}   "
              f"{done / 1e9:,.1f} GFLOP/s, {share:.0%} of a matrix product{host}", flush=True)
    with Flops() as counter:
        theirs.run(turns(work.model))
    arithmetic = counter.total / turns(work.model) / (done * step)
    print(f"  textbook  {1e3 * statistics.median(times['textbook']):,.1f} ms a step, {arithmetic:.2f} times the "
          f"arithmetic   peak of memory {peak:.2f} GiB "
          + ("(ours, first precision)" if device.type == "cuda" else "(process)"), flush=True)


def apart(name: str, work: Work, device: torch.device, precisions: list[str], rounds: int, workers: int,
          how: dict[str, Any]) -> None:
    """Times of a step, of loops that are never in memory at the same time; the first step of a turn is not timed."""
    images, times = images_for(work), {who: list[float]() for who in ("textbook", *precisions)}
    for who in in_turn(times, rounds):
        run: Callable[[int], object] = textbook(work, images, device, workers).run if who == "textbook" else \
            functools.partial(build(work, images, device, who, how).run, progress=False)
        run(1)
        times[who].append(timed(lambda run=run: run(work.steps), device) / work.steps)
        del run
        gc.collect()
        print(f"  {who:8} {1e3 * times[who][-1]:,.1f} ms a step, memory up to now {memory(device):.1f} GiB", flush=True)
    for precision in precisions:
        ratios = [b / a for a, b in zip(times[precision], times["textbook"], strict=True)]
        print(f"{name}, {work.size} px, {precision}: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to "
              f"{max(ratios):.2f})", flush=True)


def growth(name: str, work: Work, device: torch.device, rounds: int, how: dict[str, Any]) -> None:
    """Time of a step and, on a GPU, memory, for twice the size, batch and width, over the work itself."""
    wide = {"hidden": (512, 1024, 2048)} if work.size == 28 else {"width": 128}
    cases: dict[str, tuple[Work, dict[str, Any]]] = {
        "as it is": (work, {}), "batch x 2": (work._replace(batch_size=2 * work.batch_size), {}),
        "width x 2": (work, wide)}
    if work.size != 28:
        cases["size x 2"] = (work._replace(size=2 * work.size), {})
    base, words = 0.0, []
    for case, (changed, config) in cases.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        training = build(changed, images_for(changed), device, how=how, **config)
        training.run(1 if device.type == "cpu" else 10, progress=False)
        step = statistics.median(timed(lambda t=training: t.run(work.steps, progress=False), device) / work.steps
                                 for _ in range(rounds))
        base = base or step
        words.append(f"{case} {step / base:.2f}" + (f" ({memory(device):.2f} GiB)" if device.type == "cuda" else ""))
    print(f"{name}: time of a step, {', '.join(words)}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=["gan", "cgan", "wgangp"], help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a round; by default the work's")
    parser.add_argument("--size", type=int, help="of pictures, in pixels; by default the work's")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", nargs="+", default=["float32", "bf16"], choices=list(PRECISIONS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int, default=2, help="processes of the textbook's DataLoader")
    parser.add_argument("--device")
    parser.add_argument("--compile", nargs="?", const=True, default=False, metavar="graphs", help="as in Training")
    parser.add_argument("--recompute", action="store_true", help="as in Training")
    parser.add_argument("--channels-last", action="store_true", help="of all images within our networks")
    parser.add_argument("--try-kernels", action="store_true", help="let cuDNN try its kernels before it chooses")
    parser.add_argument("--memory", type=float, metavar="GIB", help="let PyTorch have so much of the GPU and no more")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--account", action="store_true")
    parser.add_argument("--apart", action="store_true", help="one loop in memory at a time")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    how = {"compile": arguments.compile, "recompute": arguments.recompute, "channels_last": arguments.channels_last}
    torch.backends.cudnn.benchmark = arguments.try_kernels
    if arguments.memory:
        whole = torch.cuda.get_device_properties(device).total_memory / 2 ** 30
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.memory / whole))
    card = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads of a CPU"
    print(f"{card}, torch {torch.__version__}, {arguments.rounds} rounds in alternating order")
    for name in arguments.works:
        if name not in WORKS:
            parser.error(f"there is no work {name!r}; works: {', '.join(WORKS)}")
        work = WORKS[name]
        work = work._replace(size=arguments.size or work.size, batch_size=arguments.batch_size or work.batch_size,
                             steps=arguments.steps or (GPU_STEPS if device.type == "cuda" else work.steps))
        if arguments.growth:
            growth(name, work, device, arguments.rounds, how)
        elif arguments.account:
            account(name, work, device, arguments.precision, how)
        elif arguments.apart:
            apart(name, work, device, arguments.precision, arguments.rounds, arguments.workers, how)
        else:
            measure(name, work, device, arguments.precision, arguments.rounds, arguments.workers, how)


if __name__ == "__main__":
    main()

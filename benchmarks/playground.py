"""How many pictures a second the playground shows while it trains as fast as it goes.

    python benchmarks/playground.py [--frames 200] [--threads N]

It runs as in a notebook, in its own thread, without a front end. Printed for each setting: frames a second (of the
median time from one picture to the next, and of the slowest tenth), steps a second, the median milliseconds of
processor time that a picture takes by itself, and its size.
"""

import argparse
import itertools
import statistics
import threading
import time

import torch

from ganlab.panels.playground import Playground, playground

SETTINGS = [("ring", "gan", "non-saturating"), ("grid25", "wgangp", "wasserstein"), ("spiral", "gan", "least-squares"),
            ("-2,2 -2,-2 2,-2 2,2", "gan", "squared-hellinger")]


def run(made: Playground, frames: int) -> tuple[list[float], float]:
    """Seconds between the pictures of a run, and its steps a second; the first twenty pictures are left out."""
    at, step, enough = list[float](), list[int](), threading.Event()

    def seen(_: object) -> None:
        at.append(time.perf_counter())
        step.append(made.training.step)
        if len(at) > frames + 20:
            enough.set()

    made.pad.image.observe(seen, "value")
    made.run()
    enough.wait()
    made.pause()
    at, step = at[20:], step[20:]
    return [b - a for a, b in itertools.pairwise(at)], (step[-1] - step[0]) / (at[-1] - at[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.frames} pictures")
    print(f"{'':46}{'frames/s':>9}{'slowest':>9}{'steps/s':>9}{'ms each':>9}{'KiB':>6}")
    for distribution, model, objective in SETTINGS:
        made = playground(distribution, objective, model=model, live=True)
        apart, steps = run(made, arguments.frames)
        took = []
        for _ in range(30):
            began = time.process_time()
            made.draw()
            took.append(time.process_time() - began)
        print(f"{model + ', ' + objective + ', ' + distribution:46}{1 / statistics.median(apart):9.1f}"
              f"{1 / statistics.quantiles(apart, n=10)[-1]:9.1f}{steps:9.0f}{statistics.median(took) * 1e3:9.1f}"
              f"{len(made.pad.image.value) / 1024:6.0f}")
        made.close()


if __name__ == "__main__":
    main()

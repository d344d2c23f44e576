"""What a panel costs the training that it shows: one run, watched and not watched in turn every few seconds.

    python benchmarks/panel.py [--rounds 24] [--seconds 4] [--models gan dcgan cyclegan]

It runs in a Jupyter kernel of its own, since a panel's pictures go through the kernel's sockets. For each model it
prints what a step takes with a panel over what it takes without: as wall-clock, and as processor time of the training's
own thread; the geometric mean over the rounds and its standard error. Rounds are short because the speed of a shared
machine drifts by a tenth within half a minute. Also printed is the processor time of the whole process over that of
the training's thread, with a panel and without, which other programs disturb least, as long as OMP_NUM_THREADS=1
keeps the training's work in its thread. The doctor, who comes after a quarter of a minute, is not in these numbers.
"""

import argparse
import sys
from pathlib import Path

IN_THE_KERNEL = '''
import math, statistics, time
from ganlab import data, models, panels
from ganlab.training import Training

SETTLE = 1.0  # seconds between opening or closing a panel and the measurement: a panel is opened once, and then stays

def measure(name, seconds, rounds):
    cls = models.MODELS[name]
    images = data.load("fruit", size=32) if cls.expects == "domains" else data.load("digits")
    training = Training(models.create(name, shape=images.shape, **cls.small), images, device="cpu",
                        **cls.small_training)
    ends, step = [], training._step

    def timed():
        step()
        ends.append((time.perf_counter(), time.thread_time(), time.process_time()))

    def stretch(watched):
        panel = panels.train(training, live=True, foreground=False) if watched else None
        time.sleep(SETTLE)
        first = len(ends) - 1
        time.sleep(seconds)
        last = len(ends) - 1
        if panel:
            panel.close()
        return [(b - a) / (last - first) for a, b in zip(ends[first], ends[last])]

    training._step = timed
    training.start()
    stretch(True)
    pairs = []
    for i in range(rounds):
        times = {watched: stretch(watched) for watched in ((False, True), (True, False))[i % 2]}
        pairs.append((times[True], times[False]))
    training.stop()

    def text(number):
        logs = [math.log(pair[0][number] / pair[1][number]) for pair in pairs]
        return f"{math.exp(statistics.mean(logs)):.3f} +- {statistics.stdev(logs) / len(logs) ** 0.5:.3f}"

    def share(which):
        return f"{statistics.median(pair[which][2] / pair[which][1] for pair in pairs):.3f}"

    print(f"{name:10} {rounds} rounds   wall {text(0)}   the training's thread {text(1)}   "
          f"all threads over the training's {share(0)}, without a panel {share(1)}", flush=True)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24, help="at least 2")
    parser.add_argument("--seconds", type=float, default=4, help="in a stretch")
    parser.add_argument("--models", nargs="+", default=["gan", "dcgan", "cyclegan"])
    args = parser.parse_args()
    from jupyter_client.manager import start_new_kernel
    manager, client = start_new_kernel(cwd=str(Path(__file__).parents[1]))
    try:
        for code in (IN_THE_KERNEL, *(f"measure({m!r}, {args.seconds}, {args.rounds})" for m in args.models)):
            reply = client.execute_interactive(code, output_hook=_tell)
            if reply["content"]["status"] != "ok":
                sys.exit("\n".join(reply["content"]["traceback"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _tell(message: dict) -> None:
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="", flush=True)


if __name__ == "__main__":
    main()

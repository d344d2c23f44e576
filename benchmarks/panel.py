"""What a panel costs the training that it shows: the same stretch of steps with and without it, in turn.

    python benchmarks/panel.py [--rounds 9] [--seconds 12] [--models gan dcgan cyclegan]

It runs in a Jupyter kernel of its own, since a panel's pictures go through the kernel's sockets. Printed for each model
are the time with a panel over the time without, as wall-clock and as processor time of the whole process; and, which
other programs disturb least, the processor time of all threads over that of the training's, with a panel and
without: the median over the rounds, the lowest and the highest. OMP_NUM_THREADS=1 keeps the training's work
in its thread.
"""

import argparse
import sys
from pathlib import Path

IN_THE_KERNEL = '''
import statistics, time
import psutil
from ganlab import data, models, panels
from ganlab.training import Training

def stretch(training, steps, watched):
    panel = panels.train(training, live=True, foreground=False) if watched else None
    wall, cpu = time.perf_counter(), time.process_time()
    training.start(steps)
    if panel:
        panel.attend()
    thread, own, all_ = training._thread, 0.0, 0.0
    while thread.is_alive():
        thread.join(0.5)
        used = {t.id: t.user_time + t.system_time for t in psutil.Process().threads()}
        if thread.native_id in used:
            own, all_ = used[thread.native_id], time.process_time() - cpu
    training.wait()
    took = time.perf_counter() - wall, time.process_time() - cpu, all_ / own
    if panel:
        panel.close()
    return took

def measure(name, seconds, rounds):
    cls = models.MODELS[name]
    images = data.load("fruit", size=32) if cls.expects == "domains" else data.load("digits")
    training = Training(models.create(name, shape=images.shape, **cls.small), images, device="cpu",
                        **cls.small_training)
    stretch(training, 20, True)
    steps = max(20, round(40 * seconds / stretch(training, 40, False)[0]))
    ratios = []
    for i in range(rounds):
        times = {}
        for watched in ((False, True), (True, False))[i % 2]:
            times[watched] = stretch(training, steps, watched)
        ratios.append([w / wo for w, wo in zip(times[True], times[False])][:2] + [times[True][2], times[False][2]])
    wall, cpu, others, without = zip(*ratios)
    text = lambda r: f"{statistics.median(r):.3f} ({min(r):.3f} to {max(r):.3f})"
    print(f"{name:10} {steps:6} steps a stretch   wall {text(wall)}   processor {text(cpu)}   "
          f"all threads over the training's {text(others)}, without a panel {text(without)}", flush=True)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=12, help="of training in a stretch, about")
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

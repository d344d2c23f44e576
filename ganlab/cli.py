"""The command `ganlab`. Heavy imports wait until a command needs them, so that `--help` answers at once."""

import argparse
import ast
import contextlib
import inspect
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ganlab import __version__
from ganlab.errors import GanlabError, NotFinite

EXAMPLES = {
    "": """examples:
  ganlab lab                                     open the lessons in JupyterLab
  ganlab train gan --data digits --steps 3000    train a model from the command line
  ganlab doctor                                  find out what is wrong with the installation""",
    "lab": """examples:
  ganlab lab
  ganlab lab --no-browser --port 8890            further words go to JupyterLab""",
    "run": """examples:
  ganlab run 00 03                               two lessons, results in runs/
  ganlab run --all --profile ci                  every lesson, each in a minute or less""",
    "train": """examples:
  ganlab train gan --data digits --steps 3000
  ganlab train vae --data mnist --steps 10000 --set latent=16 --weight kl=4
  ganlab train dcgan --data ./my-photos --size 64 --steps 20000 --save-every 1000 --out runs/photos.pt
  ganlab train dcgan --data ./my-photos --size 64 --steps 40000 --out runs/photos.pt --resume
  ganlab train cyclegan --small --data fruit --size 32 --steps 800 --decay 400
  ganlab train cyclegan --data ./horses-and-zebras --size 256 --augment --steps 200000 --decay 100000
  ganlab train gan --data digits --steps 3000 --objective least-squares --schedule "discriminator_steps(2)"
  torchrun --standalone --nproc_per_node 2 -m ganlab train dcgan --data celeba --steps 50000""",
    "sweep": """examples:
  ganlab sweep cyclegan --small --size 32 --steps 800 --decay 400 --grid cycle=0,1,10 --seeds 3
  ganlab sweep gan --steps 3000 --grid objective=minimax,non-saturating,hinge lr=1e-4,2e-4 --jobs 2
  ganlab sweep dcgan --data celeba --size 64 --steps 50000 --grid norm=True,False --jobs 8
  ganlab sweep ugatit --steps 200000 --save-every 5000 --grid cam=0,1000 --slurm partition=gpu gpus_per_node=1""",
    "sample": """examples:
  ganlab sample runs/gan-digits.pt
  ganlab sample runs/photos.pt --n 16 --seed 7 --out photos.png
  ganlab sample runs/cyclegan-fruit.pt --to a    inputs, and below them their translations
  ganlab sample runs/cdcgan-mnist.pt --label 7    only sevens""",
    "data": """examples:
  ganlab data list
  ganlab data get mnist
  ganlab data check                              verify everything that is on disk""",
    "doctor": """exit status 1 if something is wrong, 0 otherwise""",
}


def pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE as (name, value); a value that is no Python literal stays a text."""
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def number(text: str) -> tuple[str, float]:
    """"generator=1e-4" as ("generator", 1e-4), and a number without a name, which is for all, as ("", number)."""
    name, _, value = text.rpartition("=")
    return name, float(value)


def rate(text: str) -> tuple[str, float]:
    """The same for learning rates, which are finite and at least 0."""
    name, value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a learning rate, a number of at least 0 such as 2e-4")
    return name, value


def seed(text: str) -> int:
    """A whole number that PyTorch takes for a seed."""
    if not re.fullmatch(r"-?\d+", text) or not -2**63 <= int(text) < 2**64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from -2**63 to 2**64 - 1")
    return int(text)


def count(text: str) -> int:
    """A whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a `--help` away."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser("ganlab", description="A course on GANs: lessons, models, one training loop.",
                 epilog=EXAMPLES[""], formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"ganlab {__version__}")
    top.add_argument("--debug", action="store_true", help="show errors with their traceback")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        # What `sweep` does not know is for `train`, and its --seed is not short for --seeds.
        sub = commands.add_parser(name, help=text, description=text, epilog=EXAMPLES[name],
                                  allow_abbrev=name != "sweep",
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        # Also after the command, without undoing one given before it.
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return sub

    command("lab", "open the lessons in JupyterLab")

    option = command("run", "run lessons from top to bottom and say how each went").add_argument
    option("lessons", nargs="*", metavar="LESSON", help="number, beginning of a name, or path of a notebook")
    option("--all", action="store_true", help="every lesson")
    option("--profile", default="", choices=["ci", "laptop", "gpu"], help="default: each lesson chooses")
    option("--out", default="runs", help="folder for the executed notebooks (default: runs)")
    option("--update", action="store_true", help="also write those that succeed, cleaned, over the originals")

    sub = command("train", "train a model and save it")
    # Else -1e-4 would count as an unknown option, and what is wrong with it would not be said.
    sub._negative_number_matcher = re.compile(r"-\.?\d")
    option = sub.add_argument
    values: dict[str, Any] = {"nargs": "+", "action": "extend"}
    option("model", help="autoencoder, vae, gan, dcgan, ...")
    option("--data", help="name of a data set, or path of a folder with images (default: digits, fronts or fruit)")
    option("--steps", type=count, required=True, help="steps in all; with --resume, those done count")
    option("--small", action="store_true", help="narrow networks and their settings, for a CPU; options still count")
    option("--size", type=count, help="height and width to bring the images to")
    option("--channels", type=int, choices=[1, 3], help="1: grey, 3: colour")
    option("--augment", action="store_true", help="mirror and crop the images of both domains at random")
    option("--batch-size", type=count, help="images a step, in all processes together (default: the model's)")
    option("--lr", type=rate, metavar="RATE", **values, help="2e-4 or generator=1e-4 (default: the model's)")
    option("--objective", help="adversarial objective, for example least-squares")
    option("--schedule", help='who moves when, for example "discriminator_steps(5)" (default: the model\'s)')
    option("--decay", type=count, metavar="STEP", help="learning rates fall linearly to 0 from this step to the last")
    option("--weight", type=number, default=[], metavar="NAME=VALUE", **values, help="weights of terms")
    option("--set", type=pair, default=[], metavar="NAME=VALUE", **values, help="further options of the model")
    option("--seed", type=seed, help="decides all randomness (default: 0)")
    option("--device", default="auto", help="cpu, cuda or mps (default: cuda where there is one, else cpu)")
    option("--precision", choices=["float32", "bf16", "fp16"], help="of the networks (default: float32)")
    option("--recompute", action="store_true", help="less memory for about a third more time; the same results")
    option("--compile", nargs="?", const=True, default=False, choices=[True, "graphs"], metavar="graphs",
           help="faster steps after a slow first one: torch.compile and, on a GPU, CUDA graphs; 'graphs' alone")
    option("--share-statistics", action="store_true", help="in several processes, batch norm sees the whole batch")
    option("--out", metavar="FILE", help="checkpoint (default: runs/MODEL-DATA.pt)")
    option("--save-every", type=count, metavar="STEPS", help="default: only at the end")
    option("--log-every", type=count, metavar="STEPS", help="steps a row of the history (default: 10)")
    option("--tensorboard", metavar="FOLDER", help="write TensorBoard's event files there")
    existing = sub.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    existing.add_argument("--force", action="store_true", help="start over although the checkpoint exists")

    option = command("sweep", "train over a grid of settings, times seeds, into a table and a figure; "
                     "further options are those of train, and what is done is not done again").add_argument
    option("model", help="autoencoder, vae, gan, dcgan, ...")
    option("--grid", nargs="+", action="extend", default=[], metavar="NAME=VALUE,...",
           help="values of a term's weight, an option of `ganlab train` or an argument of the model")
    option("--seeds", type=count, default=1, help="how many, from 0 on (default: 1)")
    option("--jobs", type=count, default=1, help="how many runs at once, each on its GPU (default: 1)")
    option("--slurm", nargs="*", type=pair, metavar="NAME=VALUE", help="run as an array of Slurm jobs, by submitit")
    option("--out", metavar="FOLDER", help="default: runs/sweep-MODEL")

    option = command("sample", "draw samples or translations of a trained model as one picture").add_argument
    option("checkpoint", help="what `ganlab train` wrote")
    option("--n", type=count, default=64, help="how many (default: 64)")
    option("--label", type=int, help="what to draw, for cgan and cdcgan (default: all classes in turn)")
    option("--seed", type=seed, default=0, help="default: 0")
    option("--out", default="grid.png", help="default: grid.png")
    option("--data", metavar="FOLDER", help="images to translate (default: those to test on, of the training's set)")
    option("--to", choices=["a", "b"], help="the domain to translate to (default: b)")
    option("--device", default="auto", help="cpu, cuda or mps (default: cuda where there is one, else cpu)")

    option = command("data", "list, download and verify data sets").add_argument
    option("action", choices=["list", "get", "check"])
    option("names", nargs="*", metavar="NAME", help="data sets; check without names: everything on disk")

    sub = commands.add_parser("homework", help="write, hand out, collect, grade and return homework", add_help=False)
    sub.add_argument("words", nargs=argparse.REMAINDER)

    command("doctor", "check versions, device, threads, data and widgets")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    top = parser()
    args, rest = top.parse_known_args(argv)
    if rest and args.command not in ("lab", "homework", "sweep"):
        top.error(f"unknown: {' '.join(rest)}")
    try:
        args.words = rest + getattr(args, "words", [])
        commands = {"lab": lab, "run": run, "train": train, "sweep": sweep, "sample": sample, "data": data,
                    "homework": homework, "doctor": doctor}
        return commands[args.command](args)
    except (Exception, KeyboardInterrupt) as error:
        if args.debug:
            raise
        if isinstance(error, KeyboardInterrupt):
            print(f"ganlab: {str(error) or 'stopped'}", file=sys.stderr)
            return 130
        known = isinstance(error, (GanlabError, OSError))
        print(f"ganlab: {error}" if known else f"ganlab: {type(error).__name__}: {error} (--debug shows where)",
              file=sys.stderr)
        return 1


def lab(args: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from ganlab.course.notebooks import folder

    if find_spec("jupyterlab") is None:
        raise GanlabError('JupyterLab is not installed: pip install "ganlab[lab]"')
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *args.words], cwd=folder())
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:  # JupyterLab got it too; it asks, and then ends its kernels in order
            pass


def run(args: argparse.Namespace) -> int:
    from ganlab import course

    if bool(args.lessons) == args.all:
        names = ", ".join(path.stem for path in course.find())
        raise GanlabError(f"name the lessons to run, or say --all; lessons: {names}")
    results = course.run(args.lessons, args.profile, args.out, update=args.update)
    print(course.table(results))
    failed = sum(bool(r.failure) for r in results)
    print(f"{len(results) - failed} of {len(results)} lessons passed; the notebooks are in {args.out}")
    return int(failed > 0)


def train(args: argparse.Namespace) -> int:
    from ganlab import checkpoint, models
    from ganlab.data import Domains, load
    from ganlab.training import Training

    if args.model not in models.MODELS:
        models.create(args.model)  # raises, and says which there are
    cls = models.MODELS[args.model]
    name = args.data or {"pairs": "fronts", "domains": "fruit"}.get(cls.expects, "digits")
    out = Path(args.out or f"runs/{args.model}-{Path(os.path.abspath(name)).name}.pt")
    asked = {key: value for key, value in vars(args).items() if value is not None}
    loading = {key: asked[key] for key in ("size", "channels") if key in asked}
    if taken := dict(args.set).keys() & {"seed", "shape", "weights"}:
        raise GanlabError(f"--set has no {taken.pop()!r}: there are --seed, --weight, and --size and --channels, which "
                          "decide the shape")
    options = dict(cls.small if args.small else {}) | dict(args.set)
    options |= {"objective": args.objective} if args.objective else {}
    weights = options.pop("weights", {}) | dict(args.weight)
    rates = dict(args.lr or ())
    how: dict[str, Any] = {key: asked[key] for key in (
        "device", "precision", "log_every", "save_every", "tensorboard", "recompute", "compile") if key in asked}
    how["checkpoint"] = out
    if args.resume:
        how |= {} if args.decay is None else {"decay": (args.decay, args.steps)}
        training = Training.restore(out, load(name, **loading) if args.data else None, **how)
        _refuse_differences(asked, options, training, out)
        if training.decay and training.decay[1] < args.steps:
            raise GanlabError(f"the learning rates of {out} are 0 from step {training.decay[1]} on, and the steps to "
                              f"{args.steps} would change nothing; give --decay STEP, from which they shall fall to 0 "
                              "by the last one")
        training.weights.update(args.weight)
        training.learning_rates.update(_for_each(training.learning_rates, rates))
    elif out.is_file() and not args.force:
        raise GanlabError(f"{out} exists: --resume goes on from it, --force starts over, --out takes another file")
    else:
        images, seed = load(name, **loading), args.seed or 0
        if args.augment:
            if not isinstance(images, Domains):
                raise GanlabError(f"--augment is for translations; {name} has one domain. Leave it out")
            images = images.augmented()
        if cls.expects == "labels" and (classes := getattr(images, "classes", ())):
            options.setdefault("classes", len(classes))
        try:
            model = models.create(args.model, shape=images.shape, seed=seed, weights=weights, **options)
        except (TypeError, ValueError, RuntimeError) as error:
            parameters = list(inspect.signature(cls.__init__).parameters.values())[2:]
            usual = ", ".join(f"{p.name}={p.default!r}" for p in parameters)
            raise GanlabError(f"{args.model} cannot be built with {options}: {error}; by default it has {usual}"
                              ) from error
        preset = cls.small_training if args.small else {}
        default = dict.fromkeys(model.players, preset.get("learning_rate", model.learning_rate))
        training = Training(model, images, seed, batch_size=args.batch_size or preset.get("batch_size"),
                            schedule=args.schedule,
                            decay=None if args.decay is None else (args.decay, args.steps),
                            learning_rate=default | _for_each(default, rates),
                            share_statistics=args.share_statistics, **how)
    if args.resume and training.step >= args.steps:
        if training.main:
            print(f"nothing is left to do: {out} has {training.step} steps already; to go on, say --steps with more")
        return 0
    if training.main:
        # The number is always said, since some launchers start fewer processes than they were asked for.
        number = training.model.share[1]
        where = f"{training.device.type}, {number} process{'es' * (number > 1)}"
        each = f" ({training.batch_size // number} in each process)" * (number > 1)
        print(f"{training.model.name} on {len(training.data)} images of {training.data.name} ({where}), "
              f"step {training.step} of {args.steps}, batches of {training.batch_size}{each}, to {out}")
    begun = training.step
    with checkpoint.reserved(out) if training.main else contextlib.nullcontext(), _terminable() as terminated:
        try:
            training.run(args.steps - begun)
        except KeyboardInterrupt:
            said = f"stopped after step {training.step}; --resume goes on from {out}"
            if terminated.is_set():
                print(f"ganlab: {said}", file=sys.stderr)
                return 143
            raise KeyboardInterrupt(said) from None
        except GanlabError as error:
            # Several processes would have to save together, and the others are elsewhere. What has led to a NaN is
            # better than nothing, but not than an earlier checkpoint.
            if training.step == begun or training.model.share[1] > 1 or (isinstance(error, NotFinite) and out.exists()):
                raise
            try:
                training.save(out)
            except (GanlabError, RuntimeError, MemoryError):
                raise error from None
            raise type(error)(f"{error} (What it was after step {training.step} is saved in {out}.)") from error
    if training.main and len(training.history):
        last = {name: values[-1] for name, values in training.history.columns.items()}
        print(", ".join(f"{name} {value:.4g}" for name, value in last.items() if not name.startswith("weight/")))
    return 0


@contextlib.contextmanager
def _terminable() -> Iterator[threading.Event]:
    """Within it, SIGTERM, which schedulers send, stops like Ctrl-C, and sets the event; another's handler stays."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield asked
        return

    def stop(number: int, frame: Any) -> None:
        asked.set()
        # A launcher and a scheduler may both send one; a second Ctrl-C would break the step off.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interrupt = signal.getsignal(signal.SIGINT)
        (interrupt if callable(interrupt) else signal.default_int_handler)(number, frame)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _for_each(players: Iterable[str], rates: dict[str, float]) -> dict[str, float]:
    """What --lr says, by player: the rate without a name is for all."""
    return (dict.fromkeys(players, rates[""]) if "" in rates else {}) | {k: v for k, v in rates.items() if k}


def _refuse_differences(asked: dict[str, Any], options: dict[str, Any], training: Any, out: Path) -> None:
    """A resumed run keeps its configuration; say so where the command line asks for another."""
    from ganlab.schedule import parse

    saved = training.recording() | {"augment": getattr(training.data, "augment", False),
                                    "share_statistics": bool(training.share_statistics)}
    wanted = {key: asked[key] for key in ("model", "seed", "batch_size") if key in asked} | options
    wanted |= {name: True for name in ("augment", "share_statistics") if asked.get(name)}
    wanted |= {"schedule": str(parse(asked["schedule"]))} if "schedule" in asked else {}
    if len(training.data.shape) == 3:  # points have neither
        saved |= dict(zip(("channels", "size"), training.data.shape, strict=False))
        wanted |= {key: asked[key] for key in ("channels", "size") if key in asked}
    for key, value in wanted.items():
        kept = (saved | saved["config"]).get(key)
        if (tuple(value) if isinstance(value, list) else value) != kept:
            raise GanlabError(f"--resume goes on with {key} = {kept}, as saved in {out}, and not {value}: "
                              "leave that out, or start a new run with another --out")


def sweep(args: argparse.Namespace) -> int:
    from ganlab import sweep

    folder = Path(args.out or f"runs/sweep-{args.model}")
    if taken := {word.partition("=")[0] for word in args.words} & {"--seed", "--resume", "--force"}:
        raise GanlabError(f"a sweep sees to {taken.pop()} itself; say how many with --seeds, and where with --out")
    grid: dict[str, list[Any]] = {}
    for name, values in map(sweep.dimension, args.grid):
        grid.setdefault(name, []).extend(values)
    runs = sweep.plan(args.model, grid, args.seeds, args.words, folder)
    for run in runs:
        parser().parse_args(["train", *run.words])
    failed = sweep.sweep(runs, folder, args.jobs, None if args.slurm is None else dict(args.slurm))
    if len(failed) < len(runs):
        print(f"{folder / 'table.csv'}, {folder / 'figure.png'}")
    if failed:
        raise GanlabError(f"{len(failed)} of {len(runs)} runs have failed; the same command tries them again")
    return 0


def sample(args: argparse.Namespace) -> int:
    from ganlab import checkpoint, models
    from ganlab.plots import tile
    from ganlab.training import choose_device

    content = checkpoint.read(args.checkpoint)
    model: Any = models.create(content["model"], seed=content["model_seed"], **content["config"])
    model.load_state_dict(content["state"])
    model = model.to(choose_device(args.device))
    if args.label is not None and model.expects != "labels":
        raise GanlabError(f"{args.checkpoint} holds a {model.name}, which cannot be told what to draw; leave out "
                          "--label, or train a cgan or cdcgan")
    if (args.data or args.to) and model.expects not in ("pairs", "domains"):
        raise GanlabError(f"{args.checkpoint} holds a {model.name}, which does not translate; leave out --data and "
                          "--to")
    label = {} if args.label is None else {"labels": args.label}
    translates = model.expects in ("pairs", "domains")
    columns = min(args.n, 8) if translates else None
    images, number = _translated(model, content["data"]["spec"], args, min(args.n, 8)) if translates else \
        (model.sample(args.n, seed=args.seed, **label), args.n)
    if images.ndim != 4:
        raise GanlabError(f"{args.checkpoint} makes points, not images; plot them in a notebook")
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        tile(images, columns, scale=2).save(out)
    except ValueError:
        raise GanlabError(f"cannot tell the format of {out}; give --out a name such as grid.png") from None
    what = "translations" if translates else "samples"
    print(f"{number} {what} of {content['model']} after {content['step']} steps: {out}")
    return 0


def _translated(model: Any, spec: dict[str, Any], args: argparse.Namespace, columns: int) -> tuple[Any, int]:
    """Rows of inputs, each with the row of their translations below it, and how many there are."""
    import torch

    from ganlab.data import folder, rebuild
    from ganlab.data.images import to_float
    from ganlab.errors import DataError

    to = args.to or "b"
    if args.data:
        channels, size, _ = model.config["shape"]
        images: Any = folder(args.data, size, channels)
    elif spec:
        domains: Any
        try:
            domains = rebuild(spec, split="test")
        except DataError:  # not every set has images to test on
            domains = rebuild(spec)
        images = domains.b if to == "a" else domains.a
    else:
        raise GanlabError(f"{args.checkpoint} does not say which images it was trained on; give a folder with --data")
    x = to_float(images.fetch(torch.arange(min(args.n, len(images))))[0]).to(model.device)
    torch.manual_seed(args.seed)
    rows = [row for some in x.split(columns) for row in (some, model.translate(some, to=to))]
    filled = [torch.cat([row, row.new_zeros(columns - len(row), *row.shape[1:])]) for row in rows]
    return torch.cat(filled), len(x)


def data(args: argparse.Namespace) -> int:
    from ganlab import data
    from ganlab.data.catalogue import download, entry
    from ganlab.doctor import on_disk

    if args.action == "list":
        for e in map(entry, args.names or data.available()):
            how_much = download(e) if e.files else "nothing to download"
            print(f"{e.name:23}{on_disk(e.name):8}{how_much:>19}  {e.title}")
        print(f"(kept in {data.root()}; `ganlab data get NAME` downloads)")
    elif args.action == "get":
        if not args.names:
            raise GanlabError("name the sets to download; `ganlab data list` shows them")
        for e in map(entry, args.names):
            print(f"{e.name}: {data.get(e.name) if e.files else download(e)}")
    else:
        status = [line for name in args.names or filter(on_disk, data.available()) for line in data.check(name)]
        for file, found in status:
            print(f"{file:48}  {found}")
        fine = ("ok",) if args.names else ("ok", "missing")
        return int(not all(found.startswith(fine) for _, found in status))
    return 0


def homework(args: argparse.Namespace) -> int:
    from ganlab.homework.cli import main

    args.debug |= "--debug" in args.words
    return main([word for word in args.words if word != "--debug"])


def doctor(_: argparse.Namespace) -> int:
    from ganlab.doctor import main

    return main()

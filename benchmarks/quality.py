"""What each model learns in a fixed number of steps, measured on data that it has not seen, for several seeds.

    python benchmarks/quality.py [MODEL ...] [--seeds 0 1 2] [--precision bf16]

Digits are MNIST's test split where it is on disk (8,000 images to train, 2,000 held out), else the embedded digits
(1,497 and 300; the bars for digits are meant for MNIST and only reported there). The translations and the points are
embedded. Prints a table with the mean over the seeds, their spread (standard deviation) and the worst of them; a bar
is met if every seed meets it; exits with 1 if one is missed.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.decomposition import PCA
from speed import WORKS, images_for

from ganlab import data, metrics, models
from ganlab.data import drawn, toys
from ganlab.data.domains import Domains
from ganlab.data.images import Images, to_float
from ganlab.judges import LabelReader, Regressor
from ganlab.models.base import Model
from ganlab.training import Training

Values = dict[str, float]


@dataclass(frozen=True)
class Measure:
    """One model in one setting.

    Attributes:
        setting: for the table.
        run: (seed, precision) -> values by name.
        bars: name of a value to (">=" or "<=", bound).
        digits: whether it learns digits, so that its bars are meant for MNIST.
    """

    setting: str
    run: Callable[[int, str], Values]
    bars: dict[str, tuple[str, float]]
    digits: bool = False


@functools.cache
def digit_sets() -> tuple[Images, Images]:
    """(training set, held-out set)."""
    images = images_for(WORKS["gan"])
    return images.split(2000 if images.name == "mnist" else 300)


@functools.cache
def digit_judge() -> metrics.Judge:
    """A classifier trained on the real digits."""
    return metrics.Judge.trained_on(digit_sets()[0], steps=1000)


def autoencoder(seed: int, precision: str) -> Values:
    """Held-out error beside PCA's, both in units of a pixel's range [0, 1]."""
    train, held_out = digit_sets()
    latent, steps = 16, 3000
    x, y = (s.floats().flatten(1).add(1).div(2).cpu().numpy() for s in (train, held_out))
    pca = PCA(latent, svd_solver="covariance_eigh").fit(x)
    pca_error = float(((pca.inverse_transform(pca.transform(y)) - y) ** 2).mean())
    model = models.create("autoencoder", shape=train.shape, latent=latent, seed=seed)
    Training(model, train, seed, learning_rate=1e-3, precision=precision).run(steps)
    error = ((model.reconstruct(held_out.floats()).cpu() - held_out.floats().cpu()) / 2).square().mean().item()
    return {"error": error, "error of PCA": pca_error, "share below PCA": 1 - error / pca_error}


def vae(seed: int, precision: str) -> Values:
    """Held-out negative ELBO in nats (one z an image), and active units: latents whose mean varies by more than 0.01
    over the data (Burda et al. 2015, arXiv:1509.00519)."""
    train, held_out = digit_sets()
    model = models.create("vae", shape=train.shape, seed=seed)
    Training(model, train, seed, precision=precision).run(3000)
    x = held_out.floats().to(model.device)
    model.rng = torch.Generator(model.device).manual_seed(seed)
    with torch.no_grad():
        terms = {name: value.item() for name, value in model("autoencoder", model.play(x)).items()}
    active = int((model.encode(x).var(0) > 0.01).sum())
    return {"negative ELBO": sum(terms.values()), **terms, "active units": active}


def adversarial(name: str, steps: int, batch_size: int, **config: int) -> Callable[[int, str], Values]:
    """Train one GAN and let the judge read 1,000 samples. The Frechet distance is between its features of the samples
    and of 1,000 held-out images; the same distance between training images and those is given for scale."""

    def run(seed: int, precision: str) -> Values:
        train, held_out = digit_sets()
        model = models.create(name, shape=train.shape, seed=seed, **config)
        Training(model, train, seed, batch_size=batch_size, precision=precision).run(steps)
        count = min(1000, len(held_out))
        real = held_out.floats()[:count]
        report = metrics.judge_samples(digit_judge(), model.sample(1000, seed=seed)[:count].cpu(), real)
        scale = metrics.judge_samples(digit_judge(), train.floats()[:count], real)
        return {"classes": float((report.shares > 0).sum()), "largest class": report.shares.max().item(),
                "smallest class": report.shares.min().item(), "confidence": report.confidence,
                "Frechet": report.frechet, "Frechet of real": scale.frechet}
    return run


def conditional(name: str, steps: int, learning_rate: float, **config: int) -> Callable[[int, str], Values]:
    """Train one conditional GAN, ask for every digit 100 times, and let the judge read what was drawn."""

    def run(seed: int, precision: str) -> Values:
        train, held_out = digit_sets()
        model = models.create(name, shape=train.shape, classes=len(train.classes), seed=seed, **config)
        Training(model, train, seed, batch_size=64, learning_rate=learning_rate, decay=(steps // 2, steps),
                 precision=precision).run(steps)
        asked = torch.arange(1000) % len(train.classes)
        samples = model.sample(len(asked), seed=seed, labels=asked).cpu()
        right = (digit_judge().read(samples)[0] == asked).float()
        report = metrics.judge_samples(digit_judge(), samples[:len(held_out)], held_out.floats()[:1000])
        return {"as asked": right.mean().item(),
                "as asked, worst digit": min(right[asked == label].mean().item() for label in asked.unique()),
                "Frechet": report.frechet}
    return run


def points(steps: int) -> Callable[[int, str], Values]:
    """Modes found, of 25, and the share of 10,000 samples within three standard deviations of one; beside a plain GAN
    with the same networks, batches, learning rates and turns."""

    def run(seed: int, precision: str) -> Values:
        train, values = data.load("grid25"), Values()
        small = {"shape": train.shape, "latent": 2, "hidden": (128, 128, 128), "seed": seed}
        for label, model in {"": models.create("wgangp", **small, weights={"gradient_penalty": 0.1}),
                             " of a plain GAN": models.create("gan", **small)}.items():
            Training(model, train, seed, batch_size=256, learning_rate=2e-3, schedule="discriminator_steps(2)",
                     decay=(steps // 2, steps), precision=precision).run(steps)
            found, good = metrics.mode_coverage(model.sample(10_000, seed=seed).cpu(), *toys.modes("grid25"))
            values |= {f"modes{label}": float(found), f"good samples{label}": good}
        return values
    return run


@functools.cache
def front_reader() -> LabelReader:
    """A network that reads the label map back from a house front, trained on the real ones."""
    return LabelReader.trained_on(data.load("fronts", size=32), steps=600)


def pix2pix(steps: int) -> Callable[[int, str], Values]:
    """Translate held-out label maps into house fronts. The constants are the best that a painter by numbers can do:
    each class in one colour, its median over the training fronts."""

    def run(seed: int, precision: str) -> Values:
        train, test = (data.load("fronts", split=split, size=32) for split in ("train", "test"))
        classes, wanted = (part.a.truth["classes"].long() for part in (train, test))
        model = models.create("pix2pix", shape=train.shape, seed=seed, **models.Pix2Pix.small)
        Training(model, train, seed, decay=(steps // 2, steps), precision=precision,
                 **models.Pix2Pix.small_training).run(steps)
        real, fake = test.b.floats(), model.translate(test.a.floats(), seed=seed).cpu()
        pixels = train.b.floats().movedim(1, -1)
        colours = torch.stack([pixels[classes == label].median(0).values for label in classes.unique()])
        constant = colours[wanted].movedim(-1, 1)
        error, simple = ((images - real).abs().mean().item() for images in (fake, constant))
        right = front_reader().read(fake) == wanted
        return {"labels right": right.float().mean().item(),
                "labels right, mean of the classes":
                    statistics.mean(right[wanted == label].float().mean().item() for label in wanted.unique()),
                "labels right of real fronts": front_reader().accuracy(real, wanted),
                "error": error, "error of the constants": simple, "share below the constants": 1 - error / simple}
    return run


def translations(model: Model, test: Domains, judge: metrics.Judge) -> Values:
    """Both ways: the share of translations that a judge of the two kinds takes for the other kind, the cycle error,
    and the error to the true partner; the worse of the two directions, images in [-1, 1]."""
    passed, cycle, error, nothing = [], [], [], []
    for number, (real, back, to) in enumerate(((test.a, "a", "b"), (test.b, "b", "a"))):
        x, partner = real.floats(), to_float(real.truth["partner"])
        y = model.translate(x, to).cpu()
        passed.append((judge.read(y)[0] == 1 - number).float().mean().item())
        cycle.append((model.translate(y, back).cpu() - x).abs().mean().item())
        error.append((y - partner).abs().mean().item())
        nothing.append((x - partner).abs().mean().item())
    return {"pass as the other kind": min(passed), "cycle error": max(cycle), "error to the partner": max(error),
            "error of doing nothing": min(nothing)}


def two_kinds(train: Domains) -> metrics.Judge:
    """A classifier that tells A (class 0) from B (class 1)."""
    images = torch.cat([train.a.images, train.b.images])
    return metrics.Judge.trained_on(Images(images, torch.arange(2).repeat_interleave(len(train.a))), steps=100)


def cyclegan(steps: int) -> Callable[[int, str], Values]:
    """Translate held-out fruit both ways."""

    def run(seed: int, precision: str) -> Values:
        train, test = (data.load("fruit", split=split, size=32) for split in ("train", "test"))
        model = models.create("cyclegan", shape=train.shape, seed=seed, **models.CycleGAN.small)
        Training(model, train, seed, decay=(steps // 2, steps), precision=precision,
                 **models.CycleGAN.small_training).run(steps)
        return translations(model, test, two_kinds(train))
    return run


def ugatit(steps: int) -> Callable[[int, str], Values]:
    """Translate held-out portraits into drawings, beside a CycleGAN as wide, with as many residual blocks, trained on
    as many batches. The eyes' growth is 0 at the size that portraits have, 1 at that of drawings."""

    def run(seed: int, precision: str) -> Values:
        train, test = (data.load("faces", split=split, size=32) for split in ("train", "test"))
        eyes = Regressor.trained_on(drawn.eye_chart(32), ["eye_size"], steps=600)
        person = Regressor.trained_on(train, ["pose", "hair"], steps=600)
        small, large = (eyes.read(side.floats())["eye_size"].mean().item() for side in (test.a, test.b))
        width, blocks = models.UGATIT.small["width"], models.UGATIT.small["blocks"]
        values = Values()
        for label, model in {"": models.create("ugatit", shape=train.shape, seed=seed, **models.UGATIT.small),
                             " of CycleGAN": models.create("cyclegan", shape=train.shape, seed=seed, width=width,
                                                           blocks=2 * blocks)}.items():
            Training(model, train, seed, decay=(steps // 2, steps), precision=precision,
                     **models.UGATIT.small_training).run(steps)
            y = model.translate(test.a.floats()).cpu()
            grown = (eyes.read(y)["eye_size"].mean().item() - small) / (large - small)
            pose = torch.corrcoef(torch.stack([person.read(y)["pose"][:, 0], test.a.truth["pose"]]))[0, 1].item()
            hair = (person.read(y)["hair"] - test.a.truth["hair"]).abs().mean().item()
            error = (y - to_float(test.a.truth["partner"])).abs().mean().item()
            values |= {f"eyes' growth{label}": grown, f"pose{label}": pose, f"hair error{label}": hair,
                       f"error to the partner{label}": error}
        values["eyes: nearer to 1 than CycleGAN by"] = abs(1 - values["eyes' growth of CycleGAN"]) - \
            abs(1 - values["eyes' growth"])
        return values
    return run


DIGITS = {"classes": (">=", 10.0), "largest class": ("<=", 0.25), "confidence": (">=", 0.8)}

MEASURES: dict[str, Measure] = {
    "autoencoder": Measure("16 numbers, 3,000 steps of 128", autoencoder, {"share below PCA": (">=", 0.3)}, True),
    "vae": Measure("16 numbers, 3,000 steps of 128", vae, {}, True),
    "gan": Measure("6,000 steps of 64", adversarial("gan", 6000, 64), DIGITS, True),
    "dcgan": Measure("width 32, 3,000 steps of 64", adversarial("dcgan", 3000, 64, width=32), DIGITS, True),
    "cgan": Measure("12,000 steps of 64", conditional("cgan", 12_000, 5e-4), {"as asked": (">=", 0.9)}, True),
    "cdcgan": Measure("width 32, 2,500 steps of 64", conditional("cdcgan", 2500, 1e-3, width=32),
                      {"as asked": (">=", 0.95)}, True),
    "wgangp": Measure("grid of 25, hidden 128 x 3, two numbers of noise, 8,000 steps of 256, two critic steps, lambda "
                      "0.1", points(8000), {"modes": (">=", 24.0), "good samples": (">=", 0.8)}),
    "pix2pix": Measure("fronts, 32 px, small, 1,000 steps of 8", pix2pix(1000),
                       {"labels right": (">=", 0.9), "share below the constants": (">=", 0.4)}),
    "cyclegan": Measure("fruit, 32 px, small, 800 steps of 2", cyclegan(800),
                        {"pass as the other kind": (">=", 0.9), "cycle error": ("<=", 0.1)}),
    "ugatit": Measure("faces, 32 px, small, 1,000 steps of 4", ugatit(1000),
                      {"eyes: nearer to 1 than CycleGAN by": (">=", 0.0)}),
}


def rows(name: str, measure: Measure, seeds: list[int], precision: str) -> tuple[list[str], int]:
    """(lines of the table, number of bars missed) of one model."""
    began = time.perf_counter()
    found = [measure.run(seed, precision) for seed in seeds]
    seconds = (time.perf_counter() - began) / len(seeds)
    counts = not measure.digits or digit_sets()[0].name == "mnist"
    lines, missed = [f"| **{name}**: {measure.setting} | {seconds:.0f} s a seed | | | |"], 0
    for value in found[0]:
        of = [f[value] for f in found]
        spread = f" ± {statistics.stdev(of):.2g}" if len(of) > 1 else ""
        sign, bound = measure.bars.get(value, ("", 0.0))
        worst = min(of) if sign == ">=" else max(of)
        holds = worst >= bound if sign == ">=" else worst <= bound
        missed += bool(sign) and counts and not holds
        verdict = f"{sign} {bound:g} | {'met' if holds else 'MISSED'}" if sign and counts else "| "
        lines.append(f"| {value} | {statistics.mean(of):.4g}{spread} | {f'{worst:.4g}' if sign else ''} | {verdict} |")
    return lines, missed


def main() -> int:
    """Measure, print the table, return the number to exit with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(MEASURES):
        parser.error(f"no measure for {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    lines, missed = [], 0
    for name in arguments.models or MEASURES:
        some, wrong = rows(name, MEASURES[name], arguments.seeds, arguments.precision)
        lines, missed = lines + some, missed + wrong
    train, held_out = digit_sets()
    print(f"\ndigits: {train.name}, {len(train)} to train, {len(held_out)} held out; seeds {arguments.seeds}; "
          f"{arguments.precision}; {torch.get_num_threads()} threads\n")
    print("| model | mean ± spread | worst seed | bar | |\n|---|---|---|---|---|")
    print("\n".join(lines))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

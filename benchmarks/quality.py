"""What each model learns in a fixed number of steps, measured on images that it has not seen.

    python benchmarks/quality.py [MODEL ...] [--seed 0] [--precision bf16]

On MNIST's test split where it is on disk (8,000 images to train, 2,000 held out), else on the embedded digits
(1,497 and 300; the bars are meant for MNIST and only reported there). Prints a table and says which bar is missed;
exits with 1 if one is.

- autoencoder: held-out squared error a pixel, beside PCA with as many dimensions; bar: at least 30 % below it.
- vae: held-out negative ELBO in nats, and active units: latents whose mean varies by more than 0.01 over the data
  (Burda et al. 2015, arXiv:1509.00519).
- gan, dcgan: 1,000 samples read by a classifier trained on the real digits; bars: all ten classes, none above 25 %,
  mean confidence at least 0.8. The Frechet distance is between that classifier's features of the samples and of
  1,000 held-out images; the same distance between 1,000 training images and those is printed for scale.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from sklearn.decomposition import PCA
from speed import benchmark_set

from ganlab import metrics, models
from ganlab.data.images import Images
from ganlab.training import Training

Row = tuple[str, str, str, bool]
"""(model and setting, measured, bar, whether it holds)"""

Measure = Callable[[Images, Images, int, str], list[Row]]
"""(training set, held-out set, seed, precision) -> rows"""


def sets() -> tuple[Images, Images, bool]:
    """(training set, held-out set, whether they are MNIST)."""
    images = benchmark_set()
    is_mnist = images.name == "mnist"
    return *images.split(2000 if is_mnist else 300), is_mnist


def autoencoder(train: Images, held_out: Images, seed: int, precision: str) -> list[Row]:
    """Held-out error beside PCA's, both in units of a pixel's range [0, 1]."""
    latent, steps = 16, 3000
    x, y = (s.floats().flatten(1).add(1).div(2).cpu().numpy() for s in (train, held_out))
    pca = PCA(latent, svd_solver="covariance_eigh").fit(x)
    pca_error = float(((pca.inverse_transform(pca.transform(y)) - y) ** 2).mean())
    model = models.create("autoencoder", shape=train.shape, latent=latent, seed=seed)
    Training(model, train, seed, learning_rate=1e-3, precision=precision).run(steps)
    error = ((model.reconstruct(held_out.floats()).cpu() - held_out.floats().cpu()) / 2).square().mean().item()
    return [(f"autoencoder, {latent} numbers, {steps} steps of 128",
             f"error {error:.4f}, PCA {pca_error:.4f}: {1 - error / pca_error:.0%} below", "30 % below PCA",
             error <= 0.7 * pca_error)]


def vae(train: Images, held_out: Images, seed: int, precision: str) -> list[Row]:
    """Held-out negative ELBO (one z an image) and the number of active units."""
    steps = 3000
    model = models.create("vae", shape=train.shape, seed=seed)
    Training(model, train, seed, precision=precision).run(steps)
    x = held_out.floats().to(model.device)
    model.rng = torch.Generator(model.device).manual_seed(seed)
    with torch.no_grad():
        terms = {name: value.item() for name, value in model("autoencoder", model.play(x)).items()}
    active = int((model.encode(x).var(0) > 0.01).sum())
    return [(f"vae, {model.config['latent']} numbers, {steps} steps of 128",
             f"negative ELBO {sum(terms.values()):.1f} nats (reconstruction {terms['reconstruction']:.1f}, "
             f"kl {terms['kl']:.1f}), {active} active units", "", True)]


def adversarial(name: str, steps: int, batch_size: int, **config: int) -> Measure:
    """Train one GAN and let the judge read 1,000 samples."""

    def measure(train: Images, held_out: Images, seed: int, precision: str) -> list[Row]:
        judge = metrics.Judge.trained_on(train, steps=1000)
        model = models.create(name, shape=train.shape, seed=seed, **config)
        Training(model, train, seed, batch_size=batch_size, precision=precision).run(steps)
        count = min(1000, len(held_out))
        real = held_out.floats()[:count]
        report = metrics.judge_samples(judge, model.sample(1000, seed=seed)[:count].cpu(), real)
        scale = metrics.judge_samples(judge, train.floats()[:count], real)
        found = int((report.shares > 0).sum())
        setting = "".join(f", {key} {value}" for key, value in config.items())
        return [(f"{name}{setting}, {steps} steps of {batch_size}",
                 f"{found} classes, largest {report.shares.max():.0%}, smallest {report.shares.min():.0%}, confidence "
                 f"{report.confidence:.2f} (real {scale.confidence:.2f}), Frechet {report.frechet:.1f} (real "
                 f"{scale.frechet:.1f}; {count} samples, judge {judge.accuracy(held_out):.1%} right)",
                 "10 classes, none above 25 %, confidence 0.8",
                 found == 10 and report.shares.max().item() <= 0.25 and report.confidence >= 0.8)]
    return measure


MEASURES: dict[str, Measure] = {
    "autoencoder": autoencoder,
    "vae": vae,
    "gan": adversarial("gan", 6000, 64),
    "dcgan": adversarial("dcgan", 3000, 64, width=32),
}


def main() -> int:
    """Measure, print the table, return the number to exit with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(MEASURES):
        parser.error(f"no measure for {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    train, held_out, is_mnist = sets()
    lines, missed = [], 0
    for name in arguments.models or MEASURES:
        began = time.perf_counter()
        for setting, measured, bar, holds in MEASURES[name](train, held_out, arguments.seed,
                                                              arguments.precision):
            missed += is_mnist and not holds
            verdict = bar and f"{bar}: {'met' if holds else 'MISSED'}"
            lines.append(f"| {setting} | {measured} | {verdict} | {time.perf_counter() - began:.0f} s |")
    print(f"\n{train.name}: {len(train)} images to train, {len(held_out)} held out; seed {arguments.seed}; "
          f"{arguments.precision}; {torch.get_num_threads()} threads\n")
    print("| model | held out | bar | time |\n|---|---|---|---|")
    print("\n".join(lines))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

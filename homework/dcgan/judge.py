"""What is expected in dcgan: the measures of random images, and of the files that they are what a training leaves."""

import numpy as np

from ganlab.homework import Judge, close

judge = Judge(seconds=30, files=("samples.npz", "first.csv", "best.csv"))


def images(rng, n, shape):
    """Random images with some structure, so that their distances differ."""
    return rng.uniform(0.2, 1, size=(n, 1, 1, 1)) * rng.uniform(-1, 1, size=(n, *shape))


def between(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).mean((2, 3, 4)))


def shape(rng):
    return int(rng.choice([1, 3])), *map(int, rng.integers(3, 7, 2))


@judge.check("test_measures", points=2, hint="other images, grey or in colour, of any size")
def distances(ask, rng):
    size = shape(rng)
    a, b = images(rng, 6, size), images(rng, 9, size)
    got = ask("import torch\ndistances(torch.tensor(a), torch.tensor(b))", a=a, b=b)
    return close(got, between(a, b), rtol=1e-3, atol=2e-3)


@judge.check("test_measures", points=2, hint="other batches, small ones too")
def variety(ask, rng):
    batches = [images(rng, n, shape(rng)) for n in (2, 3, 8)]
    got = ask("import torch\n[variety(torch.tensor(batch)) for batch in batches]", batches=batches)
    expected = [between(x, x).sum() / (len(x) * (len(x) - 1)) for x in batches]
    return close(got, expected, rtol=1e-3, atol=2e-3)


@judge.check("test_measures", points=2, hint="other samples: what is near is told by the held-out images")
def copied(ask, rng):
    size, rows = shape(rng), []
    for _ in range(5):
        train, held_out = images(rng, 15, size), images(rng, 41, size)  # with 41 the quantile is one of the numbers
        near = train[rng.integers(0, 15, 30)] + rng.uniform(0, 1, (30, 1, 1, 1)) * rng.normal(size=(30, *size))
        limit = np.quantile(between(held_out, train).min(1), 0.05)
        nearest = between(near, train).min(1)
        clear = np.abs(nearest - limit) > 0.01  # none so near to the limit that rounding decides
        rows.append([near[clear], train, held_out, (nearest[clear] < limit).mean()])
    got = ask("import torch\n[copied(*(torch.tensor(part) for part in row)) for row in rows]",
              rows=[row[:3] for row in rows])
    return close(got, [row[3] for row in rows], rtol=1e-3)


# Run where no code of the student's has run.
FILES = """
import numpy as np
with np.load("samples.npz", allow_pickle=False) as file:
    first, best, real = (file[name] for name in ("first", "best", "real"))
def flat(images):
    return images.reshape(len(images), -1).astype(np.float32) / 127.5 - 1
def variety(images):
    return np.mean([np.sqrt(((flat(images) - one) ** 2).mean(1)).sum() / (len(images) - 1) for one in flat(images)])
def roughness(images):  # 1 for noise, in which neighbours have nothing in common
    x = images.astype(np.float32)
    steps = np.diff(x, axis=2).ravel(), np.diff(x, axis=3).ravel()
    return np.mean([(step ** 2).mean() for step in steps]) / max(2 * x.var(), 1e-9)
def distinct(images):
    return len(np.unique(images.reshape(len(images), -1), axis=0))
"""


@judge.check("test_hand_in", points=1, hint="samples.npz: kind and shape of its three arrays")
def arrays(ask, rng):
    got = ask.alone(FILES + "[[x.dtype == np.uint8, x.ndim, *x.shape] for x in (first, best, real)]")
    n, channels, height, width = got[0, 2:] if got.shape == (3, 6) else np.zeros(4)
    return (got == got[0]).all() and got[0, 0] and n == 100 and channels in (1, 3) and height == width >= 8


@judge.check("test_hand_in", points=2, hint="samples of the best run: all different, as varied as real images")
def different(ask, rng):
    count, alone, drawn, true = ask.alone(FILES + "[distinct(np.concatenate([best, real])), distinct(real), "
                                          "variety(best), variety(real)]")
    return count - alone >= 95 and 0.3 * true < drawn < 3 * true


@judge.check("test_hand_in", points=1, hint="samples of the best run: images, and no noise")
def no_noise(ask, rng):
    drawn, true = ask.alone(FILES + "[roughness(best), roughness(real)]")
    return drawn < 0.6 or drawn < 1.5 * true


@judge.check("test_hand_in", points=2, hint="first.csv and best.csv: histories of two trainings")
def histories(ask, rng):
    tables = ask.alone("""
import csv
tables = []
for name in ("first.csv", "best.csv"):
    with open(name, newline="") as file:
        rows = [[float(row[key] or 0) for key in ("step", "D(x)", "D(G(z))", "discriminator/adversarial",
                                                   "generator/adversarial")] for row in csv.DictReader(file)]
    tables.append(rows)
tables""", each=True)
    fine = [len(t) >= 3 and (np.diff(t[:, 0], prepend=0) > 0).all() and (t[:, 1:].std(0) > 0).all() for t in tables]
    return all(fine) and (tables[0].shape != tables[1].shape or not np.allclose(*tables))

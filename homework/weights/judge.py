"""What is expected in weights: the four terms of random numbers, and files that agree with each other."""

import numpy as np

from ganlab.homework import Judge, close

NAMES = ("adversarial", "cycle", "identity", "cam")
RUNS = ("all_four", *(f"without_{name}" for name in NAMES))
judge = Judge(seconds=30, files=("samples.npz", "ablation.csv", "steered.*", *(f"{run}.csv" for run in RUNS)))


def softplus(x):
    return np.logaddexp(0, x)


@judge.check("test_terms", points=2, hint="other logits, in other numbers and shapes")
def adversarial(ask, rng):
    logits = [rng.normal(size=rng.integers(1, 5, int(rng.integers(1, 5)))) for _ in range(int(rng.integers(2, 9)))]
    got = ask("import torch\nadversarial([torch.tensor(v) for v in logits])", logits=logits)
    return close(got, sum(((v - 1) ** 2).mean() for v in logits))


@judge.check("test_terms", points=2, hint="other images")
def cycle_and_identity(ask, rng):
    four = rng.uniform(-1, 1, size=(4, 3, *rng.integers(1, 6, 3)))
    got = ask("import torch\nimages = [torch.tensor(x) for x in four]\n[cycle(*images), identity(*images)]", four=four)
    a, a_other, b, b_other = four
    return close(got, [np.abs(a - a_other).mean() + np.abs(b - b_other).mean()] * 2)


@judge.check("test_terms", points=2, hint="other logits: what should be 1, and what 0?")
def cam(ask, rng):
    translated, same = 3 * rng.normal(size=(6, 2)), 3 * rng.normal(size=(4, 2))
    got = ask("import torch\ncam(torch.tensor(translated), torch.tensor(same))", translated=translated, same=same)
    return close(got, softplus(-translated).mean() + softplus(same).mean())


@judge.check("test_terms", points=2, hint="other terms and weights")
def objective(ask, rng):
    terms, weights = rng.uniform(size=4), rng.uniform(0, 1000, 4) * rng.integers(0, 2, 4)
    got = ask("import torch\nobjective({n: torch.tensor(t) for n, t in zip(names, terms)}, dict(zip(names, weights)))",
              names=[f"term {i}" for i in rng.permutation(4)], terms=terms, weights=weights)
    return close(got, terms @ weights, atol=1e-4)


# Run where no code of the student's has run.
READ = """
import csv
import numpy as np
def table(name):
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
def column(rows, name):
    return [float(row[name]) for row in rows]
def pictures():
    with np.load("samples.npz", allow_pickle=False) as file:
        return [file[name] for name in ("inputs", *runs)]
"""


@judge.check("test_hand_in", points=1, hint="samples.npz: 24 pictures a run, none as those of another run")
def samples(ask, rng):
    form, apart = ask.alone(READ + """
found = pictures()
flat = [x.reshape(len(x), -1).astype(np.float32) for x in found]
[[[x.dtype == np.uint8, *x.shape] for x in found],
 [float(np.abs(a - b).mean()) for i, a in enumerate(flat) for b in flat[:i]]]""", runs=list(RUNS), each=True)
    return (form == form[0]).all() and form[0, 0] == 1 and form[0, 1] == 24 and form[0, 2] in (1, 3) and apart.min() > 1


@judge.check("test_hand_in", points=1, hint="ablation.csv: five runs, whose `changed` agrees with samples.npz")
def measured(ask, rng):
    listed, seen, seeds = ask.alone(READ + """
rows = table("ablation.csv")
first = [next(row for row in rows if row["run"] == run) for run in runs]
inputs, *found = [x.astype(np.float32) / 127.5 - 1 for x in pictures()]
[column(first, "changed"), [float(np.abs(x - inputs).mean()) for x in found],
 [len({row["seed"] for row in rows if row["run"] == run}) for run in runs]]""", runs=list(RUNS))
    return close(listed, seen, atol=0.02) and seeds.min() >= 2


@judge.check("test_hand_in", points=2, hint="the five histories: which weights were 0? Which terms were recorded?")
def histories(ask, rng):
    weights, steps, terms = ask.alone(READ + """
found = [table(run + ".csv") for run in runs]
[[[[min(column(rows, "weight/" + name)), max(column(rows, "weight/" + name))] for name in names] for rows in found],
 [column(rows, "step")[-1] for rows in found],
 [float(np.std(column(rows, "generator/" + name))) for rows in found for name in names]]""",
                                      runs=list(RUNS), names=list(NAMES), each=True)
    off = np.array([[run == f"without_{name}" for name in NAMES] for run in RUNS])
    return ((weights.max(2) == 0) == off).all() and (weights.min(2)[~off] > 0).all() and len(set(steps)) == 1 \
        and terms.min() > 0


@judge.check("test_hand_in", points=2, hint="do the steered changes and history tell of the same moves?")
def steered(ask, rng):
    moves, steps, shown = ask.alone(READ + """
history = table("steered.history.csv")
moves = [[float(row["step"]), names.index(row["name"]), float(row["value"])] for row in table("steered.changes.csv")
         if row["kind"] == "weights"]
[moves, column(history, "step"), [column(history, "weight/" + name) for name in names]]""",
                                   names=list(NAMES), each=True)
    if len(moves) < 2:
        return False
    # A row shows the weights as they were at its last step, counted from 1; a move holds from its step on, from 0.
    told = [shown[int(which), row] == latest[-1] for which in set(moves[:, 1]) for row, step in enumerate(steps)
            if (latest := [value for at, name, value in moves if name == which and at < step])]
    return len(told) > 0 and np.mean(told) > 0.9

"""What is expected in the smallest assignment: plain Python, ten points by checks, four by hand."""

import numpy as np

from ganlab.homework import Judge, close

judge = Judge(seconds=2, memory=0.5)


@judge.check("test_mean", points=2, hint="try numbers of either sign, and one alone")
def mean(ask, rng):
    values = rng.normal(size=(20, 7))
    return close(ask("[mean(row) for row in rows]", rows=values), values.mean(1))


@judge.check("test_clamp", points=2, hint="inside the limits nothing may change")
def clamp(ask, rng):
    values = rng.normal(size=50)
    return close(ask("clamp(values, -0.5, 1.5)", values=values), values.clip(-0.5, 1.5))


@judge.check("test_clamp", points=1, hint="the list given should stay as it was")
def clamp_leaves_its_argument(ask, rng):
    values = rng.normal(size=9)
    return close(ask("[clamp(values, -0.1, 0.1), values]", values=values), [values.clip(-0.1, 0.1), values])


@judge.check("test_softmax", points=5, hint="do they add up to 1, in the order of the logits?")
def softmax(ask, rng):
    logits = rng.normal(size=(10, 6))
    powers = np.exp(logits)
    return close(ask("[softmax(row) for row in rows]", rows=logits), powers / powers.sum(1, keepdims=True))


@judge.check("test_softmax", points=1, bonus=True, hint="what happens at large logits?")
def softmax_of_large_logits(ask, rng):
    logits = rng.normal(size=6) + 2000
    powers = np.exp(logits - 2000)
    return close(ask("softmax(logits)", logits=logits), powers / powers.sum())

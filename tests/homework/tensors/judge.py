"""What is expected in a small assignment with PyTorch: a function of tensors, and a layer with its weights."""

import numpy as np

from ganlab.homework import Judge, close

judge = Judge(seconds=20, memory=1.5)


@judge.check("test_leaky", points=2, hint="what happens below 0?")
def leaky(ask, rng):
    x = rng.normal(size=(4, 5))
    return close(ask("leaky(torch.tensor(x))", x=x), np.where(x > 0, x, 0.2 * x))


@judge.check("test_scale", points=3, hint="each parameter once, and in place")
def scale(ask, rng):
    weights, factor = rng.normal(size=(3, 4)), float(rng.uniform(2, 3))
    got = ask("layer = torch.nn.Linear(4, 3)\n"
              "with torch.no_grad():\n"
              "    layer.weight.copy_(torch.tensor(weights))\n"
              "    layer.bias.copy_(layer.weight.sum(1))\n"
              "scale(layer, factor)\n"
              "[layer.weight, layer.bias]", each=True, weights=weights, factor=factor)
    return len(got) == 2 and close(got[0], weights * factor) and close(got[1], weights.sum(1) * factor, rtol=1e-3)

"""Draw the picture at the top of the README: what twelve random inputs become while a DCGAN learns.

    python benchmarks/overview.py lessons/overview.png
"""

import sys

import torch

from ganlab import data, models, plots
from ganlab.training import Training

digits = data.load("digits")
model = models.DCGAN(shape=digits.shape, width=32)
training = Training(model, digits, batch_size=64, learning_rate=1e-3)
rows = []
for step in (10, 50, 150, 500, 2000):
    training.run(step - training.step)
    rows.append(model.sample(12, seed=4).cpu())
plots.tile(torch.cat(rows), columns=12, scale=2).save(sys.argv[1], optimize=True)

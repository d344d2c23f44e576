"""What is expected in conditional: of the networks what they do, whatever they are made of; and a reader of digits."""

import functools

import numpy as np

from ganlab.homework import Judge, close

judge = Judge(seconds=30, files=())

# Fresh networks of odd sizes. What begins as 0 in them is moved away from it, as a training would.
FRESH = """
import torch
torch.manual_seed(seed)
latent, classes, width, n = sizes
eye, z = torch.eye(classes), torch.randn(n, latent)
x = torch.rand(n, 1, 28, 28) * torch.rand(n, 1, 1, 1) * 2 - 1  # some dark, some bright
y = eye[torch.randint(classes, (n,))]

def shake(network):
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return network.eval()

def gradients(network):
    return [float(p.grad is not None) for p in network.parameters() if p.requires_grad]
"""
GENERATOR = FRESH + "G = shake(Generator(latent, classes, width))\n"
DISCRIMINATOR = FRESH + "D = shake(Discriminator(classes, width))\n"
APART = 1e-5  # of the spread; what does not depend on a thing differs by rounding, about 1e-7


def fresh(rng):
    return {"seed": int(rng.integers(2**31)),
            "sizes": [int(rng.integers(*limits)) for limits in ((8, 40), (3, 13), (4, 13), (4, 9))]}


def apart(values):
    """The smallest distance between any two of the values along the first axis, as a share of their spread."""
    flat = values.reshape(len(values), -1)
    pairs = [np.sqrt(np.mean((flat[a] - flat[b]) ** 2)) for a in range(len(flat)) for b in range(a)]
    return min(pairs) / max(flat.std(), 1e-12)


@judge.check("test_one_hot", points=2, hint="other numbers of labels and classes, as input of a layer")
def one_hot(ask, rng):
    classes = int(rng.integers(3, 15))
    labels = rng.integers(0, classes - 1, 9)  # who counts the classes of these labels counts one too few
    got = ask("import torch\ntorch.nn.functional.linear(one_hot(torch.tensor(labels), classes), torch.eye(classes))",
              labels=labels, classes=classes)
    return close(got, np.eye(classes)[labels])


@judge.check("test_generator", points=1, hint="shape and range of the images, for other sizes and in either mode")
def images(ask, rng):
    got = ask(GENERATOR + "[G(100 * z, y), G.train()(z, y)]", **(start := fresh(rng)))
    return got.shape == (2, start["sizes"][3], 1, 28, 28) and np.abs(got).max() <= 1 + 1e-6 and got.min() < 0


@judge.check("test_generator", points=3, hint="the same noise under different labels, and the other way round")
def both_matter(ask, rng):
    by_label = ask(GENERATOR + "[G(z, eye[[label] * n]) for label in range(classes)]", **fresh(rng))
    by_noise = ask(GENERATOR + "G(z, eye[[1] * n])", **fresh(rng))
    return np.average([apart(by_label) > APART, apart(by_noise) > APART], weights=[2, 1])


@judge.check("test_generator", points=1, hint="an image should not depend on the others in its batch (in eval mode)")
def image_alone(ask, rng):
    whole, parts = ask(GENERATOR + "[G(z, y), torch.cat([G(z[:2], y[:2]), G(z[2:], y[2:])])]", **fresh(rng))
    return close(parts, whole, atol=1e-3)


@judge.check("test_generator", points=1, hint="a gradient should reach every parameter")
def generator_learns(ask, rng):
    return bool(ask(GENERATOR + "G.train()(z, y).square().sum().backward(); gradients(G)", **fresh(rng)).all())


@judge.check("test_discriminator", points=1, hint="one logit an image, without a sigmoid, for other sizes")
def logits(ask, rng):
    got = ask(DISCRIMINATOR + "[shake(Discriminator(classes, width))(x, y).reshape(n, -1) for _ in range(16)]",
              **(start := fresh(rng)))
    return got.shape == (16, start["sizes"][3], 1) and (got.min() < 0 or got.max() > 1)


@judge.check("test_discriminator", points=3, hint="the same image under different labels, and the other way round")
def both_count(ask, rng):
    by_label = ask(DISCRIMINATOR + "[D(x, eye[[label] * n]).flatten() for label in range(classes)]", **fresh(rng))
    return np.average([apart(by_label) > APART, apart(by_label.T) > APART], weights=[2, 1])


@judge.check("test_discriminator", points=1, hint="a logit should not depend on the others in its batch (in eval mode)")
def logit_alone(ask, rng):
    whole, parts = ask(DISCRIMINATOR + "[D(x, y).flatten(), torch.cat([D(x[:2], y[:2]).flatten(), "
                       "D(x[2:], y[2:]).flatten()])]", **fresh(rng))
    return close(parts, whole, atol=1e-3)


@judge.check("test_discriminator", points=1, hint="a gradient should reach every parameter, and the image")
def discriminator_learns(ask, rng):
    reached, image = ask(DISCRIMINATOR + "x.requires_grad_(); D.train()(x, y).square().sum().backward()\n"
                         "[min(gradients(D)), float(x.grad.abs().sum())]", **fresh(rng))
    return reached == 1 and image > 0


STUB = """
import torch
x, fake, y = torch.tensor(real), torch.tensor(fakes, requires_grad=True), torch.tensor(labels)
c = torch.tensor(c, requires_grad=True)
def D(x, y):
    return (x.flatten(1) @ torch.tensor(a)) * (y @ torch.tensor(b)) + y @ c
"""


def losses(ask, rng, code):
    """What the code gives; and what is right: L_D, its gradient in the three c, and L_G."""
    values = {"real": rng.normal(size=(5, 1, 4, 4)), "fakes": rng.normal(size=(5, 1, 4, 4)),
              "labels": np.eye(3)[rng.integers(0, 3, 5)], "a": rng.normal(size=16), "b": rng.normal(size=3),
              "c": rng.normal(size=3)}
    v_real, v_fake = ((values[key].reshape(5, 16) @ values["a"]) * (values["labels"] @ values["b"])
                      + values["labels"] @ values["c"] for key in ("real", "fakes"))
    softplus = functools.partial(np.logaddexp, 0)
    sigmoid_real, sigmoid_fake = (1 / (1 + np.exp(-v)) for v in (v_real, v_fake))
    of_c = (sigmoid_fake + sigmoid_real - 1) @ values["labels"] / 5
    return (ask(STUB + code, **values), softplus(-v_real).mean() + softplus(v_fake).mean(), of_c,
            softplus(-v_fake).mean())


@judge.check("test_losses", points=2, hint="the discriminator's loss of other pairs, and what it learns from them")
def discriminator_loss(ask, rng):
    got, expected, of_c, _ = losses(ask, rng, """
loss = discriminator_loss(D, x, fake, y)
[loss, *(torch.autograd.grad(loss, c)[0] if loss.requires_grad else 0 * c)]""")
    return np.mean([close(got[:1], [expected], rtol=1e-3, atol=1e-4), close(got[1:], of_c, rtol=1e-3, atol=1e-4)])


@judge.check("test_losses", points=2, hint="the generator's loss of other pairs, and who learns from which loss")
def generator_loss(ask, rng):
    got, _, _, expected = losses(ask, rng, """
def reached(loss):
    return torch.autograd.grad(loss, fake, allow_unused=True)[0] is not None if loss.requires_grad else False
loss = generator_loss(D, fake, y)
[loss, reached(discriminator_loss(D, x, fake, y)), reached(loss)]""")
    return close(got, [expected, 0, 1], rtol=1e-3, atol=1e-4)


@functools.cache
def reader():
    """A classifier of real digits: it reads 99 % of held-out ones."""
    from sklearn.svm import SVC

    from ganlab import data

    digits = data.load("digits")
    return SVC(C=10).fit(digits.images.flatten(1).numpy() / 255, digits.labels.numpy())


@judge.check("test_obeys", points=4, hint="a fresh pair, trained with your settings, should be obeyed")
def obeys(ask, rng):
    drawn = ask("""
import time
import torch
from ganlab import data
from ganlab.training import Training
torch.manual_seed(seed)
model, end = Conditional(width=min(settings["width"], 32), seed=seed), time.process_time() + 300
z, orders = torch.randn(200, 64), torch.arange(10).repeat(20)
def pixels():
    return model.draw(z, orders).reshape(200, 784).add(1).mul(127.5).round().int()
before = pixels()
training = Training(model, data.load("digits"), seed, batch_size=min(settings["batch_size"], 64), device="cpu",
                    learning_rate=settings["learning_rate"])
while training.step < min(settings["steps"], 600) and time.process_time() < end:
    training.run(10, progress=False)
{"before": before, "after": pixels()}""", each=True, seconds=360, seed=int(rng.integers(2**31)))
    obeyed = {when: np.mean(reader().predict(np.clip(pixels, 0, 255) / 255) == np.arange(200) % 10)
              for when, pixels in drawn.items()}
    # Who obeys before any training has looked the digits up.
    return obeyed["after"] >= 0.3 and obeyed["before"] < 0.3

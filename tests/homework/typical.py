"""Answers that students typically give: wrong ones, with what the visible check must say to them, and other right ones.

Each is the reference answer with some of its text exchanged, or a text of its own.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A mistake in the answer with that grade id.

    Attributes:
        said: what the first visible check that fails must say, or empty where only a hidden one can see it.
        loses: hidden checks that must fail; others may.
    """

    assignment: str
    cell: str
    what: str
    answer: str | dict[str, str]
    said: str
    loses: tuple[str, ...]


@dataclass(frozen=True)
class Right:
    """Another way that must be given full marks; answers by grade id."""

    assignment: str
    what: str
    answers: dict[str, str | dict[str, str]]


def wrong(assignment: str, cell: str, *cases: tuple) -> list[Wrong]:  # type: ignore[type-arg]
    """(what, answer, said, loses) of each."""
    return [Wrong(assignment, cell, *case) for case in cases]


D_TURN = '''
def discriminator_turn(D, G, optimizer, x, z):
    optimizer.zero_grad()
    loss = -torch.sigmoid(D(x)).log().mean() - (1 - torch.sigmoid(D(G(z).detach()))).log().mean()
    loss.backward()
    optimizer.step()
    return loss.item()
'''
G_TURN = '''
def generator_turn(D, G, optimizer, z):
    loss = F.binary_cross_entropy_with_logits(D(G(z)), torch.ones(len(z), 1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())
'''
DETACHED = "with torch.no_grad():\n        fake = G(z)"
D_LOSS = "F.softplus(-D(x)).mean() + F.softplus(D(fake)).mean()"
G_LOSS = "loss = F.softplus(-D(G(z))).mean()"
IN_WINDOW = "last = self.losses[-self.window:]"

BY_EPOCHS_COUNTING = '''
class ByEpochs(Schedule):
    name = "by_epochs"

    def __init__(self, discriminator=1, generator=1, first="discriminator"):
        self.queue = ["discriminator"] * discriminator, ["generator"] * generator
        self.queue = sum(self.queue if first == "discriminator" else self.queue[::-1], [])
        self.last, self.calls = None, -1

    def movers(self, step, epoch, players):
        self.calls += epoch != self.last
        self.last = epoch
        return (self.queue[self.calls % len(self.queue)],)
'''
BY_EPOCHS_LISTED = '''
class ByEpochs(Schedule):
    name = "by_epochs"

    def __init__(self, discriminator=1, generator=1, first="discriminator"):
        both = [["discriminator"] * discriminator, ["generator"] * generator]
        if first != "discriminator":
            both.reverse()
        self.order = both[0] + both[1]

    def movers(self, step, epoch, players):
        return [self.order[epoch % len(self.order)]]
'''
BY_LOSS_DEQUE = '''
from collections import deque


class ByLoss(Schedule):
    name = "by_loss"
    reads_losses = True

    def __init__(self, discriminator=1.2, generator=0.8, window=10, patience=100):
        self.low = discriminator, generator
        self.window, self.patience, self.who = window, patience, 0
        self.begin()

    def begin(self):
        self.seen, self.moves = deque(maxlen=self.window), 0

    def movers(self, step, epoch, players):
        return [("discriminator", "generator")[self.who]]

    def after(self, losses):
        self.moves += 1
        self.seen.append(next(iter(losses.values())))
        full = len(self.seen) == self.window
        if (full and sum(self.seen) < self.window * self.low[self.who]) or self.moves == self.patience:
            self.who = 1 - self.who
            self.begin()
'''
PLAY_COUNTED = '''
def play(schedule, turns, batches, noise, per_epoch):
    players, out = ["discriminator", "generator"], []
    for i in range(len(batches)):
        who = schedule.movers(i, i // per_epoch, players)
        out.append({name: turns[name](batches[i], noise[i]) for name in who})
        schedule.after(out[-1])
    return out
'''

GENERATORS = {
    "label added": '''
class Generator(nn.Module):
    def __init__(self, latent=64, classes=10, width=16):
        super().__init__()
        self.from_noise, self.from_label = nn.Linear(latent, width * 49), nn.Linear(classes, width * 49, bias=False)
        self.net = nn.Sequential(
            nn.Unflatten(1, (width, 7, 7)), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 1, 3, 1, 1), nn.Tanh())

    def forward(self, z, y):
        return self.net(self.from_noise(z) + self.from_label(y))
''',
    "noise times an embedding": '''
class Generator(nn.Module):
    def __init__(self, latent=64, classes=10, width=16):
        super().__init__()
        self.embedding = nn.Embedding(classes, latent)
        self.net = nn.Sequential(
            nn.Linear(latent, 4 * width * 16), nn.ReLU(), nn.Unflatten(1, (4 * width, 4, 4)),
            nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Tanh())

    def forward(self, z, y):
        return self.net(z * self.embedding(y.argmax(1)))
''',
    "norms that know the class, and begin alike": '''
class ClassNorm(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma, self.beta = nn.Linear(classes, channels), nn.Linear(classes, channels)
        for layer in (self.gamma, self.beta):
            nn.init.zeros_(layer.weight)

    def forward(self, x, y):
        return (1 + self.gamma(y))[:, :, None, None] * self.norm(x) + self.beta(y)[:, :, None, None]


class Generator(nn.Module):
    def __init__(self, latent=64, classes=10, width=16):
        super().__init__()
        self.first = nn.ConvTranspose2d(latent, 4 * width, 7, 1, 0)
        self.layers = nn.ModuleList([nn.Conv2d(4 * width, 8 * width, 3, 1, 1),
                                     nn.Conv2d(2 * width, 4 * width, 3, 1, 1)])
        self.norms = nn.ModuleList([ClassNorm(4 * width, classes), ClassNorm(2 * width, classes)])
        self.last = nn.Conv2d(width, 1, 3, 1, 1)

    def forward(self, z, y):
        x = self.first(z[:, :, None, None])
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = F.pixel_shuffle(layer(F.relu(norm(x, y))), 2)
        return torch.tanh(self.last(F.relu(x)))
''',
}
DISCRIMINATORS = {
    "projection": '''
class Discriminator(nn.Module):
    def __init__(self, classes=10, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten())
        self.head, self.of_class = nn.Linear(64 * width, 1), nn.Linear(classes, 64 * width, bias=False)

    def forward(self, x, y):
        found = self.features(x)
        return self.head(found) + (self.of_class(y) * found).sum(1, keepdim=True)
''',
    "a plane made of the label": '''
class Discriminator(nn.Module):
    def __init__(self, classes=10, width=16):
        super().__init__()
        self.plane = nn.Linear(classes, 28 * 28)
        self.net = nn.Sequential(
            nn.Conv2d(2, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(98 * width, 1))

    def forward(self, x, y):
        return self.net(torch.cat([x, self.plane(y).view(-1, 1, 28, 28)], 1)).squeeze(1)
''',
    "fully convolutional": '''
class Discriminator(nn.Module):
    def __init__(self, classes=10, width=16):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2))
        self.label = nn.Sequential(nn.Conv2d(classes, width, 1), nn.LeakyReLU(0.2))
        self.rest = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
                                  nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.LeakyReLU(0.2),
                                  nn.Conv2d(4 * width, 1, 4))

    def forward(self, x, y):
        planes = self.label(y[:, :, None, None].expand(-1, -1, 14, 14))
        return self.rest(torch.cat([self.image(x), planes], 1))
''',
}
SLOW = {"settings": 'settings = {"steps": 600, "batch_size": 32, "learning_rate": 2e-3, "width": 16}'}

RIGHT = [
    Right("take_turns", "as textbooks write it", {"turns": D_TURN + G_TURN, "by_epochs": BY_EPOCHS_LISTED,
                                                  "by_loss": BY_LOSS_DEQUE, "play": PLAY_COUNTED}),
    Right("take_turns", "cross entropy", {"turns": {
        D_LOSS: "F.binary_cross_entropy_with_logits(torch.cat([D(x), D(fake)]), torch.cat([torch.ones(len(x), 1), "
                "torch.zeros(len(x), 1)]), reduction='sum') / len(x)"}}),
    Right("conditional", "added, projection", {"generator": GENERATORS["label added"],
                                               "discriminator": DISCRIMINATORS["projection"]}),
    Right("conditional", "embedding, planes", {"generator": GENERATORS["noise times an embedding"]} | SLOW),
    Right("conditional", "class norms, a plane made of the label", {
        "generator": GENERATORS["norms that know the class, and begin alike"],
        "discriminator": DISCRIMINATORS["a plane made of the label"]} | SLOW),
    Right("conditional", "concatenated, fully convolutional", {
        "one_hot": "def one_hot(labels, classes=10):\n    return torch.eye(classes, device=labels.device)[labels]",
        "discriminator": DISCRIMINATORS["fully convolutional"],
        "losses": '''
def discriminator_loss(D, x, fake, y):
    logits = D(torch.cat([x, fake.detach()]), torch.cat([y, y])).flatten()
    wanted = torch.cat([torch.ones(len(x)), torch.zeros(len(x))])
    return 2 * F.binary_cross_entropy_with_logits(logits, wanted)


def generator_loss(D, fake, y):
    return -F.logsigmoid(D(fake, y)).mean()
'''}),
]

RIGHT += [
    Right("dcgan", "by broadcasting", {"measures": '''
def distances(a, b):
    return (a[:, None] - b[None]).square().mean((2, 3, 4)).sqrt()


def variety(images):
    apart = distances(images, images)
    return float(apart[~torch.eye(len(images), dtype=bool)].mean())


def copied(samples, train, held_out):
    limit = distances(held_out, train).amin(1).quantile(0.05)
    return float((distances(samples, train).amin(1) < limit).double().mean())
'''}),
    Right("dcgan", "by the matrix product, and pairs once", {"measures": '''
import math


def distances(a, b):
    return torch.cdist(a.flatten(1), b.flatten(1)) / math.sqrt(a[0].numel())


def variety(images):
    return (torch.pdist(images.flatten(1)).mean() / math.sqrt(images[0].numel())).item()


def copied(samples, train, held_out):
    near = [min(distances(image[None], train)[0].tolist()) for image in samples]
    usual = torch.tensor([min(distances(image[None], train)[0].tolist()) for image in held_out])
    return sum(d < torch.quantile(usual, 0.05).item() for d in near) / len(near)
'''}),
    Right("weights", "by PyTorch's losses", {"terms": '''
def adversarial(logits):
    total = 0
    for v in logits:
        total = total + F.mse_loss(v, torch.ones_like(v))
    return total


def cycle(a, a_back, b, b_back):
    return F.l1_loss(a_back, a) + F.l1_loss(b_back, b)


identity = cycle


def cam(translated, same):
    bce = F.binary_cross_entropy_with_logits
    return bce(translated, torch.ones_like(translated)) + bce(same, torch.zeros_like(same))


def objective(terms, weights):
    return torch.stack([weights[name] * terms[name] for name in weights if name in terms]).sum()
'''}),
]

PLANES = "planes = y[:, :, None, None].expand(-1, -1, *x.shape[2:])"
DRAW = "return self.net(torch.cat([z, y], 1)[:, :, None, None])"
JUDGE = "return self.net(torch.cat([x, planes], 1))"
ON_REAL = "F.softplus(-D(x, y)).mean()"
FOR_G = "F.softplus(-D(fake, y)).mean()"
ON_FAKES = "F.softplus(D(fake.detach(), y)).mean()"

WRONG = [
    *wrong("take_turns", "turns",
        ("fakes are not detached", {DETACHED: "fake = G(z)"}, "left gradients in G", ("nothing_leaks",)),
        ("what D says of fakes is detached", {"D(fake)": "D(fake).detach()"}, "does D learn from both",
         ("single_turns",)),
        ("half the sum", {D_LOSS: f"({D_LOSS}) / 2"}, "the sum of two means", ("single_turns",)),
        ("a sigmoid too many", {D_LOSS: D_LOSS.replace("D(x)", "D(x).sigmoid()")}, "log 2 + log 2",
         ("single_turns",)),
        ("gradients pile up", {"optimizer.zero_grad()": "pass"}, "zero_grad", ("single_turns",)),
        ("no step", {"loss.backward()\n    optimizer.step()": "loss.backward()"}, "has not moved D",
         ("single_turns",)),
        ("a tensor", {"return loss.item()": "return loss"}, "use .item()", ()),
        ("the saturating loss", {G_LOSS: "loss = -F.softplus(D(G(z))).mean()"}, "the mean of softplus(-D(G(z)))",
         ("single_turns",)),
        ("the wrong sign", {"p.grad = gradient": "p.grad = -gradient"}, "a sign", ("single_turns",))),
    *wrong("take_turns", "by_epochs",
        ("counts calls", BY_EPOCHS_COUNTING, "does it count the calls", ("by_epochs",)),
        ("one epoch late", {"epoch %": "(epoch - 1) %"}, "DDGDDGD|DGDGDG", ("by_epochs",)),
        ("ignores first", {"self.first = first": 'self.first = "discriminator"'}, "GDDGDDG", ("by_epochs",)),
        ("a word", {"return (self.first,) if": "return self.first if"}, "a tuple or list", ("by_epochs",)),
        ("by steps", {"place = epoch %": "place = step %"}, "different movers", ("by_epochs",))),
    *wrong("take_turns", "by_loss",
        ("one loss for the mean", {"sum(last) / self.window": "last[-1]"}, "DDDGGGGD", ("by_loss",)),
        ("the mean of the whole turn",
         {IN_WINDOW: IN_WINDOW + "\n        all_of_it = self.losses",
          "sum(last) / self.window": "sum(all_of_it) / len(all_of_it)"}, "",
         ("by_loss",)),
        ("does not forget", {"self.losses = []": "pass"}, "DDDGGGDD|DDDGGGGD", ("by_loss",)),
        ("no patience", {" or len(self.losses) >= self.patience": ""}, "patience=3", ("by_loss",)),
        ("at the threshold", {"< self.threshold": "<= self.threshold"}, "is not below it", ()),
        ("is never told", {"reads_losses = True": "reads_losses = False"}, "reads_losses", ())),
    *wrong("take_turns", "play",
        ("does not tell the schedule", {"schedule.after(losses)": "pass"}, "after() should be told",
         ("loop", "whole_games")),
        ("counts steps for epochs", {"step // per_epoch": "step"}, "per_epoch=2", ("loop", "whole_games")),
        ("both always move",
         {"schedule.movers(step, step // per_epoch, [": "list([", '"generator"]):': '"generator"]):'},
         "your loop asked", ("loop", "whole_games")),
        ("the first noise for all", {"turns[player](x, z)": "turns[player](x, noise[0])"}, "another batch or noise",
         ("loop", "whole_games"))),
    *wrong("conditional", "one_hot",
        ("whole numbers", {".float()": ""}, "whole numbers", ("one_hot",)),
        ("the label as a number", {"F.one_hot(labels, classes).float()": "labels[:, None].float()"}, "3 x 4",
         ("one_hot",)),
        ("always ten", {"F.one_hot(labels, classes)": "F.one_hot(labels, 10)"}, "3 x 4", ("one_hot",)),
        ("as many classes as there are labels", {"F.one_hot(labels, classes)": "F.one_hot(labels)"}, "3 x 4",
         ("one_hot",))),
    *wrong("conditional", "generator",
        ("deaf", {DRAW: DRAW.replace("[z, y]", "[z, 0 * y]")}, "does not listen to y", ("both_matter",)),
        ("no noise", {DRAW: DRAW.replace("[z, y]", "[0 * z, y]")}, "does not use z", ("both_matter",)),
        ("sigmoid", {"nn.Tanh()": "nn.Sigmoid()"}, "below 0", ("images",)),
        ("no end", {", nn.Tanh()": ""}, "end with Tanh", ("images",)),
        ("for ten classes only", {"latent + classes": "latent + 10"}, "", ("images", "both_matter")),
        ("another's label", {DRAW: DRAW.replace("[z, y]", "[z, y.roll(1, 0)]")}, "meet its own label",
         ("image_alone",)),
        ("28 rows of 27", {"2 * width, width, 4, 2, 1": "2 * width, width, 3, 2, 1"}, "not (6, 1, 2", ("images",))),
    *wrong("conditional", "discriminator",
        ("label in the generator alone", {JUDGE: JUDGE.replace("[x, planes]", "[x, 0 * planes]")},
         "does not listen to y", ("both_count", "obeys")),
        ("sigmoid", {"nn.Flatten(0)": "nn.Flatten(0), nn.Sigmoid()"}, "without a sigmoid", ("logits",)),
        ("planes mixed up", {PLANES: "planes = y.repeat(784, 1).reshape(len(x), -1, 28, 28)"}, "meet its own label",
         ("logit_alone",)),
        ("patches", {"nn.Conv2d(4 * width, 1, 4), nn.Flatten(0)": "nn.Conv2d(4 * width, 1, 1)"}, "no patches",
         ("logits",)),
        ("an idle layer", {"initialise(self)": "initialise(self)\n        self.idle = nn.Linear(2, 2)"}, "never used",
         ("discriminator_learns",))),
    *wrong("conditional", "losses",
        ("fakes are not detached", {"fake.detach()": "fake"}, "must be detached", ("generator_loss",)),
        ("what D says of fakes is detached", {"D(fake.detach(), y)": "D(fake, y).detach()"}, "not what D says of them",
         ("discriminator_loss",)),
        ("all of it is detached", {ON_REAL: f"({ON_REAL}", ON_FAKES: f"{ON_FAKES}).detach()"}, "L_D has no gradient",
         ("discriminator_loss",)),
        ("no mean in L_D", {ON_REAL: ON_REAL.replace(".mean()", ""), ON_FAKES: ON_FAKES.replace(".mean()", "")},
         "L_D should be returned as one number", ("discriminator_loss",)),
        ("a number of Python's for L_D", {ON_REAL: f"({ON_REAL}", ON_FAKES: f"{ON_FAKES}).item()"}, "no .item()",
         ("discriminator_loss",)),
        ("L_D is not returned", {f"return {ON_REAL}": ON_REAL}, "yours is None", ("discriminator_loss",)),
        ("no mean in L_G", {FOR_G: FOR_G.replace(".mean()", "")}, "L_G should be returned as one number",
         ("generator_loss",)),
        ("a number of Python's for L_G", {FOR_G: f"{FOR_G}.item()"}, "no .item()", ("generator_loss",)),
        ("L_G is not returned", {f"return {FOR_G}": FOR_G}, "yours is None", ("generator_loss",)),
        ("detached for G too", {"-D(fake, y)": "-D(fake.detach(), y)"}, "has no gradient", ("generator_loss",)),
        ("fakes without their label", {ON_FAKES: ON_FAKES.replace(", y)", ", 0 * y)")}, "on the fake ones",
         ("discriminator_loss",)),
        ("half", {"F.softplus(-D(x, y)).mean()": "(F.softplus(-D(x, y)).mean()", ON_FAKES: ON_FAKES + ") / 2"},
         "on the real pairs +", ("discriminator_loss",)),
        ("saturating", {"F.softplus(-D(fake, y)).mean()": "-F.softplus(D(fake, y)).mean()"}, "L_G is",
         ("generator_loss",))),
    *wrong("conditional", "settings",
        ("too much", 'settings = {"steps": 5000, "batch_size": 32, "learning_rate": 1e-3, "width": 16}',
         "at most 600 steps", ()),
        ("no training to speak of",
         'settings = {"steps": 5, "batch_size": 32, "learning_rate": 1e-3, "width": 16}', "", ("obeys",))),
    *wrong("dcgan", "measures",
        ("the length of the difference", {" / a.shape[1] ** 0.5": ""}, "the root of the mean", ("distances",)),
        ("squares", {'compute_mode="donot_use_mm_for_euclid_dist") / a.shape[1] ** 0.5': ").square() / a.shape[1]"},
         "their distance is 2", ("distances",)),
        ("absolute differences", {'compute_mode="donot_use_mm_for_euclid_dist") / a.shape[1] ** 0.5':
                                  "p=1) / a.shape[1]"}, "one of 48 values", ("distances",)),
        ("an image with itself", {"n * (n - 1)": "n * n"}, "are no pair", ("variety",)),
        ("pairs counted half", {"(n * (n - 1))": "(n * (n - 1) / 2)"}, "are no pair", ("variety",)),
        ("a tensor", {"(n * (n - 1))).item()": "(n * (n - 1)))"}, "a Python number", ()),
        ("the nearest sample of each image",
         {"distances(samples, train).min(1)": "distances(samples, train).min(0)"}, "", ("copied",)),
        ("a count", {".float().mean().item()": ".float().sum().item()"}, "of the held-out images themselves",
         ("copied",)),
        ("farther", {".values < limit": ".values > limit"}, "should all be copied", ("copied",)),
        ("a limit of its own", {"torch.quantile(distances(held_out, train).min(1).values, 0.05)": "0.1"}, "",
         ("copied",)),
        ("the other end", {"values, 0.05": "values, 0.95"}, "of the held-out images themselves|are not copied",
         ("copied",))),
    *wrong("weights", "terms",
        ("target 0", {"(v - 1).square()": "v.square()"}, "1 is the target", ("adversarial",)),
        ("one mean for all", {"sum((v - 1).square().mean() for v in logits)":
                              "(torch.cat([v.flatten() for v in logits]) - 1).square().mean()"}, "its own mean",
         ("adversarial",)),
        ("squares", {"(a - a_back).abs().mean()": "(a - a_back).square().mean()"}, "absolute and not squared",
         ("cycle_and_identity",)),
        ("one side", {" + F.l1_loss(b_same, b)": ""}, "a sum of two means", ("cycle_and_identity",)),
        ("a half", {"return F.softplus(-translated).mean() +": "return F.softplus(-translated).mean() / 2 +"},
         "log 2 + log 2", ("cam",)),
        ("exchanged", {"F.softplus(-translated).mean() + F.softplus(same)":
                       "F.softplus(translated).mean() + F.softplus(-same)"}, "the attention is right", ("cam",)),
        ("least squares", {"F.softplus(-translated).mean() + F.softplus(same)":
                           "(translated - 1).square().mean() + same.square()"}, "log 2 + log 2", ("cam",)),
        ("no weights", {"weights[name] * term": "term"}, "10 x 0.5", ("objective",))),
]

"""What is expected in take_turns: tiny networks from random weights, who moved, and all parameters after each step."""

import numpy as np
import torch
import torch.nn.functional as F

from ganlab.homework import Judge, close

judge = Judge(seconds=30, files=())

# Run beside the student's code, and here for what is expected: two tiny players from a seed, and their batches.
GAME = """
import torch
from torch import nn

def begin():
    global nets, optimizers, xs, zs
    torch.manual_seed(seed)
    nets = (nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1)),
            nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)))
    optimizers = [torch.optim.SGD(net.parameters(), rate, momentum=0.9) for net, rate in zip(nets, (0.1, 0.05))]
    xs, zs = torch.randn(12, 7, 3) + 1, torch.randn(12, 7, 2)

def parameters():
    return torch.cat([p.detach().flatten() for net in nets for p in net.parameters()]).tolist()

begin()
turns = {"discriminator": lambda x, z: discriminator_turn(*nets, optimizers[0], x, z),
         "generator": lambda x, z: generator_turn(*nets, optimizers[1], z)}
"""
PLAYERS = "players = ['discriminator', 'generator']\n"


def played(seed, steps):
    """For each step, a list of players (0 is D): the losses of both, 0 for none, and all parameters after it."""
    with torch.random.fork_rng(devices=[]):
        exec(GAME, names := {"seed": seed})
    (D, G), rows = names["nets"], []
    for players, x, z in zip(steps, names["xs"], names["zs"], strict=False):
        losses = [0.0, 0.0]
        for who in players:
            loss = F.softplus(-D(G(z))).mean() if who else F.softplus(-D(x)).mean() + F.softplus(D(G(z))).mean()
            mine = list((D, G)[who].parameters())
            for p, gradient in zip(mine, torch.autograd.grad(loss, mine), strict=True):
                p.grad = gradient
            names["optimizers"][who].step()
            losses[who] = loss.item()
        rows.append([*losses, *names["parameters"]()])
    return np.array(rows)


def turn_by_turn(ask, rng, order):
    got = ask(PLAYERS + GAME + """
rows = []
for who, x, z in zip(order, xs, zs):
    losses = [0.0, 0.0]
    losses[who] = turns[players[who]](x, z)
    rows.append([*losses, *parameters()])
rows""", order=order, seed=(seed := int(rng.integers(2**31))))
    return close(got, played(seed, [[who] for who in order]), rtol=1e-3, atol=1e-4)


@judge.check("test_turns", points=5, hint="the losses, or all parameters, after some turns of one player or of both")
def single_turns(ask, rng):
    orders = [0] * 4, [1] * 4, rng.permutation([0, 1] * 4).tolist()
    return np.average([turn_by_turn(ask, rng, order) for order in orders], weights=[2, 2, 1])


@judge.check("test_turns", points=1, hint="the discriminator's turn leaves gradients in the generator")
def nothing_leaks(ask, rng):
    left, moved = ask(GAME + """
before = parameters()
turns["discriminator"](xs[0], zs[0])
[sum(float(p.grad.abs().sum()) for p in nets[1].parameters() if p.grad is not None), before != parameters()]""",
                      seed=int(rng.integers(2**31)))
    return left == 0 and moved == 1


def whose_epoch(d, g, first, epochs):
    turn = [first] * (d, g)[first] + [1 - first] * (d, g)[1 - first]
    return [turn[epoch % len(turn)] for epoch in epochs]


def orders(ask, rng, order):
    rules = [(*map(int, rng.integers(1, 6, 2)), int(rng.integers(0, 2))) for _ in range(8)]
    got = ask(PLAYERS + """
rows = []
for d, g, first in rules:
    schedule = ByEpochs(d, g, first=players[first])
    rows.append([players.index(only) for e in order for only, in [schedule.movers(7 * e + 3, e, players)]])
rows""", rules=rules, order=order)
    return close(got, [whose_epoch(*rule, order) for rule in rules])


@judge.check("test_by_epochs", points=4, hint="other numbers of epochs, either player first; asked for in any order")
def by_epochs(ask, rng):
    return np.average([orders(ask, rng, list(range(25))), orders(ask, rng, rng.integers(0, 40, 25).tolist())],
                      weights=[3, 1])


def whose_step(losses, thresholds, window, patience):
    """Who moves (0 is D) in each step with these losses."""
    movers, turn, last = [], 0, []
    for loss in losses:
        movers.append(turn)
        last.append(loss)
        if len(last) >= patience or (len(last) >= window and np.mean(last[-window:]) < thresholds[turn]):
            turn, last = 1 - turn, []
    return movers


def sequences(ask, rng, window, patience):
    thresholds, losses = rng.uniform(0.7, 1.3, size=(6, 2)), np.exp(0.4 * rng.normal(size=(6, 120)))
    got = ask(PLAYERS + """
rows, schedules = [[] for _ in losses], [ByLoss(d, g, window=window, patience=patience) for d, g in thresholds]
for step in range(len(losses[0])):  # all in turn: no two may share what they remember
    for row, schedule, values in zip(rows, schedules, losses):
        (mover,) = schedule.movers(step, step // 10, players)
        row.append(players.index(mover))
        schedule.after({mover: values[step]})
rows""", thresholds=thresholds, losses=losses, window=int(window), patience=int(patience))
    return close(got, [whose_step(row, t, window, patience) for row, t in zip(losses, thresholds, strict=True)])


@judge.check("test_by_loss", points=4, hint="whose losses are in the mean, and since when? When nobody is content?")
def by_loss(ask, rng):
    cases = (1, 1000), (rng.integers(2, 4), 1000), (rng.integers(4, 7), 1000), (rng.integers(2, 5), rng.integers(5, 12))
    return np.mean([sequences(ask, rng, window, patience) for window, patience in cases])


@judge.check("test_play", points=3, hint="who is asked, who moves, on which batch, and what is told and returned")
def loop(ask, rng):
    steps = [((0,), (1,), (0, 1), (1, 0))[i] for i in rng.integers(0, 4, 11)]
    per_epoch, scale, xs, zs = int(rng.integers(2, 5)), rng.normal(size=2), *rng.normal(size=(2, 11))
    got = ask(PLAYERS + """
seen = []
def row(mark, losses):
    return [mark, *(losses.get(player, 0.0) for player in players)]
class Told(Schedule):
    name, reads_losses = "told", True
    def movers(self, step, epoch, _):
        seen.append([0, step, epoch])
        return tuple(players[who] for who in steps[step])
    def after(self, losses):
        seen.append(row(3, losses))
def turn(who):
    return lambda x, z: seen.append([1 + who, x, z]) or scale[who] * x + z
record = play(Told(), {name: turn(who) for who, name in enumerate(players)}, xs, zs, per_epoch)
seen + [row(4, losses) for losses in record]""", steps=steps, per_epoch=per_epoch, scale=scale, xs=xs, zs=zs)
    seen, record = [], []
    for i, (movers, x, z) in enumerate(zip(steps, xs, zs, strict=True)):
        losses = [scale[who] * x + z if who in movers else 0.0 for who in (0, 1)]
        seen += [[0, i, i // per_epoch], *([1 + who, x, z] for who in movers), [3, *losses]]
        record.append([4, *losses])
    return close(got, seen + record)


@judge.check("test_play", points=3, hint="all parameters after each step of whole games, played by your turns")
def whole_games(ask, rng):
    seed, lengths, patience = int(rng.integers(2**31)), rng.integers(1, 4, 2).tolist(), int(rng.integers(2, 5))
    epochs, told = whose_epoch(*lengths, 1, range(12)), whose_step([1] * 12, (0, 0), 2, patience)
    got = ask(PLAYERS + GAME + """
class Told(Schedule):
    name, reads_losses, times = "told", True, 0
    def __init__(self, whose):
        self.whose = whose
    def movers(self, step, epoch, _):
        return tuple(players[who] for who in self.whose(epoch, self.times))
    def after(self, losses):
        self.times += 1
rows = []
for whose in (lambda *_: (0, 1), lambda epoch, _: epochs[epoch:epoch + 1], lambda _, times: told[times:times + 1]):
    for steps in range(1, 13):  # from the beginning each time, to see the parameters after every step
        begin()
        play(Told(whose), turns, list(xs[:steps]), list(zs[:steps]), 3)
        rows.append(parameters())
rows""", epochs=epochs, told=told, seed=seed)
    games = [[0, 1]] * 12, *([[who] for who in order] for order in ([epochs[i // 3] for i in range(12)], told))
    return close(got, np.concatenate([played(seed, steps)[:, 2:] for steps in games]), rtol=2e-3, atol=2e-4)

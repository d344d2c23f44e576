"""A doctor for trainings: what is wrong, how sure that is, and what to try next.

    for finding in diagnose(training): print(finding)      or    print(report(diagnose(training)))

Reading changes nothing: everything that has to be computed is computed on a copy of the model, with random streams of
its own, between two steps. What a healthy run looks like was measured, and stands beside each threshold.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ganlab import compute
from ganlab.data.images import Batches, mix
from ganlab.errors import GanlabError
from ganlab.models.base import Model
from ganlab.objectives import Objective
from ganlab.seeds import seeded
from ganlab.training import Training

SURE = {0.9: "almost certain", 0.7: "likely", 0.5: "possible", 0.0: "unlikely"}
"""What a certainty of at least so much is called. Below 0.5 nothing is reported."""


SETTLING = 50
"""Steps after a change of the objective, or of a weight, in which losses say nothing of the game as it is."""


@dataclass(frozen=True)
class Finding:
    """Something unusual about a training.

    Attributes:
        symptom: its name in the field, one of `SYMPTOMS`.
        sure: from 0 to 1, by how far the measurement lies beyond what healthy runs show.
        seen: what was measured.
        advice: what to try next.
    """

    symptom: str
    sure: float
    seen: str
    advice: str

    @property
    def words(self) -> str:
        """How sure, in words."""
        return next(word for least, word in SURE.items() if self.sure >= least)

    def __str__(self) -> str:
        return f"{self.symptom} ({self.words}, {self.sure:.2f}): {self.seen}. Next: {self.advice}."


@dataclass(frozen=True)
class Player:
    """One player on one batch, in float32.

    Attributes:
        terms: name to the weighted value of each minimised term.
        gradients: name to the norm of the gradient of each weighted term.
        gradient: norm of the gradient of their sum.
        size: norm of the player's parameters.
        update: norm of the step that its optimizer would make now, over `size`.
    """

    terms: dict[str, float]
    gradients: dict[str, float]
    gradient: float
    size: float
    update: float


@dataclass(frozen=True)
class Seen:
    """All that a diagnosis looks at.

    Attributes:
        columns: the history by column, NaN where a row has no value; without `step`, weights, rates and speed.
        weights: of the terms, now; `paper` those of the model's class.
        players: by name.
        pairs: (what the model makes, what it should resemble), as many of each, N x C x H x W or N x k.
        undecided, best: the discriminator's adversarial term with all logits 0, and the least that it can become;
            None where there is no such thing.
        largest: largest absolute weight; NaN or infinite if one is.
        limit: the largest number that the networks can hold.
        steady: rows at the end of the columns in which all weights are those of now, and the players used to them.
    """

    columns: dict[str, np.ndarray]
    weights: dict[str, float]
    paper: dict[str, float]
    players: dict[str, Player]
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    undecided: float | None = None
    best: float | None = None
    largest: float = 0.0
    limit: float = torch.finfo(torch.float32).max
    steady: int = sys.maxsize

    def term(self, column: str, last: float = 1.0) -> np.ndarray:
        """The values of a column in the last share of the rows, without the rows that have none."""
        values = self.columns.get(column, np.empty(0))
        values = values[len(values) - math.ceil(last * len(values)):]
        return values[~np.isnan(values)]

    @property
    def left(self) -> np.ndarray | None:
        """The discriminator's adversarial term in every row: 1 if it cannot tell, 0 if it could not do better."""
        if self.undecided is None or self.best is None or self.undecided - self.best < 1e-6:
            return None
        return (self.term("discriminator/adversarial") - self.best) / (self.undecided - self.best)


# ---- looking ----------------------------------------------------------------------------------------------------


def look(training: Training, samples: int = 128) -> Seen:
    """Everything `diagnose` reads, measured on a copy of the model while the training waits between two steps.

    Args:
        samples: images to draw, at the most; fewer where they are large.
    """
    with training.model.lock:
        rows, model, device = _recent(training), copy.deepcopy(training.model), training.device
        turned = max((e.step for e in training.interventions if e.kind == "weights"), default=-math.inf)
        weights = dict(training.weights)
        states = {n: copy.deepcopy(compute.without_graphs(o.state_dict())) for n, o in training.optimizers.items()}
        largest = max((p.detach().abs().max().item() for p in model.parameters()), key=lambda v: (v != v, v))
        model.share, model.rng = (0, 1), torch.Generator(device).manual_seed(mix(training.seed, training.step, 4))
        n = min(samples, len(training.data), max(8, 2 ** 20 // math.prod(training.data.shape)))
        n = min(n, 32) if model.expects in ("domains", "pairs") else n
        # Dropout draws from the global stream, which the training must find as it was.
        with seeded(mix(training.seed, training.step, 5), device):
            undecided, players, pairs = None, dict[str, Player](), list[tuple[Tensor, Tensor]]()
            if math.isfinite(largest):
                batch = Batches(training.data, n, device, training.seed)[0]
                pairs = [(f.float().cpu(), r.float().cpu()) for f, r in _pairs(model.eval(), batch)]
                # As many as the training sees in a step, since batch norm notices; 64 are enough for a gradient.
                batch = Batches(training.data, min(training.batch_size, 64), device, training.seed)[training.step]
                undecided = _undecided(model.train(), batch)
                players = {name: _player(model, name, batch, weights, states[name]) for name in model.players}
    names = [n for n in dict.fromkeys(n for row in rows for n in row)
             if n != "step" and not n.startswith(("weight/", "learning_rate/", "images/"))]
    columns = {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}
    best = None if undecided is None else _best(getattr(model, "objective", None), undecided)
    return Seen(columns, weights, dict(type(model).weights), players, pairs, undecided, best, largest,
                torch.finfo(torch.float16 if training.precision == "fp16" else torch.float32).max,
                sum(row["step"] > turned + SETTLING for row in rows))


def _recent(training: Training) -> list[dict[str, float]]:
    """The rows that speak of the game as it is: a new objective has a scale of its own, and in the first `SETTLING`
    steps the players' answers still have the old one's."""
    changed = [e.step for e in training.interventions if (e.kind, e.name) == ("rules", "objective")]
    since = changed[-1] + SETTLING if changed else 0
    return [row for row in training.history.rows if row["step"] > since]


def _pairs(model: Model, batch: tuple[Tensor, Tensor | None]) -> list[tuple[Tensor, Tensor]]:
    real, other = batch
    try:
        if model.expects in ("domains", "pairs"):
            assert other is not None
            pairs = [(model.translate(real), other)]
            return pairs if model.expects == "pairs" else [*pairs, (model.translate(other, "a"), real)]
        if type(model).encode is not Model.encode:
            # Latents from N(0, I) need not mean anything to an autoencoder; its reconstructions do.
            return [(model.reconstruct(real), real)]
        return [(model.sample(len(real), seed=0), real)]
    except GanlabError:
        return []


def _undecided(model: Model, batch: tuple[Tensor, Tensor | None]) -> float | None:
    """The discriminator's adversarial term if it answered 0 to everything."""
    player = model.players.get("discriminator")
    if player is None:
        return None
    networks = list(player.children()) if isinstance(player, (nn.ModuleDict, nn.ModuleList)) else [player]
    hooks = [n.register_forward_hook(lambda m, x, out: tree_map(lambda t: t * 0, out)) for n in networks]
    try:
        with torch.no_grad():
            term = model("discriminator", model.play(*batch)).get("adversarial")
    finally:
        for hook in hooks:
            hook.remove()
    return None if term is None else term.item()


def _best(objective: Objective | None, undecided: float) -> float | None:
    """The least value of the discriminator's term; None if it has no bound. Without an objective: squares, so 0."""
    if objective is None:
        return 0.0

    def least(reach: int) -> float:
        logits = torch.arange(-reach, reach + 0.1, 0.5)[:, None]
        zero = torch.zeros(1)
        return min(objective.discriminator(v, zero).item() for v in logits) + \
            min(objective.discriminator(zero, v).item() for v in logits) - start
    start = objective.discriminator(torch.zeros(1), torch.zeros(1)).item()
    near, far = least(15), least(30)
    return None if near - far > 1e-3 else far * (undecided / start if abs(start) > 1e-6 else 1.0)


def _player(model: Model, name: str, batch: tuple[Tensor, Tensor | None], weights: Mapping[str, float],
            state: dict[str, object]) -> Player:
    parameters = list(model.players[name].parameters())
    terms = model(name, model.play(*batch))
    weighted = {n: weights[n] * t for n, t in terms.items() if n in weights and t.requires_grad}
    grads = {n: torch.autograd.grad(t, parameters, retain_graph=True, allow_unused=True) for n, t in weighted.items()}
    optimizer = model.optimizer(name, parameters, 0.0)
    optimizer.load_state_dict(state)
    for i, p in enumerate(parameters):
        p.grad = sum((g[i] for g in grads.values() if g[i] is not None), torch.zeros_like(p))
    gradient = _norm([p.grad for p in parameters if p.grad is not None])
    before = [p.detach().clone() for p in parameters]
    optimizer.step()
    moved = _norm([p.detach() - b for p, b in zip(parameters, before, strict=True)])
    with torch.no_grad():
        for p, b in zip(parameters, before, strict=True):
            p.copy_(b)
    size = _norm(before)
    return Player({n: t.item() for n, t in weighted.items()},
                  {n: _norm([g for g in gs if g is not None]) for n, gs in grads.items()}, gradient, size,
                  moved / max(size, 1e-12))


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.hypot(*(torch.linalg.vector_norm(t.float()).item() for t in tensors))


# ---- judging ----------------------------------------------------------------------------------------------------


def beyond(value: float, possible: float, sure: float) -> float:
    """How sure a value makes: 0.5 at `possible`, 0.95 at `sure`, in proportion to its logarithm; from 0 to 0.99."""
    if not value > 0:
        return 0.0 if math.isnan(value) else 0.99 if sure < possible else 0.0
    return float(np.clip(0.5 + 0.45 * math.log(value / possible) / math.log(sure / possible), 0.0, 0.99))


Verdict = tuple[float, str]
"""How sure, and what was seen."""

NOTHING: Verdict = (0.0, "")


def nan_near(seen: Seen) -> Verdict:
    """Weights, or terms in exponential growth, on their way to overflow."""
    if not math.isfinite(seen.largest):
        return 1.0, f"a weight is {seen.largest}"
    # Healthy: 0.3 to 2; 100 in an autoencoder that a rate of 3 had broken.
    found = [(beyond(seen.largest, 1e4, 1e6), f"the largest weight is {seen.largest:.3g}")]
    for name in seen.columns:
        values = np.abs(seen.term(name, 0.5))
        if len(values):
            # Healthy: at most some thousands of nats.
            found.append((beyond(values[-1], 1e8, 1e14), f"{name} has reached {values[-1]:.3g}"))
        if len(values) < 5 or values.min() <= 0 or values[-1] < 10:
            continue
        logs, rows = np.log(values), np.arange(len(values))
        slope, start = np.polyfit(rows, logs, 1)
        # A straight line on a logarithmic scale, and a long one: a loss that merely rises is neither.
        if slope > 0 and np.var(logs - slope * rows - start) < 0.1 * np.var(logs):
            left = (math.log(seen.limit) - logs[-1]) / slope
            found.append((beyond(values[-1] / values[0], 50, 5e3), f"{name} grew {values[-1] / values[0]:.3g}-fold in "
                          f"{len(values)} rows of the history, and overflows after {left:.0f} more like these"))
    return max(found)


def rate_too_high(seen: Seen) -> Verdict:
    """Losses far above those of an untrained network, or steps that replace the weights."""
    found = [NOTHING]
    if seen.left is not None and len(seen.left):
        # Healthy: at most 1.1, and 2.0 in single steps; a GAN at a rate of 0.03: 47.
        found.append((beyond(seen.left.max(), 4.0, 12.0), "the discriminator's loss reached "
                      f"{seen.left.max():.3g} times that of one that cannot tell"))
    for name, player in seen.players.items():
        # Healthy: 0.0004 to 0.02, and 0.13 in a network of two weights.
        found.append((beyond(player.update, 0.25, 1.0), f"a step of the {name} has {player.update:.2g} times the size "
                      "of its weights"))
        columns = [seen.weights[n] * seen.columns[f"{name}/{n}"] for n in player.terms if f"{name}/{n}" in seen.columns]
        total = np.sum(columns, axis=0)[-seen.steady:] if columns and seen.steady else np.empty(0)
        total = total[~np.isnan(total)]
        if len(seen.players) > 1 or len(total) < 10 or total.min() <= 0:
            continue
        stages = [float(np.median(part)) for part in np.array_split(total, 5)]
        # Healthy: 1.0; at most 1; 10.
        found += [(beyond(stages[-1] / min(stages), 1.4, 3.0), f"the loss rose to {stages[-1] / min(stages):.3g} times "
                   "what it was"),
                  (beyond(total.max() / total[0], 4.0, 20.0), f"the loss jumped to {total.max() / total[0]:.3g} times "
                   "what it began with"),
                  (beyond(total.max() / stages[-1], 50.0, 500.0), f"the loss was {total.max() / stages[-1]:.3g} times "
                   "what it is now"),
                  (0.8 * (player.gradient < 1e-10 * player.size), "the gradient is 0: nothing moves any more, as after "
                   "a step that was too long")]
    return max(found)


def over_weighted(seen: Seen) -> Verdict:
    """One term alone decides where a player goes, more so than with the paper's weights."""
    found = [NOTHING]
    for name, player in seen.players.items():
        top = max(player.gradients, key=lambda n: player.gradients[n], default="")
        others = [n for n in player.gradients if n != top and seen.weights[n]]
        raised = {n: seen.weights[n] / (seen.paper.get(n) or seen.weights[n]) for n in (top, *others) if n}
        stuck = [n for n in others if len(v := seen.term(f"{name}/{n}")) > 5 and _still(v)]
        # With the papers' weights one term may have 98 % of the loss and 97 % of the gradient (cam of U-GAT-IT).
        if not stuck or raised[top] <= 3 * max(raised[n] for n in others):
            continue
        share = player.gradients[top] / max(sum(player.gradients.values()), 1e-30)
        loss = abs(player.terms[top]) / max(sum(map(abs, player.terms.values())), 1e-30)
        if loss > 0.75:
            found.append((beyond(1 - share, 0.03, 0.005), f"{top} has {loss:.1%} of the {name}'s loss and {share:.1%} "
                          f"of its gradient, and {stuck[0]} does not fall; {top} weighs {seen.weights[top]:g}, in the "
                          f"paper {seen.paper.get(top, math.nan):g}"))
    return max(found)


def _still(values: np.ndarray) -> bool:
    first, *_, last = (float(np.median(part)) for part in np.array_split(values, 3))
    return last > first - 0.1 * abs(first)


def vanishing_gradient(seen: Seen) -> Verdict:
    """The generator hears nothing from a discriminator that can tell. (From one that cannot there is nothing to hear;
    and the slope of a critic without bound has no scale.)"""
    player, left, weight = seen.players.get("generator"), seen.left, seen.weights.get("adversarial")
    if player is None or left is None or not len(left) or not weight or left[-1] > 0.5:
        return NOTHING
    gradient = player.gradients.get("adversarial", math.nan) / abs(weight) / max(player.size, 1e-12)
    # Healthy: 0.02 to 2, and 0.003 against a least-squares discriminator that has won; minimax against one: 2e-6.
    return beyond(gradient, 1e-4, 1e-5), f"the generator's adversarial gradient has {gradient:.1e} times the size of " \
        "its weights, though the discriminator can tell"


def too_strong(seen: Seen) -> Verdict:
    """The discriminator's loss is near the least it can be, for long. Nothing is said of objectives without such a
    bound (Wasserstein, some f-divergences), whose critic should be as good as it can."""
    if seen.left is None or len(late := seen.left[-max(10, len(seen.left) // 2):]) < 10:
        return NOTHING
    left = max(0.0, float(np.median(late)))
    says = ", ".join(f"{n} {np.median(seen.term(n, 0.5)):.3f}" for n in seen.columns if n.startswith("D("))
    # Healthy: 0.007 to 0.04 (the first 400 steps of DCGANs, whose discriminators lead) to 1; won for good: 0 to 0.002.
    return beyond(left, 0.004, 0.0005), f"for {len(late)} rows its loss has been {left:.1%} of that of one that " \
        f"cannot tell{says and f' ({says})'}"


def _contrast(images: Tensor) -> float:
    return images.flatten(1).std(1).mean().item()


def _drawn(seen: Seen) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs that have drawn something: an image that is still grey tells nothing but that it is early."""
    return ((f, r) for f, r in seen.pairs if f.ndim == 4 and _contrast(f) > 0.3 * _contrast(r))


def collapsed(seen: Seen) -> Verdict:
    """Samples are nearer to each other than data are, by more than their contrast explains."""
    ratios = [math.nan]
    for fake, real in [*_drawn(seen), *(p for p in seen.pairs if p[0].ndim == 2)]:
        spread = torch.pdist(real.flatten(1)).mean().item()
        contrast = min(1.0, _contrast(fake) / _contrast(real)) if fake.ndim == 4 else 1.0
        if "generator" in seen.players and spread > 0:
            ratios.append(torch.pdist(fake.flatten(1)).mean().item() / spread / contrast)
    # Healthy: 0.56 to 1.2. Some modes lost out of many are not seen here: `ganlab.metrics` counts them.
    return beyond(least := min(ratios[1:], default=math.nan), 0.3, 0.1), \
        f"samples differ from each other by {least:.0%} of what data differ by"


def inverted(seen: Seen) -> Verdict:
    """The mean sample is the negative of the mean of the data, around grey and around its own mean."""
    least = 0.0
    for fake, real in _drawn(seen):
        a, b = fake.mean(0).flatten(), real.mean(0).flatten()
        if min(a.std(), b.std()) > 0.05:
            least = min(least, max(torch.cosine_similarity(x, y, 0).item()
                                   for x, y in ((a, b), (a - a.mean(), b - b.mean()))))
    # Healthy: 0.3 to 1; networks that have learned nothing: -0.3 to 0.1; negatives: -0.9 and -0.8.
    return float(np.clip(0.5 + 0.45 * (-least - 0.5) / 0.25, 0, 0.99)), \
        f"the mean sample and the mean of the data correlate by {least:.2f}"


def checkerboard(seen: Seen) -> Verdict:
    """A peak in the spectrum of the samples, along both axes, at a period of the upsampling (2 or 4 pixels; source:
    Odena et al. 2016, "Deconvolution and checkerboard artifacts", doi:10.23915/distill.00003)."""
    worst, where = 0.0, 2
    for fake, real in _drawn(seen):
        for period in (2, 4):
            peaks: list[float] = []
            for axis in (2, 3) * all(side % period == 0 and side >= 16 for side in fake.shape[2:]):
                (high, share), (usual, _) = _peak(fake, axis, period), _peak(real, axis, period)
                peaks.append(high / max(usual, 0.5) if share > 0.02 else 0.0)
            if min(peaks, default=0.0) > worst:
                worst, where = min(peaks), period
    # Healthy: below 2.2, but 11 in a young conditional DCGAN, and it was to be seen; uneven kernels: 7 to 11.
    return beyond(worst, 5.0, 15.0), f"samples repeat every {where} pixels, {worst:.3g} times as strongly as data"


def _peak(images: Tensor, axis: int, period: int) -> tuple[float, float]:
    """(power at that period over that at frequencies nearby, its share of all power), along one axis."""
    spectrum = torch.fft.fft(images.double() - images.double().mean((2, 3), keepdim=True), dim=axis)
    power = spectrum.abs().square().movedim(axis, 0).flatten(1).sum(1)
    at = len(power) // period
    nearby = power[at - 3:at - 1].mean().clamp_min(1e-12)
    return (power[at] / nearby).item(), (power[at] / power.sum().clamp_min(1e-12)).item()


def oscillating(seen: Seen) -> Verdict:
    """A minimised term that swings widely and regularly: its autocorrelation falls below 0 and comes back."""
    found = [NOTHING]
    for name in [f"{player}/{term}" for player, p in seen.players.items() for term in p.terms]:
        values, whole = seen.term(name, 0.5), seen.term(name)
        n = len(values)
        if n < 24:
            continue
        rest = values - np.polyval(np.polyfit(np.arange(n), values, 1), np.arange(n))
        wide = rest.std() / max(float(np.abs(values).mean()), 0.1 * float(np.ptp(whole)), 1e-12)
        again = np.correlate(rest, rest, "full")[n - 1:] / max(float(np.square(rest).sum()), 1e-30)
        low = np.flatnonzero(again[:n // 3] < -0.3)
        # What flips from row to row is seen in healthy runs too, where every step has a row.
        if len(low) and low[0] > 1:
            at = low[0] + int(again[low[0]:n // 2].argmax())
            # Healthy: a GAN on a ring comes back to 0.8 of itself, but swings by 9 %; a Dirac-GAN by 110 %.
            found.append((min(beyond(wide, 0.5, 1.0), beyond(again[at], 0.4, 0.6)),
                          f"{name} swings by {wide:.0%} of its size, about every {at} rows, without a trend"))
    return max(found)


SYMPTOMS: dict[str, tuple[Callable[[Seen], Verdict], str]] = {
    "NaN near": (nan_near, "stop and restore an earlier checkpoint; lower the learning rate, or bound what grows, by a "
                 "penalty, by clipping or by a smaller weight"),
    "learning rate too high": (rate_too_high, "divide the learning rate by 10, or begin with less of it"),
    "over-weighted term": (over_weighted, "divide its weight by 10, and again, until the other terms move"),
    "vanishing gradient": (vanishing_gradient, "objective='non-saturating' instead of 'minimax'; or wgangp, whose "
                           "critic may be as good as it can; or a slower discriminator"),
    "mode collapse": (collapsed, "a slower generator, or more steps of the discriminator; kl-wgan or wgangp; larger "
                      "batches"),
    "discriminator too strong": (too_strong, "a lower learning rate for the discriminator; threshold(...) or "
                                 "warm_up(...) as schedule; wgangp. Early in a run it may pass by itself"),
    "inverted colours": (inverted, "see that data and samples are scaled alike, to [-1, 1], black to -1; in a "
                         "translation raise the weight of identity"),
    "checkerboard artefacts": (checkerboard, "kernels that are multiples of their stride (4 and 2), or enlarging "
                               "before a convolution; in a translation more weight on l1 or cycle. Early in a run it "
                               "may pass by itself"),
    "oscillation": (oscillating, "a lower learning rate or smaller betas; a gradient penalty (wgangp)")}
"""Every symptom with what sees it and what to try; causes before what they cause."""


def diagnose(training: Training) -> list[Finding]:
    """What is unusual about a training: the surest first, and of equally sure ones the cause before its effects.

    It may be called while the training runs, which then waits for it between two steps and goes on as if nothing had
    been. A run of a hundred steps or more tells most; rates and oscillation need 10 and 48 rows of history.

    Raises:
        GanlabError: nothing has been recorded yet.
    """
    if not len(training.history):
        raise GanlabError(f"nothing has been recorded yet after {training.step} steps; train for {training.log_every} "
                          "steps or more, better for some hundred, and ask again")
    seen = look(training)
    findings = [Finding(name, *judge(seen), advice) for name, (judge, advice) in SYMPTOMS.items()]
    return sorted((f for f in findings if f.sure >= 0.5), key=lambda f: list(SURE.values()).index(f.words))


def report(findings: Sequence[Finding]) -> str:
    """The findings as text, one a line; "nothing unusual" if there are none."""
    return "\n".join(map(str, findings)) or "nothing unusual"

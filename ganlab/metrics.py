"""Measuring what was learned: a classifier that judges samples, the scores of the literature, and mode coverage."""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlab.data import problem, root
from ganlab.data.catalogue import File
from ganlab.data.images import Images, to_uint8
from ganlab.errors import GanlabError
from ganlab.judges import fit
from ganlab.seeds import seeded

INCEPTION = File(
    "weights-inception-2015-12-05-6726825d.pth",
    ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",),
    95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2")
"""The weights behind published FID, KID and IS: those of the first FID code (arXiv:1706.08500), made for PyTorch."""


class Judge(nn.Module):
    """A small convolutional classifier, trained on real images, that reads generated ones.

    Args:
        channels, classes: of the data it is trained on.
        width: channels of its first layer; it has 4 * width features.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16 * width, 4 * width), nn.ReLU())
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N x classes) of images (N x C x H x W in [-1, 1])."""
        return self.head(self.body(x))

    @classmethod
    def trained_on(cls, data: Images, steps: int = 600, seed: int = 0, device: torch.device | str = "cpu") -> "Judge":
        """A judge trained on labelled images: Adam 2e-3 falling to 0, batches of 64, shifts of up to 2 pixels.

        600 steps take about 20 seconds on two CPU cores and read 98 % of held-out digits and MNIST.
        """
        if data.labels is None:
            raise GanlabError(f"a judge needs labels; {data.name} has none")
        with seeded(seed):
            judge = cls(data.shape[0], int(data.labels.max()) + 1).to(device)
            rng = torch.Generator()
            rng.set_state(torch.default_generator.get_state())
        fit(judge, data, F.cross_entropy, steps, 64, seed, 2e-3,
            lambda images: images.roll(torch.randint(-2, 3, (2,), generator=rng).tolist(), (2, 3)))
        return judge

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(class, its probability, features) of images (N x C x H x W in [-1, 1]): N, N, N x features, on the CPU."""
        device = next(self.parameters()).device
        features = torch.cat([self.body(batch.to(device)) for batch in images.split(512)])
        probability, label = self.head(features).softmax(1).max(1)
        return label.cpu(), probability.cpu(), features.cpu()

    def accuracy(self, data: Images) -> float:
        """Share of labelled images that it reads correctly."""
        assert data.labels is not None
        return (self.read(data.floats())[0] == data.labels.cpu()).float().mean().item()


@dataclass(frozen=True)
class Report:
    """What a judge says of samples: the share of each class, its mean confidence, and the Frechet distance between
    its features of the samples and of the real images; `count` is the number of samples (give as many real ones)."""

    shares: Tensor
    confidence: float
    frechet: float
    count: int


def judge_samples(judge: Judge, samples: Tensor, real: Tensor) -> Report:
    """Let a judge read samples and compare them with real images (both N x C x H x W in [-1, 1])."""
    label, confidence, features = judge.read(samples)
    shares = torch.bincount(label, minlength=judge.head.out_features).float() / len(samples)
    return Report(shares, confidence.mean().item(), frechet_distance(features, judge.read(real)[2]), len(samples))


class Inception(nn.Module):
    """The network in whose features published scores are measured (Szegedy et al. 2015, arXiv:1512.00567).

    `body` gives 2048 features, `head` 1008 class logits, of images N x C x H x W in [-1, 1] with C = 1 or 3. As in the
    first FID code, images are rounded to 8 bits and brought to 299 pixels by TensorFlow's old bilinear rule.

    Args:
        folder: where the file `INCEPTION.name` lies; by default the folder `inception` among the data sets.

    Raises:
        GanlabError: the file is not there or not the right one; nothing is downloaded.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        from torchvision.models.inception import Inception3

        path = (root() / "inception" if folder is None else Path(folder)) / INCEPTION.name
        if wrong := problem(INCEPTION, path.parent):
            raise GanlabError(
                f"the Inception network needs its weights (96 MB): {path} is {wrong}.\nDownload them on any computer "
                f"from {INCEPTION.addresses[0]} and put them there.\nWithout them every score works in other features, "
                "for example those of metrics.Judge.trained_on(data); such numbers compare with nothing published.")
        net: Any = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        # TensorFlow's graph pools differently from torchvision's: its averages leave the padding out, and the last
        # block takes the maximum.
        for name, block in net.named_children():
            if name.startswith("Mixed") and hasattr(block, "branch_pool"):
                _pool(block, nn.MaxPool2d(3, 1, 1) if name == "Mixed_7c" else
                      nn.AvgPool2d(3, 1, 1, count_include_pad=False))
        self.head = nn.Linear(2048, 1008, bias=False)  # the first IS code (arXiv:1606.03498) leaves the bias out
        self.head.weight, net.fc = net.fc.weight, nn.Identity()
        self.net = net
        self.eval().requires_grad_(False)

    def body(self, images: Tensor) -> Tensor:
        """Features (N x 2048) of images."""
        x = to_uint8(images).float().expand(-1, 3, -1, -1)
        # Pixel i of 299 is read at i * n / 299, where today's rule says (i + 1/2) * n / 299 - 1/2.
        rows, columns = (torch.arange(299, device=x.device) * (2 * n / 299 / (n - 1)) - 1 for n in x.shape[2:])
        at = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).expand(len(x), -1, -1, -1)
        return self.net((F.grid_sample(x, at, padding_mode="border", align_corners=True) - 128) / 128)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (N x 1008) of images."""
        return self.head(self.body(images))


def _pool(block: Any, pool: nn.Module) -> None:
    before = block._forward
    block._forward = lambda x: [*before(x)[:-1], block.branch_pool(pool(x))]


@dataclass(frozen=True)
class Scores:
    """What `score` found. The numbers mean something only beside the features and the counts that they come from.

    Attributes:
        inception_score: from 1 to the number of classes, higher is better; nan if the features come without classes.
        fid, kid: distances between samples and real images, 0 at best (an estimated KID may fall below).
        precision, recall: shares from 0 to 1; see `precision_recall`.
        count, real: how many samples and real images there were.
        errors: the standard error of each of the five, by name; empty if none were asked for.
        fid_infinity: the FID without the bias of its counts, which is nearly linear in 1 / count (Chong and Forsyth
            2020, arXiv:1911.07023); its error is about that of `fid`. nan if no errors were asked for.
    """

    inception_score: float
    fid: float
    kid: float
    precision: float
    recall: float
    count: int
    real: int
    errors: Mapping[str, float] = field(default_factory=dict)
    fid_infinity: float = math.nan

    def __str__(self) -> str:
        def said(name: str) -> str:
            return f"{getattr(self, name):.3g}" + (f" ± {self.errors[name]:.2g}" if self.errors else "")

        return (f"IS {said('inception_score')}, FID {said('fid')}, KID {said('kid')}, precision {said('precision')}, "
                f"recall {said('recall')} ({self.count} samples, {self.real} real)")


def score(samples: Tensor, real: Tensor, features: nn.Module, *, neighbours: int = 3, repeats: int = 10,
          seed: int = 0, batch_size: int = 256) -> Scores:
    """IS, FID, KID, precision and recall of samples against real images, with standard errors.

    A standard error is the standard deviation of the score over random halves of both sets: half of the images
    doubles the variance, and that two halves share images takes it back (the delete-half jackknife; Shao and Wu 1989,
    doi:10.1214/aos/1176347263). It knows nothing of the chance in training: for that, train again with another seed.

    Args:
        samples, real: N x C x H x W in [-1, 1], of the same shape but for N.
        features: from images to N x d features. If it has the parts `body`, which does this, and `head`, from there
            to class logits, as `Judge` and `Inception` have, there is an inception score too.
        neighbours: k of precision and recall.
        repeats: halves to draw for the errors; 0 for none, which is several times as fast.
        seed: decides the halves.
        batch_size: images that go through the features at once.

    Raises:
        GanlabError: sets of different shapes or too small, features that are not N x d or not finite.
    """
    a, b = _features(samples, real, features, batch_size)
    _enough(min(len(samples), len(real)) // (2 if repeats else 1), neighbours)
    values = _measure(a, b, neighbours)
    if not repeats:
        return Scores(**values, count=len(samples), real=len(real))
    halves = _resample(a, b, len(samples) // 2, len(real) // 2, repeats, neighbours, seed)
    return Scores(**values, count=len(samples), real=len(real), errors=_each(Tensor.std, halves),
                  fid_infinity=2 * values["fid"] - halves["fid"].mean().item())


def score_by_count(samples: Tensor, real: Tensor, features: nn.Module, counts: Sequence[int], *, neighbours: int = 3,
                   repeats: int = 10, seed: int = 0, batch_size: int = 256) -> list[Scores]:
    """The scores of so many samples against as many real images, for each of the counts: how far they depend on it.

    A score here is the mean over random subsets of that count, its error the standard deviation over them: how far
    a single measurement with that many images may lie from the mean.

    Args:
        counts: half of the smaller set at most, since larger subsets are too much alike to tell a spread.
        repeats: subsets for each count.
        samples, real, features, neighbours, seed, batch_size: as in `score`.
    """
    a, b = _features(samples, real, features, batch_size)
    _enough(min(counts), neighbours)
    if max(counts) > (most := min(len(samples), len(real)) // 2):
        raise GanlabError(f"{max(counts)} of {len(samples)} samples and {len(real)} real images: subsets may hold at "
                          f"most half of them, {most}; lower the count or give more images")
    found = []
    for count in counts:
        parts = _resample(a, b, count, count, repeats, neighbours, seed)
        found.append(Scores(**_each(Tensor.mean, parts), count=count, real=count, errors=_each(Tensor.std, parts)))
    return found


Read = tuple[Tensor, Tensor]
"""Features (N x d) and class logits (N x classes, none at all without a head) of a set, float64 on the CPU."""


@torch.no_grad()
def _features(samples: Tensor, real: Tensor, features: nn.Module, batch_size: int) -> tuple[Read, Read]:
    if samples.shape[1:] != real.shape[1:]:
        raise GanlabError(f"samples of {tuple(samples.shape[1:])} and real images of {tuple(real.shape[1:])}: bring "
                          "both to one shape, in the same way, since how an image was resized changes these scores")
    parts: Any = features
    body, head = (parts.body, parts.head) if hasattr(parts, "body") else (parts, lambda found: found[:, :0])
    device = next(features.parameters(), samples).device
    training = features.training
    features.eval()
    try:
        found = [[body(part.to(device)) for part in images.split(batch_size)] for images in (samples, real)]
        if found[0][0].ndim != 2:
            raise GanlabError(f"features must be N x d, not {tuple(found[0][0].shape)}; flatten them, or take their "
                              "mean over the image")
        a, b = ((torch.cat(those).cpu().double(), torch.cat([head(part) for part in those]).cpu().double())
                for those in found)
    finally:
        features.train(training)
    if not (a[0].isfinite().all() and b[0].isfinite().all()):
        raise GanlabError("some features are nan or infinite; look for such values in the images first")
    return a, b


def _enough(count: int, neighbours: int) -> None:
    if count <= neighbours:
        raise GanlabError(f"{count} images are too few to find the {neighbours} nearest of each; give more "
                          "(with errors, twice as many), and for a FID you can rely on, many more than features")


def _measure(a: Read, b: Read, neighbours: int) -> dict[str, Any]:
    precision, recall = precision_recall(a[0], b[0], neighbours)
    return {"inception_score": inception_score(a[1]), "fid": frechet_distance(a[0], b[0]),
            "kid": kernel_distance(a[0], b[0]), "precision": precision, "recall": recall}


def _resample(a: Read, b: Read, n: int, m: int, repeats: int, neighbours: int, seed: int) -> dict[str, Tensor]:
    """Scores of random subsets of n and m, each as a tensor of length `repeats`."""
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(repeats):
        i, j = (torch.randperm(len(x), generator=rng)[:size] for (x, _), size in ((a, n), (b, m)))
        rows.append(_measure((a[0][i], a[1][i]), (b[0][j], b[1][j]), neighbours))
    return {name: torch.tensor([row[name] for row in rows], dtype=torch.double) for name in rows[0]}


def _each(statistic: Callable[[Tensor], Tensor], scores: dict[str, Tensor]) -> dict[str, Any]:
    return {name: statistic(values).item() for name, values in scores.items()}


def inception_score(logits: Tensor) -> float:
    """exp E_x KL(p(y | x) || p(y)) of class logits (N x classes): 1 if every image is read alike, or none with any
    confidence; the number of classes if all are read surely and every class is as frequent; nan without classes.

    Source: Salimans et al. 2016, arXiv:1606.03498, section 4. Published values are means over ten parts of 5,000
    images; this is over all at once.
    """
    from torchmetrics.image.inception import InceptionScore

    if not logits.shape[1]:
        return math.nan
    # Log-probabilities that do not underflow, since 0 log 0 would be nan.
    return _torchmetrics(InceptionScore, (logits.cpu().double().log_softmax(1).clamp_min(-500),), splits=1)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) between two sets of features, each N x d, as if normal.

    In the features of `Inception` this is the FID. It falls with the number of samples: give both sets the same
    number, state it, and compare only values of the same features and count.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    return _torchmetrics(FrechetInceptionDistance, (a.cpu().double(), True), (b.cpu().double(), False))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """The squared maximum mean discrepancy of two sets of features, N x d and M x d, for k(x, y) = (x.y / d + 1)^3.

    In the features of `Inception` this is the KID. The estimate is unbiased: its mean does not depend on the number of
    samples, only its spread does. Larger sets than 1,000, or than the other one, are taken in random parts of that
    size, so many that each image is expected four times.

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    largest, size = max(len(a), len(b)), min(len(a), len(b), 1000)
    return _torchmetrics(KernelInceptionDistance, (a.cpu().double(), True), (b.cpu().double(), False),
                         subset_size=size, subsets=1 if size == largest else -(-4 * largest // size))


def _torchmetrics(kind: Any, *updates: tuple[Any, ...], **settings: Any) -> float:
    """One of torchmetrics' image metrics, of features that are there already."""
    features: Any = nn.Identity()
    features.num_features = updates[0][0].shape[1]
    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = kind(features, sync_on_compute=False, **settings)
        for update in updates:
            metric.update(*update)
        found = metric.compute()
    return (found[0] if isinstance(found, tuple) else found).item()


def precision_recall(samples: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """(share of samples that look real, share of real images that samples look like), from features N x d and M x d.

    Each set is taken to fill the balls around its members that reach to their k-th nearest neighbour in it. Precision
    counts the samples inside the balls of the real images, recall the real images inside those of the samples. Both
    depend on k and on the counts: compare at equal ones. The paper has k = 3, 50,000 images and features of VGG-16.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, eqs. 1 and 2.
    """
    samples, real = samples.cpu().double(), real.cpu().double()
    centre = real.mean(0)
    samples, real = samples - centre, real - centre
    return _covered(samples, real, neighbours), _covered(real, samples, neighbours)


def _covered(points: Tensor, by: Tensor, neighbours: int) -> float:
    """Share of points within the distance that one of the others, `by`, has to its k-th nearest neighbour."""
    rows = max(1, 2 ** 23 // len(by))  # of the distances, 64 MB at a time
    # The nearest of all is the point itself.
    radii = torch.cat([torch.cdist(part, by).kthvalue(neighbours + 1, dim=1).values for part in by.split(rows)])
    # Rounding keeps the distance between equal points from being 0; copies of one image have radius 0.
    radii += 1e-6 * by.norm(dim=1).max()
    return torch.cat([(torch.cdist(part, by) <= radii).any(1) for part in points.split(rows)]).double().mean().item()


def mode_coverage(samples: Tensor, modes: Tensor, radius: float, least: float = 0.2) -> tuple[int, float]:
    """(modes found, share of good samples) for points around known modes.

    A sample is good if it lies within `radius` of a mode; a mode is found if it has at least `least` times its fair
    share of the good samples.

    Args:
        samples: N x k.
        modes: M x k.
        radius: usually three standard deviations of a mode.
    """
    distance, nearest = torch.cdist(samples.float().cpu(), modes.float().cpu()).min(1)
    good = distance <= radius
    counts = torch.bincount(nearest[good], minlength=len(modes))
    enough = max(1.0, least * int(good.sum()) / len(modes))
    return int((counts >= enough).sum()), good.float().mean().item()

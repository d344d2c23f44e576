"""What a lesson's first cell calls (`begin`), and what runs and keeps the lessons (`run`, `clean`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ganlab.course.notebooks import Result, clean, find, gallery, run, table
from ganlab.errors import GanlabError

if TYPE_CHECKING:
    import torch

    from ganlab.data import ImageFiles, Images
    from ganlab.data.domains import Domains

__all__ = ["PROFILES", "Lesson", "Result", "begin", "clean", "find", "gallery", "run", "table"]

PROFILES = ("ci", "laptop", "gpu")
T = TypeVar("T")


@dataclass(frozen=True)
class Lesson:
    """What `begin` has set up for a lesson."""

    profile: str
    device: "torch.device"
    data: "Images | ImageFiles | Domains"
    held_out: "Images | ImageFiles | Domains"

    def pick(self, *, ci: T, laptop: T, gpu: T) -> T:
        """The value for this lesson's profile, for example `lesson.pick(ci=100, laptop=3000, gpu=30000)`."""
        return {"ci": ci, "laptop": laptop, "gpu": gpu}[self.profile]


def begin(profile: str = "", dataset: str = "digits", size: int | Mapping[str, int] | None = None) -> Lesson:
    """Set a lesson up: choose the profile and the device, load the data, seed, style the figures, say so.

    Args:
        profile: "ci" (a minute on two CPU cores), "laptop" (minutes on a CPU) or "gpu" (the paper's setting,
            scaled). Empty: the environment variable GANLAB_PROFILE, else "gpu" where CUDA is there or "laptop".
        dataset: a name that `ganlab.data.load` knows, or the path of a folder of images: a sixth is held out.
        size: height and width of the images in pixels, or one for each profile; by default the set's own.

    Raises:
        GanlabError: unknown profile. DataError: unknown data set, or one that cannot be loaded.
    """
    import numpy as np
    import torch

    from ganlab import data
    from ganlab.data.domains import Domains
    from ganlab.training import choose_device

    said = "as given"
    if not profile and (profile := os.environ.get("GANLAB_PROFILE", "")):
        said = "from GANLAB_PROFILE"
    elif not profile:
        profile, said = ("gpu", "CUDA is here") if torch.cuda.is_available() else ("laptop", "no CUDA here")
    if profile not in PROFILES:
        raise GanlabError(f"there is no profile {profile!r} ({said}); "
                          f"use one of {', '.join(PROFILES)}, or leave it empty")
    _style()
    np.random.seed(0)
    torch.manual_seed(0)
    if "OMP_NUM_THREADS" not in os.environ:  # PyTorch counts the machine's cores, not those it may use
        torch.set_num_threads(min(torch.get_num_threads(), cores(), 8))

    device = choose_device(None)
    size = size[profile] if isinstance(size, Mapping) else size
    if dataset in data.available():
        train, held_out = (data.load(dataset, split=split, size=size) for split in ("train", "test"))
    else:  # a folder of images
        everything = data.load(dataset, split="all", size=size)
        smaller = min(len(everything.a), len(everything.b)) if isinstance(everything, Domains) else len(everything)
        train, held_out = everything.split(max(1, smaller // 6))
    lesson = Lesson(profile, device, train, held_out)
    shape = " x ".join(map(str, lesson.data.shape))
    kind = "points" if len(lesson.data.shape) == 1 else "images"
    if isinstance(train, Domains):
        kind = "pairs of images" if train.paired else "images a side"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    print(f"device   {device.type}{name and f' ({name})'}")
    print(f"profile  {profile} ({said})")
    print(f"data     {train.name}: {len(train)} {kind} to train on, {len(held_out)} held out, {shape} each")
    if profile == "gpu" and device.type == "cpu":
        print("         profile gpu takes hours on a CPU; laptop is meant for it")
    return lesson


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _style() -> None:
    """Figures for a notebook: small files, and colours that stay apart for colour-blind eyes."""
    import matplotlib

    from ganlab.plots import COLOURS

    matplotlib.rcParams.update({
        "axes.prop_cycle": matplotlib.rcsetup.cycler(color=COLOURS), "image.cmap": "gray", "figure.dpi": 90,
        "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png", pil_kwargs={"optimize": True})
    except (ImportError, AttributeError):  # no notebook here, nothing to set
        pass

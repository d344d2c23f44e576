"""Look at the installation as a whole and say what is wrong and how to mend it (`ganlab doctor`)."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

REINSTALL = 'pip install --upgrade "ganlab[all]", or in a clone: make setup'
PYTORCH = "choose the command for your system on https://pytorch.org/get-started/locally/"


@dataclass(frozen=True)
class Check:
    """One finding: `level` is "ok", "warning" or "wrong"; `mend` says what to do about the last two."""

    name: str
    level: str
    found: str
    mend: str = ""


def versions() -> Iterator[Check]:
    """Python, and every requirement of ganlab against what is installed; torch and torchvision as a pair."""
    from packaging.requirements import Requirement

    python = f"{platform.python_version()} ({sys.executable})"
    yield Check("python", "ok" if sys.version_info >= (3, 11) else "wrong", python,
                "" if sys.version_info >= (3, 11) else "ganlab needs Python 3.11 or newer")
    try:
        requirements = [Requirement(line) for line in metadata.requires("ganlab") or ()]
    except metadata.PackageNotFoundError:
        yield Check("ganlab", "warning", "not installed, only imported from a folder", "pip install -e .")
        return
    good = 0
    for requirement in requirements:
        extra = requirement.marker is not None
        if requirement.name == "ganlab":
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(requirement.name, "warning" if extra else "wrong", "not installed", REINSTALL)
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            good += 1
        else:
            yield Check(requirement.name, "warning" if extra else "wrong",
                        f"{installed}, ganlab needs {requirement.specifier}", REINSTALL)
    yield Check("packages", "ok", f"{good} of {sum(r.name != 'ganlab' for r in requirements)} as required")
    torch = metadata.version("torch")
    wants = [r for r in map(Requirement, metadata.requires("torchvision") or ()) if r.name == "torch"]
    fits = all(r.specifier.contains(torch, prereleases=True) for r in wants)
    yield Check("torch", "ok" if fits else "wrong", f"{torch}, torchvision {metadata.version('torchvision')}",
                "" if fits else f"torchvision wants {wants[0]}: install both together; {PYTORCH}")


def device() -> Iterator[Check]:
    """Which device will be used, whether it computes, and whether one lies idle."""
    import torch

    from ganlab.training import choose_device

    chosen = choose_device(None)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else platform.machine()
    try:
        (torch.ones(8, 8, device=chosen) @ torch.ones(8, 8, device=chosen)).sum().item()
    except RuntimeError as error:
        yield Check("device", "wrong", f"{chosen} ({name}): {str(error).splitlines()[0]}",
                    f"this PyTorch does not support the card or its driver; {PYTORCH}")
    else:
        yield Check("device", "ok", f"{chosen} ({name})")
    if chosen.type == "cpu" and shutil.which("nvidia-smi"):
        built = torch.version.cuda
        yield Check("cuda", "warning", "there is an NVIDIA card, but PyTorch cannot use it",
                    f"update its driver: PyTorch was built for CUDA {built}" if built else
                    f"this PyTorch is for the CPU only; {PYTORCH}")


def threads() -> Iterator[Check]:
    """Whether PyTorch uses the cores that this process may use, and no more."""
    import torch

    from ganlab.course import cores

    count, may = torch.get_num_threads(), cores()
    settings = [f"{k}={os.environ[k]}" for k in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if k in os.environ]
    found = ", ".join([f"{count} for {may} cores", *settings])
    if count > may:
        yield Check("threads", "warning", found, f"set OMP_NUM_THREADS={may}: more threads get in each other's way")
    elif count * 2 < min(may, 8):
        yield Check("threads", "warning", found, "unset OMP_NUM_THREADS to use more of the cores")
    else:
        yield Check("threads", "ok", found)


def widgets() -> Iterator[Check]:
    """Whether the kernel's ipywidgets and JupyterLab's half of them are of one kind."""
    try:
        kernel, page = metadata.version("ipywidgets"), metadata.version("jupyterlab_widgets")
    except metadata.PackageNotFoundError as error:
        yield Check("widgets", "warning", str(error), 'sliders will not be drawn: pip install "ganlab[lab]"')
        return
    fits = {"7": "1", "8": "3"}.get(kernel.split(".")[0]) == page.split(".")[0]
    yield Check("widgets", "ok" if fits else "wrong", f"ipywidgets {kernel}, jupyterlab_widgets {page}",
                "" if fits else "pip install --upgrade ipywidgets jupyterlab_widgets; restart JupyterLab")


def on_disk(name: str) -> str:
    """"here", "in part", or "" for a data set that is not on disk (nothing is verified)."""
    from ganlab import data
    from ganlab.data.catalogue import entry

    e, folder = entry(name), data.root() / name
    files = [(folder / f.name).is_file() for f in e.files]
    if all(files) or (e.unpacks_to and (folder / e.unpacks_to).is_dir()):
        return "here"
    return "in part" if any(files) else ""


def storage() -> Iterator[Check]:
    """Where data sets are kept, whether more can be, and which are there."""
    from ganlab import data

    root = data.root()
    here = [name for name in data.available() if on_disk(name)]
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 1e9
    found = f"{root}: {', '.join(here)}; {free:.0f} GB free"
    if not existing.is_dir():
        yield Check("data", "wrong", f"{root}: {existing} is a file", "set GANLAB_DATA to a folder")
    elif not os.access(existing, os.W_OK):
        yield Check("data", "warning", f"{found}; not writable", "to download more, set GANLAB_DATA to another folder")
    elif free < 2:
        yield Check("data", "warning", found, "free some space, or set GANLAB_DATA to a folder on another disk")
    else:
        yield Check("data", "ok", found)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (versions, device, threads, storage, widgets)


def examine() -> Iterator[Check]:
    """All checks; one that cannot even run is a finding of its own."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:
            yield Check(check.__name__, "wrong", f"{type(error).__name__}: {error}", REINSTALL)


def main() -> int:
    """Print every finding; 1 if something is wrong, else 0."""
    worst = 0
    for check in examine():
        mark = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  "}[check.level]
        print(f"{mark}  {check.name:12}  {check.found}")
        if check.mend:
            print(f"{'':23}-> {check.mend}")
        worst = max(worst, check.level == "wrong")
    print("something is wrong, see above" if worst else "all is well")
    return int(worst)

"""Few threads that do not spin, the data that several tests train on, and how tests are shared out among processes."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch

torch.set_num_threads(1)


# Where tests may not run beside each other: all that drive a browser, and all that look for students' processes.
TOGETHER = ("tests/browser/", "tests/homework/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What takes longest comes first."""
    def order(item):
        folder = [item.nodeid.startswith(folder) for folder in TOGETHER]
        return folder.index(True) if any(folder) else 2 if item.path.suffix == ".ipynb" else 3
    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests, and a folder's in `TOGETHER`, stay in one process."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])
    return Scheduling(config, log)


def leave_out(what, reason):
    """Skip a test that misses something which people should have, and have the end of the run say so."""
    pytest.skip(f"{what} LEFT OUT: {reason}")


def pytest_terminal_summary(terminalreporter):
    skipped = [report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped")]
    for reason in dict.fromkeys(reason for reason in skipped if "LEFT OUT: " in reason):
        terminalreporter.write_line(reason, red=True, bold=True)


@pytest.fixture(scope="session")
def digits():
    """The embedded digits, training part."""
    from ganlab import data
    return data.load("digits")


@pytest.fixture(scope="session")
def real_images():
    """2,000 real MNIST images where GANLAB_DATA has them, else the embedded digits: the same tests run on either."""
    from ganlab import data
    if (data.root() / "mnist" / "t10k-images-idx3-ubyte.gz").exists():
        return data.load("mnist", split="test").subset(2000)
    return data.load("digits", split="all")

"""Few threads that do not spin, the data that several tests train on, and how tests are shared out among processes."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """What takes longest comes first; a file's tests stay in one process, and so do all that drive a browser."""
    def order(item):
        return 0 if "browser" in item.path.parts else 1 if item.path.suffix == ".ipynb" else 2
    items.sort(key=order)
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group("browser" if order(item) == 0 else str(item.path)))


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

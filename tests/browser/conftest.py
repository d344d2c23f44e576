"""A JupyterLab of its own and a Chromium that drives it; tests that need them are skipped where they are missing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TOKEN = "for-this-test-only"


@dataclass
class Lab:
    """A running JupyterLab: its address, its folder of notebooks, and where its kernels say how to reach them."""

    url: str
    folder: Path
    runtime: Path
    log: Path

    def ask(self, path: str) -> list | dict:
        request = urllib.request.Request(f"{self.url}/api/{path}", headers={"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def address(self, notebook: str) -> str:
        return f"{self.url}/lab/tree/{notebook}?token={TOKEN}&reset"


def wait_until(condition, seconds: float, what: str):
    """The first true value of `condition()`; fails after so many seconds, and says what did not happen."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    for module in ("playwright", "jupyterlab", "ipywidgets"):
        pytest.importorskip(module, reason=f"no {module} here")
    if not (path := shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no chromium here; install the system's package to run this test")
    return path


@pytest.fixture
def lab(chromium, tmp_path):
    """A JupyterLab on a free port of this machine, with a token, that reads no settings of the user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: tmp_path / name for name in ("config", "data", "runtime", "notebooks", "ipython")}
    for place in places.values():
        place.mkdir()
    (places["config"] / "labconfig").mkdir()
    (places["config"] / "labconfig" / "default_setting_overrides.json").write_text(
        json.dumps({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}))
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(places["config"]), "JUPYTER_DATA_DIR": str(places["data"]),
                   "JUPYTER_RUNTIME_DIR": str(places["runtime"]), "IPYTHONDIR": str(places["ipython"]),
                   "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
                   "PYTHONPATH": str(Path(__file__).parents[2])}
    for name in ("GANLAB_PROFILE", "GANLAB_PANELS", "MPLBACKEND"):
        environment.pop(name, None)
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
             "--port-retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={places['notebooks']}",
             *(["--allow-root"] if os.geteuid() == 0 else [])],
            stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
    running = Lab(f"http://127.0.0.1:{port}", places["notebooks"], places["runtime"], log)

    def answers() -> bool:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            return bool(running.ask("status"))
        except OSError:
            return False
    try:
        wait_until(answers, 90, "JupyterLab answers")
        yield running
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture
def page(chromium):
    """A page of 1280 x 1000 pixels."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser.new_page(viewport={"width": 1280, "height": 1000})
        browser.close()

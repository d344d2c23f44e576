"""A Jupyter server of its own and a Chromium that drives it; tests that need them are skipped where they are missing,
and the end of the run says so.

JupyterLab and Notebook 7 come from the same server. It is started once, and each test gets an empty folder, a fresh
page and a fresh kernel.
"""

import ast
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import leave_out

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "runs" / "screenshots"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TOKEN = "for-this-test-only"
BROWSER = "BROWSER TESTS WERE"
FAILED = pytest.StashKey[bool]()


@dataclass
class Lab:
    """A running server: its address, its folder of notebooks, where its kernels say how to reach them, its log, and
    the front end that `address` leads to: "lab/tree" for JupyterLab or "notebooks" for Notebook 7 and the classic."""

    url: str
    folder: Path
    runtime: Path
    log: Path
    front: str = "lab/tree"
    clients: dict = field(default_factory=dict)

    def ask(self, path: str, method: str = "GET", body: dict | None = None):
        """The answer of the server's interface, None for an empty one."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def address(self, notebook: str) -> str:
        return f"{self.url}/{self.front}/{notebook}?token={TOKEN}" + ("&reset" if self.front == "lab/tree" else "")

    def clear(self) -> None:
        """End all kernels and forget all notebooks."""
        for client in self.clients.values():
            client.stop_channels()
        self.clients.clear()
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def wait_until(condition, seconds: float, what: str):
    """The first true value of `condition()`; fails after so many seconds, and says what did not happen."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.05)
    return value


def notebook(lab: Lab, cells: list[str], name: str = "panel.ipynb") -> str:
    """Write a notebook of these cells into the server's folder; returns its name."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook
    made = new_notebook(cells=[new_code_cell(cell.strip()) for cell in cells])
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(made, lab.folder / name)
    return name


def ask_kernel(lab: Lab, expression: str, seconds: float = 60) -> str:
    """What an expression is in the notebook's kernel, asked through a client of its own."""
    from jupyter_client import BlockingKernelClient
    kernel = lab.ask("sessions")[0]["kernel"]["id"]
    if kernel not in lab.clients:
        client = BlockingKernelClient(connection_file=str(lab.runtime / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        lab.clients[kernel] = client
    content = {"status": "aborted"}
    while content["status"] == "aborted":  # as all are that reach a kernel just after an interrupted cell
        content = lab.clients[kernel].execute("", user_expressions={"x": expression}, silent=True, reply=True,
                                              timeout=seconds)["content"]
    content = content["user_expressions"]["x"]
    assert content["status"] == "ok", content
    return content["data"]["text/plain"]


def menu(page, *names: str) -> None:
    """Choose from the menu bar of JupyterLab or Notebook 7."""
    page.get_by_role("menuitem", name=names[0], exact=True).click()
    for name in names[1:-1]:
        page.get_by_text(name, exact=True).hover()
    page.get_by_text(names[-1], exact=True).click()


def ready(lab: Lab, page) -> None:
    """Wait for the notebook on the page, its kernel and the way between them."""
    page.wait_for_selector(".jp-Notebook", timeout=120_000)
    # Not the kernel's state: the server can miss its first words and call it starting for ever.
    wait_until(lambda: any(s["kernel"]["connections"] > 0 for s in lab.ask("sessions")), 90, "the page has its kernel")
    assert ask_kernel(lab, "1") == "1"


def run_all(page) -> None:
    """Run all cells; as a person would do, once more where the front end, new to its kernel, has lost the wish."""
    def prompts() -> list[str]:
        return page.locator(".jp-InputArea-prompt").all_text_contents()
    before = prompts()
    for last in (False, False, True):
        menu(page, "Run", "Run All Cells")
        try:
            return wait_until(lambda: prompts() != before, 20, "a cell begins to run")
        except AssertionError:
            if last:
                raise


def run_all_in_the_classic(lab: Lab, page, cells: list[str]) -> None:
    """Open a notebook of these cells in the classic Notebook and run them."""
    page.goto(lab.address(notebook(lab, cells)))
    # As the page sees it: the server can miss a kernel's first words and call it starting for ever.
    page.wait_for_function("""() => {
        const kernel = window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel;
        return kernel && kernel.is_connected() && kernel.info_reply.protocol_version;
    }""", timeout=120_000)
    page.locator("#celllink").click()
    page.locator("#run_all_cells").click()


def opened(lab: Lab, page, cells: list[str]):
    """The notebook open, its kernel ready, all its cells run, and the panel on the page."""
    page.goto(lab.address(notebook(lab, cells)))
    ready(lab, page)
    run_all(page)
    panel = page.locator(".jp-OutputArea-output .widget-vbox").first
    panel.wait_for(timeout=120_000)
    return panel


class Hand:
    """A person at one panel, who finds controls as a screen reader does, by role and name; and a look at the training
    from the kernel, past the page.

    Args:
        panel: where it is on the page.
        training: its name in the kernel.
    """

    def __init__(self, lab: Lab, panel, training: str = "training") -> None:
        self.lab, self.panel, self.training = lab, panel, training

    def button(self, text: str):
        """The button of this name; an icon before it is part of what the page says."""
        return self.panel.get_by_role("button", name=re.compile(rf"^(\W )?{re.escape(text)}$"))

    def box(self, name: str):
        return self.panel.get_by_role("spinbutton", name=f"{name} value", exact=True)

    def switch(self, name: str):
        return self.panel.get_by_role("checkbox", name=f"{name} on", exact=True)

    def slider(self, name: str):
        return self.panel.get_by_role("slider", name=f"{name}, as a power of ten", exact=True)

    def press(self, text: str) -> None:
        self.button(text).click()

    def type(self, name: str, value: float) -> None:
        self.box(name).fill(str(value))
        self.box(name).press("Enter")

    def sees(self, words: str, seconds: float = 30) -> None:
        """Wait until these words are in the panel."""
        wait_until(lambda: words in (self.panel.text_content() or ""), seconds, f"the panel says {words!r}")

    def shows(self, name: str, value: str) -> None:
        """Wait until the box shows this."""
        wait_until(lambda: self.box(name).input_value() == value, 30, f"the box of {name} shows {value}")

    def kernel(self, expression: str):
        """The plain value of an expression in the kernel, in which `t` is the training."""
        return ast.literal_eval(ask_kernel(self.lab, f"(lambda t: {expression})({self.training})"))

    def until(self, expression: str, seconds: float = 30) -> None:
        wait_until(lambda: self.kernel(expression), seconds, expression)

    def uses(self, name: str, value: float) -> None:
        """Wait until a step has been made with this weight, and look whether the log has it as a move of a hand."""
        self.until(f"t.history.columns.get('weight/{name}', [])[-1:] == [{value}]")
        assert self.kernel(f"[i[1:] for i in t.interventions][-1:] == [('weights', {name!r}, {value})]")

    def goes_on(self, steps: int = 20) -> None:
        """Wait until the training has made so many steps more."""
        self.until(f"t.step > {self.kernel('t.step') + steps}")

    def stands_still(self) -> None:
        """Look on for as long as 100 steps have taken before."""
        step, seconds = self.kernel("(t.step, 100 * t.batch_size / t.history['images/s'][-1])")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.kernel("t.step") == step


def photograph(page, name: str) -> None:
    """Screenshots of JupyterLab's or Notebook's page for people to look at: light, dark, and of a narrow window."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("Dark", "Light"):
        menu(page, "Settings", "Theme", f"JupyterLab {theme}")
        page.wait_for_function(f"document.body.dataset.jpThemeLight == '{str(theme == 'Light').lower()}'")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme.lower()}.png")
    size = page.viewport_size
    page.set_viewport_size({"width": 900, "height": 1200})
    page.screenshot(path=SCREENSHOTS / f"{name}-900.png")
    page.set_viewport_size(size)


@contextlib.contextmanager
def serving(folder: Path, command: list[str], environment: dict[str, str]) -> Iterator[Lab]:
    """A Jupyter server on a free port of this machine, with a token, that reads no settings of the user.

    Args:
        folder: an empty one, for all that belongs to it.
        command: starts it, without options; `{token}` and `{root}` in it are filled in.
        environment: beside what this process has.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {name: folder / name for name in ("config", "data", "runtime", "notebooks", "ipython")}
    for place in places.values():
        place.mkdir()
    (places["config"] / "labconfig").mkdir()
    (places["config"] / "labconfig" / "default_setting_overrides.json").write_text(
        json.dumps({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}))
    whole = {**os.environ, "JUPYTER_CONFIG_DIR": str(places["config"]), "JUPYTER_DATA_DIR": str(places["data"]),
             "JUPYTER_RUNTIME_DIR": str(places["runtime"]), "IPYTHONDIR": str(places["ipython"]),
             "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), **environment}
    for name in ("GANLAB_PROFILE", "GANLAB_PANELS", "MPLBACKEND"):
        whole.pop(name, None)
    log = folder / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [*(part.format(token=TOKEN, root=places["notebooks"]) for part in command), "--no-browser",
             "--ip=127.0.0.1", f"--port={port}", *(["--allow-root"] if os.geteuid() == 0 else [])],
            stdout=out, stderr=subprocess.STDOUT, env=whole, start_new_session=True)
    running = Lab(f"http://127.0.0.1:{port}", places["notebooks"], places["runtime"], log)

    def answers() -> bool:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            return bool(running.ask("status"))
        except OSError:
            return False
    try:
        wait_until(answers, 90, "the server answers")
        yield running
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    for module in ("playwright", "jupyterlab", "notebook", "ipywidgets"):
        if importlib.util.find_spec(module) is None:
            leave_out(BROWSER, f"no {module} here; pip install -e .[all]")
    if not (path := shutil.which("chromium") or shutil.which("chromium-browser")):
        leave_out(BROWSER, "no Chromium here; on Debian or Ubuntu: sudo apt install chromium")
    return path


# Both of the package and not of the session: while Playwright runs, no other test can run an asyncio loop.
@pytest.fixture(scope="package")
def server(chromium, tmp_path_factory):
    """A server of JupyterLab and Notebook 7 for all tests."""
    with serving(tmp_path_factory.mktemp("server"),
                 [sys.executable, "-m", "jupyterlab", "--port-retries=0", "--IdentityProvider.token={token}",
                  "--ServerApp.root_dir={root}"], {}) as running:
        yield running


@pytest.fixture(scope="package")
def browser(chromium):
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def lab(server):
    """The server with an empty folder and no kernel, and JupyterLab as its front end."""
    server.front = "lab/tree"
    yield server
    server.clear()


@pytest.fixture(params=["lab/tree", "notebooks"], ids=["JupyterLab", "Notebook 7"])
def anywhere(lab, request):
    """`lab`, with JupyterLab and with Notebook 7 as its front end."""
    lab.front = request.param
    return lab


@pytest.fixture
def page(browser, request):
    """A page of 1280 x 1000 pixels, with no memory of the pages before; what a failed test saw last is kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    if request.node.stash.get(FAILED, False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for i, one in enumerate(context.pages):
            one.screenshot(path=SCREENSHOTS / f"failed-{request.node.name}-{i}.png")
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    if report.failed:
        report.sections += [("the server's last words", lab.log.read_text()[-3000:])
                            for lab in item.funcargs.values() if isinstance(lab, Lab)]
    return report

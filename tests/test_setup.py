"""What stands outside the package: requirements, pins, the conda environment, the Makefile, and every tracked file."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
ALL = CORE + [Requirement(line) for name, lines in EXTRAS.items() if name != "all" for line in lines]
PINS = {canonicalize_name(name): version for name, version in
        (line.split("==") for line in (ROOT / "constraints.txt").read_text().split())}


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_requirement_has_a_pin_within_its_range():
    missing = [str(r) for r in ALL if canonicalize_name(r.name) not in PINS]
    outside = [f"{r} but {PINS[canonicalize_name(r.name)]}" for r in ALL
               if canonicalize_name(r.name) in PINS and PINS[canonicalize_name(r.name)] not in r.specifier]
    assert not missing and not outside


def test_constraints_are_plain_pins_that_fit_every_machine():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line), line
        assert not re.match(r"(nvidia|cuda|triton|ganlab|pip=)", line), f"{line}: depends on the machine"


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_pins_fit_every_python_that_is_promised(python):
    """Debian 12 comes with Python 3.11.2: a pin made on a newer one must not ask for more."""
    assert python in SpecifierSet(PROJECT["requires-python"])
    installed = [d for d in metadata.distributions() if PINS.get(canonicalize_name(d.name)) == d.version]
    assert len(installed) > len(CORE)
    assert not [d.name for d in installed if python not in SpecifierSet(d.metadata["Requires-Python"] or "")]


# The versions in Colab's image with Python 3.12: installing ganlab there must change nothing.
COLAB = {"torch": "2.9.0", "torchvision": "0.24.0", "numpy": "2.0.2", "pandas": "2.2.2", "matplotlib": "3.10.0",
         "scikit-learn": "1.6.1", "pillow": "11.3.0", "tqdm": "4.67.1", "pooch": "1.8.2", "requests": "2.32.4",
         "filelock": "3.20.0", "packaging": "25.0", "ipywidgets": "7.7.1", "typing_extensions": "4.15.0"}


# What that image lacks.
ADDED = {"torchmetrics", "lightning-utilities"}


@pytest.mark.parametrize("requirement", [r for r in CORE if r.name not in ADDED], ids=lambda r: r.name)
def test_colab_satisfies_the_core_requirements(requirement):
    assert COLAB[requirement.name] in requirement.specifier


@pytest.mark.parametrize("name", sorted(ADDED))
def test_what_colab_lacks_is_pure_python_and_changes_nothing_there(name):
    package = metadata.distribution(name)
    assert "Root-Is-Purelib: true" in package.read_text("WHEEL")
    for requirement in map(Requirement, package.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert requirement.name in ADDED or COLAB[requirement.name] in requirement.specifier


def test_what_the_package_imports_is_required():
    """At the head of a module core requirements only, inside a function extras too; IPython is where notebooks are."""
    names = {"scikit-learn": "sklearn", "pillow": "PIL"}
    core, extra = ({names.get(r.name, r.name) for r in group} for group in (CORE, ALL))
    inside = {"ganlab", "IPython", "matplotlib_inline"} | set(sys.stdlib_module_names)
    for path in (ROOT / "ganlab").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                      [node.module or "ganlab"] if isinstance(node, ast.ImportFrom) else []
            allowed = inside | (core if node in tree.body else extra)
            assert {module.split(".")[0] for module in modules} <= allowed, f"{path}: {modules}"


def test_extras():
    assert set(EXTRAS) == {"lab", "train", "homework", "test", "all"}
    assert set(Requirement(EXTRAS["all"][0]).extras) == {"lab", "train", "homework", "test"}
    assert not any("<" in str(r.specifier) for r in CORE if r.name.startswith("torch")), "torch has no upper pin"


def test_environment_yml_agrees_with_pyproject():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "name: ganlab" in lines
    python = next(line for line in lines if line.startswith("- python=")).removeprefix("- python=")
    assert python in Requirement(f"python{PROJECT['requires-python']}").specifier
    assert lines[lines.index("- pip:") + 1:] == ["- --constraint constraints.txt", "- --editable .[all]"]
    assert "- pip" in lines


def test_the_command_and_the_version_are_the_package_s():
    import ganlab

    assert metadata.version("ganlab") == ganlab.__version__
    assert PROJECT["scripts"] == {"ganlab": "ganlab.cli:main"}


def test_a_wheel_holds_the_package_and_its_catalogue(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT,
                   check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("ganlab-*.whl"))).namelist()
    assert {"ganlab/cli.py", "ganlab/course/__init__.py", "ganlab/data/catalogue.toml"} <= set(names)
    assert not [name for name in names if not name.startswith("ganlab")]


def make(tmp_path: Path, fakes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`make setup` for a machine whose only Pythons are the given shell scripts."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("head", "touch"):
        (tools / tool).symlink_to(shutil.which(tool))
    for name, script in fakes.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    return subprocess.run([shutil.which("make"), "-s", "setup", f"VENV={tmp_path / 'venv'}"], cwd=ROOT, text=True,
                          env={"PATH": str(tools)}, capture_output=True)


OLD = 'case "$*" in *version_info*) exit 1;; -V) echo "Python 3.9.2";; esac'
BARE = 'case "$*" in *ensurepip*) exit 1;; -V) echo "Python 3.12.1";; esac'
NEW = ('case "$*" in -V) echo "Python 3.12.1";; "-m venv --clear"*) echo "made $4"; mkdir -p "$4/bin"; '
       'cp "$0" "$4/bin/python";; "-m pip"*) echo "$@";; esac')


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed here")
class TestMakeSetup:
    def test_names_the_python_that_is_too_old(self, tmp_path):
        done = make(tmp_path, {"python3": OLD})
        assert done.returncode != 0
        assert "3.11 or newer" in done.stderr and "python3 (Python 3.9.2)" in done.stderr

    def test_says_what_to_install_without_the_venv_module(self, tmp_path):
        done = make(tmp_path, {"python3": BARE})
        assert done.returncode != 0 and "python3-venv" in done.stderr

    def test_no_python_at_all(self, tmp_path):
        done = make(tmp_path, {})
        assert done.returncode != 0 and "no python at all" in done.stderr

    def test_takes_the_first_that_will_do(self, tmp_path):
        tools = NEW.replace("mkdir", "/bin/mkdir").replace("cp ", "/bin/cp ")
        done = make(tmp_path, {"python3.13": BARE, "python3.12": tools, "python3": OLD})
        assert done.returncode == 0, done.stderr
        assert f"made {tmp_path / 'venv'}" in done.stdout
        assert "-c constraints.txt -e .[all]" in done.stdout
        assert (tmp_path / "venv" / ".ganlab-installed").exists()

    def test_a_second_call_installs_nothing(self, tmp_path):
        tools = NEW.replace("mkdir", "/bin/mkdir").replace("cp ", "/bin/cp ")
        make(tmp_path, {"python3": tools})
        shutil.rmtree(tmp_path / "bin")
        done = make(tmp_path, {"python3": tools})
        assert done.returncode == 0 and done.stdout == ""


def test_tracked_files_name_no_registry_and_no_path_of_a_machine():
    hosts = ["py" + "pi.org", "python" + "hosted.org", "ana" + "conda.org", "download.py" + "torch.org",
             "registry.np" + "mjs.org"]
    paths = ["/" + "work/", "/" + "home/", "/" + "Users/"]
    told = [f"{path.relative_to(ROOT)}: {word}" for path in tracked()
            for word in hosts + paths if word.encode() in path.read_bytes()]
    assert not told


def test_tracked_files_are_small_and_generated_ones_are_ignored():
    assert not [path for path in tracked() if path.stat().st_size > 1_500_000]
    ignored = ["runs/x.pt", "data/mnist/x.gz", ".venv/bin/python", "ganlab/__pycache__/x.pyc",
               "lessons/.ipynb_checkpoints/x.ipynb"]
    done = subprocess.run(["git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ignored
    kept = subprocess.run(["git", "check-ignore", "data/README.md", "ganlab/data/__init__.py"], cwd=ROOT)
    assert kept.returncode == 1


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make -s test")

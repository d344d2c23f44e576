"""The doctor finds what is put wrong on purpose, and says how to mend it."""

import shutil
from importlib import metadata

import pytest
import torch

from ganlab import course, doctor


def found(check, name):
    return next(c for c in check() if c.name == name)


def test_this_installation_is_in_order(capsys):
    assert doctor.main() == 0
    said = capsys.readouterr().out
    assert "WRONG" not in said and said.endswith("all is well\n")
    for name in ("python", "packages", "torch", "device", "threads", "data", "widgets"):
        assert f"  {name} " in said


@pytest.fixture
def pretend(monkeypatch):
    """Pretend that a package has another version, or None: that it is missing."""
    real = metadata.version

    def pretend(name, version):
        def installed(asked):
            if asked != name:
                return real(asked)
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version
        monkeypatch.setattr(metadata, "version", installed)
    return pretend


@pytest.mark.parametrize("name, version, level", [("scikit-learn", None, "wrong"), ("ipywidgets", "9.0.0", "wrong"),
                                                  ("papermill", None, "warning"), ("pytest", "7.0", "warning")])
def test_missing_or_unfit_packages(pretend, name, version, level):
    pretend(name, version)
    check = found(doctor.versions, name)
    assert check.level == level and check.mend


def test_torch_and_torchvision_that_do_not_fit(pretend, capsys):
    pretend("torch", "2.10.0")
    check = found(doctor.versions, "torch")
    assert check.level == "wrong" and "install both together" in check.mend
    assert doctor.main() == 1 and "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize("built, mend", [("13.0", "driver"), (None, "CPU only")])
def test_a_card_that_lies_idle(monkeypatch, built, mend):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    check = found(doctor.device, "cuda")
    assert check.level == "warning" and mend in check.mend


def test_a_device_that_cannot_compute(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no kernel image is available\nmore")
    monkeypatch.setattr(torch, "ones", fail)
    check = found(doctor.device, "device")
    assert check.level == "wrong" and "no kernel image" in check.found and "more" not in check.found


@pytest.mark.parametrize("threads, cores, level", [(8, 2, "warning"), (1, 8, "warning"), (4, 4, "ok"), (1, 1, "ok")])
def test_threads(monkeypatch, threads, cores, level):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(course, "cores", lambda: cores)
    assert found(doctor.threads, "threads").level == level


def test_data_on_a_full_or_protected_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path / "not" / "yet"))
    assert found(doctor.storage, "data").level in ("ok", "warning")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    assert "free some space" in found(doctor.storage, "data").mend
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert "not writable" in found(doctor.storage, "data").found


def test_data_in_a_file_instead_of_a_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for root in ("file", "file/below"):
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path / root))
        check = found(doctor.storage, "data")
        assert check.level == "wrong" and "file is a file" in check.found and "GANLAB_DATA" in check.mend


def test_widgets_of_two_kinds(pretend):
    pretend("jupyterlab_widgets", "1.1.0")
    assert found(doctor.widgets, "widgets").level == "wrong"
    pretend("jupyterlab_widgets", None)
    assert found(doctor.widgets, "widgets").level == "warning"


def test_a_check_that_breaks_is_itself_a_finding(monkeypatch):
    def broken():
        raise ImportError("cannot load libtorch")
        yield
    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    (check,) = doctor.examine()
    assert check.level == "wrong" and "libtorch" in check.found and check.mend

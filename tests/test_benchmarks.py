"""The textbook loops of the speed benchmark compute what the models compute."""

import copy
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlab.training import Training
from tests.models.test_models import data_for, small

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("program", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_a_benchmark_finds_what_it_needs(program, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    assert "main" in runpy.run_path(str(program), run_name="not main")


@pytest.fixture(scope="module")
def loops():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from textbook import LOOPS
    finally:
        sys.path.pop(0)
    return LOOPS


@pytest.mark.parametrize("name", ["gan", "cgan", "dcgan", "wgangp", "pix2pix", "cyclegan", "ugatit"])
def test_a_textbook_loop_computes_the_same_losses_on_the_same_batch(name, loops, digits):
    model = small(name, **({"pool": 50} if name == "cyclegan" else {}))
    for module in model.modules():
        if isinstance(module, nn.Dropout2d | nn.Dropout):
            module.p = 0.0
        if hasattr(module, "parametrizations"):  # each run of a spectrally normalised layer would change its weight
            module.eval()
    noises, plain = [], type(model).noise
    ours = Training(model, data_for(model, digits), batch_size=8, device="cpu", log_every=1)
    theirs = loops[name](copy.deepcopy(model), data_for(model, digits), 8, torch.device("cpu"))

    def noise(*args, **kwargs):
        noises.append(plain(model, *args, **kwargs))
        return noises[-1]
    model.noise = noise
    for step in range(5 if name == "wgangp" else 2):
        noises.clear()
        ours.run(1, progress=False)
        batch, given = ours.batches[step], [noises[-1]] * 2 if noises else []
        if name == "wgangp":
            given.append((1 + torch.erf(noises[0] / math.sqrt(2))) / 2)
        expected = theirs.step(*batch, *given)
        row = ours.history.rows[-1]
        terms = {n for n in row if n.startswith(("generator/", "discriminator/"))}
        assert terms == set(expected)
        for term, value in expected.items():
            assert row[term] == pytest.approx(value, rel=2e-3, abs=1e-5), (step, term)


@pytest.mark.parametrize("name", ["gan", "cyclegan"])
def test_its_data_are_ours(name, loops, digits):
    model = small(name)
    data = data_for(model, digits)
    loop = loops[name](model, data, 4, torch.device("cpu"))
    batch = next(loop.batches)
    assert len(batch) == 2 and tuple(batch[0].shape) == (4, *data.shape)
    side = data.a if name == "cyclegan" else data
    assert min((batch[0][0] - image).abs().max() for image in side.floats()) < 1e-5
    loop.run(2)


def test_its_memory_layout_is_not_ours(loops, digits):
    ours = small("dcgan")
    theirs = loops["dcgan"](copy.deepcopy(ours), data_for(ours, digits), 4, torch.device("cpu")).model
    assert not all(weight.is_contiguous() for weight in ours.parameters())
    assert all(weight.is_contiguous() for weight in theirs.parameters())
    assert torch.equal(next(ours.parameters()), next(theirs.parameters()))


def test_loops_measured_apart_are_compared_in_turn(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["speed.py", "gan", "--apart", "--rounds", "2", "--steps", "1", "--workers", "0",
                                      "--precision", "float32"])
    runpy.run_path(str(BENCHMARKS / "speed.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["textbook", "float32", "float32", "textbook", "gan,"]
    textbook, ours = ([float(line.split()[1].replace(",", "")) for line in lines if line.split()[0] == who]
                      for who in ("textbook", "float32"))
    ratios = [b / a for a, b in zip(ours, textbook, strict=True)]
    said = [float(word.strip("()")) for word in lines[-1].split() if word.strip("()").replace(".", "").isdigit()][1:]
    assert said == pytest.approx([sum(ratios) / 2, min(ratios), max(ratios)], rel=0.02)

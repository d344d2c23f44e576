"""Sweeps: what is planned, what is done again, and what comes out."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pandas
import pytest
from PIL import Image

from ganlab import checkpoint, cli, sweep
from ganlab.errors import GanlabError

TINY = ["--data", "ring", "--set", "latent=2", "hidden=8,8", "--batch-size", "16", "--device", "cpu", "--steps", "20"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def here(monkeypatch) -> list[str]:
    """Runs train in this process; their names, as they begin."""
    begun: list[str] = []

    def call(words, **_):
        begun.append(Path(words[-1]).stem)
        try:
            sweep.execute(words[-1])
        except GanlabError:
            return 1
        return 0
    monkeypatch.setattr(subprocess, "call", call)
    return begun


def ganlab(*words) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("text, expected", [
    ("cycle=0,1,10", ("cycle", [0, 1, 10])), ("lr=1e-3", ("lr", [1e-3])), ("norm=True,False", ("norm", [True, False])),
    ("hidden=(8,8),(16,)", ("hidden", [(8, 8), (16,)])), ("batch-size=4", ("batch_size", [4])),
    ("objective=hinge,least-squares", ("objective", ["hinge", "least-squares"])),
    ("schedule=discriminator_steps(2),alternate", ("schedule", ["discriminator_steps(2)", "alternate"])),
    ("schedule=epochs(1,1),warm_up(4,epochs(2,1)),alternate",
     ("schedule", ["epochs(1,1)", "warm_up(4,epochs(2,1))", "alternate"])),
])
def test_a_dimension_is_read(text, expected):
    assert sweep.dimension(text) == expected


@pytest.mark.parametrize("text", ["cycle", "cycle=", "=1,2"])
def test_what_is_no_dimension_is_refused(text):
    with pytest.raises(GanlabError, match="NAME=VALUE,VALUE"):
        sweep.dimension(text)


def test_every_setting_is_planned_with_every_seed():
    grid = {"cycle": [0, 10], "blocks": [1], "batch_size": [2], "augment": [True, False]}
    runs = sweep.plan("cyclegan", grid, 3, ["--steps", "5"], Path("x"))
    assert len(runs) == len({run.path for run in runs}) == 2 * 2 * 3
    assert [run.seed for run in runs[:3]] == [0, 1, 2] and len({run.label for run in runs[:3]}) == 1
    assert runs[0].words == ["cyclegan", "--steps", "5", "--weight", "cycle=0", "--set", "blocks=1", "--batch-size",
                             "2", "--augment", "--seed", "0"]
    assert "--augment" not in runs[-1].words and "cycle=10" in runs[-1].words
    assert runs[0].path == Path("x/runs/cycle=0,blocks=1,batch_size=2,augment=True,seed=0.json")


@pytest.mark.parametrize("grid", [{"data": ["./a b", "./a_b"]}, {"lr": [2e-4, 2e-4]}])
def test_two_settings_of_one_file_are_refused(grid):
    with pytest.raises(GanlabError, match="would both be kept in"):
        sweep.plan("gan", grid, 1, [], Path("s"))


def test_a_dimension_given_twice_has_the_values_of_both(monkeypatch):
    grids = []
    monkeypatch.setattr(sweep, "plan", lambda model, grid, *_: grids.append(grid) or [])
    monkeypatch.setattr(sweep, "sweep", lambda *_: [])
    assert ganlab("sweep", "gan", *TINY, "--grid", "lr=1e-4", "hidden=(8,)", "--grid", "lr=2e-4,3e-4") == 0
    assert grids == [{"lr": [1e-4, 2e-4, 3e-4], "hidden": [(8,)]}]


def test_what_cannot_vary_is_refused_with_what_can(capsys):
    assert ganlab("sweep", "gan", *TINY, "--grid", "cycle=0,1") == 1
    assert "gan has no 'cycle' to vary; there are the weights adversarial, its arguments latent, objective, hidden, " \
        "and the options data" in capsys.readouterr().err
    assert ganlab("sweep", "gann", *TINY) == 1
    assert "'gann'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--seed", "3"], ["--resume"], ["--seed=3"]])
def test_what_a_sweep_decides_is_refused(words, capsys):
    assert ganlab("sweep", "gan", *TINY, *words) == 1
    assert "--seeds" in capsys.readouterr().err


def test_an_option_that_train_does_not_know_ends_it_before_the_first_run(here):
    with pytest.raises(SystemExit):
        ganlab("sweep", "gan", *TINY, "--stepps", "3")
    assert not here and not Path("runs").exists()


def test_a_sweep_makes_a_table_and_a_figure_and_does_nothing_twice(here, capsys):
    words = ["sweep", "gan", *TINY, "--seeds", 2, "--out", "s", "--grid"]
    assert ganlab(*words, "adversarial=0,1") == 0
    assert here == [f"adversarial={weight},seed={seed}" for weight in (0, 1) for seed in (0, 1)]
    assert "s/table.csv" in capsys.readouterr().out
    found = pandas.read_csv("s/table.csv")
    assert list(found["adversarial"]) == [0, 0, 1, 1] and list(found["seed"]) == [0, 1, 0, 1]
    assert {"modes", "good samples", "D(x)", "generator/adversarial"} <= set(found) and not found.isna().any(axis=None)
    # Of 20 steps in rows of 10, the last tenth is the last row.
    saved = checkpoint.read("s/runs/adversarial=1,seed=1.pt")
    assert saved["seed"] == saved["model_seed"] == 1 and saved["weights"] == {"adversarial": 1.0}
    assert found["D(x)"][3] == pytest.approx(saved["history"]["rows"][-1]["D(x)"], rel=1e-4)
    assert Image.open("s/figure.png").width > 500

    # A larger grid trains what is new; a run without an end, whatever it has left, is trained again.
    here.clear()
    broken = Path("s/runs/adversarial=1,seed=0.json")
    broken.write_text(json.dumps({"words": json.loads(broken.read_text())["words"]}))
    broken.with_suffix(".pt").write_bytes(b"half a file")
    assert ganlab(*words, "adversarial=0,1,2") == 0
    assert sorted(here) == ["adversarial=1,seed=0", "adversarial=2,seed=0", "adversarial=2,seed=1"]
    again = pandas.read_csv("s/table.csv")
    pandas.testing.assert_frame_equal(again[:4], found)
    assert len(again) == 6

    assert ganlab(*[word if word != "20" else "30" for word in words], "adversarial=0,1") == 1
    assert "of another sweep" in capsys.readouterr().err


def test_runs_that_were_measured_by_other_names_share_a_figure(here):
    words = ["sweep", "gan", *TINY[2:], "--steps", 4, "--grid", "data=ring,digits", "--out", "s"]
    assert ganlab(*words) == 0
    found = pandas.read_csv("s/table.csv").set_index("data")
    assert found["modes"].isna().to_dict() == {"ring": False, "digits": True} and Path("s/figure.png").exists()


def test_runs_whose_checkpoints_are_gone_keep_their_place_in_the_figure(here):
    words = ["sweep", "gan", *TINY, "--out", "s", "--seeds"]
    assert ganlab(*words, 1) == 0
    Path("s/runs/seed=0.pt").unlink()
    for figure in (1, 2):  # first without any curve
        Path("s/figure.png").unlink()
        assert ganlab(*words, figure) == 0
        assert Path("s/figure.png").exists()
    assert list(pandas.read_csv("s/table.csv")["seed"]) == [0, 1]


def test_a_run_that_was_interrupted_goes_on_from_its_checkpoint(here, capsys):
    run, = sweep.plan("gan", {}, 1, [*TINY, "--save-every", "5"], Path("s"))
    assert ganlab("train", *run.words[:-4], "--steps", 5, *run.words[-4:], "--out", run.path.with_suffix(".pt")) == 0
    assert checkpoint.read(run.path.with_suffix(".pt"))["step"] == 5
    capsys.readouterr()
    assert sweep.sweep([run], Path("s")) == []
    assert "step 5 of 20" in capsys.readouterr().out and checkpoint.read(run.path.with_suffix(".pt"))["step"] == 20


def test_one_failure_stops_no_other_run_and_is_reported(here, capsys):
    assert ganlab("sweep", "gan", *TINY, "--grid", "objective=nope,hinge", "--out", "s") == 1
    said = capsys.readouterr()
    assert "1 of 2 runs have failed" in said.err and "objective=nope,seed=0: failed" in said.out
    assert list(pandas.read_csv("s/table.csv")["objective"]) == ["hinge"]


def test_two_do_not_train_the_same_run():
    from filelock import FileLock

    run, = sweep.plan("gan", {}, 1, TINY, Path("s"))
    sweep._write(run.path, {"words": run.words})
    with FileLock(run.path.with_suffix(".lock")), pytest.raises(GanlabError, match="another process is training"):
        sweep.execute(run.path)


@pytest.mark.slow
def test_runs_are_processes_side_by_side():
    assert ganlab("sweep", "gan", *TINY, "--grid", "adversarial=1,nan", "--jobs", 2, "--out", "s") == 1
    assert len(pandas.read_csv("s/table.csv")) == 1
    log = Path("s/runs/adversarial=nan,seed=0.log").read_text()
    assert "finite" in log and "Traceback" not in log


def test_every_job_has_a_gpu_of_its_own(monkeypatch):
    pairs: list[set[str]] = [set(), set()]
    both = threading.Barrier(2, timeout=30)

    def call(words, env, **_):
        pair = int(words[-1].stem[-1]) // 2
        pairs[pair].add(env["CUDA_VISIBLE_DEVICES"])
        both.wait()
        return 1
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert len(sweep.sweep(sweep.plan("gan", {}, 4, TINY, Path("s")), Path("s"), jobs=2)) == 4
    assert pairs == [{"3", "5"}] * 2


def test_without_submitit_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert ganlab("sweep", "gan", *TINY, "--out", "s", "--slurm", "partition=gpu") == 1
    assert 'submitit: pip install "ganlab[train]"' in capsys.readouterr().err


def test_without_slurm_it_says_so(capsys):
    pytest.importorskip("submitit", reason="submitit is not installed")
    assert ganlab("sweep", "gan", *TINY, "--out", "s", "--slurm", "partition=gpu") == 1
    assert "login node" in capsys.readouterr().err


@pytest.mark.slow
def test_submitit_runs_them(capsys):
    """Its executor for this machine starts the same jobs as the one for Slurm."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    runs = sweep.plan("gan", {"adversarial": [1, float("nan")]}, 1, TINY, Path("s"))
    failed = sweep.sweep(runs, Path("s"), slurm={"partition": "gpu", "timeout_min": 5}, cluster="local")
    assert failed == runs[1:] and len(pandas.read_csv("s/table.csv")) == 1
    said = capsys.readouterr().out
    assert "adversarial=1,seed=0: done" in said and "adversarial=nan,seed=0: failed" in said

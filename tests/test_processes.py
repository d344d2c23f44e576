"""Several processes train as one: the same result, pools of their own, one writer, and an end when one of them dies.

Started as a script by a launcher, this file is what every process runs.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from ganlab import checkpoint, cli, models, processes
from ganlab.data.domains import Domains
from ganlab.data.images import Images, augment
from ganlab.errors import GanlabError
from ganlab.models.cyclegan import Pool
from ganlab.training import Training

ROOT = Path(__file__).parent.parent
STEPS = 5


def build(name: str, pool: int = 0, **arguments) -> Training:
    """A small training of eight images a step, the same in every process."""
    rng = torch.Generator().manual_seed(0)
    a, b = (Images(torch.randint(256, (24, 3, 16, 16), generator=rng, dtype=torch.uint8)) for _ in range(2))
    data, config = {
        "gan": (b, {"hidden": (16,)}),
        "wgangp": (b, {"hidden": (16,)}),
        "dcgan": (b, {"width": 4}),
        "cyclegan": (Domains(a, b, paired=False, augment=True), {"width": 4, "blocks": 1, "layers": 1, "pool": pool}),
        "ugatit": (Domains(a, b, paired=False, augment=True), {"width": 4, "blocks": 1, "light": True}),
    }[name]
    t = Training(models.create(name, shape=data.shape, **config), data, batch_size=8, log_every=1, device="cpu",
                 share_statistics=name == "dcgan", learning_rate=2e-4, **arguments)
    for optimizer in t.optimizers.values():
        # Adam divides by the gradient's size, which makes steps of what is 0 but for rounding: a bias before a norm.
        optimizer.param_groups[0]["eps"] = 1e-3
    return t


def main(task: str, folder: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    # Registered first, it is called last.
    atexit.register(lambda: (folder / f"left.{os.environ['RANK']}").write_text(str(not dist.is_initialized())))
    if task == "train":
        for name in ("gan", "wgangp", "cyclegan", "ugatit", "dcgan"):
            build(name).run(STEPS).save(folder / f"{name}.pt")
    else:
        build("gan").run(STEPS).save(folder / "gan.pt")
        build("cyclegan", pool=3).run(4).save(folder / "four.pt")
        for source, target in (("four", "again"), ("one", "dealt")):
            t = Training.restore(folder / f"{source}.pt", build("cyclegan").data, device="cpu")
            t.save(folder / f"{target}.pt")
    (folder / f"wrote.{os.environ['RANK']}").touch()


def launch(number: int, *words: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number),
         *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, **options)


def finish(run: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        said, error = run.communicate(timeout=300)
    finally:
        run.kill()
    assert run.returncode == 0, error[-3000:]
    return said, error


def difference(path: Path, t: Training) -> float:
    """The largest between the parameters and buffers in a file and those of a training."""
    return distance(checkpoint.read(path)["state"], t.model.state_dict())


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max((a[name] - value).abs().max().item() for name, value in b.items() if value.numel())


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, str, str]:
    """The folder in which two processes have trained every model, and what they said."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    folder = tmp_path_factory.mktemp("two")
    return folder, *finish(launch(2, __file__, "train", folder))


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Path:
    """The folder in which four processes have trained, and gone on from the pools of four and of one."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    folder = tmp_path_factory.mktemp("four")
    build("cyclegan", pool=3).run(1, progress=False).save(folder / "one.pt")
    finish(launch(4, __file__, "pools", folder))
    return folder


def test_threads_that_talk_to_other_processes_are_given_time_at_the_end():
    destroyed, done = threading.Event(), threading.Event()

    def give_back():
        destroyed.wait(60)
        for _ in range(20):  # each needs the interpreter
            time.sleep(0.005)
        done.set()
    thread = threading.Thread(target=give_back, daemon=True)
    thread.start()
    processes.leave(SimpleNamespace(state=SimpleNamespace(destroy_process_group=destroyed.set)))
    assert done.is_set()


@pytest.mark.slow
def test_every_process_takes_its_leave(two):
    assert [path.read_text() for path in two[0].glob("left.*")] == ["True"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "wgangp", "cyclegan", "ugatit", "dcgan"])
def test_two_processes_with_half_the_batch_each_give_the_result_of_one(two, name):
    """The DCGAN has batch norm, whose statistics they share."""
    folder, one = two[0], build(name)
    first = {key: value.detach().clone() for key, value in one.model.named_parameters()}
    one.run(STEPS, progress=False)
    moved = distance(first, dict(one.model.named_parameters()))
    assert difference(folder / f"{name}.pt", one) < 1e-5 < 5e-4 < moved
    history = checkpoint.read(folder / f"{name}.pt")["history"]["rows"]
    assert len(history) == STEPS
    for theirs, ours in zip(history, one.history.rows, strict=True):
        assert theirs | {"images/s": 0} == pytest.approx(ours | {"images/s": 0}, abs=1e-5, rel=1e-4)


@pytest.mark.slow
def test_one_process_speaks_and_writes(two):
    folder, said, error = two
    assert said.count("training in 2 processes on cpu") == 5, "once for each training"
    assert error.count(f" 0/{STEPS} ") == 5, "one progress bar each"
    assert {path.name for path in folder.glob("wrote.*")} == {"wrote.0", "wrote.1"}


@pytest.mark.slow
def test_four_processes_give_the_result_of_one_too(four):
    assert difference(four / "gan.pt", build("gan").run(STEPS, progress=False)) < 2e-5


@pytest.mark.slow
def test_every_process_has_its_pool_back(four):
    saved, again = (checkpoint.read(four / f"{name}.pt")["pools"] for name in ("four", "again"))
    for side in ("pools.a", "pools.b"):
        assert [part.shape for part in saved[side]] == [(3, 3, 16, 16)] * 4
        assert all(torch.equal(a, b) for a, b in zip(saved[side], again[side], strict=True))
        together = torch.cat(saved[side]).flatten(1)
        assert len(together.unique(dim=0)) == 12, "nobody has another's images"


@pytest.mark.slow
def test_pools_are_dealt_out_to_another_number_of_processes(four):
    one = checkpoint.read(four / "one.pt")["state"]["pools.a.images"]
    dealt = checkpoint.read(four / "dealt.pt")["pools"]["pools.a"]
    assert [len(part) for part in dealt] == [1, 1, 1, 0] and torch.equal(torch.cat(dealt), one)
    alone = Training.restore(four / "four.pt", build("cyclegan").data, device="cpu")
    pool = alone.model.pools["a"]
    assert torch.equal(pool.images, checkpoint.read(four / "four.pt")["pools"]["pools.a"][0]) and pool.filled == 3
    alone.run(1, progress=False)


def test_pools_are_filled_as_far_as_there_are_images():
    model = nn.Module()
    model.pool, model.share = Pool(4, (1, 1, 1)), (1, 2)
    processes.share_out_pools(model, {"pool": [torch.arange(1.0, 6).view(5, 1, 1, 1)]})
    assert model.pool.images.flatten().tolist() == [2, 4, 0, 0] and model.pool.filled == 2
    processes.share_out_pools(model, {"pool": [torch.ones(9, 1, 1, 1), torch.full((9, 1, 1, 1), 2.0)]})
    assert model.pool.images.flatten().tolist() == [2] * 4 and model.pool.filled == 4


def test_processes_augment_their_rows_as_one_process_does():
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = augment(x, -x, torch.Generator().manual_seed(0), together=False)
    for rank in (0, 1):
        part = augment(x[rank::2], -x[rank::2], torch.Generator().manual_seed(0), together=False, share=(rank, 2))
        assert all(torch.equal(some, side[rank::2]) for some, side in zip(part, whole, strict=True))


def test_shared_statistics_are_remembered_and_change_nothing_alone(tmp_path, digits):
    def dcgan(**arguments) -> Training:
        model = models.create("dcgan", shape=digits.shape, width=4)
        return Training(model, digits, batch_size=8, device="cpu", **arguments).run(2, progress=False)
    shared, own = dcgan(share_statistics=True), dcgan()
    assert shared.model.state_dict().keys() == own.model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(shared.model.state_dict().values(),
                                                 own.model.state_dict().values(), strict=True))
    shared.save(tmp_path / "x.pt")
    again = Training.restore(tmp_path / "x.pt", device="cpu")
    norms = [m for m in again.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and {type(m) for m in norms} == {processes.SharedBatchNorm} and again.share_statistics


def test_resuming_refuses_shared_statistics_that_the_run_did_not_have(tmp_path, capsys):
    words = ["train", "gan", "--set", "hidden=8,8", "--device", "cpu", "--out", str(tmp_path / "x.pt"), "--steps"]
    assert cli.main([*words, "1"]) == 0
    assert cli.main([*words, "2", "--resume", "--share-statistics"]) == 1
    assert "goes on with share_statistics = False" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as on POSIX")
def test_a_killed_process_ends_the_run_and_its_checkpoint_goes_on(tmp_path):
    """One of two is killed; one process goes on."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    out = tmp_path / "x.pt"
    words = ["train", "gan", "--set", "latent=8", "hidden=16,16", "--batch-size", "16", "--device", "cpu", "--out", out]
    run = launch(2, "-m", "ganlab", *words, "--steps", 1_000_000, "--save-every", 5, cwd=tmp_path)
    while not out.exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    victim, = (p for p in psutil.Process(run.pid).children() if p.environ().get("RANK") == "1")
    os.kill(victim.pid, signal.SIGKILL)
    try:
        said = run.communicate(timeout=120)[0]
    finally:
        run.kill()
    assert run.returncode != 0
    said, = (line for line in said.splitlines() if "images of digits" in line)
    assert "(cpu, 2 processes)" in said and "batches of 16 (8 in each process)" in said
    step = checkpoint.read(out)["step"]
    assert step >= 5 and step % 5 == 0
    assert cli.main([str(word) for word in [*words, "--steps", step + 3, "--resume"]]) == 0
    assert checkpoint.read(out)["step"] == step + 3


def test_the_end_of_another_process_is_said_with_the_way_on():
    with pytest.raises(GanlabError, match="has ended.*x.pt"), processes.company("x.pt"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer")
    with pytest.raises(RuntimeError, match="shapes"), processes.company("x.pt"):
        raise RuntimeError("shapes cannot be multiplied")


def test_a_launcher_that_starts_one_process_instead_of_several_is_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes.count() == 1
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert processes.count() == 1
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with pytest.raises(GanlabError, match="started one.*torchrun"):
        processes.count()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

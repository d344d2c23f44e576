"""Checkpoints: everything is in them, nothing that was saved is lost, and nothing foreign is believed."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch

from ganlab import checkpoint, models
from ganlab.errors import CheckpointError
from ganlab.training import Training
from tests.models.test_models import SMALL, data_for, small

RUN = textwrap.dedent("""
    import sys, torch
    torch.set_num_threads(1)
    from pathlib import Path
    from ganlab import data, models
    from ganlab.training import Training
    path, steps = sys.argv[1], int(sys.argv[2])
    if Path(path).exists() or Path(path.replace(".pt", ".previous.pt")).exists():
        t = Training.restore(path, device="cpu", checkpoint=path, save_every=3)
    else:
        t = Training(models.create("dcgan", shape=(1, 28, 28), width=4, latent=8), data.load("digits"), seed=1,
                     batch_size=16, schedule="threshold(1.2, 0.8, patience=4)", device="cpu", checkpoint=path,
                     save_every=3)
    print("ready", flush=True)
    t.weights["adversarial"] = 0.75
    t.run(steps - t.step, progress=False)
""")


def weights(t: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in t.model.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("schedule", ["alternate", "threshold(0.7, 0.7, patience=3)",
                                      "warm_up(4, discriminator_steps(2))"])
def test_restored_runs_end_bit_identical(name, schedule, digits, tmp_path):
    if schedule != "alternate" and "generator" not in small(name).players:
        schedule = "alternate"
    model, part = small(name), small(name)
    images, size = data_for(model, digits), 16 if model.expects in ("images", "labels") else 2
    whole = Training(model, images, batch_size=size, schedule=schedule, device="cpu").run(20, progress=False)
    part = Training(part, images, batch_size=size, schedule=schedule, device="cpu").run(13, progress=False)
    part.save(tmp_path / "run.pt")
    again = Training.restore(tmp_path / "run.pt", device="cpu").run(7, progress=False)
    assert same(weights(whole), weights(again))
    assert again.interventions == [] and again.schedule.state() == whole.schedule.state()
    for player, optimizer in whole.optimizers.items():
        for a, b in zip(optimizer.state_dict()["state"].values(),
                        again.optimizers[player].state_dict()["state"].values(), strict=True):
            assert all(torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for k in a)


def test_history_weights_and_interventions_come_back(digits, tmp_path):
    t = Training(small("vae"), digits, batch_size=16, device="cpu", log_every=4).run(6, progress=False)
    t.weights["kl"], t.learning_rates["autoencoder"] = 3.0, 1e-5
    t.run(1, progress=False)
    t.save(tmp_path / "run.pt")
    again = Training.restore(tmp_path / "run.pt", device="cpu")
    assert dict(again.weights) == {"reconstruction": 1.0, "kl": 3.0} and again.learning_rates["autoencoder"] == 1e-5
    assert again.interventions == t.interventions and len(t.interventions) == 2
    assert again.history["autoencoder/kl"] == t.history["autoencoder/kl"]
    again.run(2, progress=False)
    assert again.interventions == t.interventions, "restoring is no intervention"
    assert same(weights(again), weights(Training.replay(again.recording(), device="cpu", progress=False)))


def test_a_restored_run_goes_on_saving(digits, tmp_path):
    t = Training(small("gan"), digits, batch_size=16, device="cpu", checkpoint=tmp_path / "run.pt", save_every=4)
    t.run(4, progress=False)
    Training.restore(tmp_path / "run.pt", device="cpu").run(3, progress=False)
    assert checkpoint.read(tmp_path / "run.pt")["step"] == 7
    Training.restore(tmp_path / "run.pt", device="cpu", checkpoint=None).run(3, progress=False)
    assert checkpoint.read(tmp_path / "run.pt")["step"] == 7


def test_a_damaged_file_does_not_replace_the_good_one_before(saved):
    truncated(saved)
    with pytest.warns(UserWarning, match="Using the one before"):
        t = Training.restore(saved, device="cpu")
    t.save(saved)
    assert checkpoint.read(saved)["step"] == checkpoint.read(checkpoint.previous(saved))["step"] == 2


def test_what_could_not_be_loaded_is_not_saved(saved):
    with pytest.raises(CheckpointError, match="it would hold .*only tensors and plain values"):
        checkpoint.write(saved, {"model": "gan", "config": Path("x")})
    assert checkpoint.read(saved)["step"] == 4


def test_two_that_write_to_one_file_do_not_disturb_each_other(saved, monkeypatch):
    content, save = torch.load(saved, weights_only=True), torch.save
    others = [threading.Thread(target=checkpoint.write, args=(saved, content | {"step": 5}))]

    def meanwhile(value, file):
        save(value, file)
        if others:
            other = others.pop()
            other.start()
            other.join()
    monkeypatch.setattr(torch, "save", meanwhile)
    checkpoint.write(saved, content | {"step": 6})
    assert checkpoint.read(saved)["step"] == 6 and checkpoint.read(checkpoint.previous(saved))["step"] == 5
    assert sorted(p.name for p in saved.parent.iterdir()) == ["run.previous.pt", "run.pt"]


def test_a_file_that_cannot_be_read_again_is_not_saved(saved, monkeypatch):
    def fail(_):
        raise ValueError("Expected a zip file")
    monkeypatch.setattr(torch.serialization, "get_unsafe_globals_in_checkpoint", fail)
    with pytest.raises(CheckpointError, match="could not save .*Expected a zip file"):
        checkpoint.write(saved, {"model": "gan"})
    assert checkpoint.read(saved)["step"] == 4


def test_what_a_killed_process_left_is_removed_after_a_while(saved):
    old, new, foreign = (saved.parent / name for name in (".run.pt.1-2.part", ".run.pt.3-4.part", ".x.pt.1-2.part"))
    for path in (old, new, foreign):
        path.write_bytes(b"half a file")
    for path in (old, foreign):
        os.utime(path, (time.time() - 2 * checkpoint.ABANDONED,) * 2)
    checkpoint.write(saved, torch.load(saved, weights_only=True))
    assert not old.exists() and new.exists() and foreign.exists()


@pytest.mark.parametrize("name", ["folder", "file/run.pt", ".", "run", f"{'x' * 248}.pt", "nul\0.pt"])
def test_where_nothing_can_be_saved_nothing_is_reserved(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "run.previous").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a training could not save .*--out"), checkpoint.reserved(name):
        pass
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_without_rights_is_not_reserved(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("no right")
    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(CheckpointError, match="could not save .*no right"), checkpoint.reserved(tmp_path / "run.pt"):
        pass


def test_the_longest_name_that_can_be_reserved_can_be_written(saved):
    longest = saved.with_name(f"{'x' * 243}.pt")
    for step in (1, 2):
        with checkpoint.reserved(longest):
            checkpoint.write(longest, torch.load(saved, weights_only=True) | {"step": step})
    assert checkpoint.read(checkpoint.previous(longest))["step"] == 1


def test_a_file_is_reserved_for_one_alone_and_free_afterwards(saved):
    for _ in range(2):
        with checkpoint.reserved(saved), pytest.raises(CheckpointError, match="another process is training to"), \
                checkpoint.reserved(saved):
            pass
    assert sorted(p.name for p in saved.parent.iterdir()) == ["run.previous.pt", "run.pt"]


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as on POSIX")
def test_a_killed_process_reserves_nothing(tmp_path):
    code = f"from ganlab import checkpoint\nwith checkpoint.reserved({str(tmp_path / 'run.pt')!r}): print(1); input()"
    run = subprocess.Popen([sys.executable, "-uc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "1\n"
    with pytest.raises(CheckpointError, match="another process"), checkpoint.reserved(tmp_path / "run.pt"):
        pass
    run.kill()
    run.communicate()
    with checkpoint.reserved(tmp_path / "run.pt"):
        pass


def test_a_drive_without_locks_is_trained_on_all_the_same(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("Operation not supported")
    monkeypatch.setattr(checkpoint.FileLock, "acquire", fail)
    with checkpoint.reserved(tmp_path / "run.pt"):
        pass


def test_saving_changes_nothing_that_is_recorded(digits, tmp_path):
    a = Training(small("gan"), digits, batch_size=16, device="cpu").run(20, progress=False)
    b = Training(small("gan"), digits, batch_size=16, device="cpu", checkpoint=tmp_path / "run.pt", save_every=3)
    b.run(20, progress=False)
    c = Training.restore(tmp_path / "run.previous.pt", device="cpu")
    assert c.step == 18
    c.run(2, progress=False)
    for column in ("D(x)", "generator/adversarial"):
        assert a.history[column] == b.history[column] == c.history[column]


def test_a_run_killed_at_random_moments_ends_bit_identical(tmp_path):
    """SIGKILL at random moments, several times over; restored and finished, it is the uninterrupted run."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    random_moment = random.Random(7)
    path, kills = tmp_path / "killed.pt", 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, script, path, "400"], stdout=subprocess.PIPE, text=True, env=env)
        assert process.stdout.readline() == "ready\n"
        time.sleep(random_moment.uniform(0.05, 0.8))
        if process.poll() is None:
            kills += 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert kills >= 2, "the run ended before it could be killed: give it more steps"
    subprocess.run([sys.executable, script, path, "400"], check=True, env=env, stdout=subprocess.DEVNULL)
    whole = tmp_path / "whole.pt"
    subprocess.run([sys.executable, script, whole, "400"], check=True, env=env, stdout=subprocess.DEVNULL)
    killed, whole = (Training.restore(p, device="cpu") for p in (path, whole))
    assert killed.step == whole.step == 400
    assert same(weights(killed), weights(whole))
    assert killed.history["D(x)"] == whole.history["D(x)"]


@pytest.fixture
def saved(digits, tmp_path) -> Path:
    """A checkpoint of step 4 whose previous one, of step 2, lies beside it."""
    t = Training(small("gan"), digits, batch_size=16, device="cpu").run(2, progress=False)
    t.save(tmp_path / "run.pt")
    t.run(2, progress=False).save(tmp_path / "run.pt")
    return tmp_path / "run.pt"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as z:
        biggest = max(z.infolist(), key=lambda i: i.file_size)
    content[biggest.header_offset + 200 + biggest.file_size // 2] ^= 0xFF
    path.write_bytes(content)


def foreign(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def a_pickle(path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / "owned"),)
    torch.save({"format": checkpoint.FORMAT, "model": Evil()}, path)


def older(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    torch.save({**content, "format": checkpoint.FORMAT - 1}, path)


def html(path: Path) -> None:
    path.write_text("<!doctype html><title>404</title>")


@pytest.mark.parametrize(("damage", "message"), [
    (truncated, "truncated or no checkpoint"), (emptied, "truncated or no checkpoint"),
    (flipped, "truncated or no checkpoint"),
    (foreign, "was not written by ganlab"), (a_pickle, "truncated or no checkpoint"),
    (older, "has checkpoint format 0, this ganlab reads 1"), (html, "truncated or no checkpoint"),
    (Path.unlink, "there is no checkpoint")])
def test_a_bad_checkpoint_is_refused_and_the_one_before_is_used(saved, damage, message):
    damage(saved)
    with pytest.warns(UserWarning, match=f"{message}.*Using the one before: .*run.previous.pt .step 2."):
        assert Training.restore(saved, device="cpu").step == 2
    checkpoint.previous(saved).unlink()
    with pytest.raises(CheckpointError, match=f"{message}.*there is no checkpoint .*previous"):
        Training.restore(saved, device="cpu")
    assert not (saved.parent / "owned").exists()


def test_another_model_or_data_set_is_refused(saved, digits):
    with pytest.raises(CheckpointError, match="holds a gan with .* not a vae"):
        Training.restore(saved, model=small("vae"), device="cpu")
    with pytest.raises(CheckpointError, match="was trained on .*'count': 1497.* this is .*'count': 100"):
        Training.restore(saved, data=digits.subset(100), device="cpu")


def test_data_without_a_name_must_be_given_again(tmp_path):
    points = torch.randn(64, 2)
    t = Training(models.create("gan", shape=(2,), hidden=(8,), latent=2), points, batch_size=16, device="cpu")
    t.run(2, progress=False).save(tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=r"pass the same set as data="):
        Training.restore(tmp_path / "run.pt", device="cpu")
    assert Training.restore(tmp_path / "run.pt", data=points, device="cpu").step == 2
    with pytest.raises(CheckpointError, match="was trained on"):
        Training.restore(tmp_path / "run.pt", data=points + 1, device="cpu")


def test_a_full_disk_loses_nothing_that_was_saved(saved, capsys):
    """A real limit on the size of files, in a process of its own, while the run saves by itself."""
    before = checkpoint.read(saved)["step"]
    code = textwrap.dedent(f"""
        import resource, signal
        from ganlab.training import Training
        t = Training.restore({str(saved)!r}, device="cpu", checkpoint={str(saved)!r}, save_every=1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        try:
            t.run(3, progress=False)
        except Exception as error:
            print("went on to step", t.step)
            print(type(error).__name__, error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "went on to step 7" in done.stdout, done.stderr
    assert "warning: could not save" in done.stdout
    assert "CheckpointError could not save" in done.stdout and "What was saved before is untouched" in done.stdout
    assert checkpoint.read(saved)["step"] == before
    assert sorted(p.name for p in saved.parent.iterdir()) == ["run.previous.pt", "run.pt"], "no litter is left"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 50_000


def test_a_folder_that_cannot_be_made_is_a_clear_error(digits, tmp_path):
    (tmp_path / "file").write_text("")
    t = Training(small("gan"), digits, batch_size=16, device="cpu")
    with pytest.raises(CheckpointError, match="could not save .*give another path"):
        t.save(tmp_path / "file" / "run.pt")


def test_a_moved_checkpoint_still_restores(saved, tmp_path):
    shutil.copy(saved, tmp_path / "elsewhere.pt")
    assert Training.restore(tmp_path / "elsewhere.pt", device="cpu").step == 4



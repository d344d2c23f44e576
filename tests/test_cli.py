"""The command line: what it does, what it refuses, and that a user never sees a traceback without asking for it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlab import checkpoint, cli, data, models
from ganlab.errors import NotFinite, OutOfMemory
from ganlab.training import Training

TINY = ["--set", "latent=8", "hidden=16,16", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ganlab(*words) -> int:
    return cli.main([str(word) for word in words])


def command(*words, **options) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "ganlab", *words], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)


def weights(path) -> dict[str, torch.Tensor]:
    return checkpoint.read(path)["state"]


class TestHelp:
    def test_does_not_wait_for_torch(self):
        code = ("import sys, ganlab.cli\ntry: ganlab.cli.main(['--help'])\nexcept SystemExit: pass\n"
                "print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("[]\n")

    @pytest.mark.parametrize("name", ["lab", "run", "train", "sweep", "sample", "data", "doctor"])
    def test_every_command_has_one_with_examples(self, name, capsys):
        with pytest.raises(SystemExit) as stopped:
            ganlab(name, "--help")
        assert stopped.value.code == 0
        assert ("examples:" in capsys.readouterr().out) == (name != "doctor")

    @pytest.mark.parametrize("name", [n for n in cli.EXAMPLES if n != "doctor"])
    def test_examples_are_valid(self, name):
        for line in cli.EXAMPLES[name].splitlines()[1:]:
            words = shlex.split(re.sub(r"^.* -m ", "", line.strip()).split("    ")[0])
            assert words.pop(0) == "ganlab"
            _, unknown = cli.parser().parse_known_args(words)
            if words[0] == "sweep":
                cli.parser().parse_args(["train", "gan", *unknown])
            else:
                assert not unknown or words[0] == "lab"


class TestTrain:
    def test_options_reach_the_training(self, capsys):
        assert ganlab("train", "gan", "--data", "digits", "--steps", 6, *TINY, "--lr", "1e-3", "generator=1e-4",
                      "--objective", "least-squares", "--schedule", "discriminator_steps(2)", "--weight",
                      "adversarial=0.5", "--seed", 7, "--precision", "bf16", "--log-every", 2, "--out", "a/b.pt") == 0
        training = Training.restore("a/b.pt", device="cpu")
        assert training.step == 6 and training.seed == 7 and training.batch_size == 16
        assert training.model.config["objective"] == "least-squares" and training.model.config["latent"] == 8
        assert training.model.config["hidden"] == (16, 16) and str(training.schedule) == "discriminator_steps(2)"
        assert dict(training.learning_rates) == {"discriminator": 1e-3, "generator": 1e-4}
        assert training.weights["adversarial"] == 0.5 and training.precision == "bf16"
        assert training.history["step"] == [2, 4, 6]
        said = capsys.readouterr().out
        assert "gan on 1497 images of digits (cpu, 1 process), step 0 of 6" in said and "generator/adversarial" in said

    def test_size_and_channels_reach_the_data(self, tmp_path):
        for i in range(16):
            Image.new("RGB", (40, 30), (i * 9, 50, 90)).save(tmp_path / f"{i}.png")
        assert ganlab("train", "gan", "--data", f"{tmp_path}/", "--size", 8, "--channels", 1, "--steps", 2, *TINY,
                      "--out", "x.pt") == 0
        assert checkpoint.read("x.pt")["config"]["shape"] == (1, 8, 8)

    def test_a_conditional_model_learns_the_classes_of_its_data(self, tmp_path):
        for i in range(18):
            folder = tmp_path / "pictures" / "abc"[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i * 9, 50, 90)).save(folder / f"{i}.png")
        data = ["--data", tmp_path / "pictures", "--size", 8, "--steps", 1, *TINY]
        assert ganlab("train", "cgan", *data, "--out", "x.pt") == 0
        assert checkpoint.read("x.pt")["config"]["classes"] == 3
        assert ganlab("train", "cgan", *data, "--set", "classes=5", "--out", "y.pt") == 0
        assert checkpoint.read("y.pt")["config"]["classes"] == 5

    def test_a_conditional_model_needs_labels(self, tmp_path, capsys):
        for i in range(16):
            Image.new("RGB", (8, 8), (i * 9, 50, 90)).save(tmp_path / f"{i}.png")
        assert ganlab("train", "cgan", "--data", f"{tmp_path}/", "--size", 8, "--steps", 1, *TINY) == 1
        assert "cgan needs a label for every image" in capsys.readouterr().err

    def test_resuming_is_the_same_as_never_having_stopped(self):
        for words in (["--steps", 9, "--out", "whole.pt"], ["--steps", 4, "--out", "parts.pt"],
                      ["--steps", 9, "--out", "parts.pt", "--resume"]):
            assert ganlab("train", "gan", *words, *TINY) == 0
        whole, parts = weights("whole.pt"), weights("parts.pt")
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
        assert checkpoint.read("parts.pt")["step"] == 9

    def test_resuming_uses_the_one_before_a_damaged_checkpoint(self):
        ganlab("train", "gan", "--steps", 4, "--save-every", 2, "--out", "x.pt", *TINY)
        Path("x.pt").write_bytes(Path("x.pt").read_bytes()[:1000])
        with pytest.warns(UserWarning, match="Using the one before"):
            assert ganlab("train", "gan", "--steps", 6, "--resume", "--out", "x.pt", *TINY) == 0
        assert checkpoint.read("x.pt")["step"] == 6

    def test_weights_and_rates_may_change_when_resuming(self):
        ganlab("train", "gan", "--steps", 2, "--out", "x.pt", *TINY)
        assert ganlab("train", "gan", "--steps", 4, "--out", "x.pt", "--resume", "--weight", "adversarial=2",
                      "--lr", "generator=1e-5") == 0
        training = Training.restore("x.pt", device="cpu")
        assert training.weights["adversarial"] == 2 and training.learning_rates["generator"] == 1e-5
        assert [(i.step, i.name) for i in training.interventions] == [(2, "adversarial"), (2, "generator")]

    @pytest.mark.parametrize("words", [["--batch-size", 32], ["--seed", 3], ["--set", "latent=9"],
                                       ["--schedule", "discriminator_steps(3)"], ["--objective", "hinge"],
                                       ["--size", 64], ["--channels", 3]])
    def test_resuming_refuses_another_configuration(self, words, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        assert ganlab("train", "gan", "--steps", 2, "--out", "x.pt", "--resume", *words) == 1
        assert "--resume goes on with" in capsys.readouterr().err
        assert checkpoint.read("x.pt")["step"] == 1

    def test_resuming_another_model_is_refused(self, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        assert ganlab("train", "vae", "--steps", 2, "--out", "x.pt", "--resume") == 1
        assert "model = gan" in capsys.readouterr().err

    def test_nothing_is_overwritten_unasked(self, capsys):
        ganlab("train", "gan", "--steps", 1, *TINY)
        before = Path("runs/gan-digits.pt").read_bytes()
        assert ganlab("train", "gan", "--steps", 2, *TINY) == 1
        assert "--resume" in capsys.readouterr().err and Path("runs/gan-digits.pt").read_bytes() == before
        assert ganlab("train", "gan", "--steps", 2, *TINY, "--force") == 0
        assert checkpoint.read("runs/gan-digits.pt")["step"] == 2

    def test_a_checkpoint_that_cannot_be_written_is_an_error(self, capsys):
        Path("runs").write_text("a file where a folder is needed")
        assert ganlab("train", "gan", "--steps", 1, *TINY) == 1
        assert "could not save" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["--out", "a-folder"], ["--force", "--out", "a-folder"], ["--out", "."],
                                       ["--out", f"{'x' * 248}.pt"]])
    def test_it_is_said_before_the_training(self, words, monkeypatch, capsys):
        Path("a-folder").mkdir()
        monkeypatch.setattr(Training, "run", lambda *_: pytest.fail("it has trained"))
        assert ganlab("train", "gan", "--steps", 1, *TINY, *words) == 1
        assert "could not save" in capsys.readouterr().err and not list(Path("a-folder").iterdir())

    def test_two_do_not_train_to_one_file(self, capsys):
        with checkpoint.reserved("x.pt"):
            assert ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY) == 1
        assert "another process is training to x.pt" in capsys.readouterr().err and not list(Path().iterdir())
        assert ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY) == 0
        assert [path.name for path in Path().iterdir()] == ["x.pt"]

    def test_data_in_this_folder_names_its_file(self, tmp_path):
        for i in range(16):
            Image.new("RGB", (8, 8), (i * 9, 50, 90)).save(tmp_path / f"{i}.png")
        assert ganlab("train", "gan", "--data", ".", "--size", 8, "--steps", 1, *TINY) == 0
        assert Path(f"runs/gan-{tmp_path.name}.pt").exists()

    def test_resuming_what_is_done_says_so_and_writes_nothing(self, capsys):
        ganlab("train", "gan", "--steps", 2, "--out", "x.pt", *TINY)
        before = Path("x.pt").stat()
        for steps in (1, 2):
            assert ganlab("train", "gan", "--steps", steps, "--out", "x.pt", "--resume") == 0
            assert "nothing is left to do: x.pt has 2 steps already" in capsys.readouterr().out
        assert Path("x.pt").stat() == before

    @pytest.mark.parametrize("error", [OutOfMemory, NotFinite])
    def test_what_an_error_stops_is_saved(self, error, monkeypatch, capsys):
        self.stop_at(3, error, monkeypatch)
        assert ganlab("train", "gan", "--steps", 9, "--out", "x.pt", *TINY) == 1
        assert re.search(r"stopped here.*after step 3 is saved in x\.pt", capsys.readouterr().err)
        assert checkpoint.read("x.pt")["step"] == 3
        # Where nothing was added, nothing takes the place of what there is.
        before = Path("x.pt").read_bytes()
        assert ganlab("train", "gan", "--steps", 9, "--out", "x.pt", "--resume") == 1
        assert "x.pt" not in capsys.readouterr().err and Path("x.pt").read_bytes() == before

    @pytest.mark.parametrize("error, step", [(OutOfMemory, 3), (NotFinite, 2)])
    def test_what_led_to_a_nan_takes_no_checkpoints_place(self, error, step, monkeypatch, capsys):
        self.stop_at(3, error, monkeypatch)
        assert ganlab("train", "gan", "--steps", 9, "--save-every", 2, "--out", "x.pt", *TINY) == 1
        assert checkpoint.read("x.pt")["step"] == step and "stopped here" in capsys.readouterr().err

    def test_an_error_while_saving_hides_no_error(self, monkeypatch, capsys):
        self.stop_at(3, OutOfMemory, monkeypatch)
        monkeypatch.setattr(Training, "save", lambda *_: torch.empty(-1))
        assert ganlab("train", "gan", "--steps", 9, "--out", "x.pt", *TINY) == 1
        assert capsys.readouterr().err.endswith("ganlab: stopped here\n")

    @staticmethod
    def stop_at(done, error, monkeypatch):
        step = Training._step

        def some(training):
            if training.step == done:
                raise error("stopped here")
            step(training)
        monkeypatch.setattr(Training, "_step", some)

    @pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
    def test_sigterm_saves_too_and_a_handler_of_ones_own_stays(self, monkeypatch, capsys):
        step = Training._step

        def some(training):
            step(training)
            if training.step == 3:  # as a launcher and a scheduler may both send it
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(Training, "_step", some)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert ganlab("train", "gan", "--steps", 9, "--out", "x.pt", *TINY) == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert capsys.readouterr().err.endswith("ganlab: stopped after step 3; --resume goes on from x.pt\n")
        assert checkpoint.read("x.pt")["step"] == 3
        asked: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        try:
            assert ganlab("train", "gan", "--steps", 4, "--out", "y.pt", *TINY) == 0
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert asked == [signal.SIGTERM] * 2

    @pytest.mark.slow
    @pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
    def test_ctrl_c_saves_and_says_how_to_go_on(self):
        # A shell may have told this process, and so its children, to ignore the signal.
        run = command("train", "gan", "--steps", "1000000", "--save-every", "5", "--out", "x.pt", *TINY,
                      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        while not Path("x.pt").exists():
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        error = run.communicate(timeout=120)[1]
        assert run.returncode == 130 and "Traceback" not in error
        assert error.splitlines()[-1] == \
            f"ganlab: stopped after step {checkpoint.read('x.pt')['step']}; --resume goes on from x.pt"


class TestErrors:
    @pytest.mark.parametrize("words, said", [
        (["train", "gann", "--steps", 1], r"'gann'; models: .*autoencoder"),
        (["train", "gan", "--steps", 1, "--data", "nope"], "'nope'.*digits"),
        (["train", "gan", "--steps", 1, "--weight", "kl=4"], "no term 'kl'.*adversarial"),
        (["train", "gan", "--steps", 1, "--set", "width=4"], "no argument 'width'.*latent"),
        (["train", "gan", "--steps", 1, "--objective", "best"], "'best'.*non-saturating"),
        (["train", "gan", "--steps", 1, "--schedule", "now"], "'now'"),
        (["train", "vae", "--steps", 1, "--lr", "generator=1e-3"], "each of autoencoder"),
        (["train", "gan", "--steps", 1, "--resume"], "there is no checkpoint"),
        (["train", "gan", "--steps", 1, "--set", "hidden=16"], "cannot be built with {'hidden': 16}.*hidden=.256"),
        (["train", "gan", "--steps", 1, "--set", "latent=abc"], "cannot be built with.*latent=100"),
        (["train", "gan", "--steps", 1, "--set", "latent=-1"], "cannot be built with.*negative dimension"),
        (["train", "gan", "--steps", 1, "--set", "shape=1,8,8"], "no 'shape'.*--size"),
        (["train", "gan", "--steps", 1, "--set", "seed=3"], "no 'seed'.*--seed"),
        (["train", "gan", "--steps", 1, "--set", "weights=3"], "no 'weights'.*--weight"),
        (["sample", "nowhere.pt"], "there is no checkpoint"),
        (["data", "get"], "name the sets"), (["data", "get", "nope"], "'nope'"),
    ])
    def test_are_one_message_without_a_traceback(self, words, said, capsys):
        assert ganlab(*words) == 1
        error = capsys.readouterr().err
        assert error.startswith("ganlab: ") and "Traceback" not in error
        assert re.search(said, error), error

    def test_debug_shows_the_traceback(self):
        from ganlab.errors import GanlabError

        for words in (["--debug", "train", "gann", "--steps", "1"], ["train", "gann", "--steps", "1", "--debug"]):
            with pytest.raises(GanlabError):
                ganlab(*words)

    def test_an_unexpected_one_says_how_to_see_more(self, monkeypatch, capsys):
        monkeypatch.setattr(cli, "doctor", lambda _: 1 / 0)
        assert ganlab("doctor") == 1
        assert "ZeroDivisionError" in (error := capsys.readouterr().err) and "--debug" in error

    @pytest.mark.parametrize("words", [["train"], ["train", "gan"], ["nope"], ["data", "list", "--bad"], [],
                                       ["train", "gan", "--steps", "0"], ["train", "gan", "--steps", "1", "--lr", "x"],
                                       ["train", "gan", "--steps", "1", "--set", "latent"],
                                       ["train", "gan", "--steps", "1", "--resume", "--force"]])
    def test_wrong_arguments_are_one_line_and_status_2(self, words, capsys):
        with pytest.raises(SystemExit) as stopped:
            ganlab(*words)
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--help" in error


@pytest.mark.parametrize("words, said", [
    (["train", "gan", "--steps", "1", "--lr", "-1e-4"], "'-1e-4' is not a learning rate, a number of at least 0"),
    (["train", "gan", "--steps", "1", "--lr", "generator=nan"], "'generator=nan' is not a learning rate"),
    (["train", "gan", "--steps", "1", "--seed", "9" * 20], "is not a whole number from -2**63 to 2**64 - 1"),
    (["sample", "x.pt", "--seed", "9" * 20], "is not a whole number from -2**63 to 2**64 - 1"),
])
def test_numbers_out_of_range_are_told_the_range(words, said, capsys):
    with pytest.raises(SystemExit):
        ganlab(*words)
    assert said in capsys.readouterr().err


def test_small_settings_train_a_translation_on_embedded_data(capsys):
    assert ganlab("train", "pix2pix", "--small", "--size", 32, "--steps", 1, "--batch-size", 2, "--device", "cpu") == 0
    saved = checkpoint.read("runs/pix2pix-fronts.pt")
    assert saved["config"]["width"] == models.Pix2Pix.small["width"] and saved["batch_size"] == 2
    assert set(saved["learning_rates"].values()) == {1e-3}
    assert "pix2pix on 800 images of fronts" in capsys.readouterr().out
    assert ganlab("train", "ugatit", "--small", "--data", "faces", "--size", 32, "--steps", 1, "--batch-size", 1,
                  "--weight", "cam=3", "--device", "cpu", "--out", "small.pt") == 0
    assert checkpoint.read("small.pt")["weights"] == {"adversarial": 0.1, "cycle": 10.0, "identity": 10.0, "cam": 3.0}


def test_augment_is_remembered_and_refused_where_there_is_one_domain(capsys):
    words = ["--small", "--size", 32, "--augment", "--batch-size", 2, "--device", "cpu", "--out", "x.pt"]
    assert ganlab("train", "pix2pix", "--steps", 1, *words) == 0
    assert Training.restore("x.pt", device="cpu").data.augment
    assert ganlab("train", "gan", "--augment", "--steps", 1, "--out", "y.pt", *TINY) == 1
    assert "digits has one domain" in capsys.readouterr().err


def test_a_finished_decay_is_not_resumed_in_silence(capsys):
    words = ["train", "pix2pix", "--small", "--size", 32, "--batch-size", 2, "--device", "cpu", "--out", "x.pt"]
    assert ganlab(*words, "--steps", 2, "--decay", 1) == 0
    assert ganlab(*words, "--steps", 4, "--resume") == 1
    assert "0 from step 2 on" in capsys.readouterr().err
    assert ganlab(*words, "--steps", 4, "--decay", 3, "--resume") == 0
    assert checkpoint.read("x.pt")["decay"] == (3, 4)
    assert ganlab(*words, "--steps", 5, "--decay", 4, "--augment", "--resume") == 1
    assert "goes on with augment = False" in capsys.readouterr().err


class TestSample:
    def test_is_a_picture_decided_by_the_seed(self, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        for out, seed in (("a.png", 1), ("b.png", 1), ("pictures/c.png", 2)):
            assert ganlab("sample", "x.pt", "--n", 6, "--seed", seed, "--out", out, "--device", "cpu") == 0
        a, b, c = (Image.open(name) for name in ("a.png", "b.png", "pictures/c.png"))
        assert a.tobytes() == b.tobytes() != c.tobytes()
        assert a.width >= 3 * 28 and a.height >= 2 * 28
        assert "6 samples of gan after 1 steps: a.png" in capsys.readouterr().out

    def test_is_of_one_class_where_asked(self, capsys):
        ganlab("train", "cgan", "--steps", 1, "--out", "x.pt", *TINY)
        for name, words in {"all": [], "2": ["--label", 2], "7": ["--label", 7]}.items():
            assert ganlab("sample", "x.pt", "--n", 1, "--out", f"{name}.png", "--device", "cpu", *words) == 0
        assert len({Image.open(f"{name}.png").tobytes() for name in ("all", "2", "7")}) == 3
        assert ganlab("sample", "x.pt", "--label", 10) == 1
        assert "knows 0 to 9" in capsys.readouterr().err

    def test_translations_stand_below_their_inputs(self, capsys, tmp_path):
        small = ["--size", 32, "--steps", 1, "--batch-size", 2, "--device", "cpu", "--set", "width=4", "blocks=1",
                 "layers=2"]
        assert ganlab("train", "cyclegan", "--data", "fronts", "--out", "x.pt", *small) == 0
        for to in ("b", "a"):
            assert ganlab("sample", "x.pt", "--n", 10, "--to", to, "--out", f"{to}.png", "--device", "cpu") == 0
        assert "10 translations of cyclegan after 1 steps: a.png" in capsys.readouterr().out
        held_out = data.load("fronts", size=32, split="test")
        for to, side in (("b", held_out.a), ("a", held_out.b)):
            picture = np.asarray(Image.open(f"{to}.png"))[::2, ::2]
            first, below = picture[2:34, 2:34], picture[36:68, 2:34]
            assert np.array_equal(first, side.images[0].permute(1, 2, 0)) and not np.array_equal(first, below)
        (tmp_path / "own").mkdir()
        Image.new("RGB", (50, 40), "red").save(tmp_path / "own" / "red.png")
        assert ganlab("sample", "x.pt", "--data", tmp_path / "own", "--out", "own.png", "--device", "cpu") == 0
        assert Image.open("own.png").getpixel((20, 20)) == (255, 0, 0)
        assert "1 translations" in capsys.readouterr().out

    def test_own_domains_show_the_images_to_test_on(self, tmp_path):
        for folder, colour in {"trainA": "red", "trainB": "green", "testA": "blue", "testB": "white"}.items():
            (tmp_path / "mine" / folder).mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (40, 40), colour).save(tmp_path / "mine" / folder / f"{i}.png")
        assert ganlab("train", "cyclegan", "--small", "--data", "./mine", "--size", 32, "--steps", 1, "--batch-size", 1,
                      "--device", "cpu", "--out", "x.pt") == 0
        assert ganlab("sample", "x.pt", "--n", 2, "--out", "x.png", "--device", "cpu") == 0
        assert Image.open("x.png").getpixel((20, 20)) == (0, 0, 255)

    def test_a_model_without_labels_refuses_one(self, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        assert ganlab("sample", "x.pt", "--label", 3) == 1
        assert "x.pt holds a gan, which cannot be told what to draw" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["--data", "nowhere"], ["--to", "a"], ["--to", "b"]])
    def test_a_model_that_does_not_translate_refuses_what_to_translate(self, words, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        assert ganlab("sample", "x.pt", *words) == 1
        assert "x.pt holds a gan, which does not translate" in capsys.readouterr().err

    def test_an_unknown_format_is_explained(self, capsys):
        ganlab("train", "gan", "--steps", 1, "--out", "x.pt", *TINY)
        assert ganlab("sample", "x.pt", "--out", "picture") == 1
        assert "grid.png" in capsys.readouterr().err


class TestData:
    def test_list_names_every_set(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
        assert ganlab("data", "list") == 0
        rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        assert {"digits", "mnist", "celeba", "ring", "fronts"} <= set(rows)
        assert " here " in rows["digits"] and " here " not in rows["mnist"]
        assert " nothing to download " in rows["ring"] and " 11.6 MB " in rows["mnist"]

    def test_what_is_made_by_the_computer_is_not_downloaded(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
        assert ganlab("data", "get", "ring") == 0 == ganlab("data", "check", "ring")
        assert "ring: nothing, made by the computer" in capsys.readouterr().out and not list(tmp_path.iterdir())

    def test_check_finds_a_damaged_file(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
        assert ganlab("data", "check") == 0
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"not it")
        assert ganlab("data", "check") == 1
        assert "t10k-labels-idx1-ubyte.gz" in capsys.readouterr().out

    def test_a_missing_set_is_an_error_only_when_it_was_named(self, monkeypatch, tmp_path):
        monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
        assert ganlab("data", "check", "mnist") == 1


class TestRunAndLab:
    def test_nothing_named_lists_the_lessons(self, capsys, monkeypatch):
        from ganlab import course

        monkeypatch.setattr(course, "find", lambda *_: [Path("00_start.ipynb")])
        assert ganlab("run") == 1
        assert "--all" in (error := capsys.readouterr().err) and "00_start" in error

    @pytest.mark.slow
    def test_a_failing_lesson_is_status_1_and_named(self, capsys):
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), "good.ipynb")
        nbformat.write(new_notebook(cells=[new_code_cell("1 + 1"), new_code_cell("1 / 0")]), "bad.ipynb")
        assert ganlab("run", "good.ipynb", "--out", "o") == 0
        assert ganlab("run", "good.ipynb", "bad.ipynb", "--out", "o") == 1
        said = capsys.readouterr().out
        assert "cell 2 (1 / 0): ZeroDivisionError" in said and "1 of 2 lessons passed" in said
        assert Path("o/good.ipynb").exists()

    def test_lab_opens_jupyterlab_in_the_lessons_and_leaves_ctrl_c_to_it(self, monkeypatch, tmp_path):
        (tmp_path / "lessons").mkdir()
        (tmp_path / "lessons" / "00_x.ipynb").write_text("{}")
        calls, waits = [], iter([KeyboardInterrupt, KeyboardInterrupt, 0])

        class Server:
            def __init__(self, words, cwd):
                calls.append((words, cwd))

            def wait(self):
                if (what := next(waits)) is KeyboardInterrupt:
                    raise what
                return what

        monkeypatch.setattr(subprocess, "Popen", Server)
        assert ganlab("lab", "--no-browser") == 0
        assert calls == [([sys.executable, "-m", "jupyterlab", "--no-browser"], tmp_path / "lessons")]

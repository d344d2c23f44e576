"""The one training loop: device, precision, schedule, history, checkpoints, pause and resume, live weights."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import math
import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

import ganlab
from ganlab import compute, models, objectives, processes, winograd
from ganlab.checkpoint import read, write
from ganlab.data.domains import Domains
from ganlab.data.images import Batches, Dataset, as_dataset, fingerprint, mix
from ganlab.errors import CheckpointError, DataError, GanlabError, OutOfMemory
from ganlab.history import Controls, History, Intervention, finite, not_finite, not_negative
from ganlab.models.base import Model, Round, Terms
from ganlab.schedule import Schedule, parse
from ganlab.seeds import seeded

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device of that name; for None or "auto" CUDA where there is one, else the CPU (a Mac's "mps" is untried)."""
    if device in (None, "auto"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise GanlabError(f"cannot use the device {device!r}: {str(error).splitlines()[0]} "
                          "Use 'cpu', 'cuda', 'mps', or 'auto' for CUDA where there is one, else the CPU.") from None
    return chosen


class Training:
    """Train a model's players on a data set, step by step; a step is one batch, in which players take turns.

    Everything random in a step (order of the data, noise, dropout) is a function of the seed and the step's number.
    So a run is decided by configuration, seed and interventions, and on the CPU it can be repeated bit by bit.

    Args:
        model: the model; it is moved to the device.
        data: a data set, or a tensor of images (N x C x H x W in [-1, 1]) or points (N x k).
        seed: decides all randomness of the training; the model's own seed decides its first weights.
        batch_size: images a step, over all processes together; by default the model's.
        learning_rate: one for all players or one by player's name; by default the model's.
        schedule: who moves when, as `ganlab.schedule.parse` reads it; by default the model's.
        decay: (first, last) step between which the learning rates fall linearly to 0.
        device: "cpu", "cuda", "mps"; by default CUDA where there is one, else the CPU.
        precision: "float32", or "bf16" / "fp16" (with loss scaling) for the networks; losses stay float32.
        log_every: steps a row of the history.
        checkpoint: file to save to every `save_every` steps and at the end of `run`.
        save_every: steps between two saves; by default only at the end.
        tensorboard: folder for TensorBoard's event files.
        replay: interventions of an earlier run, to be made again at their steps.
        recompute: keep less in memory and run networks again for the gradient, see `ganlab.compute.recompute`: the
            same results in about a third more time.
        compile: "graphs" records steps as CUDA graphs, see `ganlab.compute.Graphs`: on one GPU, not in fp16, and for a
            model whose step depends on nothing but tensors. True does that where it can, and lets `torch.compile`
            translate the networks, see `ganlab.compute.compile`.
        share_statistics: in several processes, batch norm sees the whole batch, and not each process its own part.

    Attributes:
        step: steps done.
        weights, learning_rates: mappings whose values may be set from any thread; the next step uses them.
        rules: the same for "schedule" (of a model with a discriminator and a generator), as `ganlab.schedule.parse`
            reads it, and "objective" (of a model that has a choice), a name in `ganlab.objectives.OBJECTIVES`.
        interventions: what was set, and at which step.
        history: see `ganlab.history.History`.
        error: what ended the background run, if anything did.
    """

    def __init__(self, model: Model, data: Dataset | Tensor, seed: int = 0, *, batch_size: int | None = None,
                 learning_rate: float | Mapping[str, float] | None = None, schedule: str | Schedule | None = None,
                 decay: Sequence[int] | None = None, device: str | torch.device | None = None,
                 precision: str = "float32", log_every: int = 10,
                 checkpoint: str | os.PathLike[str] | None = None, save_every: int | None = None,
                 tensorboard: str | os.PathLike[str] | None = None,
                 replay: Sequence[Intervention | Sequence[Any]] = (), share_statistics: bool = False,
                 recompute: bool = False, compile: bool | str = False) -> None:
        for name, value in (("log_every", log_every), ("save_every", save_every)):
            if value is not None and int(value) < 1:
                raise GanlabError(f"{name} counts steps: 1 or more, not {value!r}")
        if precision not in PRECISIONS:
            raise GanlabError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.model, self.seed, self.precision, self.log_every = model, int(seed), precision, int(log_every)
        self.checkpoint, self.save_every = checkpoint, save_every
        self.schedule = parse(model.schedule if schedule is None else schedule)
        self.decay = _decay(decay)
        _check_players(self.schedule, model)
        self._fresh = not model.trained
        # None, as in files that know nothing of it, where it was not asked for.
        self.share_statistics = share_statistics or None
        if share_statistics:
            processes.share_statistics(model)
        if recompute:
            compute.recompute(model)
        if compile not in (False, True, "graphs"):
            raise GanlabError(f"compile must be False, True or 'graphs', not {compile!r}")
        if compile is True:
            compute.compile(model)
        self.network, self.device, self._reduce = self._place(device)
        self._quick = winograd.layers(model) if self.device.type == "cpu" and compile is not True else []
        data = as_dataset(data)
        _check_kind(model, data)
        if "shape" in model.config and tuple(data.shape) != tuple(model.config["shape"]):
            raise DataError(f"{data.name} has images of shape {tuple(data.shape)}, {model.name} was built for "
                            f"{tuple(model.config['shape'])}; build it with shape=data.shape, or load the data with "
                            "another size=...")
        self.data = data.to(self.device)
        self._fingerprint = fingerprint(self.data)
        self.batch_size = int(model.batch_size if batch_size is None else batch_size)
        self.batches = Batches(self.data, self.batch_size, self.device, self.seed, model.share)
        rates = learning_rate if isinstance(learning_rate, Mapping) else \
            dict.fromkeys(model.players, model.learning_rate if learning_rate is None else learning_rate)
        if set(rates) != set(model.players):
            raise GanlabError(f"learning_rate must have a value for each of {', '.join(model.players)}, "
                              f"not {dict(rates)}")
        self.weights = Controls("weights", model.weights, finite)
        self.learning_rates = Controls("learning_rates", rates, not_negative)
        adversarial = {"schedule": str(self.schedule)} if {"discriminator", "generator"} <= set(model.players) else {}
        played = {"objective": model.config["objective"]} if "objective" in model.config else {}
        self.rules = Controls("rules", {**played, **adversarial}, self._rule)
        if played:  # an earlier training of this model may have changed it
            model.objective = objectives.get(played["objective"])
        self._initial: dict[str, dict[str, Any]] = {kind: dict(c) for kind, c in self._controls.items()}
        self._first_schedule, self._alone = str(self.schedule), ""
        self.optimizers = {name: model.optimizer(name, player.parameters(), rates[name])
                           for name, player in model.players.items()}
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self._rng, self._drops = torch.Generator(self.device), compute.drops(model)
        can = self.device.type == "cuda" and not (
            self._reduce or self.scaler.is_enabled() or (recompute and self._drops))
        if compile == "graphs" and not can:
            raise GanlabError("compile='graphs' needs one NVIDIA GPU and a precision other than fp16, and a model with "
                              "dropout cannot have it together with recompute; leave compile out")
        self._graphs = compute.Graphs(self._rng, self._no_gradients) if compile and can else None
        if self._graphs:
            for group in (group for optimizer in self.optimizers.values() for group in optimizer.param_groups):
                group["capturable"] = True
        self.step, self.interventions, self.history = 0, list[Intervention](), History()
        self._replay = [Intervention(*entry) for entry in replay]
        self._row_step, self._row_time = 0, 0.0
        self._writer = _tensorboard(tensorboard) if tensorboard and self.main else None
        self._thread: threading.Thread | None = None
        self._stopping, self._going = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    # ---- one step -----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        weights = self._take_controls()
        epoch = self.step // self.batches.per_epoch
        alone, self._alone = self._alone, ""
        movers = [alone] if alone else self.schedule.movers(self.step, epoch, list(self.model.players))
        moved: dict[str, Tensor] = {}
        try:
            with self._randomness(), _memory_advice(self), winograd.quick(self._quick):
                terms = self._moves(movers, self.batches[self.step], weights, moved)
        except BaseException:
            # What has moved in this step, a pool or a running average at the least, will move in it again: the run goes
            # on, but it cannot be replayed.
            self._fresh = False
            raise
        self.history.record(self.step + 1, terms)
        if alone:
            self.interventions.append(Intervention(self.step, "turns", alone, 1.0))
        self.step += 1
        # A turn by hand is none of the schedule's.
        if self.schedule.reads_losses and not alone:
            self.schedule.after({p: float(self._reduce(loss) if self._reduce else loss) for p, loss in moved.items()})

    def _moves(self, movers: Sequence[str], batch: tuple[Tensor, Tensor | None], weights: Mapping[str, float],
               moved: dict[str, Tensor]) -> dict[str, Tensor]:
        """Let the movers move, in this order: their terms, and in `moved` the losses of those who have."""
        counting = {name for name, weight in weights.items() if weight}
        if self._graphs is None:
            return self._play(movers, batch, weights, counting, moved)
        numbers, labelled = self._graphs.numbers, batch[1] is not None
        numbers.take(weights)

        def step(*inputs: Tensor) -> dict[str, Tensor]:
            losses: dict[str, Tensor] = {}
            terms = self._play(movers, inputs if labelled else (*inputs, None), numbers, counting, losses)
            return {**terms, **{f" {player}": loss for player, loss in losses.items()}}

        kind = (*movers, *sorted(counting), getattr(self.model, "objective", None), self.model.training)
        values = self._graphs(kind, step, *(part for part in batch if part is not None))
        moved.update({player: values.pop(f" {player}") for player in movers})
        return values

    def _play(self, movers: Sequence[str], batch: Sequence[Any], weights: Mapping[str, float | Tensor],
              counting: set[str], moved: dict[str, Tensor]) -> dict[str, Tensor]:
        # Who stands still gets no graph, neither in the shared forward pass nor in another's turn.
        with self._only(movers), self._autocast():
            round = self.model.play(*batch)
        recorded: dict[str, Tensor] = {}
        for player in movers:
            with self._only([player]):
                moved[player] = self._turn(player, round, weights, counting, recorded)
        return recorded

    def _turn(self, player: str, round: Round, weights: Mapping[str, float | Tensor], counting: set[str],
              recorded: dict[str, Tensor]) -> Tensor:
        with self._autocast():
            terms: Terms = self.network(player, round)
        loss = sum((weights[name] * term for name, term in terms.items() if name in weights),
                   torch.zeros((), device=self.device))
        named = {name if name in self.model.watched else f"{player}/{name}": term.detach()
                 for name, term in terms.items()}
        if self.device.type == "cpu" and not self._reduce and not math.isfinite(loss.item()):
            # Reading costs nothing here, so the player keeps its good weights. Elsewhere it would stop the queue of
            # the device in every step: there, the terms are read at the next row of the history.
            name, value = next(((n, t.item()) for n, t in named.items() if not math.isfinite(t.item())),
                               ("the weighted sum of terms", loss.item()))
            raise not_finite(name, value, self.step + 1)
        # Without a term that counts there is nowhere to go. Momentum and weight decay alone would still move a player,
        # in the end to weights of 0, which spectral norm divides by.
        if counting & terms.keys():
            optimizer = self.optimizers[player]
            optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            if self.scaler.is_enabled():
                self.scaler.update()
            with torch.no_grad():
                self.model.moved(player)
        recorded.update(named)
        return loss.detach()

    def _no_gradients(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    @contextlib.contextmanager
    def _only(self, movers: Sequence[str]) -> Iterator[None]:
        """Within it, only these players' parameters take gradients."""
        for name, player in self.model.players.items():
            player.requires_grad_(name in movers)
        try:
            yield
        finally:
            for player in self.model.players.values():
                player.requires_grad_(True)

    def _take_controls(self) -> dict[str, float]:
        for entry in self._replay:
            if entry.step == self.step:
                self._apply(entry)
        rules, changed_rules = self.rules.take(self.step)
        self._play_by(rules, [entry.name for entry in changed_rules])
        weights, changed = self.weights.take(self.step)
        rates, changed_rates = self.learning_rates.take(self.step)
        left = self._rate_left(self.step)
        for player, rate in rates.items():
            now: float | Tensor = rate * left
            if self._graphs:
                self._graphs.numbers.take({f" {player}": rate * left})
                now = self._graphs.numbers[f" {player}"]
            for group in self.optimizers[player].param_groups:
                group["lr"] = now
        self.interventions += changed + changed_rates + changed_rules
        return weights

    @property
    def _controls(self) -> dict[str, Controls[Any]]:
        return {controls.kind: controls for controls in (self.weights, self.learning_rates, self.rules)}

    def _apply(self, entry: Intervention) -> None:
        if entry.kind == "turns":
            self._alone = entry.name
        else:
            self._controls[entry.kind][entry.name] = entry.value

    def _play_by(self, rules: Mapping[str, str], changed: Sequence[str]) -> None:
        if "schedule" in changed:
            self.schedule = parse(rules["schedule"])
        if "objective" in changed:
            self.model.objective = objectives.get(rules["objective"])

    def _rule(self, name: str, value: Any) -> str:
        if "objective" in name:
            objectives.get(value)
            return str(value)
        # What the run began with needs no name that can be read again.
        if value == str(self.schedule):
            return str(value)
        schedule = parse(value)
        _check_players(schedule, self.model)
        return str(schedule)

    def _rate_left(self, step: int) -> float:
        """What the decay leaves of the learning rates in a step, counted from 0."""
        first, last = self.decay or (step, step + 1)
        return min(1.0, max(0.0, (last - step) / (last - first)))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()

    @contextlib.contextmanager
    def _randomness(self) -> Iterator[None]:
        self.model.rng = self._rng.manual_seed(mix(self.seed, self.step, 1))
        try:
            if not self._drops:
                yield
                return
            # Dropout knows only the global stream. (Whoever draws from that in another thread without `seeded`, at the
            # same moment, shares it.)
            with seeded(mix(self.seed, self.step, 2, self.model.share[0]), self.device):
                yield
        finally:
            self.model.rng = None

    # ---- running ------------------------------------------------------------------------------------------------

    def _loop(self, until: int | None, stop: Callable[[], bool], bar: tqdm[Any] | None = None) -> None:
        """Steps until that many are done in all, or `stop()`; leaves the history and the checkpoint up to date."""
        self._row_time = time.perf_counter()
        with processes.company(self.checkpoint) if self._reduce else contextlib.nullcontext():
            self._steps(until, stop, bar)

    def _steps(self, until: int | None, stop: Callable[[], bool], bar: tqdm[Any] | None) -> None:
        ended = False
        try:
            while until is None or self.step < until:
                with self.model.lock:
                    # Asked under the lock, so that no step begins once pause() has returned.
                    if self._agreed(stop):
                        break
                    self.model.trained = True
                    self._step()
                    if self.step % self.log_every == 0:
                        self._close_row(bar)
                    if self.checkpoint and self.save_every and self.step % self.save_every == 0:
                        self._autosave()
                if bar is not None:
                    bar.update()
            ended = True
        finally:
            # Several processes close a row together, and where one has failed the others are elsewhere.
            if ended or not self._reduce:
                with self.model.lock:
                    self._close_row(bar)
        if self.checkpoint:
            self.save(self.checkpoint)

    def _agreed(self, stop: Callable[[], bool]) -> bool:
        """Whether to stop; several processes agree on it, at a row of the history, and stop at the same step."""
        if self._reduce is None:
            return stop()
        if self.step % self.log_every:
            return False
        return self._reduce(torch.tensor(float(stop()), device=self.device)).item() > 0

    def run(self, steps: int, progress: bool = True) -> Training:
        """Train for so many steps, in the foreground. Interrupting it (Ctrl-C, Jupyter's stop button) finishes the
        step; the training can then be continued, saved and plotted.

        Args:
            steps: how many.
            progress: show a bar with the terms and the time left.
        """
        self._not_running()
        until = self.step + steps
        with _deferred_interrupt() as interrupted, \
                tqdm(total=steps, unit="step", disable=not (progress and self.main)) as bar:
            self._loop(until, interrupted.is_set, bar)
        if interrupted.is_set() or self.step < until:
            raise KeyboardInterrupt(f"stopped after step {self.step}; run() or start() continues from here")
        return self

    def turn(self, player: str) -> Training:
        """One step in which only this player moves, whatever the schedule says; recorded like an intervention."""
        if player not in self.model.players:
            raise GanlabError(f"{self.model.name} has no player {player!r}, but {', '.join(self.model.players)}")
        self._not_running()
        self._alone = player
        return self.run(1, progress=False)

    def start(self, steps: int | None = None) -> Training:
        """Train in a background thread, for so many steps or until `stop`; the notebook stays usable."""
        self._not_running()
        until = None if steps is None else self.step + steps
        self._stopping.clear()
        self._going.set()
        self._thread = threading.Thread(target=self._background, args=(until,), daemon=True, name="ganlab-training")
        atexit.register(self._end)
        self._thread.start()
        return self

    def _end(self) -> None:
        """Let the background run finish its step and end, before the interpreter takes the ground from under it."""
        self._stopping.set()
        self._going.set()
        if self._thread is not None:
            self._thread.join()

    def _background(self, until: int | None) -> None:
        try:
            while not self._stopping.is_set() and (until is None or self.step < until):
                self._going.wait()
                self._loop(until, lambda: self._stopping.is_set() or not self._going.is_set())
        except BaseException as error:
            self.error = error
        finally:
            atexit.unregister(self._end)

    def pause(self) -> None:
        """Let the background run finish its step and wait; `resume` goes on, and so does nothing else."""
        self._going.clear()
        with self.model.lock:
            pass

    def resume(self) -> None:
        """Go on after `pause`."""
        self._going.set()

    def stop(self) -> Training:
        """End the background run after the step it is in, and raise the error that ended it, if one did."""
        self._end()
        return self.wait()

    def wait(self) -> Training:
        """Wait for the background run to come to its end, and raise the error that ended it, if one did."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self

    @property
    def state(self) -> str:
        """What the background run does: "idle", "running", "paused" or "failed"."""
        thread = self._thread  # read once: another thread may be in wait()
        if thread is None or not thread.is_alive():
            return "failed" if self.error else "idle"
        return "running" if self._going.is_set() else "paused"

    def _not_running(self) -> None:
        if self.state in ("running", "paused"):
            raise GanlabError(f"this training is {self.state} in the background; call stop() first")
        self.error = None

    def _close_row(self, bar: tqdm[Any] | None = None) -> None:
        values = {f"weight/{n}": v for n, v in self.weights.items()} | \
                 {f"learning_rate/{n}": v * self._rate_left(self.step - 1) for n, v in self.learning_rates.items()}
        done, self._row_step = self.step - self._row_step, self.step
        row = self.history.close_row(self.step, values, self._reduce)
        # The clock is read after the terms, which wait for the device.
        began, self._row_time = self._row_time, time.perf_counter()
        if done and row:
            row["images/s"] = values["images/s"] = done * self.batch_size / (self._row_time - began)
        if bar is not None and row:
            bar.set_postfix({n: f"{v:.3g}" for n, v in row.items() if n != "step" and n not in values}, refresh=False)
        if self._writer is not None and row:
            for name, value in row.items():
                self._writer.add_scalar(name, value, self.step)

    # ---- checkpoints --------------------------------------------------------------------------------------------

    def recording(self) -> dict[str, Any]:
        """What decides this run, as plain values: configuration, seeds, number of steps, interventions."""
        return {"model": self.model.name, "config": self.model.config, "model_seed": self.model.seed,
                "fresh": self._fresh, "seed": self.seed, "batch_size": self.batch_size,
                "schedule": self._first_schedule, "decay": self.decay, "precision": self.precision,
                "log_every": self.log_every, "share_statistics": self.share_statistics,
                "weights": self._initial["weights"], "learning_rates": self._initial["learning_rates"],
                "data": {"spec": dict(self.data.spec), "fingerprint": self._fingerprint},
                "step": self.step, "interventions": [list(entry) for entry in self.interventions]}

    @classmethod
    def replay(cls, recording: Mapping[str, Any], data: Dataset | None = None, device: str | None = None,
               progress: bool = True, run: bool = True) -> Training:
        """Make a recorded run again, to the same weights (bit by bit on the CPU).

        Args:
            recording: what `recording` returned, or `ganlab.checkpoint.read` of a file.
            data: the same data set; by default loaded again by its name.
            run: False leaves it to the caller to run the recording's steps.
        """
        if not recording["fresh"]:
            raise GanlabError("this run did not begin with a new model, or a step of it was broken off, so that its "
                              "recording does not decide its weights; restore one of its checkpoints instead")
        training = cls._rebuild(recording, data, None, device, replay=recording["interventions"])
        return training.run(recording["step"], progress) if run else training

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on to one file, atomically; the file before is kept beside it.

        Where several processes train, all must call it; one of them writes.

        Raises:
            CheckpointError: it could not be written; what was saved before is untouched.
        """
        with self.model.lock:
            pools = processes.gather_pools(self.model) if self._reduce else None
            if not self.main:
                return
            if not all(p.isfinite().all() for p in self.model.parameters()):
                raise CheckpointError(f"{path} was not written: the networks hold NaN or infinite numbers. Restore the "
                                      "last checkpoint and lower the learning rate.")
            write(path, {
                **self.recording(), "ganlab": ganlab.__version__, "state": self.model.state_dict(), "pools": pools,
                "optimizers": {name: compute.without_graphs(o.state_dict()) for name, o in self.optimizers.items()},
                "scaler": self.scaler.state_dict(), "schedule_state": self.schedule.state(),
                **{f"{kind}_now": dict(controls) for kind, controls in self._controls.items()},
                "save_every": self.save_every, "autosave": self.checkpoint is not None,
                "history": self.history.state(), "to_replay": [list(entry) for entry in self._replay]})

    def _autosave(self) -> None:
        began = time.perf_counter()
        try:
            self.save(self.checkpoint or "")
        except CheckpointError as error:
            # A full disk should not end a long training: the run goes on and says so.
            tqdm.write(f"warning: {error}")
        self._row_time += time.perf_counter() - began

    @classmethod
    def restore(cls, path: str | os.PathLike[str], data: Dataset | Tensor | None = None, model: Model | None = None,
                device: str | torch.device | None = None, **changes: Any) -> Training:
        """Go on from a checkpoint.

        Args:
            path: what `save` wrote. If it is damaged, the one before is used, with a warning.
            data: the same data set, augmented as before if it was; by default loaded again by its name.
            model: a new model of the same kind; needed only for models outside `ganlab.models`.
            device: where to go on; by default the best device there is.
            changes: arguments of `Training` that may differ from now on: checkpoint and save_every (by default, a
                run that saved by itself goes on doing so, to `path`), log_every, tensorboard, precision, decay,
                recompute, compile.

        Raises:
            CheckpointError: no usable checkpoint, or of another model or data set.
        """
        content = read(path)
        if content["autosave"]:
            changes = {"checkpoint": path, "save_every": content["save_every"], **changes}
        training = cls._rebuild(content, data, model, device, **changes)
        training._continue(content, path)
        now = training.recording()
        training._fresh = training._fresh and all(now[name] == content[name] for name in ("precision", "decay"))
        return training

    def load(self, path: str | os.PathLike[str]) -> None:
        """Bring this training, which must not be running, to the state that `save` wrote, earlier or later.

        Raises:
            CheckpointError: no usable checkpoint, or of a training with other arguments; names the first difference.
        """
        content, here = read(path), self.recording()
        self._not_running()
        for name in sorted(here.keys() - {"step", "interventions", "fresh", "log_every"}):
            if content.get(name) != here[name]:
                raise CheckpointError(f"{path} is of another training: its {name} is {content.get(name)!r}, here it is "
                                      f"{here[name]!r}; Training.restore builds the training that it is of")
        with self.model.lock:
            self._continue(content, path)

    def _continue(self, content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
        try:
            self.model.load_state_dict(content["state"])
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not fit this {self.model.name}: {error}") from None
        processes.share_out_pools(self.model, content.get("pools"))
        for name, optimizer in self.optimizers.items():
            state = content["optimizers"][name]
            for group, here in zip(state["param_groups"], optimizer.param_groups, strict=True):
                if "capturable" in here:
                    group["capturable"] = here["capturable"]
            optimizer.load_state_dict(state)
        if self._graphs:
            self._graphs.clear()
        if self.scaler.is_enabled() and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        self._replay = [Intervention(*entry) for entry in content["to_replay"]]
        self.interventions = [Intervention(*entry) for entry in content["interventions"]]
        for kind, controls in self._controls.items():
            controls.update(self._initial[kind])
            controls.update({i.name: i.value for i in self.interventions if i.kind == kind})
            controls.take(0)
        self._play_by(self.rules, list(self.rules))
        self.schedule.restore(content["schedule_state"])
        for kind, controls in self._controls.items():
            # What was set after the last step is still to come, and is recorded when it does.
            controls.update(content.get(f"{kind}_now", {}))
        self.step = self._row_step = content["step"]
        self.history.restore(content["history"], self.device)
        self._fresh = content["fresh"]
        self.model.trained = True

    @classmethod
    def _rebuild(cls, content: Mapping[str, Any], data: Dataset | Tensor | None, model: Model | None,
                 device: str | torch.device | None, **changes: Any) -> Training:
        if model is None:
            model = models.create(content["model"], seed=content["model_seed"], **content["config"])
        elif (model.name, model.config) != (content["model"], content["config"]):
            raise CheckpointError(f"the checkpoint holds a {content['model']} with {content['config']}, "
                                  f"not a {model.name} with {model.config}")
        model.begin_with(content["weights"])
        if data is None:
            if not content["data"]["spec"]:
                raise CheckpointError(f"the data ({content['data']['fingerprint']['name']}) cannot be loaded again by "
                                      "name; pass the same set as data=...")
            from ganlab.data import rebuild
            data = rebuild(content["data"]["spec"])
        data, then = as_dataset(data), content["data"]["fingerprint"]
        if then.get("augment") and isinstance(data, Domains):
            data = data.augmented()
        here = fingerprint(data)
        if {**then, "sum": 0} != {**here, "sum": 0} or not math.isclose(then["sum"], here["sum"], rel_tol=1e-5):
            raise CheckpointError(f"the run was trained on {then}, this is {here}; pass the same data set")
        arguments = {"batch_size": content["batch_size"], "learning_rate": content["learning_rates"],
                     "schedule": content["schedule"], "decay": content.get("decay"),
                     "precision": content["precision"], "log_every": content["log_every"],
                     "share_statistics": bool(content.get("share_statistics"))}
        return cls(model, data, content["seed"], device=device, **{**arguments, **changes})

    # ---- processes ----------------------------------------------------------------------------------------------

    @property
    def main(self) -> bool:
        """Whether this process writes files and progress; the only one does."""
        return self.model.share[0] == 0

    def _place(self, device: str | torch.device | None
               ) -> tuple[nn.Module, torch.device, Callable[[Tensor], Tensor] | None]:
        if processes.count() == 1:
            chosen = choose_device(device)
            self.model.share = (0, 1)
            return self.model.to(chosen), chosen, None
        if importlib.util.find_spec("accelerate") is None:
            raise GanlabError('training in several processes needs accelerate: pip install "ganlab[train]"')
        from accelerate import Accelerator, DistributedDataParallelKwargs
        # Precision is left to torch.autocast: Accelerate's own setting cannot change within one process.
        accelerator = Accelerator(cpu=str(device) == "cpu", mixed_precision="no", kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)])
        atexit.unregister(processes.leave)  # once for all trainings of this process, whose group is one
        atexit.register(processes.leave, accelerator)
        self.model.share = (accelerator.process_index, accelerator.num_processes)
        accelerator.print(f"training in {accelerator.num_processes} processes on {accelerator.device.type}")
        with warnings.catch_warnings():
            # torch has begun to rename broadcast_buffers; the old name works in every version that ganlab supports.
            warnings.simplefilter("ignore", FutureWarning)
            network = accelerator.prepare(self.model.to(accelerator.device))
        return network, accelerator.device, lambda t: accelerator.reduce(t, "mean")


def _decay(steps: Sequence[int] | None) -> tuple[int, int] | None:
    if steps is None:
        return None
    if len(steps) != 2 or not 0 <= steps[0] < steps[1]:
        raise GanlabError(f"decay must be (first, last), the steps between which the learning rates fall to 0, "
                          f"first < last, not {tuple(steps)}")
    return int(steps[0]), int(steps[1])


def _check_players(schedule: Schedule, model: Model) -> None:
    if schedule.adversarial and not {"discriminator", "generator"} <= set(model.players):
        raise GanlabError(f"the schedule {schedule} needs a discriminator and a generator; {model.name} has "
                          f"only {', '.join(model.players)}; use schedule='alternate'")


def _check_kind(model: Model, data: Dataset) -> None:
    """Refuse a set that holds something else than the model's `play` can take."""
    if model.expects in ("domains", "pairs"):
        if not isinstance(data, Domains):
            raise DataError(f"{model.name} translates between two domains, and {data.name} has one; load 'fronts', "
                            "'fruit' or 'faces', or a folder with two sides")
        if model.expects == "pairs" and not data.paired:
            raise DataError(f"{model.name} needs pairs, and in {data.name} no image of A belongs to one of B; use a "
                            "paired set such as 'fronts', or cyclegan")
    elif isinstance(data, Domains):
        raise DataError(f"{data.name} has two domains, and {model.name} learns one; pass its side a or b")
    elif model.expects == "labels":
        if (labels := getattr(data, "labels", None)) is None:
            raise DataError(f"{model.name} needs a label for every image, and {data.name} has none; put the images of "
                            "each class into a sub-folder of their own, or use gan or dcgan")
        # Asked once and here, since on another device than the CPU a step does not look.
        if (classes := model.config.get("classes")) and not 0 <= labels.min() <= labels.max() < classes:
            raise DataError(f"the labels of {data.name} go from {labels.min()} to {labels.max()}, but this "
                            f"{model.name} knows 0 to {classes - 1}; build it with classes={labels.max() + 1}, or "
                            "number them anew")


def _tensorboard(folder: str | os.PathLike[str]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GanlabError('logging to TensorBoard needs tensorboard: pip install "ganlab[train]"') from None
    return SummaryWriter(str(folder))


@contextlib.contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first SIGINT into an event, so that no step is left half done; a second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _memory_advice(training: Training) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory|ALLOC_FAILED", text):
            raise
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", text)
        # A notebook keeps its last error, and that the memory which the frames of the broken step hold.
        traceback.clear_frames(error.__traceback__)
        raise OutOfMemory(f"out of memory on {training.device}: {asked[1] if asked else 'more'} was asked for at step "
                          f"{training.step + 1}. Lower batch_size (now {training.batch_size}), the size of the images "
                          f"(now {tuple(training.data.shape)}) or the width of the networks; the training can be "
                          "saved and continued.") from None

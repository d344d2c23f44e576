"""A student's notebook as it runs: cells in order, then questions; what hangs or dies is left out, the rest goes on."""

import builtins
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganlab.homework.judging import Wrong, numbers
from ganlab.homework.sandbox import Died, Isolation, Job, Limits

START = 60.0  # seconds, for what is not the student's
FOLDER = "/tmp/work"


class Lost(Exception):
    """A cell or a question took its process with it; the message says how, in one line."""


@dataclass
class Session:
    """A process that has run some cells, and is made again, without the guilty one, whenever one ends it.

    Args:
        isolation, limits, readable, hidden: as in `sandbox`.
        files: handed in with the notebook, by name.
        seed: of everything that draws at random and is not seeded by the notebook.
        until: by the clock of `time.monotonic`, when everything must be over.
    """

    isolation: Isolation
    limits: Limits
    files: Mapping[str, bytes]
    seed: int
    until: float
    readable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    done: list[dict[str, Any]] = field(default_factory=list)
    job: Job | None = None

    def run(self, source: str, seconds: float) -> tuple[Any, str | None]:
        """Run a cell; its outputs, as it says, and the name of its error.

        Raises:
            Lost: it took too long or ended its process. All cells before it are as they were.
        """
        request = {"do": "run", "source": source, "seconds": seconds}
        reply = self._request(request)
        self.done.append(request)
        error = reply.get("error")
        return reply.get("outputs"), None if error is None else _known(error)

    def mark(self, name: str) -> None:
        """Give this place of the notebook a name that `ask` can refer to."""
        request = {"do": "mark", "name": name, "seconds": START}
        with contextlib.suppress(Lost):
            self._request(request)
            self.done.append(request)

    def ask(self, mark: str, code: str, inputs: Mapping[str, Any], seconds: float, each: bool = False) -> Any:
        """What code gives where the notebook was at that mark: see `judging.Ask`."""
        try:
            reply = self._request({"do": "ask", "code": code, "inputs": {k: _sendable(v) for k, v in inputs.items()},
                                   "mark": mark, "seconds": seconds})
        except Lost as error:
            raise Wrong(str(error)) from None
        if "value" not in reply:
            raise Wrong(f"raises {_known(reply.get('error'))}")
        value = reply["value"]
        if not each:
            return numbers(value)
        if type(value) is list and len(value) <= 10_000:
            return [numbers(item) for item in value]
        if type(value) is dict and len(value) <= 10_000:
            return {key: numbers(item) for key, item in value.items()}
        raise Wrong("gives something else than was asked for")

    def close(self) -> None:
        if self.job is not None:
            self.job.close()
            self.job = None

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._ready()
        try:
            return self._exchange(job, request)
        except Died as error:
            self.close()
            raise Lost(str(error)) from None

    def _exchange(self, job: Job, request: dict[str, Any], data: bytes = b"") -> dict[str, Any]:
        sent = {key: value for key, value in request.items() if key != "seconds"}
        return job.exchange(sent, data, seconds=request["seconds"], until=self.until)

    def _ready(self) -> Job:
        """The process, in which all that was done is done; what does not bear repeating is left out."""
        while self.job is None:
            if time.monotonic() > self.until:
                raise Lost("used up the time for the whole notebook")
            self.job = open_job(self.isolation, self.limits, self.files, self.seed, self.readable, self.hidden)
            for request in list(self.done):
                try:
                    self._exchange(self.job, request)
                except Died:
                    self.done.remove(request)
                    self.close()
                    break
        return self.job


class NotStarted(Exception):
    """The isolation could not be started: no fault of the student's."""


def open_job(isolation: Isolation, limits: Limits, files: Mapping[str, bytes], seed: int,
             readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> Job:
    """A process with the files in its folder, ready for cells.

    Raises:
        NotStarted: tried twice in vain.
    """
    reason = ""
    for _ in range(2):
        try:
            job = isolation.start(limits, readable, hidden)
        except OSError as error:
            reason = str(error)
            continue
        try:
            folder = job.folder or FOLDER
            reply = job.exchange({"do": "hello", "folder": folder, "seed": seed, "shell": True}, seconds=START)
            if "error" in reply:
                raise Died(f"{reply['error']}: {reply.get('message')}")
            for name, content in files.items():
                job.exchange({"do": "file", "name": name, "size": len(content)}, content, seconds=START)
            return job
        except Died as error:
            reason = str(error)
            job.close()
    raise NotStarted(reason)


def _known(error: Any) -> str:
    """The name of an error if Python has such a one: students' own could carry any message."""
    kind = getattr(builtins, error, None) if isinstance(error, str) else None
    return error if isinstance(kind, type) and issubclass(kind, BaseException) else "an exception"


def _sendable(value: Any) -> Any:
    """Arrays, also within lists and dicts, as lists of numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_sendable(item) for item in value]
    if isinstance(value, dict):
        return {key: _sendable(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value

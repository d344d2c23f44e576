"""Files that survive a crash: written aside, synced, renamed; the one before is kept; no pickle is ever loaded."""

import contextlib
import glob
import os
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ganlab.errors import CheckpointError

FORMAT = 1
ABANDONED = 3600
"""Seconds after which a file that nobody writes to any more was left by a process that was killed."""


def previous(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the newest one is kept: `run.pt` has `run.previous.pt` beside it."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _aside(path: Path) -> Path:
    """Where this thread alone writes what becomes `path`; however long that name is, this one is short enough."""
    return path.with_name(f".{path.name[:40]}.{os.getpid()}-{threading.get_native_id()}.part")


@contextlib.contextmanager
def reserved(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it, `write` can write to `path`, as far as can be known before, and no other process is in here with it.

    Raises:
        CheckpointError: it cannot, or another process is.
    """
    path = Path(path)
    try:
        if os.path.isdir(path) or os.path.isdir(previous(path)):
            raise IsADirectoryError("there is a folder of that name")
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            previous(path).stat()  # which fails where the name is too long
        _aside(path).touch()
        _aside(path).unlink()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"a training could not save {path}: {error}; give another path with --out") from None
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"another process is training to {path}; wait for its end, or give another path with "
                              "--out") from None
    except (OSError, NotImplementedError):
        pass  # a drive without locks is no reason not to train
    try:
        yield
    finally:
        if lock.is_locked:
            # Windows removes it on release.
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()


def write(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Save plain values and tensors, so that at every moment a whole checkpoint lies at `path` or `previous(path)`.

    Raises:
        CheckpointError: it could not be written (full disk, no right); what was saved before is untouched.
    """
    path = Path(path)
    aside = _aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(aside):
            raise OSError(f"it would hold {', '.join(unsafe)}, and only tensors and plain values are ever loaded")
        # A damaged file does not take the place of the good one before.
        if path.exists() and zipfile.is_zipfile(path):
            os.replace(path, previous(path))
        os.replace(aside, path)
        # Some mounted drives refuse this; the file itself is in place.
        with contextlib.suppress(OSError):
            _sync_folder(path.parent)
        with contextlib.suppress(OSError):
            for left in path.parent.glob(f".{glob.escape(path.name[:40])}.*part"):
                if time.time() - left.stat().st_mtime > ABANDONED:
                    left.unlink()
    except (OSError, RuntimeError, ValueError) as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise CheckpointError(f"could not save {path}: {error}. What was saved before is untouched; free some space "
                              "or give another path, then save again.") from error


def read(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint; where it is damaged or missing, the one before, with a warning that says so.

    Raises:
        CheckpointError: neither can be used; says why for each.
    """
    path = Path(path)
    reasons = []
    for candidate in (path, previous(path)):
        try:
            content = _load(candidate, map_location)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        if reasons:
            warnings.warn(f"{reasons[0]}. Using the one before: {candidate} (step {content['step']}).", stacklevel=3)
        return content
    raise CheckpointError(". ".join(reasons) + ". Give the path of a file that Training.save or `ganlab train` wrote.")


def _load(path: Path, map_location: Any) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        # torch does not look at the checksums in its own files.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} has a wrong checksum")
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # torch reports damage in many ways (zip, unpickling, end of file); all of them mean the same here.
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is truncated or no checkpoint ({first_line[:120]})") from None
    if not isinstance(content, dict) or "format" not in content or "model" not in content:
        raise CheckpointError(f"{path} was not written by ganlab")
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {content['format']}, this ganlab reads {FORMAT}; "
                              "open it with the version that wrote it")
    return content


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

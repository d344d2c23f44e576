"""Downloads that are verified before use, resumed when cut and explained when they fail, on top of pooch."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock
from tqdm.auto import tqdm

from ganlab.data.catalogue import File, size
from ganlab.errors import DataError

CHUNK = 1 << 16
TRIES = 5  # at one address, as long as each brings the download further
RECORD = "verified.json"  # beside the files of a set: the hashes found, so that each is computed once
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class _Refused(Exception):
    """This address does not give the file; the text says why."""


class _Cut(Exception):
    """The download ended early but came further; the text says how far."""


def fetch(name: str, file: File, folder: Path, download: bool = True) -> Path:
    """The path of one file of the set `name`, downloaded into `folder` unless it is there and right.

    Raises DataError: what happened at each address, where to put the file by hand, what to try next.
    """
    path = folder / file.name
    wrong = problem(file, folder)
    if not wrong:
        return path
    log = [f"on this disk: {wrong}"]
    if not download:
        raise _failed(name, file, path, log)
    try:
        if not writable(next(p for p in (folder, *folder.parents) if p.exists())):
            raise PermissionError(errno.EACCES, f"{log[0]}, and the folder is read-only")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of several processes that want the file, one downloads it
            if problem(file, folder):
                _download(name, file, path, log)
        return path
    except OSError as error:
        raise disk_error(name, path, error) from error


def problem(file: File, folder: Path, hash_again: bool = False) -> str:
    """What is wrong with this file in its folder; empty if nothing.

    The size is always compared, the hash only once while the file stays as it is (or with `hash_again`).
    """
    path = folder / file.name
    if not path.is_file():
        return "missing"
    found = path.stat()
    if file.bytes is not None and found.st_size != file.bytes:
        with path.open("rb") as f:
            page = " (a web page)" if _is_page(f.read(512)) else ""
        return f"{found.st_size:,} bytes{page} instead of {file.bytes:,}"
    record = _record(folder)
    known = record.get(file.name, {})
    expected = file.sha256 or known.get("sha256")
    seen = {"bytes": found.st_size, "time": found.st_mtime_ns, "sha256": expected}
    if expected and known == seen and not hash_again:
        return ""
    actual = pooch.file_hash(str(path))
    if expected and actual != expected:
        return f"wrong hash, sha256 {actual} instead of {expected}"
    if writable(folder):  # elsewhere the hash is computed each time
        with contextlib.suppress(OSError):
            draft = folder / f"{RECORD}.{os.getpid()}"
            draft.write_text(json.dumps(record | {file.name: seen | {"sha256": actual}}, indent=1))
            os.replace(draft, folder / RECORD)
    return ""


def forget(file: File, folder: Path) -> None:
    """Take back what was recorded of a file, which turned out to be damaged, so that another may take its place."""
    with contextlib.suppress(OSError):
        (folder / RECORD).write_text(json.dumps({k: v for k, v in _record(folder).items() if k != file.name}, indent=1))


def writable(folder: Path) -> bool:
    """Whether the folder is meant to be written to; by its mode too, since an administrator always may."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def _record(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError):
        return {}


def _download(name: str, file: File, path: Path, log: list[str]) -> None:
    expected = file.sha256 or _record(path.parent).get(file.name, {}).get("sha256")
    if not expected:
        path.unlink(missing_ok=True)  # pooch keeps what is there when it has no hash to compare
    pooch.get_logger().setLevel("ERROR")
    for address in file.addresses:
        reason = ""
        for _ in range(TRIES):
            resumed = _length(_part(path)) > 0
            try:
                pooch.retrieve(address, expected, path.name, path.parent, downloader=_Resuming(file))
                if not problem(file, path.parent):
                    return
            except _Cut as error:
                reason = str(error)
                continue
            except _Refused as error:
                reason = str(error)
            except ValueError:  # pooch found another hash
                if resumed:  # the older half may be the wrong one; it is gone now
                    continue
                reason = "sent a file with the wrong hash (damaged or a different one), which was thrown away"
                if not file.sha256:
                    reason += (": its publisher states no hash, and it is not the one downloaded first. If "
                               f"you trust it, delete {path.parent / RECORD} and try again")
            break
        log.append(f"{address}: {reason}")
    raise _failed(name, file, path, log)


class _Resuming:
    """A downloader for pooch that keeps an interrupted download as NAME.part and goes on from there."""

    def __init__(self, file: File) -> None:
        self.file = file

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        part = _part(Path(output_file).with_name(self.file.name))
        before, reason = _length(part), "the server hung up"
        try:
            self._load(url, part)
        except requests.exceptions.SSLError:
            reason = "no secure connection (is the clock right? does the network ask for a log-in?)"
        except requests.RequestException as error:
            reason = "no connection, or the server hung up" + (
                " (no answer in time)" if isinstance(error, requests.Timeout) else "")
        else:
            if self.file.bytes in (None, _length(part)):
                os.replace(part, output_file)
                return
        have = _length(part)
        if have > before:
            raise _Cut(f"the connection was cut after {size(have)} of {size(self.file.bytes)}")
        raise _Refused(reason)

    def _load(self, url: str, part: Path) -> None:
        # without a published hash, halves of two different files would go unnoticed
        have = _length(part) if self.file.sha256 else 0
        if have and have == self.file.bytes:
            return
        if have > (self.file.bytes or have):
            have = 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as answer:
            if answer.status_code >= 400:
                if answer.status_code == 416:  # no such range: what is here is no part of that file
                    part.unlink()
                raise _Refused(f"the server answered {answer.status_code} {answer.reason}")
            if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0
            chunks = answer.iter_content(CHUNK)
            chunk = next(chunks, b"")
            if _is_page(chunk) or "text/html" in answer.headers.get("Content-Type", ""):
                raise _Refused("sent a web page instead of the file (often a quota or a log-in page)")
            length = int(answer.headers.get("Content-Length", 0))
            if self.file.bytes is not None and have + length > self.file.bytes:
                raise _Refused(f"offers {have + length:,} bytes; the right file has {self.file.bytes:,}")
            if length > (free := shutil.disk_usage(part.parent).free):
                raise OSError(errno.ENOSPC, f"{size(length)} are needed, {size(free)} are free")
            with part.open("ab" if have else "wb") as f, tqdm(
                    total=self.file.bytes or length or None, initial=have, unit="B", unit_scale=True,
                    desc=self.file.name) as bar:
                while chunk:
                    f.write(chunk)
                    bar.update(len(chunk))
                    chunk = next(chunks, b"")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_page(start: bytes) -> bool:
    return start.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _failed(name: str, file: File, path: Path, log: list[str]) -> DataError:
    lines = "".join(f"\n  {line}" for line in log)
    return DataError(
        f"the data set {name!r} needs {file.name} ({size(file.bytes)}), which could not be had:{lines}\n"
        f"Try `ganlab data get {name}` once you are online (a download that was cut is continued),\n"
        f"or download the file on any computer and put it at {path}\n"
        "or take the set that needs no download: ganlab.data.load(\"digits\")")


def disk_error(name: str, path: Path, error: OSError) -> DataError:
    """A DataError for a disk that is full or may not be written to, with what to do about it."""
    if error.errno in FULL:
        return DataError(f"the disk is full: {path} could not be written ({error.strerror}).\nWhat has arrived is "
                         f"kept. Free some room, or set GANLAB_DATA to a larger disk; then `ganlab data get {name}`")
    return DataError(f"no right to write: {path} could not be written ({error.strerror or error}).\nSet GANLAB_DATA to "
                     f"a folder of your own, for example ~/ganlab-data; then `ganlab data get {name}`")

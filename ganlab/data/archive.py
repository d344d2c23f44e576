"""Archives, extracted so that nothing lands outside the folder and nothing half-done is taken for whole."""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from ganlab.data.catalogue import size
from ganlab.data.download import CHUNK, disk_error
from ganlab.errors import DataError

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError,
           RuntimeError, FileExistsError)


def unpack(name: str, archive: Path, folder: Path, inner: str, max_bytes: int = 20 << 30,
           max_files: int = 500_000) -> Path:
    """Extract a zip or tar archive and return `folder`/`inner`, which appears only when everything is there.

    An archive that has a folder trainA at its top instead of `inner` is taken to be what `inner` should hold.
    Refused with a DataError: paths that lead out of the folder, links and special files, more than
    `max_bytes` or `max_files`, damaged archives, and archives that do not hold `inner`.
    """
    again = f"Delete it, then `ganlab data get {name}`"
    try:
        with FileLock(folder / ".lock"), tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as draft:
            if not (folder / inner).exists():
                top = Path(draft) / "top"
                _extract(archive, top, max_bytes, max_files)
                whole = top if (top / "trainA").is_dir() else top / inner
                if not whole.is_dir():
                    raise DataError(f"{archive} does not hold a folder {inner!r}. {again}")
                os.rename(whole, folder / inner)
    except DAMAGED as error:
        raise DataError(f"{archive} is damaged ({error}). {again}") from error
    except OSError as error:
        raise disk_error(name, folder / inner, error) from error
    return folder / inner


def _extract(archive: Path, target: Path, max_bytes: int, max_files: int) -> None:
    written = 0
    for count, (name, kind, source) in enumerate(_members(archive), 1):
        parts = name.replace("\\", "/").rstrip("/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in name:
            raise DataError(f"{archive} is refused: {name!r} leads out of the folder it is extracted to")
        if kind == "other":
            raise DataError(f"{archive} is refused: {name!r} is a link or a special file")
        if count > max_files:
            raise DataError(f"{archive} is refused: it holds more than {max_files:,} files")
        path = target.joinpath(*parts)
        (path if kind == "folder" else path.parent).mkdir(parents=True, exist_ok=True)
        if kind == "file":
            with source() as reader, path.open("xb") as writer:
                while chunk := reader.read(CHUNK):
                    written += len(chunk)
                    if written > max_bytes:
                        raise DataError(f"{archive} is refused: it holds more than {size(max_bytes)}")
                    writer.write(chunk)


def _members(archive: Path) -> Iterator[tuple[str, str, Callable[[], IO[bytes]]]]:
    """(name, "file", "folder" or "other", function that opens it) of each member."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            for i in z.infolist():
                plain = stat.S_IFMT(i.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                kind = "other" if not plain else "folder" if i.is_dir() else "file"
                yield i.filename, kind, lambda i=i: z.open(i)  # type: ignore[misc]
    else:
        with tarfile.open(archive) as t:
            for m in t:
                kind = "file" if m.isreg() else "folder" if m.isdir() else "other"
                yield m.name, kind, lambda m=m: t.extractfile(m)  # type: ignore[misc]

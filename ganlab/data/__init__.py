"""Data sets by name, from a folder, or in memory; data/README.md has a card for each.

    ganlab.data.load("digits")              nothing to download
    ganlab.data.load("mnist", size=32)      downloaded once, verified
    ganlab.data.folder("~/pictures", 64)    your own images
    ganlab.data.translation("~/ab", 128)    your own images of two domains, with or without pairs
    ganlab.data.edges("~/pictures", 64)     your own images, each with a drawing of its edges
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pooch

from ganlab.data import readers
from ganlab.data.archive import unpack
from ganlab.data.catalogue import Entry, cards, entries, entry
from ganlab.data.domains import Domains
from ganlab.data.download import fetch, forget, problem
from ganlab.data.files import ImageFiles
from ganlab.data.folder import folder, from_files
from ganlab.data.images import Dataset, Images, digits
from ganlab.data.translation import edges, is_translation, translation
from ganlab.errors import DataError

__all__ = ["Dataset", "Domains", "ImageFiles", "Images", "available", "cards", "check", "digits", "edges",
           "folder", "get", "load", "rebuild", "root", "translation"]


def load(name: str | Path, split: str = "train", size: int | None = None, channels: int | None = None,
         root: str | Path | None = None, download: bool = True) -> Images | ImageFiles | Domains:
    """A data set by name, or the images in a folder if `name` is the path of one: two domains if it has a layout of
    `ganlab.data.translation`, otherwise as `ganlab.data.folder` has them.

    Args:
        name: one of `available()`, or a path ("~/pictures", "./pictures").
        split: "train", "test" or "all". A folder has them if it has sub-folders `train` and `test`; otherwise
            all of it counts as "train".
        size: height and width in pixels; by default those of the set (64 for a folder).
        channels: 1 or 3; by default those of the set (3 for a folder). Points have neither size nor channels.
        root: where the sets lie, see `root()`.
        download: False for an error instead of a download.

    Raises:
        DataError: an unknown name or split, or files that cannot be had; says what to do.
    """
    if split not in ("train", "test", "all"):
        raise DataError(f"there is no split {split!r}; there are 'train', 'test' and 'all'")
    if (size is not None and size < 1) or channels not in (None, 1, 3):
        raise DataError(f"size={size}, channels={channels}: size is a number of pixels, channels is 1 or 3")
    name = str(name)
    if name not in entries() and (set(name) & set("/\\~") or Path(name).is_dir()):
        return _load_folder(Path(name).expanduser(), split, size or 64, channels or 3)
    e = entry(name)
    spec = {"name": name, "split": split, "size": size, "channels": channels}
    if e.maker:
        return replace(readers.make(e, split, size, channels), spec=spec)
    paths = _prepare(e, _root(root) / name, split, download)
    if e.reader == "folder":
        files = readers.list_range(e, paths["folder"], split)
        return from_files(files, paths["folder"], size or e.shape[1], channels or e.shape[0], name, spec)
    if e.reader == "translation":
        both = translation(paths["folder"], size or e.shape[1], channels or e.shape[0], split, flip=e.flip)
        return replace(both, name=name, spec=spec)
    data = readers.read_cifar(e, paths["folder"], split) if e.unpacks_to else readers.read_idx(e, paths)
    return replace(readers.convert(data, size, channels), spec=spec)


def _load_folder(path: Path, split: str, size: int, channels: int) -> Images | ImageFiles | Domains:
    if is_translation(path):
        return translation(path, size, channels, split)
    spec = {"name": str(path.absolute()), "split": split, "size": size, "channels": channels}
    if split != "all" and (path / "train").is_dir() and (path / "test").is_dir():
        path = path / split
    elif split == "test":
        raise DataError(f"{path} has no sub-folders train and test; load all of it and hold some images out: "
                        f"ganlab.data.folder({str(path)!r}).split(100)")
    return replace(folder(path, size, channels), spec=spec)


def rebuild(spec: dict[str, Any], split: str = "") -> Images | ImageFiles | Domains:
    """The set whose `spec` this is, read again, or another split of it.

    Raises:
        DataError: the spec is empty, or the set has no such split.
    """
    if not spec:
        raise DataError("this set cannot be made again from a name (a part of a set, or a tensor); "
                        "make it as before and pass it as data=...")
    found: Any
    other = {"split": split} if split else {}
    if "translation" in spec:
        found = translation(**spec["translation"] | other)
    elif "folder" in spec:
        if split not in ("", "train", "all"):
            raise DataError(f"{spec['folder']['path']} was taken whole and has no split {split!r}; ganlab.data.load "
                            "finds the sub-folders train and test of a folder, where it has them")
        found = folder(**spec["folder"])
    elif "edges" in spec:
        found = edges(rebuild(spec["edges"], split))  # type: ignore[arg-type]
    else:
        found = load(**{key: value for key, value in spec.items() if key != "augment"} | other)
    return found.augmented() if spec.get("augment") else found


def available() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(entries())


def root() -> Path:
    """Where the sets lie, each in a folder with its name: the environment variable GANLAB_DATA, else `data/`
    of the checkout that ganlab runs from, else a folder in the user's cache."""
    return _root(None)


def _root(given: str | Path | None) -> Path:
    checkout = Path(__file__).parents[2]
    if given or os.environ.get("GANLAB_DATA"):
        return Path(given or os.environ["GANLAB_DATA"]).expanduser()
    return checkout / "data" if (checkout / "pyproject.toml").is_file() else Path(pooch.os_cache("ganlab"))


def get(name: str, root: str | Path | None = None) -> Path:
    """Download, verify and unpack all of a set; returns its folder."""
    _prepare(entry(name), _root(root) / name, "all", download=True)
    return _root(root) / name


def _prepare(e: Entry, here: Path, split: str, download: bool) -> dict[str, Path]:
    """The files of a split by name, or of a packed set {"folder": where it is unpacked}."""
    if e.unpacks_to and (here / e.unpacks_to).is_dir():
        return {"folder": here / e.unpacks_to}
    wanted = [f for f in e.files if f.split in ("", split) or split == "all"]
    paths = {f.name: fetch(e.name, f, here, download) for f in wanted}
    if e.unpacks_to:
        try:
            return {"folder": unpack(e.name, paths[e.files[0].name], here, e.unpacks_to)}
        except DataError:
            if not e.files[0].sha256:  # the first download decides which file is right, unless it is damaged
                forget(e.files[0], here)
            raise
    return paths


def check(name: str | None = None, root: str | Path | None = None) -> list[tuple[str, str]]:
    """(file, status) of one set or of all: "ok", "missing", or what is wrong. Every hash is computed anew."""
    found = []
    for e in [entry(name)] if name else entries().values():
        here = _root(root) / e.name
        if not e.files:
            found.append((e.name, "ok"))
        for f in e.files:
            found.append((f"{e.name}/{f.name}", problem(f, here, hash_again=True) or "ok"))
        if e.unpacks_to:
            found.append((f"{e.name}/{e.unpacks_to}/", "ok" if (here / e.unpacks_to).is_dir() else "missing"))
    return found

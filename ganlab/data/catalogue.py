"""The catalogue of data sets (catalogue.toml) as values, and its cards for people (data/README.md)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files as resources
from typing import Any

from ganlab.errors import DataError


@dataclass(frozen=True)
class File:
    """One file to download.

    Attributes:
        name: what it is called on disk, without a folder.
        addresses: where to get it, tried in this order.
        bytes: its size, or None where the publisher states none.
        sha256: its hash in hexadecimal, or None: then it is recorded at the first download.
        split: the part of the set it holds ("train" or "test"); empty: all of it.
    """

    name: str
    addresses: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    split: str = ""


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        reader: how it is read, see `ganlab.data.load`.
        shape: (C, H, W) of an image as it loads by default, or (k,) of a point.
        classes: names of the labels; of domains the names of both sides.
        counts: the images of each split; of unpaired domains those of A and of B, as a list.
        domains: "paired" or "unpaired" for two sides to translate between, empty for one set of images.
        flip: whether B comes before A in the files.
        maker: "module:function", which makes the set from its split (domains: split and size) without any file.
        note: what else one should know, for the card.
    """

    name: str
    title: str
    reader: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    counts: dict[str, Any]
    licence: str
    citation: str
    home: str = ""
    files: tuple[File, ...] = ()
    unpacks_to: str = ""
    ranges: dict[str, list[int]] = field(default_factory=dict)
    domains: str = ""
    flip: bool = False
    maker: str = ""
    note: str = ""


def _entry(name: str, table: dict[str, Any]) -> Entry:
    table = dict(table)
    common = table.pop("addresses", [])
    files = tuple(File(**{"addresses": tuple(a + f["name"] for a in common)}
                       | {k: tuple(v) if isinstance(v, list) else v for k, v in f.items()})
                  for f in table.pop("files", []))
    table |= {"shape": tuple(table["shape"]), "classes": tuple(table["classes"])}
    return Entry(name=name, files=files, **table)


@cache
def entries() -> dict[str, Entry]:
    """All data sets by name, in the order of the catalogue."""
    text = resources("ganlab.data").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def entry(name: str) -> Entry:
    """The data set of this name. Raises DataError with the names there are."""
    if name not in entries():
        raise DataError(f"there is no data set called {name!r}. There are: {', '.join(entries())}. Your own images: "
                        f"ganlab.data.folder('path/to/images'), or a path with a slash, as in './{name}'")
    return entries()[name]


def size(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return "unknown size"
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def download(e: Entry) -> str:
    """How much there is to download, for people."""
    if e.files:
        return size(sum(f.bytes or 0 for f in e.files) or None)
    return "nothing, it comes with scikit-learn" if e.reader == "digits" else "nothing, made by the computer"


def cards() -> str:
    """The text of data/README.md: one card for each set (Markdown)."""
    lines = ["# The data sets", "",
             "Downloads land here, each set in a folder with its name; set the environment variable "
             "`GANLAB_DATA` to keep them elsewhere.",
             "`ganlab data get NAME` downloads a set, `ganlab data check` verifies what is there. "
             "Your own images need none: `ganlab.data.folder(path)`, of two domains `ganlab.data.translation(path)`.",
             "",
             "This page is made from `ganlab/data/catalogue.toml`: "
             "`python -c \"from ganlab import data; print(data.cards(), end='')\" > data/README.md`"]
    for e in entries().values():
        counts = ", ".join(" + ".join(f"{k:,}" for k in (n if isinstance(n, list) else [n])) + f" {split}"
                           for split, n in e.counts.items())
        what = "Pairs" if e.domains == "paired" else "Images" if len(e.shape) == 3 else "Points"
        axes = "(channels x height x width)" if len(e.shape) == 3 else "coordinates"
        lines += ["", f"## {e.name}", "", f"{e.title}.", "",
                  f"- **Load**: `ganlab.data.load(\"{e.name}\")`",
                  f"- **{what}**: {counts}; {' x '.join(map(str, e.shape))} {axes}"]
        lines += [f"- **{'A, B' if e.domains else 'Classes'}**: {', '.join(e.classes)}"] * bool(e.classes)
        lines += [f"- **Download**: {download(e)}", f"- **Licence**: {e.licence}", f"- **Cite**: {e.citation}"]
        lines += [f"- **Home**: <{e.home}>"] * bool(e.home) + [f"- **Note**: {e.note}"] * bool(e.note)
        if e.unpacks_to:
            lines += [f"- **Unpacked to**: `{e.name}/{e.unpacks_to}/`; the archive may be deleted then"]
        for f in e.files:
            length = f"{f.bytes:,} bytes" if f.bytes else "unknown size"
            hashed = f"sha256 `{f.sha256}`" if f.sha256 else "no published hash; recorded at first"
            lines += [f"- `{e.name}/{f.name}`: {length}, {hashed}, from "
                      + ", ".join(f"<{a}>" for a in f.addresses)]
    return "\n".join(lines) + "\n"

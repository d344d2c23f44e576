"""What is kept of a student's notebook: nothing in it may act when a grader or a browser opens it.

Outputs are made anew from a list of what is allowed. Markdown keeps its words: HTML in it is made to show itself, and
links that run code, or hold whole documents, are broken, in a way that no reader of Markdown can undo.
"""

import base64
import math
import re
import struct
from typing import Any

MAX_TEXT, MAX_TOTAL, MAX_PIXELS = 50_000, 6_000_000, 50_000_000
PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
ANSI = re.compile(r"\x1b\[[0-9;]{0,20}m")  # colours alone; other sequences lose their escape character below
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TAG = re.compile(r"<(?=[A-Za-z/!?])")
ENTITY = re.compile(r"&(?=#|(?:colon|Tab|NewLine|lt|sol|bsol|ZeroWidthSpace);?)", re.IGNORECASE)
_GAP = r"[\s\\\x00-\x20]*"  # which readers of Markdown, or browsers, skip between the letters of a scheme
SCHEME = re.compile("(" + "|".join(_GAP.join(word) for word in ("javascript", "vbscript", "livescript", "data"))
                    + f"){_GAP}:", re.IGNORECASE)


def line(text: Any, limit: int = 200) -> str:
    """One line of plain characters: safe in a terminal, a table and a page that escapes it."""
    text = " ".join(CONTROL.sub("", ANSI.sub("", str(text)[:10 * limit])).split())
    return text if len(text) <= limit else text[:limit - 3] + "..."


def plain(text: Any, limit: int = MAX_TEXT) -> str:
    """A text without control characters that a terminal would obey."""
    if not isinstance(text, str):
        return ""
    shown = CONTROL.sub("", ANSI.sub("", text[:limit]))
    return shown if len(text) <= limit else shown + "\n... (too long to keep)\n"


def markdown(text: str) -> str:
    """Markdown whose HTML is text, and in which no link acts.

    A blank after each `<` that could open a tag, after each `&` that could write one otherwise, and before the colon
    of a scheme that runs: whatever the program that renders it, none of the three is what it was. Mathematics is not
    changed by it.
    """
    text = ENTITY.sub("& ", TAG.sub("< ", plain(text, 200_000)))
    return SCHEME.sub(lambda match: re.sub(r"[^A-Za-z]", "", match[1]) + " :", text)


def outputs(given: Any, room: int = MAX_TOTAL) -> list[dict[str, Any]]:
    """Outputs of a code cell, with texts, errors, PNGs and JPEGs alone, at most this many characters."""
    kept: list[dict[str, Any]] = []
    for output in given[:200] if isinstance(given, list) else ():
        if not isinstance(output, dict):
            continue
        kind, data = output.get("output_type"), output.get("data")
        new: dict[str, Any]
        if kind == "stream":
            new = {"output_type": "stream", "name": "stderr" if output.get("name") == "stderr" else "stdout",
                   "text": plain(output.get("text"))}
        elif kind == "error":
            trace = output.get("traceback")
            lines = plain("\n".join(part for part in trace if isinstance(part, str))) if isinstance(trace, list) else ""
            new = {"output_type": "error", "ename": line(output.get("ename")), "evalue": line(output.get("evalue")),
                   "traceback": lines.split("\n")}
        elif isinstance(data, dict):
            shown: dict[str, str] = {mime: data[mime] for mime, magic in PICTURES.items()
                                     if isinstance(data.get(mime), str) and _picture(data[mime], magic)}
            if isinstance(data.get("text/plain"), str):
                shown["text/plain"] = plain(data["text/plain"])
            new = {"output_type": "display_data", "data": shown, "metadata": {}}
            if not shown:
                continue
        else:
            continue
        room -= len(str(new))
        if room < 0:
            kept.append({"output_type": "stream", "name": "stdout", "text": "... (too much to keep)\n"})
            break
        kept.append(new)
    return kept


def _picture(encoded: str, magic: bytes) -> bool:
    """Whether this is base64 and nothing else, of a picture of that kind and of a size that browsers can show."""
    try:
        data = base64.b64decode(encoded.replace("\n", ""), validate=True)
        return data.startswith(magic) and 0 < math.prod(_size(data)) <= MAX_PIXELS
    except (ValueError, struct.error):
        return False


def _size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG or JPEG claims: a small file can hold a picture that fills any memory."""
    if data.startswith(PICTURES["image/png"]):
        return struct.unpack_from(">II", data, 16)
    at = 2
    while data[at:at + 1] == b"\xff":
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):  # a start of frame
            return struct.unpack_from(">HH", data, at + 5)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0, 0

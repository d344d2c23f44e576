"""Nothing that a student wrote acts in a browser, or in a terminal."""

import re

import mistune
import nbconvert
import pytest
from bs4 import BeautifulSoup
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ganlab.homework import clean
from tests.homework import handins

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

ATTACKS = [
    "<script>alert(1)</script>", "<ScRiPt src=//x>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>", "<iframe srcdoc='<script>'>", "<!--><script>-->", "<?xml?>",
    "</p><script>", "[x](javascript:alert(1))", "[x](JAVASCRIPT:alert(1))", "[x](java\tscript:alert(1))",
    "[x](java&Tab;script:alert(1))", "[x](javascript&colon;alert(1))", "[x](javascript&#58;alert(1))",
    "[x](javascript&#x3a;alert(1))", "[x](&#106;avascript:alert(1))", "[x](&#x6a&#x61vascript:alert(1))",
    "[x](javascript\\:alert(1))", "[x](\\javascript:alert(1))", "[x](<javascript:alert(1)>)",
    "[x](<java\nscript:alert(1)>)", "[x][r]\n\n[r]: javascript:alert(1)", "[x][r]\n\n[r]: <javascript:alert(1)>",
    "<javascript:alert(1)>", "[x](vbscript:msgbox)", "[x](data:text/html,<script>)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)", "[x](\x01javascript:alert(1))", "[x]( javascript:alert(1))",
    "[x](jav\u200bascript:alert(1))", "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;", "`<script>`",
    "```html\n<script>alert(1)</script>\n```", "    <script>", "$<script>alert(1)</script>$",
    "$$\\href{javascript:alert(1)}{x}$$", "<scr<script>ipt>", "<<script>", "\\<script>",
    "*<img src=x onerror=alert(1)>*", "| a |\n|---|\n| <script> |", "[<script>](x)", "[x](x \"onerror=alert(1)\")",
    "![\" onerror=alert(1)](x)", "<style>@import 'x'</style>", "<math><mi xlink:href='javascript:alert(1)'>",
    "[x](java\\\nscript:alert(1))", "data:text/html,<script>",
]


ACTIVE = {"script", "iframe", "svg", "object", "embed", "style", "math", "form", "base", "meta", "link"}
RENDERERS = {"nbconvert": markdown2html_mistune, "mistune": mistune.create_markdown(escape=False)}


def acting(html):
    """What would act in a page: elements, handlers and addresses that no plain text has."""
    found = []
    for element in BeautifulSoup(html, "html.parser").find_all(True):
        if element.name in ACTIVE:
            found.append(element.name)
        for name, value in element.attrs.items():
            text = re.sub(r"[\x00-\x20\u200b]", "", str(value)).lower()
            if name.startswith("on") or text.startswith(("javascript:", "vbscript:", "data:text", "data:image/svg")):
                found.append(f"{element.name} {name}={value}")
    return found


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_no_attack_in_markdown_acts(attack, renderer):
    render = RENDERERS[renderer]
    for text in (attack, f"before {attack} after", f"> {attack}", f"- a\n- {attack}"):
        assert acting(render(clean.markdown(text))) == []


def test_the_attacks_are_attacks():
    """Rendered as they came, most act: else the test above could not fail."""
    harmful = [attack for attack in ATTACKS if acting(RENDERERS["mistune"](attack))]
    assert len(harmful) >= 12


def test_words_and_formulas_stay():
    text = ("# Why\n\nSince $a<b$ and $$x \\le y \\\\ a &= b$$, it is *so*: see [here](https://example.org/a?b=1&c=2)."
            "\n\n- 1 < 2 & 3")
    assert clean.markdown(text) == text.replace("a<b", "a< b")


def test_outputs_keep_texts_errors_and_pictures():
    kept = clean.outputs([
        {"output_type": "stream", "name": "stdout", "text": "hello\n"},
        {"output_type": "display_data", "metadata": {"image/png": {"width": "1\" onload=\"x"}},
         "data": {"image/png": PNG, "text/html": "<b>", "text/plain": "a figure"}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no\nlines", "traceback": ["one", "two"]},
    ])
    assert kept == [
        {"output_type": "stream", "name": "stdout", "text": "hello\n"},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": PNG, "text/plain": "a figure"}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no lines", "traceback": ["one", "two"]}]


@pytest.mark.parametrize("output", [
    None, 7, [], {}, {"output_type": "stream"}, {"output_type": "stream", "text": 3, "name": ["x"]},
    {"output_type": "error"}, {"output_type": "error", "traceback": [1, None], "ename": {}},
    {"output_type": "display_data"}, {"output_type": "display_data", "data": [1]},
    {"output_type": "display_data", "data": {"image/png": "\"><script>"}},
    {"output_type": "display_data", "data": {"image/png": "PHN2Zz4=", "image/svg+xml": "<svg/>"}},
    {"output_type": "execute_result", "data": {"application/javascript": "alert(1)"}, "execution_count": "x"},
    {"output_type": "update_display_data", "data": {"text/html": "<script>"}}])
def test_odd_outputs_become_good_ones_or_none(output):
    import nbformat

    cell = new_code_cell("1", outputs=[nbformat.from_dict(o) for o in clean.outputs([output])])
    nbformat.validate(new_notebook(cells=[cell]))
    assert "script" not in str(cell.outputs) and "svg" not in str(cell.outputs)


def test_no_output_acts_in_a_page():
    outputs = clean.outputs([*handins.EVIL_OUTPUTS,
                             {"output_type": "stream", "name": "stdout", "text": "<script>1</script>\x1b]0;\x07"},
                             {"output_type": "error", "ename": "<script>", "evalue": "<img src=x onerror=alert(1)>",
                              "traceback": ["\x1b[31m<script>alert(1)</script>\x1b[0m"]}])
    import nbformat

    notebook = new_notebook(cells=[new_code_cell("'<script>'", outputs=[nbformat.from_dict(o) for o in outputs]),
                                   new_markdown_cell(clean.markdown(handins.EVIL_MARKDOWN))])
    page, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert [found for found in acting(page) if not found.startswith("style")] == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size,kept", [((30, 20), True), ((65_000, 65_000), False)])
def test_a_picture_that_would_fill_the_memory(kind, size, kept):
    import base64
    import io
    import struct

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind == "PNG":
        struct.pack_into(">II", data, 16, *size)
    else:
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, *size)
    shown = clean.outputs([{"output_type": "display_data",
                            "data": {f"image/{kind.lower()}": base64.b64encode(data).decode()}}])
    assert bool(shown) == kept


@pytest.mark.parametrize("text", ["j" + " " * 200_000, "j " * 100_000, "&#" * 100_000, "j&#" + "a" * 200_000,
                                  "<" * 200_000, "d&#x" * 50_000, "java" + "\\" * 200_000, "&" * 200_000,
                                  "d\\" * 100_000, "\x1b[" + "1;" * 100_000])
def test_no_text_takes_long(text):
    import time

    begun = time.process_time()
    clean.markdown(text)
    clean.line(text)
    assert time.process_time() - begun < 2


def test_size_is_bounded():
    big = {"output_type": "stream", "name": "stdout", "text": "x" * 10**7}
    assert len(str(clean.outputs([big] * 500))) < 200 * 60_000
    assert len(str(clean.outputs([big] * 500, room=200_000))) < 300_000


def test_a_line_is_one_line_without_orders_to_a_terminal():
    assert clean.line("a\nb\t c\x1b[31m\x1b]0;title\x07\u202e") == "a b c]0;title"
    assert len(clean.line("x" * 1000)) == 200

"""What students get back: points, reasons and comments of everyone, nothing that acts, and no hidden check."""

import html
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ganlab import cli
from ganlab.errors import GanlabError
from ganlab.homework import Assignment, feedback, gradebook, grading
from ganlab.homework.gradebook import Entry, Question
from tests.homework import handins
from tests.homework.handins import code, notebook, text
from tests.homework.test_clean import ATTACKS, PNG

ELEMENTS = feedback.TAGS | {"html", "head", "meta", "title", "style", "body", "main", "section"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "id", "scope", "href", "src", "alt", "start"}
HIDDEN = [line.strip() for line in (handins.HERE / "tiny" / "judge.py").read_text().splitlines()
          if len(line.strip()) > 20] + ["BEGIN SOLUTION", "clamp_leaves_its_argument", "softmax_of_large_logits"]


def acting(page):
    """What in a page is not on the list of what may be in it: elements, attributes, addresses."""
    soup = BeautifulSoup(page, "html.parser")
    found = [element.name for element in soup.find_all(True) if element.name not in ELEMENTS]
    for element in soup.find_all(True):
        for name, value in element.attrs.items():
            value = " ".join(value) if isinstance(value, list) else value
            if name not in ATTRIBUTES or (name == "src" and not re.match(r"data:image/(png|jpeg);base64,", value)) \
                    or (name == "href" and not re.match(r"#q-|https?:|mailto:", value)):
                found.append(f"{element.name} {name}={value[:50]}")
    (style,) = soup.find_all("style")
    (policy,) = soup.select('meta[http-equiv="Content-Security-Policy"]')
    found += [word for word in ("url(", "@import", "expression") if word in style.string]
    return found + ([] if policy["content"].startswith("default-src 'none'; img-src data:; style-src") else ["policy"])


def leaks(page):
    """Lines of the hidden checks in a page."""
    words = " ".join(BeautifulSoup(page, "html.parser").get_text().split())
    return [line for line in HIDDEN if " ".join(line.split()) in words or line in html.unescape(page)]


@pytest.fixture(scope="module")
def entry():
    questions = {name: Question(worth, worth, 0.0, False, False) for name, worth in handins.TINY.points.items()}
    return Entry("ann", "Ann", "Bell <b>", "", "", questions, {}, 0.0, 10.0, 14.0)


def page_of(entry, *cells):
    return feedback.page(handins.TINY, entry, list(cells))


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_acts_in_a_page(entry, attack):
    """Not even where nothing was cleaned before: in Markdown, code, outputs, comments, names and reasons."""
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/plain": attack, "text/html": attack}}
    error = {"output_type": "error", "ename": attack, "evalue": attack, "traceback": [attack]}
    cell = text(attack) | {"metadata": {"nbgrader": {"grade_id": "mean"}}}
    known = replace(entry, first_name=attack, last_name=attack, student=attack, comments={"mean": attack})
    page = feedback.page(handins.TINY, known, [cell, text(f"> {attack}"), code(attack, output, error)],
                         dict.fromkeys(entry.questions, attack))
    assert acting(page) == []


def test_what_acts_would_be_found(entry):
    page = page_of(entry)
    assert acting(page) == []
    for word in ("<script>", "<svg/>", "<p onclick='x'>", "<img src='https://example.org/a.png'>",
                 "<a href='javascript:x'>", "<p style='x'>"):
        assert acting(page.replace("</main>", word + "</main>")) != []
    assert leaks(page.replace("</main>", "<p>values = rng.normal(size=(20, 7))</p></main>")) != []


def test_formatting_links_formulas_and_pictures_stay(entry):
    output = {"output_type": "display_data", "metadata": {}, "data": {"image/png": PNG, "text/plain": "a <figure>"}}
    page = page_of(entry, text("**so** $a_b<c_d$ [x](https://example.org/?a=1&b=2)\n\n| a |\n|---|\n| 1 |\n\n"
                               "![a map](https://example.org/map.png)"), code("print('<b>')", output))
    soup = BeautifulSoup(page, "html.parser")
    assert "so" in [tag.string for tag in soup.find_all("strong")]
    assert "$a_b<c_d$" in soup.get_text() and "[picture: a map]" in soup.get_text()
    assert soup.find("a", href="https://example.org/?a=1&b=2") and soup.find("td", string="1")
    (picture,) = soup.find_all("img")
    assert picture["src"].endswith(PNG) and picture["alt"] == "a <figure>"
    assert "print('<b>')" in soup.get_text() and "example.org/map" not in page


def test_a_page_is_small_whatever_was_printed(entry):
    stream = {"output_type": "stream", "name": "stdout", "text": "x" * 10**7}
    big = {"output_type": "display_data", "metadata": {}, "data": {"image/png": PNG + "\n" * 4_000_000}}
    lines = {"output_type": "stream", "name": "stdout", "text": "line\n" * 10**6}
    page = page_of(entry, code("1", big), *[code("1 # " + "é" * 40_000, *[stream, lines] * 60)] * 30)
    assert len(page) < 5_000_000 and "left out: the page is full" in page
    assert page.rstrip().endswith("</html>") and acting(page) == []


@pytest.mark.parametrize("hard", ["\\\\(" * 60_000, "[x](" * 50_000, "> " * 100_000, "*a " * 60_000, "|a" * 90_000,
                                  "(" * 200_000, "$a" * 90_000])
def test_no_text_takes_long(entry, hard):
    import time

    begun = time.process_time()
    page_of(entry, *[text(hard), text(hard[:14_000]), code(hard[:14_000])])
    assert time.process_time() - begun < 10


@pytest.fixture(scope="module")
def graded(isolation, made_course, tmp_path_factory):
    """A class of friends and enemies, graded, one of them also by hand; `test_hostile.py` looks at all the others."""
    import shutil

    course = tmp_path_factory.mktemp("graded") / "course"
    shutil.copytree(made_course, course)
    cases = handins.cases(course, 1)
    students = {"ann": handins.file(notebook(why="Because **it** adds up to 1.")), "bob": cases["wrong"].content,
                "12": cases["scripts"].content, "cy": b"<html>"} | {
        name: cases[name].content for name in ("scripts-when-run", "keeps-what-it-sees")}
    for student, content in students.items():
        folder = course / "submitted" / student / "tiny"
        folder.mkdir(parents=True)
        (folder / "tiny.ipynb").write_bytes(content)
        (folder / "timestamp.txt").write_text("2026-02-03 04:05:06 UTC")
    (course / "submitted/ann/tiny/submission_secret.txt").write_text("ab" * 64)
    (course / "submitted/bob/tiny/submission_secret.txt").write_text("<script>")
    (course / "submitted/cy/tiny/submission_secret.txt").symlink_to(course / "gradebook.db")
    (course / "roster.json").write_text('{"12": "Bö_b/../Coe", "bob": "Bob"}')
    outcome = grading.grade(course, "tiny", isolation, progress=False, jobs=2)
    gradebook.fill(course, Assignment.find(course, "tiny"), outcome.results, {"ann": ("Ann", "Bell, jr")})
    with gradebook.opened(course) as book:
        for cell, score, extra in (("why", 1.5, None), ("curve", 2, 0.5), ("test_mean", 1, None)):
            grade = book.find_grade(cell, "tiny", "tiny", "ann")
            grade.manual_score, grade.needs_manual_grade, grade.extra_credit = score, False, extra
        book.find_comment("why", "tiny", "tiny", "ann").manual_comment = "Well *said* <img src=x onerror=alert(1)>"
        book.db.commit()
    return course, Assignment.find(course, "tiny")


def test_everyone_gets_a_page_in_which_nothing_acts_and_nothing_hidden_is(graded):
    course, assignment = graded
    written = feedback.feedback(course, assignment)
    assert len(written.pages) == 6 and not written.missing
    assert "ann" not in written.waiting and "12" in written.waiting
    for student, path in written.pages.items():
        assert path == course / "feedback" / student / "tiny" / "tiny.html"
        page = path.read_text(encoding="utf-8")
        assert acting(page) == [] and leaks(page) == [], student
        assert len(page) < 150_000, student
        assert "LOOK AWAY" not in page and "[mean(row)" not in page, student


def test_points_reasons_comments_and_what_people_gave(graded):
    course, assignment = graded
    feedback.feedback(course, assignment, ["ann", "bob", "cy"])
    soup = BeautifulSoup((course / "feedback/ann/tiny/tiny.html").read_text(), "html.parser")
    assert soup.h1.string == "tiny: 14 of 14 points" and "Ann Bell, jr (ann)" in soup.get_text()
    rows = {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")] for row in soup.tbody.find_all("tr")}
    assert rows == {"test_mean": ["1", "2", "graded by hand"], "test_clamp": ["3", "3", ""],
                    "test_softmax": ["6", "5", ""], "why": ["1.5", "2", "graded by hand"],
                    "curve": ["2.5", "2", "graded by hand; 0.5 of them extra"]}
    assert "Well said" in soup.find(id="q-why").get_text() and "Not all of it" not in soup.get_text()
    bob = (course / "feedback/bob/tiny/tiny.html").read_text()
    assert "try numbers of either sign" in bob and "tiny: 0 of 14 points" in bob
    assert "a web page" in (course / "feedback/cy/tiny/tiny.html").read_text()


def test_a_reason_of_another_run_is_not_shown(graded, tmp_path):
    course, assignment = graded
    file = grading.result_file(course, "tiny", "bob")
    before = file.read_text()
    try:
        file.write_text(re.sub(r'"fingerprint": "\w+"', '"fingerprint": "0"', before))
        feedback.feedback(course, assignment, ["bob"])
        soup = BeautifulSoup((course / "feedback/bob/tiny/tiny.html").read_text(), "html.parser")
        assert "either sign" not in soup.tbody.get_text()
    finally:
        file.write_text(before)


def test_a_notebook_that_a_person_has_saved_or_broken(graded):
    import nbformat

    course, assignment = graded
    file = course / "autograded" / "bob" / "tiny" / "tiny.ipynb"
    before = file.read_text()
    page = feedback.feedback(course, assignment, ["bob"]).pages["bob"]
    first = page.read_text()
    try:
        nbformat.write(nbformat.read(file, as_version=4), file)  # which keeps texts as lists of lines
        assert file.read_text() != before
        feedback.feedback(course, assignment, ["bob"])
        assert page.read_text() == first
        file.write_text(before[:500])
        assert feedback.feedback(course, assignment, ["bob"]).missing == ["bob"]
    finally:
        file.write_text(before)


def test_what_goes_with_it_through_the_exchange_and_to_moodle(graded, tmp_path):
    course, assignment = graded
    written = feedback.feedback(course, assignment)
    kept = {student: sorted(path.name for path in (course / "feedback" / student / "tiny").iterdir())
            for student in ("ann", "bob", "cy")}
    assert kept == {"ann": ["submission_secret.txt", "timestamp.txt", "tiny.html"],
                    "bob": ["timestamp.txt", "tiny.html"], "cy": ["timestamp.txt", "tiny.html"]}
    feedback.pack(course, "tiny", written.pages, tmp_path / "back.zip")
    with zipfile.ZipFile(tmp_path / "back.zip") as archive:
        names = archive.namelist()
        assert archive.read("ann/tiny.html") == written.pages["ann"].read_bytes()
    assert "Bö b .. Coe_12_assignsubmission_file/tiny.html" in names and "bob/tiny.html" in names
    with pytest.raises(GanlabError, match="is there already"):
        feedback.pack(course, "tiny", written.pages, tmp_path / "back.zip")


@pytest.mark.slow
def test_nbgrader_releases_it_and_the_assignment(graded, tmp_path):
    from nbgrader.utils import notebook_hash

    course, assignment = graded
    written = feedback.feedback(course, assignment, ["ann"])
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange").chmod(0o777)
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                                "HOME": str(tmp_path)}
    for words in (["release_assignment", "tiny"], ["release_feedback", "tiny", "--student=ann"]):
        done = subprocess.run([sys.executable, "-m", "nbgrader", *words, f"--Exchange.root={tmp_path / 'exchange'}"],
                              cwd=course, text=True, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "exchange" / "course" / "outbound" / "tiny" / "tiny.ipynb").is_file()
    (released,) = (tmp_path / "exchange" / "course" / "feedback").iterdir()
    assert released.name == notebook_hash(secret="ab" * 64, notebook_id="tiny") + ".html"
    assert released.read_bytes() == written.pages["ann"].read_bytes()


def test_the_command(graded, tmp_path, capsys):
    course, _ = graded
    words = ["homework", "feedback", "tiny", "--course", str(course)]
    assert cli.main([*words, "--zip", str(tmp_path / "all.zip")]) == 0
    said = capsys.readouterr()
    assert "6 pages are in" in said.out and "all of them are in" in said.out
    assert "not wholly graded: 12: the page says so" in said.err and "ann" not in said.err
    assert cli.main([*words, "--zip", str(tmp_path / "all.zip")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert cli.main([*words, "--student", "zoe"]) == 1
    assert "zoe: no tiny of theirs is graded" in capsys.readouterr().err


def test_nothing_is_graded(course, capsys):
    assert cli.main(["homework", "feedback", "tiny", "--course", str(course)]) == 1
    assert "nothing of tiny is graded" in capsys.readouterr().err
    (course / "gradebook.db").unlink()
    assert cli.main(["homework", "export", "tiny", "--course", str(course)]) == 1
    assert "`ganlab homework grade tiny` does that" in capsys.readouterr().err
    assert not (course / "gradebook.db").exists()

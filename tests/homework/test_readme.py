"""The instructor's guide: every command in it is run, in its order, on a class of two."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from ganlab import cli
from ganlab.homework import Assignment, gradebook
from ganlab.homework.assignment import flag
from tests.browser.conftest import TOKEN, serving
from tests.homework.test_feedback import acting

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "homework" / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```\w*\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines() if line]
WORKSHEET = ("Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed\r\n"
             "Participant 101,Ann Bell,a@example.org,Submitted,,30.00,Yes\r\n"
             "Participant 102,陳 大文,c@example.org,Submitted,,30.00,Yes\r\n"
             "Participant 103,Bo Dee,b@example.org,No submission,,30.00,Yes\r\n")


def notebook(assignment, **answers):
    """The reference solution as a student would hand it in, but for these answers."""
    made = nbformat.from_dict(json.loads(json.dumps(assignment.release)))
    for cell, source in zip(made.cells, assignment.source.cells, strict=True):
        if flag(cell, "solution"):
            cell.source = answers.get(cell.metadata.nbgrader.grade_id, source.source)
    return nbformat.writes(made)


def ask(url, path, body=None):
    request = urllib.request.Request(f"{url}/formgrader/api/{path}", method="PUT" if body else "GET",
                                     data=json.dumps(body).encode() if body else None,
                                     headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def grade_by_hand(url):
    """Full marks for everything that waits, and a comment, through formgrader."""
    for submission in ask(url, "submitted_notebooks/take_turns/take_turns"):
        for grade in ask(url, f"grades?submission_id={submission['id']}"):
            if grade["needs_manual_grade"]:
                ask(url, f"grade/{grade['id']}", {"manual_score": grade["max_score"], "extra_credit": None})
        comments = ask(url, f"comments?submission_id={submission['id']}")
        (report,) = (comment for comment in comments if comment["name"] == "report")
        ask(url, f"comment/{report['id']}", {"manual_comment": "A fine report."})


def test_the_guide_is_short_and_its_commands_are_known():
    assert len(GUIDE.splitlines()) <= 120 and 10 <= len(COMMANDS) <= 13
    assert {line.split()[2] for line in COMMANDS if line.startswith("ganlab homework")} == {
        "doctor", "build", "check", "collect", "grade", "feedback", "export"}
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (ROOT / "homework" / path).exists(), path


@pytest.mark.slow
def test_from_nothing_to_returned_feedback(isolation, tmp_path, monkeypatch, capsys):
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here, tmp_path / "server"):
        folder.mkdir()
    shutil.copytree(ROOT / "homework" / "take_turns", here / "homework" / "take_turns")
    monkeypatch.chdir(here)
    environment = {"HOME": str(home), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assignment = Assignment.find(here / "homework" / "take_turns")
    wrong = notebook(assignment, by_loss="class ByLoss(Schedule):\n    pass")
    with zipfile.ZipFile(here / "submissions.zip", "w") as archive:
        archive.writestr("Ann Bell_101_assignsubmission_file/take_turns.ipynb", notebook(assignment))
        archive.writestr("陳 大文_102_assignsubmission_file/take_turns.ipynb", wrong)
    (here / "worksheet.csv").write_bytes(WORKSHEET.encode())

    said = []
    for line in COMMANDS:
        if line.endswith("jupyter lab"):
            with serving(tmp_path / "server", ["bash", "-c", f'{line} "$@"', "bash",
                                               "--IdentityProvider.token={token}",
                                               "--port-retries=0"], environment) as running:
                grade_by_hand(running.url)
            continue
        program, *words = [os.path.expanduser(word) for word in shlex.split(line)]
        assert program == "ganlab" and cli.main(words) == 0, line
        said.append(capsys.readouterr().out)
    assert "isolation  bubblewrap" in said[0] and "4 of 4 are right" in said[2]
    assert "2 graded (2 as before), 0 failed" in said[-1] and "0 entries of" in said[-1]

    course = home / "gan-course"
    entries = gradebook.entries(course, Assignment.find(course, "take_turns"))
    assert {student: entry.score for student, entry in entries.items()} == {"101": 30, "102": 26}
    with zipfile.ZipFile(here / "feedback.zip") as archive:
        pages = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(pages) == {"Ann Bell_101_assignsubmission_file/take_turns.html",
                          "陳 大文_102_assignsubmission_file/take_turns.html"}
    for page in pages.values():
        assert acting(page) == [] and "A fine report." in page
    ann = BeautifulSoup(pages["Ann Bell_101_assignsubmission_file/take_turns.html"], "html.parser")
    assert ann.h1.string == "take_turns: 30 of 30 points"
    rows = list(csv.DictReader(io.StringIO((course / "take_turns.csv").read_bytes().decode("utf-8-sig"), newline="")))
    assert [(row["student"], row["last_name"], float(row["score"])) for row in rows] == [
        ("101", "Bell", 30), ("102", "大文", 26)]
    filled = WORKSHEET.replace("Submitted,,", "Submitted,30,", 1).replace("Submitted,,", "Submitted,26,", 1)
    assert (here / "worksheet-filled.csv").read_bytes() == filled.encode()

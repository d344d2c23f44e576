"""nbgrader's own formgrader opens a course that was graded here; what people enter there is in feedback and export, and
stays when the class is graded again."""

import csv
import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ganlab import cli
from tests.browser.conftest import TOKEN, serving
from tests.homework import handins
from tests.homework.handins import notebook

pytestmark = pytest.mark.slow
START = "import os, sys; os.chdir(sys.argv.pop(1)); from jupyter_server.serverapp import main; main()"


def hand_in(course, **contents):
    for student, content in contents.items():
        folder = course / "submitted" / student / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.ipynb").write_bytes(content)


def grade(course, *words):
    assert cli.main(["homework", "grade", "tiny", "--course", str(course), "--resume", *words]) == 0


class Formgrader:
    """The pages of formgrader, and what they talk to."""

    def __init__(self, url):
        self.url = url

    def read(self, path, body=None):
        request = urllib.request.Request(f"{self.url}/formgrader/{path}", method="GET" if body is None else "PUT",
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def ask(self, path, body=None):
        return json.loads(self.read(f"api/{path}", body))


@pytest.fixture
def formgrader(course, isolation, tmp_path):
    """A graded class of two, and a server that was started in its folder, as an instructor does."""
    hand_in(course, ann=handins.file(notebook(why="Because *it* adds up.")),
            bob=handins.changed(lambda made: made["cells"].extend([handins.code("1", *handins.EVIL_OUTPUTS),
                                                                   handins.text(handins.EVIL_MARKDOWN)]),
                                why=handins.EVIL_MARKDOWN, mean=handins.NO_MEAN))
    grade(course)
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", [
            sys.executable, "-c", START, str(course), "--IdentityProvider.token={token}", "--port-retries=0",
            f"--ServerApp.root_dir={course}",
            "--ServerApp.jpserver_extensions={{'nbgrader.server_extensions.formgrader': True}}"], {}) as running:
        yield Formgrader(running.url)


def exported(course):
    """Our table, by student."""
    assert cli.main(["homework", "export", "tiny", "--course", str(course), "--overwrite"]) == 0
    text = (course / "tiny.csv").read_bytes().decode("utf-8-sig")
    return {row["student"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


def nbgraders(course):
    """What `nbgrader export` says, by student."""
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                                "HOME": str(course)}
    done = subprocess.run([sys.executable, "-m", "nbgrader", "export", "--to", "theirs.csv"], cwd=course, text=True,
                          env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with open(course / "theirs.csv", newline="") as f:
        return {row["student_id"]: row for row in csv.DictReader(f)}


def test_a_grade_by_hand_from_the_page_to_the_student(formgrader, course, capsys):
    # What the instructor sees: the assignment, who handed in, and each notebook, in which nothing of a student's acts.
    (known,) = formgrader.ask("assignments")
    assert known["name"] == "tiny" and known["num_submissions"] == 2 and known["max_score"] == 14
    assert "manage_assignments" in formgrader.read("manage_assignments") and formgrader.read("manage_submissions/tiny")
    submissions = {one["student"]: one for one in formgrader.ask("submissions/tiny")}
    assert {student: (one["score"], one["autograded"], one["submitted"], one["needs_manual_grade"])
            for student, one in submissions.items()} == {"ann": (11, True, True, True), "bob": (9, True, True, True)}
    notebooks = {one["student"]: one["id"] for one in formgrader.ask("submitted_notebooks/tiny/tiny")}
    page = BeautifulSoup(formgrader.read(f"submissions/{notebooks['ann']}/"), "html.parser")
    assert page.find("input", id="why") and page.find("textarea", id="mean-comment")
    assert "Because it adds up." in page.get_text()
    shown = BeautifulSoup(formgrader.read(f"submissions/{notebooks['bob']}/"), "html.parser").find(id="notebook")
    assert "alert(6)" in shown.get_text() and not shown.find_all(["script", "svg", "iframe"])
    assert not [name for element in shown.find_all(True) for name in element.attrs if name.startswith("on")]

    # Points and words by hand, as the page sends them.
    grades = {one["name"]: one for one in formgrader.ask(f"grades?submission_id={notebooks['ann']}")}
    comments = {one["name"]: one for one in formgrader.ask(f"comments?submission_id={notebooks['ann']}")}
    assert grades["test_softmax"]["auto_score"] == 6 and grades["why"]["needs_manual_grade"]
    for cell, score, extra in (("why", 1.5, None), ("curve", 2, 0.25)):
        formgrader.ask(f"grade/{grades[cell]['id']}", {"manual_score": score, "extra_credit": extra})
    formgrader.ask(f"comment/{comments['why']['id']}", {"manual_comment": "Because *it* must, you =mean?"})
    assert formgrader.ask("submission/tiny/ann")["score"] == 14.75
    assert not formgrader.ask("submission/tiny/ann")["needs_manual_grade"]

    def everywhere(score):
        rows, theirs = exported(course), nbgraders(course)
        assert {student: float(row["score"]) for student, row in rows.items()} == {"ann": score, "bob": 9}
        assert {student: float(row["score"]) for student, row in theirs.items()} == {"ann": score, "bob": 9}
        assert (rows["ann"]["why"], rows["ann"]["curve"], rows["bob"]["waiting"]) == ("1.5", "2.25", "why, curve")
        assert cli.main(["homework", "feedback", "tiny", "--course", str(course)]) == 0
        ann = BeautifulSoup((course / "feedback/ann/tiny/tiny.html").read_text(), "html.parser")
        assert f"{score:g} of 14 points" in ann.h1.string and "Because it must, you =mean?" in ann.get_text()
        return rows["ann"], ann

    row, _ = everywhere(14.75)
    assert row["waiting"] == ""

    # Graded again with nothing new, and with another notebook: what people entered stays, and is marked for a look.
    grade(course)
    everywhere(14.75)
    hand_in(course, ann=handins.file(notebook(why="Another reason.", clamp=handins.NO_CLAMP)))
    grade(course)
    row, ann = everywhere(11.75)
    assert row["waiting"] == "why" and "Another reason." in ann.get_text()
    assert formgrader.ask("submission/tiny/ann")["needs_manual_grade"]

"""Grading a class: the same grades however it is done, also when it is killed in between."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganlab import cli
from ganlab.errors import GanlabError
from ganlab.homework import Assignment, grading, sandbox
from ganlab.homework.judging import Wrong
from tests.homework import handins
from tests.homework.handins import RIGHT, notebook

CLASS = {
    "ann": handins.file(notebook()), "bob": handins.file(notebook(mean=handins.NO_MEAN)),
    "cy": b"<html>", "dee": handins.file(notebook(clamp="import os\nos._exit(1)")),
    "ed": handins.file(notebook(softmax=handins.NO_SOFTMAX)), "flo": b"{", "gus": handins.file(notebook(mean="1/0")),
}
SCORES = {"ann": 10, "bob": 8, "cy": 0, "dee": 7, "ed": 5, "flo": 0, "gus": 8}


@pytest.fixture
def handed_in(course):
    for student, content in CLASS.items():
        folder = course / "submitted" / student / "tiny"
        folder.mkdir(parents=True)
        (folder / "tiny.ipynb").write_bytes(content)
    return course


def grades(course):
    """What the result files say, but for times and pictures."""
    found = {}
    for path in sorted((course / "results" / "tiny").glob("*.json")):
        result = json.loads(path.read_text())
        found[path.stem] = {key: result[key] for key in (*grading.SECTIONS, "seed", "fingerprint")}
    return found


def grade(course, isolation, **how):
    return grading.grade(course, "tiny", isolation, progress=False, **how)


def test_one_by_one_side_by_side_and_in_shards(handed_in, isolation):
    outcome = grade(handed_in, isolation)
    alone = grades(handed_in)
    assert {student: result["score"] for student, result in alone.items()} == SCORES
    assert not outcome.failed and outcome.skipped == 0 and list(outcome.results) == sorted(CLASS)
    grade(handed_in, isolation, jobs=2)
    assert grades(handed_in) == alone
    for path in (handed_in / "results" / "tiny").iterdir():
        path.unlink()
    parts = [grade(handed_in, isolation, shard=(k, 3)).results for k in (1, 2, 3)]
    assert sorted(student for part in parts for student in part) == sorted(CLASS)
    assert grades(handed_in) == alone
    merged = grade(handed_in, isolation, resume=True)
    assert merged.skipped == len(CLASS) and grades(handed_in) == alone


def test_a_probe_may_have_a_time_of_its_own(tiny, isolation):
    busy = "import time\nend = time.process_time() + 3\nwhile time.process_time() < end:\n    pass\n1"
    submission = grading.Submission("ann", CLASS["ann"], {})
    with grading.JUDGING, grading.Examination(tiny, submission, isolation, 0) as examination:
        ask = examination.ask("test_mean")
        assert ask(busy, seconds=30) == 1
        with pytest.raises(Wrong, match="took longer than 2 s"):
            ask(busy)


SHARED = """
import random, time
from ganlab.homework import Judge

judge = Judge(seconds=2, memory=0.5)

def draws(ask, rng):
    right = []
    for _ in range(5):
        ask("1")
        random.seed(7)
        time.sleep(0.02)
        right.append(random.random() == random.Random(7).random())
    return all(right)

for name, (cell, points) in enumerate({"test_mean": 2, "test_clamp": 3, "test_softmax": 5}.items()):
    draws.__name__ = f"draws_{name}"
    judge.check(cell, points)(draws)
"""


def test_checks_may_draw_from_what_the_whole_process_shares(handed_in, isolation):
    """Such as torch's generator: another submission's check at the same time must not draw in between."""
    (handed_in / "judges" / "tiny.py").write_text(SHARED)
    for student in ("ann", "bob", "ed"):
        (handed_in / "submitted" / student / "tiny" / "tiny.ipynb").write_bytes(CLASS["ann"])
    outcome = grade(handed_in, isolation, jobs=3, students=["ann", "bob", "ed"])
    assert {student: result["score"] for student, result in outcome.results.items()} == {
        "ann": 10, "bob": 10, "ed": 10}


def test_resume_does_what_is_missing_changed_or_broken(handed_in, isolation):
    grade(handed_in, isolation)
    before = grades(handed_in)
    (handed_in / "submitted/bob/tiny/tiny.ipynb").write_bytes(CLASS["ann"])
    grading.result_file(handed_in, "tiny", "ed").unlink()
    broken = grading.result_file(handed_in, "tiny", "ann")
    broken.write_text(broken.read_text()[:500])
    outcome = grade(handed_in, isolation, resume=True)
    assert outcome.skipped == len(CLASS) - 3
    after = grades(handed_in)
    assert after["bob"]["score"] == 10
    assert {k: v for k, v in after.items() if k != "bob"} == {k: v for k, v in before.items() if k != "bob"}
    assert grade(handed_in, isolation, resume=True, seed=1).skipped == 0
    with open(handed_in / "judges" / "tiny.py", "a") as f:
        f.write("\n# another version\n")
    assert grade(handed_in, isolation, resume=True, seed=1).skipped == 0


def test_killed_and_resumed(handed_in, isolation, tmp_path):
    """By the signal that nobody can catch: what is written is whole, and the rest is done later, to the same grades."""
    grade(handed_in, isolation)
    whole = grades(handed_in)
    for path in (handed_in / "results" / "tiny").iterdir():
        path.unlink()
    command = [sys.executable, "-m", "ganlab", "homework", "grade", "tiny", "--course", str(handed_in)]
    running = subprocess.Popen([*command, "-j", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(list((handed_in / "results" / "tiny").glob("*.json"))) < 2:
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    there = grades(handed_in)
    assert 2 <= len(there) <= len(CLASS) and all(whole[student] == result for student, result in there.items())
    assert not (handed_in / "gradebook.db").read_bytes().count(b"ann")
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{len(CLASS)} graded \((\d+) as before\), 0 failed", done.stdout)
    assert grades(handed_in) == whole


def test_interrupted_at_the_terminal(handed_in, isolation, tmp_path):
    """Ctrl-C reaches the grader alone: no student loses points by it."""
    (handed_in / "submitted/ann/tiny/tiny.ipynb").write_bytes(handins.file(
        notebook(mean="import time\nfor _ in range(500): time.sleep(0.01)\n" + RIGHT["mean"])))
    command = [sys.executable, "-m", "ganlab", "homework", "grade", "tiny", "--course", str(handed_in),
               "--student", "ann"]
    said = tmp_path / "said.txt"
    with open(said, "w") as f:
        running = subprocess.Popen(command, stdout=f, stderr=f, start_new_session=True,  # a group of its own
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    until = time.monotonic() + 120
    while not ("tiny:" in said.read_text() and any("kernel.py" in line for line in _below(running.pid))):
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(60) == 130
    assert "--resume goes on" in said.read_text()
    assert not list((handed_in / "results").glob("*/*.json"))


def _below(pid):
    lines = []
    for one in sandbox._descendants(pid):
        try:
            lines.append(Path(f"/proc/{one}/cmdline").read_text())
        except OSError:
            continue
    return lines


def test_the_solution_gets_all_points_with_every_seed_and_the_empty_version_none(tiny, isolation):
    grading.prove(tiny, isolation, range(20))


def test_a_solution_that_misses_a_point_is_no_solution(tmp_path, isolation):
    import shutil

    shutil.copytree(handins.HERE / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "judge.py"
    path.write_text(path.read_text().replace("values.mean(1)", "values.mean(1) + (rng.random() < 0.3)"))
    with pytest.raises(GanlabError, match=r"tiny: with seed \d+ the solution gets 8 of 10 points .*test_mean"):
        grading.prove(Assignment.find(tmp_path / "tiny"), isolation, range(40))
    path.write_text(path.read_text().replace("return close(ask(\"clamp(values", "return True or (ask(\"clamp(values"))
    with pytest.raises(GanlabError):
        grading.prove(Assignment.find(tmp_path / "tiny"), isolation, [])


def test_a_check_that_stumbles_over_an_odd_form_costs_its_points_and_is_noted(tiny, isolation, monkeypatch):
    def stumbles(ask, rng):
        return bool(ask("mean([1, 2])")[3])

    (check,) = tiny.judge.of("test_mean")
    monkeypatch.setitem(tiny.judge.__dict__, "checks", [
        grading.Check(check.name, check.cell, 2, "look again", False, stumbles),
        *[other for other in tiny.judge.checks if other is not check]])
    result = grading.examine(tiny, grading.Submission("ann", CLASS["ann"], {}), isolation)
    assert result["score"] == 8 and "test_mean: look again" in result["reason"]
    assert result["notes"][0].startswith("check mean: IndexError")


@pytest.mark.parametrize("share,points", [(0.5, 1.0), (7, 2.0), (-1, 0.0), (float("nan"), 0.0), (True, 2.0)])
def test_a_share_of_the_points(tiny, isolation, monkeypatch, share, points):
    monkeypatch.setitem(tiny.judge.__dict__, "checks", [
        grading.Check(check.name, check.cell, check.points, "", check.bonus,
                      lambda ask, rng, here=check.cell == "test_mean": share if here else False)
        for check in tiny.judge.checks])
    result = grading.examine(tiny, grading.Submission("ann", CLASS["ann"], {}), isolation)
    assert result["score"] == points


def test_a_machine_that_fails_is_no_fault_of_the_students(handed_in, isolation, monkeypatch):
    real = type(isolation).start

    def start(self, limits, readable=(), hidden=()):
        if threads.count(1) in (3, 4):  # the third start, and its repetition
            threads.append(1)
            raise OSError("out of processes")
        threads.append(1)
        return real(self, limits, readable, hidden)

    threads = []
    monkeypatch.setattr(type(isolation), "start", start)
    outcome = grade(handed_in, isolation)
    (student,) = outcome.failed
    assert "out of processes" in outcome.failed[student]
    assert not grading.result_file(handed_in, "tiny", student).exists()
    assert len(outcome.results) == len(CLASS) - 1
    assert "not graded: NotStarted: out of processes" in grading.table(outcome, ["test_mean"])
    assert grade(handed_in, isolation, resume=True).skipped == len(CLASS) - 1
    assert {student: result["score"] for student, result in grades(handed_in).items()} == SCORES


def test_files_come_along_and_can_be_looked_at_in_a_clean_process(tiny, isolation, monkeypatch):
    def look(ask, rng):
        counts = ask.alone("import csv\n[float(row[1]) for row in csv.reader(open('history.csv'))]")
        texts = ask.alone("{'a': [1], 'b': [[2, 3]]}", each=True)
        return counts.tolist() == [0.5, 0.25] and texts["b"].shape == (1, 2)

    (check,) = tiny.judge.of("test_mean")
    monkeypatch.setitem(tiny.judge.__dict__, "checks", [
        grading.Check(check.name, check.cell, 2, "", False, look),
        *[other for other in tiny.judge.checks if other is not check]])
    files = {"history.csv": b"1,0.5\n2,0.25\n"}
    spoiled = notebook(mean="import csv\nopen('history.csv', 'w').write('1,9')\ncsv.reader = None\n" + RIGHT["mean"])
    for content in (CLASS["ann"], handins.file(spoiled)):
        result = grading.examine(tiny, grading.Submission("ann", content, files), isolation)
        assert result["questions"]["test_mean"]["points"] == 2, result


def test_a_submission_is_read_with_care(tmp_path, monkeypatch):
    folder = tmp_path / "ann" / "tiny"
    (folder / "sub").mkdir(parents=True)
    (folder / "tiny.ipynb").write_bytes(b"1")
    (folder / "sub" / "a.csv").write_text("x")
    (folder / "b.bin").write_bytes(b"y" * 100)
    (folder / ".hidden").write_text("z")
    (folder / "timestamp.txt").write_text("2026")
    (folder / "up").symlink_to("/")
    read = grading.Submission.read(folder, "tiny")
    assert read.student == "ann" and read.notebook == b"1" and set(read.files) == {"sub/a.csv", "b.bin"}
    assert read.notes == ("up was left out: it is a link",)
    assert set(grading.Submission.read(folder, "tiny", ["*.csv"]).files) == {"sub/a.csv"}
    before = read.digest()
    (folder / "sub" / "a.csv").write_text("w")
    assert grading.Submission.read(folder, "tiny").digest() != before
    monkeypatch.setattr(grading, "MAX_FILE_BYTES", 50)
    assert set(grading.Submission.read(folder, "tiny").files) == {"sub/a.csv"}


@pytest.mark.parametrize("shard", [(0, 1), (3, 2), (1, 0), (-1, -1)])
def test_no_part_of_a_whole(handed_in, shard):
    with pytest.raises(GanlabError, match="--shard"):
        grade(handed_in, None, shard=shard)


def test_nothing_to_grade(course, isolation):
    with pytest.raises(GanlabError, match=r"nobody has handed in tiny"):
        grade(course, isolation)


def test_data_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    assert grading.data_folders(["mnist"]) == [tmp_path / "mnist"]
    with pytest.raises(GanlabError, match=r"ganlab data get celeba"):
        grading.data_folders(["celeba"])


class TestCommandLine:
    def test_collect_and_grade(self, course, isolation, tmp_path, capsys):
        for student in ("ann", "bob"):
            (tmp_path / "in" / student).mkdir(parents=True)
            (tmp_path / "in" / student / "tiny.ipynb").write_bytes(CLASS[student])
        (tmp_path / "in" / "cy").mkdir()
        (tmp_path / "in" / "cy" / "tiny.ipynb").symlink_to("/etc/passwd")
        words = ["--course", str(course)]
        assert cli.main(["homework", "collect", "tiny", str(tmp_path / "in"), *words]) == 1
        said = capsys.readouterr()
        assert "2 hand-ins of tiny" in said.out and "refused: cy/tiny.ipynb: a link" in said.err
        assert cli.main(["homework", "grade", "tiny", *words, "-j", "2"]) == 0
        out = capsys.readouterr().out
        assert re.search(r"ann +2 +3 +5 +10 +1  right", out)
        assert re.search(r"bob +0 +3 +5 +8 +1  test_mean: try numbers of either sign", out)
        assert "2 graded (0 as before), 0 failed" in out and "isolated by bubblewrap" in out
        assert "2 entries of" in out
        assert cli.main(["homework", "grade", "tiny", *words, "--resume"]) == 0
        out = capsys.readouterr().out
        assert "2 graded (2 as before)" in out and "0 entries of" in out

    def test_without_isolation_the_report_says_so(self, handed_in, capsys):
        words = ["homework", "grade", "tiny", "--course", str(handed_in), "--student", "ann", "--student", "cy",
                 "--isolation", "none"]
        assert cli.main(words) == 1
        assert "it takes both" in capsys.readouterr().err
        assert cli.main([*words, "--i-trust-these-students"]) == 0
        assert "NOT ISOLATED" in capsys.readouterr().out
        results = grades(handed_in)
        assert {student: result["score"] for student, result in results.items()} == {"ann": 10, "cy": 0}
        assert json.loads(grading.result_file(handed_in, "tiny", "ann").read_text())["isolation"] == "none"

    @pytest.mark.parametrize("words,said", [
        (["grade", "nothing"], "there is no .*; assignments: tiny"), (["grade", "tiny", "--student", "zoe"], "nobody"),
        (["grade", "tiny", "--shard", "3/2"], "2/8"), (["grade", "tiny", "-j", "0"], "at least 1"),
        (["collect", "tiny", "/nowhere.zip"], "there is no /nowhere.zip"), (["fly"], "invalid choice"),
        ([], "required")])
    def test_what_is_wrong_is_said_in_one_line(self, course, isolation, capsys, words, said):
        more = ["--course", str(course)] if words and words[0] != "fly" else []
        try:
            status = cli.main(["homework", *words, *more])
        except SystemExit as exit:
            status = exit.code
        error = capsys.readouterr().err
        assert status in (1, 2) and re.search(said, error) and error.count("\n") == 1

    def test_help_and_doctor(self, isolation, capsys):
        with pytest.raises(SystemExit):
            cli.main(["homework", "--help"])
        assert "in the order of a term" in capsys.readouterr().out
        assert cli.main(["homework", "doctor"]) == 0
        assert "isolation  bubblewrap" in capsys.readouterr().out

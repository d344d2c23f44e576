"""Grades as CSV that no spreadsheet takes for a program, and in files of Canvas and Moodle, else kept to the byte."""

import csv
import io
import re

import pytest

from ganlab import cli
from ganlab.errors import GanlabError
from ganlab.homework import Assignment, export, gradebook
from ganlab.homework.gradebook import Entry, Question
from tests.homework import handins

NASTY = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1+1", "＝1", "=HYPERLINK(\"http://x\",\"y\")",
         "'=1", "''=1", "Bell, jr", 'the "great"', "two\nlines", "two\r\nlines", "陳大文", "Ünal", "🙂", "", "'t Hooft",
         "a=b", "O'Neil", "-", "12", "sep=;", ";", "\u202e", "\x00", "\ufeff="]


def entry(student, score=10.0, first="Ann", last="Bell", waiting=(), penalty=0.0):
    questions = {name: Question(score if name == "test_mean" else 0.0, worth, 0.0, False, name in waiting)
                 for name, worth in (handins.TINY.points | handins.TINY.manual).items()}
    return Entry(student, first, last, f"{student}@example.org", "2026-02-03 04:05:06", questions, {}, penalty,
                 score - penalty, 14.0)


def read(text):
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.mark.parametrize("name", NASTY)
def test_a_text_comes_back_and_begins_nothing(tmp_path, name):
    text = export.table(tmp_path, handins.TINY, {"ann": entry("ann", first=name, last=f"x{name}")})
    (row,) = read(text)
    shown = row["first_name"]
    assert not re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]", shown.lstrip("\ufeff"))
    assert (shown[1:] if shown != name else shown) == name
    assert row["last_name"] == f"x{name}" and row["email"] == "ann@example.org" and len(row) == 16


def test_numbers_stay_numbers_and_excel_finds_what_it_wants(tmp_path):
    text = export.table(tmp_path, handins.TINY, {"ann": entry("ann", -1.5, penalty=0.25), "007": entry("007", 10.0)})
    lines = text[1:].split("\r\n")
    assert lines[0].startswith('"student","last_name"') and lines[-1] == "" and len(lines) == 4
    assert ",-1.5,0,0,0,0,0.25,-1.75,14," in lines[1]  # bare, and no apostrophe
    assert lines[2].startswith('"007",') and ",10,0,0,0,0,0,10,14," in lines[2]


CANVAS = ("\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Warm up (11),Tiny (12),Tiny again (13),Final Score\r\n"
          ",,,,,,Manual Posting,,\r\n"
          "    Points Possible,,,,,5,14,3,(read only)\r\n"
          '"Bell, Ann",101,U1,ann,"Spring ""26"", A",3.50,,1,70.00\r\n'
          '"=""Coe""",102,U2,bob,A,,7,,\r\n'
          "陳 大文,103,U3,cy,A,N/A,EX,,\r\n"
          '"Dee, D",104,U4,dee,A,,2,,\r\n'
          '"Student, Test",105,,f3a9,A,,,,\r\n')
MOODLE = ('Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",'
          '"Last modified (submission)","Last modified (grade)","Feedback comments"\n'
          '"Participant 101","Ann Bell",a@example.org,"Submitted for grading - ",,14.00,Yes,"Friday, 27 November",-,'
          '"two\nlines, and a ""quote"""\n'
          '"Participant 102",Bob,b@example.org,Submitted,"3,00",14.00,Yes,-,-,\n'
          '"Participant 103",陳,c@example.org,Submitted,,14.00,No,-,-,\n'
          '"Participant 104",D,d@example.org,"No submission",,14.00,Yes,-,-,')
SCORES = {"101": entry("101", 12.345), "102": entry("102", 7.0), "103": entry("103", 5.0),
          "104": entry("104", 2.5, waiting=["why"]), "900": entry("900", 1.0)}


def test_canvas():
    done = export.fill(CANVAS, "tiny", SCORES)
    assert (done.column, done.by) == ("Tiny (12)", "ID")
    assert done.text == CANVAS.replace('A",3.50,,1', 'A",3.50,12.35,1').replace("12.35", done.grades["101"])
    assert done.grades == {"101": f"{round(12.345, 2)}", "102": "7"} and not done.replaced
    assert done.kept == {"103": "the file says EX", "104": "waits to be graded by hand: why"}
    assert done.absent == ["900"] and done.without == ["Student, Test (105)"] and not done.notes
    done = export.fill(CANVAS, "tiny", SCORES, waiting=True, column="Warm up (11)", by="ID")
    assert done.kept == {"103": "the file says N/A"} and done.replaced["101"] == f"3.50 -> {done.grades['101']}"
    assert done.grades["104"] == "2.5" and "full marks are 14 here and 5 in the file" in done.notes[0]
    assert export.fill(CANVAS, "tiny", SCORES, column="Warm up (11)", scale=True).grades["102"] == "2.5"


def test_canvas_by_login_with_semicolons():
    text = CANVAS.replace("Bell, Ann", "Bell Ann").replace('26"", A', '26"" A').replace("Coe", "Coe; B")
    text = text.replace(",", ";").replace("7;", '"7,0";')
    done = export.fill(text, "tiny", {name: entry(name, 7.0) for name in ("ann", "bob", "U1")})
    assert done.by == "SIS Login ID" and done.grades == {"ann": "7", "bob": "7"} and done.absent == ["U1"]
    assert not done.replaced  # 7,0 is 7
    assert done.text == text.replace(";3.50;;1", ";3.50;7;1").replace('"7,0"', "7")


def test_moodle():
    done = export.fill(MOODLE, "tiny", SCORES)
    assert (done.column, done.by) == ("Grade", "Identifier")
    ann = done.grades["101"]
    assert done.text == MOODLE.replace('grading - ",,14', f'grading - ",{ann},14').replace('"3,00"', "7")
    assert done.replaced == {"102": "3,00 -> 7"}
    assert done.kept == {"103": "the file says that it cannot be changed", "104": "waits to be graded by hand: why"}
    assert done.absent == ["900"] and not done.without
    more = {"101": entry("101", 14.5), "102": entry("102", 7.0)}
    (note,) = export.fill(MOODLE, "tiny", more).notes
    assert note.startswith("101 has 14.5 points, and Moodle takes none above 14")
    hundred = export.fill(MOODLE.replace("14.00", "100.00"), "tiny", {"102": entry("102", 7.0)}, scale=True)
    assert hundred.grades == {"102": "50"} and not hundred.notes


def test_moodle_in_another_language():
    text = MOODLE.replace("Identifier", "ID-Nummer").replace("Participant", "Teilnehmer/in")
    text = text.replace("Grade,", "Note,", 1)
    with pytest.raises(GanlabError, match="no column for tiny; say which by --column, one of: ID-Nummer; "):
        export.fill(text, "tiny", SCORES)
    done = export.fill(text, "tiny", SCORES, column="Note", by="ID-Nummer")
    assert done.grades["102"] == "7" and done.text.startswith(text[:200])


def test_one_student_in_two_rows_is_left_alone():
    done = export.fill(CANVAS.replace(",102,", ",101,"), "tiny", SCORES)
    assert done.kept["101"] == "is in the file more than once" and "101" not in done.grades


@pytest.mark.parametrize("text,how,said", [
    ("", {}, "no table"), ("a\n", {}, "no table"), ("<html>\n<body>\n", {}, "no table"),
    (CANVAS.replace(",7,,", ",7"), {}, r"row 5 of the file has 7 cells and not 9"),
    (CANVAS.replace('"Bell', '""Bell'), {}, "cells and not 9|a quote is not closed"),
    (CANVAS + '"never closed,1\r\n', {}, "a quote is not closed"),
    (CANVAS, {"column": "Quiz"}, r"no column 'Quiz'; say which by --column, one of: Warm up \(11\); Tiny \(12\)"),
    (CANVAS.replace("Tiny again", "tiny"), {}, "2 columns for tiny"),
    (CANVAS, {"by": "Matrikel"}, "no column 'Matrikel'; it has: Student; ID"),
    (CANVAS, {"by": "Section"}, "nobody in the file is known here: .* 101, 102, 103"),
    (CANVAS.replace(",10", ",20"), {}, "nobody .*ID: 201; SIS User ID: U1; .*is it this assignment's")])
def test_what_cannot_be_filled_is_said(text, how, said):
    with pytest.raises(GanlabError, match=said):
        export.fill(text, "tiny", SCORES, **how)


@pytest.mark.parametrize("text", [CANVAS, MOODLE, CANVAS.replace("\r\n", "\r"),
                                  'a,b\n"x ""y"" \n",\n\n,"",\n', "a\tb\n\t\t"])
def test_a_file_is_its_cells(text):
    mark, rows = export._split(text)
    assert mark + "".join(cell + end for row in rows for cell, end in row.cells) == text


@pytest.fixture
def entered(course):
    """A course with two in the gradebook, as if graded."""
    with gradebook.opened(course) as book:
        for student, last, score in (("101", "=Bell, jr", 2.0), ("102", "Coe", 0.0)):
            book.update_or_create_student(student, first_name="A", last_name=last)
            book.update_or_create_submission("tiny", student)
            for cell in handins.TINY.points | handins.TINY.manual:
                grade = book.find_grade(cell, "tiny", "tiny", student)
                grade.auto_score, grade.needs_manual_grade = (score if cell == "test_mean" else 0.0), False
        book.db.commit()
    return course


def test_the_commands(entered, tmp_path, capsys):
    words = ["homework", "export", "tiny", "--course", str(entered)]
    assert cli.main(words) == 0 and "2 grades of tiny are in" in capsys.readouterr().out
    rows = read((entered / "tiny.csv").read_bytes().decode())
    assert [(row["student"], row["last_name"], row["score"]) for row in rows] == [
        ("101", "'=Bell, jr", "2"), ("102", "Coe", "0")]
    before = (entered / "tiny.csv").read_bytes()
    assert cli.main(words) == 1 and "--overwrite" in capsys.readouterr().err
    (entered / "tiny.csv").write_bytes(b"")
    assert cli.main([*words, "--overwrite"]) == 0 and (entered / "tiny.csv").read_bytes() == before
    capsys.readouterr()

    platform = tmp_path / "Grades.csv"
    platform.write_bytes(CANVAS.encode())
    assert cli.main([*words, "--fill", str(platform)]) == 0
    said = capsys.readouterr()
    assert "2 grades of tiny are in" in said.out and "column 'Tiny (12)'; students are known by 'ID'" in said.out
    assert "replaced: 102: 7 -> 0" in said.err and "in the file, not graded here: 陳 大文 (103)" in said.err
    assert platform.read_bytes() == CANVAS.encode()
    filled = CANVAS.replace("3.50,,1", "3.50,2,1").replace(",,7,", ",,0,").encode()
    assert (tmp_path / "Grades-filled.csv").read_bytes() == filled
    assert cli.main([*words, "--fill", str(platform)]) == 1 and "is there already" in capsys.readouterr().err
    assert cli.main([*words, "--fill", str(platform), "--out", str(platform), "--overwrite"]) == 1
    assert "which stays as it is" in capsys.readouterr().err
    platform.write_bytes(CANVAS.encode("utf-16"))
    assert cli.main([*words, "--fill", str(platform), "--overwrite"]) == 1
    assert "is no text in UTF-8" in capsys.readouterr().err


def test_who_waits_or_is_absent_makes_the_command_fail(entered, tmp_path, capsys):
    with gradebook.opened(entered) as book:
        book.find_grade("why", "tiny", "tiny", "101").needs_manual_grade = True
        book.db.commit()
    (tmp_path / "g.csv").write_text(MOODLE.replace("Participant 102", "Participant 202"), encoding="utf-8")
    words = ["homework", "export", "tiny", "--course", str(entered), "--fill", str(tmp_path / "g.csv"), "--overwrite"]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "left as it was: 101: waits to be graded by hand: why" in said
    assert "graded here, not in the file: 102" in said and "in the file, not graded here: Participant 202" in said
    assert cli.main([*words[:4], str(entered), "--overwrite"]) == 0
    assert "not wholly graded by hand: 101" in capsys.readouterr().out


def test_what_the_gradebook_holds(entered):
    entries = gradebook.entries(entered, Assignment.find(entered, "tiny"))
    assert list(entries) == ["101", "102"]
    assert list(entries["101"].questions) == ["test_mean", "test_clamp", "test_softmax", "why", "curve"]
    assert entries["101"].score == 2 and entries["101"].max_score == 14 and entries["101"].penalty == 0


def test_a_damaged_gradebook_and_a_file_that_is_not_there(entered, capsys):
    words = ["homework", "export", "tiny", "--course", str(entered)]
    assert cli.main([*words, "--fill", "nothing.csv"]) == 1
    assert "No such file or directory: 'nothing.csv'" in capsys.readouterr().err
    (entered / "gradebook.db").write_bytes(b"x" * 10_000)
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "gradebook.db: file is not a database. If it is locked, close formgrader" in said and said.count("\n") == 1


@pytest.mark.parametrize("missing,said", [
    ("", r"nbgrader +0\.\d.*\nformgrader in JupyterLab"), ("nbgrader", "nbgrader +missing: .*ganlab.homework"),
    ("jupyterlab", r"nbgrader +0\..*\nformgrader needs JupyterLab: pip install")])
def test_the_doctor_knows_what_is_needed_besides_isolation(monkeypatch, missing, said):
    from importlib import metadata

    from ganlab.homework.cli import _nbgrader

    there = metadata.version

    def version(name):
        if name == missing:
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    assert re.match(said, _nbgrader())

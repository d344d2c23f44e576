"""The commands `ganlab homework ...`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ganlab.cli import Parser, count
from ganlab.errors import GanlabError

EXAMPLES = """examples, in the order of a term:
  ganlab homework doctor                             can students' code be isolated here?
  ganlab homework build homework/dcgan --course ~/gan-course
  ganlab homework check dcgan.ipynb                  for students: the visible tests of their notebook
  ganlab homework collect dcgan moodle.zip --course ~/gan-course
  ganlab homework grade dcgan --course ~/gan-course -j 2
  ganlab homework grade dcgan --course ~/gan-course --resume
  cd ~/gan-course && jupyter lab                     by hand: Formgrader, in the menu Nbgrader
  ganlab homework feedback dcgan --course ~/gan-course --zip feedback.zip
  ganlab homework export dcgan --course ~/gan-course
  ganlab homework export dcgan --course ~/gan-course --fill Grades.csv"""


def shard(text: str) -> tuple[int, int]:
    """"2/8" as (2, 8)."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 2/8, a part of a whole")
    return int(k), int(n)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser("ganlab homework", description="Write, hand out, collect, grade and return homework.",
                 epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> Callable[..., argparse.Action]:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub.add_argument

    def course(option: Callable[..., argparse.Action]) -> None:
        option("--course", metavar="FOLDER", type=Path, default=Path("."),
               help="the course folder, in nbgrader's layout (default: the current one)")

    def isolation(option: Callable[..., argparse.Action]) -> None:
        option("--isolation", default="auto", choices=["auto", "bubblewrap", "docker", "podman", "none"],
               help="how students' code is kept apart (default: the first of these that works)")
        option("--image", default="", help="for Docker and Podman: one that has ganlab (default: bind this Python)")
        option("--i-trust-these-students", dest="trust", action="store_true",
               help="only with --isolation none: their code may read and change all that you can")

    option = command("build", "make the student version of an assignment, and enter it into a course", build)
    option("assignment", metavar="FOLDER", type=Path, help="such as homework/dcgan")
    option("--course", metavar="FOLDER", type=Path, help="the course folder, in nbgrader's layout; made if it is not "
           "there (default: only write the student version into the assignment's folder)")

    option = command("check", "run the visible tests of a notebook, as a student before handing it in", check)
    option("notebook", metavar="NOTEBOOK", type=Path, help="it is run as it is, with all your rights, and not changed")

    option = command("collect", "take over what students handed in", collect)
    option("name", metavar="NAME", help="of the assignment")
    option("source", metavar="SOURCE", type=Path, help="a folder, a zip file of Moodle or Canvas, or inbound")
    course(option)

    option = command("grade", "run and grade what was collected; fill nbgrader's gradebook", grade)
    option("name", metavar="NAME", help="of the assignment")
    course(option)
    option("-j", "--jobs", type=count, default=1, metavar="N", help="submissions at a time (default: 1)")
    option("--resume", action="store_true", help="keep results that still hold")
    option("--shard", type=shard, default=(1, 1), metavar="K/N",
           help="the K-th of N parts, and no gradebook: for N machines on one folder; then --resume without it")
    option("--seed", type=int, default=0, help="of the hidden inputs (default: 0)")
    option("--student", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    isolation(option)

    option = command("feedback", "write the pages that students get back: points, reasons, comments", feedback)
    option("name", metavar="NAME", help="of the assignment")
    course(option)
    option("--student", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    option("--zip", metavar="FILE", type=Path, help="all pages in one new file, too, which Moodle takes back as it is")

    option = command("export", "write the grades as CSV, or into the file that Canvas or Moodle exports", export)
    option("name", metavar="NAME", help="of the assignment")
    course(option)
    option("--fill", metavar="FILE", type=Path, help="what Canvas (Grades, Export) or Moodle (Download grading "
           "worksheet) exports; it is not changed, but written anew with one column filled")
    option("--out", metavar="FILE", type=Path, help="the file to write (default: NAME.csv in the course folder; with "
           "--fill, beside that file and with -filled in its name)")
    option("--overwrite", action="store_true", help="if the file to write is there, replace it")
    option("--column", default="", metavar="HEADING", help="with --fill: which column (default: named like the "
           "assignment, or Grade)")
    option("--by", default="", metavar="HEADING", help="with --fill: the column that says who it is (default: of ID, "
           "Identifier, SIS Login ID and the like, the one in which most are found)")
    option("--scale", action="store_true", help="with --fill: convert to the points that the platform gives")
    option("--waiting", action="store_true", help="with --fill: also grades in which something by hand is missing")

    isolation(command("doctor", "find out whether students' code can be isolated here, and how, and whether nbgrader "
                      "is ready", doctor))
    return top


def main(words: list[str]) -> int:
    """Run a command; the exit status."""
    args = parser().parse_args(words)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


def build(args: argparse.Namespace) -> int:
    from ganlab.homework import build
    from ganlab.homework.assignment import Assignment
    from ganlab.homework.grading import write_atomically

    assignment = Assignment.find(args.assignment)
    if args.course is None:
        path = args.assignment / f"{assignment.name}.ipynb"
        write_atomically(path, build.student_version(assignment))
    else:
        build.set_up(assignment, args.course)
        path = args.course / "release" / assignment.name / f"{assignment.name}.ipynb"
    print(f"the student version is {path}")
    return 0


def check(args: argparse.Namespace) -> int:
    from ganlab.homework.check import check

    said = check(args.notebook)
    for name, text in said.items():
        print(f"{'right' if not text else 'wrong':6} {name}" + (f": {text}" if text else ""))
    wrong = sum(map(bool, said.values()))
    print(f"{len(said) - wrong} of {len(said)} are right" + ("; hidden tests look at the same things with other numbers"
                                                             if not wrong else ""))
    return int(bool(wrong))


def collect(args: argparse.Namespace) -> int:
    from ganlab.homework.assignment import Assignment
    from ganlab.homework.collect import collect

    Assignment.find(args.course, args.name)
    done = collect(args.course, args.name, args.source)
    for reason in done.refused:
        print(f"refused: {reason}", file=sys.stderr)
    late, replaced = ", ".join(done.late), ", ".join(done.replaced)
    print(f"{len(done.students)} hand-ins of {args.name} are in {args.course / 'submitted'}"
          + (f"; late: {late}" if late else "")
          + (f"; replaced: {replaced}; earlier ones that differ are in {args.course / 'earlier'}" if replaced else ""))
    return int(bool(done.refused))


def grade(args: argparse.Namespace) -> int:
    from ganlab.homework import gradebook, grading, sandbox
    from ganlab.homework.assignment import Assignment
    from ganlab.homework.collect import roster

    assignment = Assignment.find(args.course, args.name)
    way = sandbox.choose(args.isolation, trust=args.trust, image=args.image)
    try:
        outcome = grading.grade(args.course, args.name, way, jobs=args.jobs, resume=args.resume, shard=args.shard,
                                seed=args.seed, students=args.student)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; what is graded stays, and --resume goes on") from None
    print(grading.table(outcome, list(assignment.points)))
    print(grading.summary(outcome, way))
    if args.shard == (1, 1):
        names = {student: _split(name) for student, name in roster(args.course).items()}
        changed = gradebook.fill(args.course, assignment, outcome.results, names)
        print(f"{changed} entries of {args.course / 'gradebook.db'} are new or changed")
    else:
        k, n = args.shard
        print(f"part {k} of {n}; when all are done: ganlab homework grade {args.name} --resume fills the gradebook")
    return int(bool(outcome.failed))


def _split(name: str) -> tuple[str, str]:
    """First and last name, as far as a full name tells."""
    first, _, last = name.rpartition(" ")
    return first, last


def feedback(args: argparse.Namespace) -> int:
    from ganlab.homework.assignment import Assignment
    from ganlab.homework.feedback import feedback, pack

    if args.zip and args.zip.exists():
        raise GanlabError(f"{args.zip} is there already; move it away or give another name")
    done = feedback(args.course, Assignment.find(args.course, args.name), args.student)
    for student in done.missing:
        print(f"no page: {student}: there is no notebook in {args.course / 'autograded'}; grade again", file=sys.stderr)
    for student in done.waiting:
        print(f"not wholly graded: {student}: the page says so", file=sys.stderr)
    print(f"{len(done.pages)} pages are in {args.course / 'feedback'}")
    if args.zip:
        pack(args.course, args.name, done.pages, args.zip)
        print(f"all of them are in {args.zip}")
    return int(bool(done.missing))


def export(args: argparse.Namespace) -> int:
    from ganlab.homework import export as exporting
    from ganlab.homework import gradebook
    from ganlab.homework.assignment import Assignment

    out = args.out or (args.fill.with_name(f"{args.fill.stem}-filled{args.fill.suffix}") if args.fill
                       else args.course / f"{args.name}.csv")
    if args.fill and out.absolute() == args.fill.absolute():
        raise GanlabError(f"{out} is the platform's file, which stays as it is; give another --out")
    if out.exists() and not args.overwrite:
        raise GanlabError(f"{out} is there already; give another --out, or --overwrite to replace it")
    assignment = Assignment.find(args.course, args.name)
    entries = gradebook.entries(args.course, assignment)
    if not args.fill:
        out.write_bytes(exporting.table(args.course, assignment, entries).encode("utf-8", "replace"))
        waiting = [student for student, entry in entries.items() if entry.waiting]
        print(f"{len(entries)} grades of {args.name} are in {out}"
              + (f"; not wholly graded by hand: {', '.join(waiting)}" if waiting else ""))
        return 0
    try:
        given = args.fill.read_bytes().decode()
    except UnicodeDecodeError:
        raise GanlabError(f"{args.fill} is no text in UTF-8; give the file as the platform exports it, not opened and "
                          "saved by a spreadsheet") from None
    done = exporting.fill(given, args.name, entries, column=args.column, by=args.by, scale=args.scale,
                          waiting=args.waiting)
    out.write_bytes(done.text.encode())
    for title, lines in (("replaced", [f"{student}: {what}" for student, what in done.replaced.items()]),
                         ("left as it was", [f"{student}: {why}" for student, why in done.kept.items()]),
                         ("graded here, not in the file", done.absent), ("in the file, not graded here", done.without),
                         ("look at this", done.notes)):
        for said in lines:
            print(f"{title}: {said}", file=sys.stderr)
    print(f"{len(done.grades)} grades of {args.name} are in {out}, in column {done.column!r}; students are known by "
          f"{done.by!r}")
    return int(bool(done.kept or done.absent))


def doctor(args: argparse.Namespace) -> int:
    from ganlab.homework import sandbox

    print(_nbgrader())
    way = sandbox.choose(args.isolation, trust=args.trust, image=args.image)
    user = "as root" if getattr(way, "root", False) else "as an ordinary user"
    print(f"isolation  {way.name}, {user}")
    print({"cgroup": "memory     bounded by a cgroup",
           "container": "memory     bounded by the container",
           "polling": "memory     no cgroup can be made here: read 20 times a second, and a limit on each process"}
          [way.memory_bound])
    return 0


def _nbgrader() -> str:
    """What of nbgrader, and of the server in which formgrader opens, is here."""
    from importlib import metadata

    from ganlab.homework.assignment import INSTALL

    there = dict[str, str]()
    for name in ("nbgrader", "nbconvert", "jupyterlab"):
        try:
            there[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "nbgrader" not in there:
        return f"nbgrader   missing: {INSTALL}"
    return (f"nbgrader   {there['nbgrader']}; pages by nbconvert {there.get('nbconvert', 'missing')}\nformgrader "
            + (f"in JupyterLab {there['jupyterlab']}: `jupyter lab` in the course folder, menu Nbgrader"
               if "jupyterlab" in there else 'needs JupyterLab: pip install "ganlab[lab]"'))

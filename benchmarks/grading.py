"""Grade a large class of mixed hand-ins, kill the grader in the middle, resume, and do the same in other ways.

    python benchmarks/grading.py [--students 200] [--folder FOLDER] [--only-resume]

The hand-ins are those of the tests, right, broken and hostile, in turn until there are enough. Prints time and the
most memory that the grader and all isolated processes held together; exits with 1 if the grades differ between the
resumed run, one job, two jobs, and three shards, or if anything of the course was changed.
"""

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ganlab.homework import sandbox  # noqa: E402
from ganlab.homework.build import set_up  # noqa: E402
from tests.homework import handins  # noqa: E402


def hand_in(course: Path, students: int) -> None:
    """A course folder in which so many have handed in."""
    set_up(handins.TINY, course)
    cases = list(handins.cases(course, 9).items())
    for number in range(students):
        name, case = cases[number % len(cases)]
        folder = course / "submitted" / (name if number < len(cases) else f"{name}-{number // len(cases)}") / "tiny"
        folder.mkdir(parents=True)
        if callable(case.content):
            case.content(folder, course)
        else:
            (folder / "tiny.ipynb").write_bytes(case.content)
        for file, content in case.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)


def hashes(course: Path) -> dict[str, str]:
    """Of all files that grading has no business with."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for part in ("source", "submitted", "release", "judges") for path in sorted((course / part).rglob("*"))
            if path.is_file() and not path.is_symlink()}


def grades(course: Path) -> dict[str, object]:
    """Points, reasons and notes, by student; what depends on the time of day is left out."""
    found = {}
    for path in sorted((course / "results" / "tiny").glob("*.json")):
        result = json.loads(path.read_text())
        found[path.stem] = {key: result[key] for key in ("score", "bonus", "questions", "manual")}
    return found


def start(course: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganlab", "homework", "grade", "tiny", "--course", str(course), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


class Watch(threading.Thread):
    """The most memory of a process and all below it, in MiB, looked at five times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.grader = pid, 0.0, 0.0

    def run(self) -> None:
        while Path("/proc", str(self.pid), "statm").exists():
            self.most = max(self.most, sandbox._memory(self.pid) / 2**20)
            try:
                self.grader = max(self.grader, int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) / 256)
            except (OSError, IndexError):
                return
            time.sleep(0.2)


def run(course: Path, *words: str) -> dict[str, object]:
    begun = time.monotonic()
    process = start(course, *words)
    watch = Watch(process.pid)
    watch.start()
    said, _ = process.communicate()
    print(f"{' '.join(words) or 'one job':20} {time.monotonic() - begun:6.0f} s  grader {watch.grader:5.0f} MiB  "
          f"all together {watch.most:5.0f} MiB  exit {process.returncode}  "
          + next(line for line in said.splitlines() if " graded (" in line))
    return grades(course)


def fresh(course: Path) -> None:
    shutil.rmtree(course / "results")
    shutil.rmtree(course / "autograded", ignore_errors=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--students", type=int, default=200)
    options.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options.add_argument("--only-resume", action="store_true", help="not again with one job and in shards")
    args = options.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp())
    course = folder / "course"
    hand_in(course, args.students)
    before = hashes(course)

    process = start(course, "-j", "2")
    begun = time.monotonic()
    while len(list((course / "results" / "tiny").glob("*.json"))) < args.students // 2:
        assert process.poll() is None
        time.sleep(0.05)
    started = sandbox._descendants(process.pid)[1:]
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed after         {time.monotonic() - begun:6.0f} s, {len(grades(course))} graded")
    time.sleep(5)
    left = [pid for pid in started if Path("/proc", str(pid)).exists()]
    print(f"processes left: {len(left)}")
    found = {"killed and resumed": run(course, "-j", "2", "--resume")}
    if not args.only_resume:
        fresh(course)
        found["two jobs"] = run(course, "-j", "2")
        fresh(course)
        found["one job"] = run(course)
        fresh(course)
        for k in (1, 2, 3):
            run(course, "-j", "2", "--shard", f"{k}/3")
        found["three shards"] = run(course, "--resume")
    first = next(iter(found.values()))
    bad = len(first) != args.students or bool(left)
    for way, result in found.items():
        different = [student for student in first if result.get(student) != first[student]]
        bad |= bool(different)
        print(f"{way}: {'the same grades' if not different else 'other grades for ' + ', '.join(different)}")
        for student in different:
            print("   ", first[student], result.get(student), sep="\n    ")
    changed = [path for path, value in hashes(course).items() if before.get(path) != value]
    print(f"files of the course that were changed: {len(changed)}")
    if not args.folder:
        shutil.rmtree(folder)
    return int(bad or bool(changed))


if __name__ == "__main__":
    sys.exit(main())

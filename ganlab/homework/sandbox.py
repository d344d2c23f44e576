"""Run `kernel.py` where it can read little, write nothing that stays, reach no network, and never grow beyond bounds.

Three ways, in this order: bubblewrap, Docker or Podman, and, only where it is asked for by name, none.

What bounds the memory depends on the machine, and is reported. A memory cgroup, where one can be made, counts all that
the kernel holds. Elsewhere the resident memory of the processes is read 20 times a second, and whoever is above the
limit is killed; besides, no process gets much more private memory than the limit (RLIMIT_DATA).
"""

import contextlib
import itertools
import json
import math
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ganlab.errors import GanlabError
from ganlab.homework import seccomp

KERNEL = Path(__file__).with_name("kernel.py")
MAX_REPLY = 32_000_000
MAX_PARTS = 1_200_000  # lists and values in a reply
MAX_USELESS = 20  # lines that answer nothing: students' code may know where answers go
PATIENCE = 3  # seconds of waiting for each that may be computed
GIB = 2**30
_numbers = itertools.count()

BUBBLEWRAP = """install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf install bubblewrap).
Ubuntu from 23.10 on lets it make namespaces only with an AppArmor profile: sudo apt install apparmor-profiles, then
sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ and sudo systemctl reload apparmor.
On macOS and Windows: Docker or Podman (`--isolation docker --image IMAGE`), WSL 2, or a virtual machine"""
REFUSED = """students' code runs isolated or not at all, and here it cannot be isolated: {reasons}.
What helps: {advice}.
Whoever trusts each of these students may grade without: --isolation none --i-trust-these-students"""


class Died(Exception):
    """The process in the isolation ended, or was ended, before it answered; the message says what for."""


@dataclass(frozen=True)
class Limits:
    """What a process in the isolation, and all that it starts, may use.

    Attributes:
        memory: GiB, of all processes together.
        seconds: CPU time of each process; a backstop, since who asks also limits how long to wait.
        processes: processes and threads together.
        file: GiB, of a single file.
        scratch: GiB, each of the temporary folder and of shared memory.
    """

    memory: float = 2.0
    seconds: float = 3600.0
    processes: int = 128
    file: float = 0.25
    scratch: float = 0.25

    def of_process(self) -> dict[str, int]:
        """As `kernel.py` takes them on."""
        return {"DATA": int((self.memory + 0.25) * GIB), "CPU": int(self.seconds) + 1, "FSIZE": int(self.file * GIB),
                "CORE": 0, "NOFILE": 1024, "NPROC": self.processes}


class Isolation:
    """A way to isolate; `name` and `memory_bound` stand in every report."""

    name = ""
    memory_bound = ""

    def start(self, limits: Limits, readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> "Job":
        """A fresh process that waits for requests.

        Args:
            limits: its bounds.
            readable: files and folders that it may read besides the system and this Python.
            hidden: folders that it must not read even where they lie within a readable one.
        """
        raise NotImplementedError

    def try_out(self) -> str:
        """Why this way does not work here; empty if it does."""
        try:
            job = self.start(Limits())
        except OSError as error:
            return f"{self.name}: {error}"
        try:
            reply = job.exchange({"do": "hello", "shell": True}, seconds=60)
        except Died as error:
            return f"{self.name}: {error}"
        finally:
            job.close()
        if "error" in reply:
            return f"{self.name}: {reply.get('message')}; are this Python and its packages readable by all?"
        return ""


class Bubblewrap(Isolation):
    """Namespaces by `bwrap`.

    As root without a user namespace, in which the kernel would not enforce the limit on processes: instead the process
    becomes a user of its own. As an ordinary user in a user namespace, in which no further one can be made.
    """

    name = "bubblewrap"

    def __init__(self) -> None:
        self.root = os.getuid() == 0
        self.memory_bound = "cgroup" if Group.parent() else "polling"

    def start(self, limits: Limits, readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> "Job":
        bounds: dict[str, Any] = limits.of_process()
        if self.root:
            # Its own user, since the limit on processes counts all of a user's: neither other jobs nor other runs.
            bounds["uid"] = 10**9 + os.getpid() % 10**6 * 1000 + next(_numbers) % 1000
            identity = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            identity = ["--unshare-user", "--cap-drop", "ALL"]
            identity += ["--disable-userns"] if "--disable-userns" in _flags() else []
        parent = Group.parent()
        group = None if parent is None else Group.make(parent, limits)
        with contextlib.ExitStack() as stack:
            filtered: list[str] = []
            descriptors: tuple[int, ...] = ()
            if program := seccomp.program():
                f = stack.enter_context(tempfile.TemporaryFile())
                f.write(program)
                f.seek(0)
                filtered, descriptors = ["--seccomp", str(f.fileno())], (f.fileno(),)
            command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
                       "--unshare-cgroup-try", "--hostname", "homework", "--die-with-parent", "--new-session",
                       "--clearenv", *identity, *filtered, *self._files(limits, readable, hidden),
                       *itertools.chain(*(("--setenv", *item) for item in _environment("/tmp").items())),
                       *_python(), str(KERNEL), json.dumps(bounds)]
            try:
                return Job(group.within(command) if group else command, limits, group, descriptors)
            except BaseException:
                if group:
                    group.remove()
                raise

    def _files(self, limits: Limits, readable: Sequence[Path], hidden: Sequence[Path]) -> Iterator[str]:
        size = str(int(limits.scratch * GIB))
        for top in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
            if os.path.islink(top):
                yield from ("--symlink", os.readlink(top), top)
            elif os.path.isdir(top):
                yield from ("--ro-bind", top, top)
        for file in ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/alternatives", "/etc/localtime",
                     "/sys/devices/system/cpu"):
            yield from ("--ro-bind-try", file, file)
        for fonts in ("/usr/share/fonts", "/usr/local/share/fonts"):  # of which Matplotlib would make a list each time
            if os.path.isdir(fonts):
                yield from ("--tmpfs", fonts, "--remount-ro", fonts)
        yield from ("--proc", "/proc", "--dev", "/dev")
        for place in ("/tmp", "/dev/shm"):
            yield from ("--perms", "1777", "--size", size, "--tmpfs", place)
        bound = [path for path in _readable(readable) if not path.is_relative_to("/usr")]
        above = sorted({str(folder) for path in bound for folder in path.parents} - {"/"})
        for folder in above:  # which bubblewrap would make for its own user alone
            yield from ("--perms", "0755", "--dir", folder)
        for path in bound:
            yield from ("--ro-bind", str(path), str(path))
        for path in map(Path.resolve, hidden):
            if any(path.is_relative_to(other) for other in (*bound, Path("/usr"))):
                yield from ("--tmpfs", str(path), "--remount-ro", str(path))
        yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp")


class Container(Isolation):
    """Docker or Podman.

    On Linux any image with glibc serves, since this Python is bound into it; elsewhere the image must have ganlab.
    """

    memory_bound = "container"

    def __init__(self, name: str, image: str = "") -> None:
        self.name, self.bind = name, not image
        self.image = image or "docker.io/library/debian:stable-slim"

    def start(self, limits: Limits, readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> "Job":
        label = f"ganlab-{os.getpid()}-{next(_numbers)}"
        scratch = f"size={int(limits.scratch * GIB)},mode=1777"
        memory = f"{limits.memory + 2 * limits.scratch}g"  # files in memory count here too
        command = [self.name, "run", "--rm", "--interactive", "--init", "--name", label, "--network", "none",
                   "--read-only", "--memory", memory, "--memory-swap", memory,
                   "--pids-limit", str(limits.processes), "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                   "--user", "65534:65534", "--tmpfs", f"/tmp:rw,{scratch}", "--shm-size", f"{limits.scratch}g",
                   "--hostname", "homework", "--workdir", "/tmp", "--pull", "missing",
                   "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
        command += itertools.chain(*(("--env", f"{key}={value}") for key, value in _environment("/tmp").items()
                                     if self.bind or key not in ("PATH", "PYTHONPATH")))
        mounted = _readable(readable) if self.bind else [KERNEL]
        for path in mounted:
            target = path if self.bind else Path("/ganlab") / path.name
            command += ["--mount", f"type=bind,source={path},target={target},readonly"]
        for path in map(Path.resolve, hidden):
            if self.bind and any(path.is_relative_to(other) for other in mounted):
                command += ["--mount", f"type=tmpfs,target={path},tmpfs-size=1"]
        python = _python() if self.bind else ["python3", *_python()[1:]]
        kernel = str(KERNEL) if self.bind else f"/ganlab/{KERNEL.name}"
        bounds = {key: value for key, value in limits.of_process().items() if key != "NPROC"}  # counted by the engine
        # Killing the client leaves the container: it ends itself, should nobody be left to end it.
        command += [self.image, "timeout", "-s", "KILL", str(int(limits.seconds)), *python, kernel, json.dumps(bounds)]
        return Job(command, limits, None, stop=[self.name, "kill", label])


class Nothing(Isolation):
    """No isolation: bounds on each process, a folder of its own, and trust."""

    name = "none"
    memory_bound = "polling"

    def start(self, limits: Limits, readable: Sequence[Path] = (), hidden: Sequence[Path] = ()) -> "Job":
        folder = tempfile.mkdtemp(prefix="ganlab-")
        bounds = {key: value for key, value in limits.of_process().items() if key != "NPROC"}  # all of the user's count
        return Job([*_python(), str(KERNEL), json.dumps(bounds)], limits, None,
                   environment=_environment(folder), folder=folder)


def choose(isolation: str = "auto", *, trust: bool = False, image: str = "") -> Isolation:
    """A way to isolate that works here, tried out.

    Args:
        isolation: "auto", "bubblewrap", "docker", "podman" or "none".
        trust: must be set for "none", and is refused with anything else.
        image: for Docker and Podman; see `Container`.

    Raises:
        GanlabError: there is none; the message says what to install.
    """
    if (isolation == "none") != trust:
        raise GanlabError("grading without isolation lets every student read and change all that you can: it takes "
                          "both, --isolation none and --i-trust-these-students")
    if isolation == "none":
        return Nothing()
    reasons = []
    for name in ("bubblewrap", "docker", "podman"):
        if isolation not in ("auto", name):
            continue
        program = "bwrap" if name == "bubblewrap" else name
        if shutil.which(program) is None:
            reasons.append(f"{name} is not installed")
            continue
        if name == "bubblewrap" and not {"--size", "--perms"} <= _flags():
            reasons.append("bubblewrap is older than 0.6")
            continue
        way = Bubblewrap() if name == "bubblewrap" else Container(name, image)
        if not (reason := way.try_out()):
            return way
        reasons.append(reason)
    if not reasons:
        raise GanlabError(f"there is no isolation {isolation!r}; use auto, bubblewrap, docker, podman or none")
    raise GanlabError(REFUSED.format(reasons="; ".join(reasons), advice=BUBBLEWRAP))


class Job:
    """A process in an isolation; one request at a time. Always `close` it."""

    def __init__(self, command: list[str], limits: Limits, group: "Group | None", descriptors: tuple[int, ...] = (),
                 stop: list[str] | None = None, environment: dict[str, str] | None = None, folder: str = "") -> None:
        self.limits, self.group, self.stop, self.folder = limits, group, stop, folder
        self.over = ""
        self._number = 0
        # Its own session: Ctrl-C at the terminal is for the one who grades, not for the students' processes.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        pass_fds=descriptors, env=environment, cwd=folder or None,
                                        start_new_session=True)
        self._in: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._out: queue.Queue[bytes | None] = queue.Queue(2)  # bounded: nobody fills our memory by talking
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def _write(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (data := self._in.get()) is not None:
                self.process.stdin.write(data)
                self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self.process.stdout.readline(MAX_REPLY + 1)) and len(line) <= MAX_REPLY:
                self._out.put(line)
        self._out.put(None)

    def exchange(self, request: dict[str, Any], data: bytes = b"", *, seconds: float,
                 until: float = math.inf) -> dict[str, Any]:
        """Send a request, and the bytes that go with it; the answer, which nobody may believe.

        Args:
            seconds: of computing, by all its processes together, and three times as many by the clock: a machine that
                is busy with others costs nobody a question, and whoever keeps both cores busy is stopped the sooner.
            until: when it must be over, by `time.monotonic`.

        Raises:
            Died: no answer in time, or never; the job is over then.
        """
        self._number += 1
        self._in.put(json.dumps(request | {"number": self._number}).encode() + b"\n")
        if data:
            self._in.put(data)
        begun, computed, gone, useless = time.monotonic(), _computed(self.process.pid), False, 0
        while not self.over:
            try:
                line = self._out.get(timeout=0.05)
            except queue.Empty:
                now = time.monotonic()
                if self.group is None and self.stop is None and _memory(self.process.pid) > self.limits.memory * GIB:
                    self._end(self.too_much)
                elif now > begun + PATIENCE * seconds or (
                        now > begun + seconds / 8 and _computed(self.process.pid) > computed + seconds):
                    self._end(f"took longer than {seconds:g} s")
                elif now > until:
                    self._end("used up the time for the whole notebook")
                elif gone and self._out.empty():
                    self._end()
                else:
                    gone = self._gone()
                continue
            if line is None:
                self._end()
                break
            if (reply := _reply(line)) is not None and reply.get("number") == self._number:
                return reply
            useless += 1
            if useless > MAX_USELESS:
                self._end("gives too much")
        raise Died(self.over)

    @property
    def too_much(self) -> str:
        return f"used more than {self.limits.memory:g} GiB of memory"

    def _why(self) -> str:
        """What the process died of, as far as it can be told."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.group is not None and self.group.full():
            return self.too_much
        assert self.process.stderr is not None
        if not hasattr(os, "set_blocking"):
            return "ended its process"
        os.set_blocking(self.process.stderr.fileno(), False)
        said = (self.process.stderr.read(2000) or b"").decode(errors="replace").strip()
        return "ended its process" if not said or self._number > 1 else said.splitlines()[-1]

    def _gone(self) -> bool:
        """Whether the first process has ended. It stays a zombie, so that its number is nobody else's."""
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _end(self, why: str = "") -> None:
        self.kill()
        self.over = self.over or why or self._why()

    def kill(self) -> None:
        """End the process and all that it has started."""
        if self.stop:
            subprocess.run(self.stop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if self.process.returncode is not None:
            return
        if not hasattr(os, "killpg"):
            self.process.kill()
            return
        # Not bubblewrap's first process alone: while it starts, its second one does not yet end with it.
        pids = _descendants(self.process.pid)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.over = self.over or "was closed"
        self.kill()
        self._in.put(None)
        until = time.monotonic() + 10
        while self._threads[1].is_alive() and time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                self._out.get(timeout=0.02)
        self.process.wait()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.group is not None:
            self.group.remove()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Group:
    """A memory cgroup (version 2 or 1) for one job, where this user may make one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, parent: Path, limits: Limits) -> "Group":
        """A new group below another, with the memory of these limits.

        Raises:
            OSError: this user may not.
        """
        for left in parent.glob("ganlab-*-*"):  # of a run that was killed
            if not Path("/proc", left.name.split("-")[1]).exists():
                with contextlib.suppress(OSError):
                    left.rmdir()
        group = cls(parent / f"ganlab-{os.getpid()}-{next(_numbers)}")
        group.folder.mkdir()
        try:
            group._set(limits)
        except OSError:
            group.remove()
            raise
        return group

    @classmethod
    @cache
    def parent(cls) -> Path | None:
        """The group below which new ones can be made: our own, or one above it."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                if controllers not in ("memory", ""):
                    continue
                root = Path("/sys/fs/cgroup", controllers)
                here = root / path.lstrip("/")
                for folder in (here, *here.parents):
                    if folder.is_relative_to(root) and cls._serves(folder):
                        return folder
        return None

    @classmethod
    def _serves(cls, parent: Path) -> bool:
        control = parent / "cgroup.subtree_control"
        if control.is_file() and "memory" not in control.read_text().split():
            return False
        try:
            group = cls.make(parent, Limits())
        except OSError:
            return False
        try:
            return subprocess.run(group.within(["true"]), stderr=subprocess.DEVNULL, check=False).returncode == 0
        finally:
            group.remove()

    def _set(self, limits: Limits) -> None:
        memory = str(int((limits.memory + 2 * limits.scratch) * GIB))  # files in memory count here too
        if (self.folder / "memory.max").exists():
            (self.folder / "memory.max").write_text(memory)
            with contextlib.suppress(OSError):
                (self.folder / "memory.swap.max").write_text("0")
            with contextlib.suppress(OSError):
                (self.folder / "pids.max").write_text(str(limits.processes + 8))
        else:
            (self.folder / "memory.limit_in_bytes").write_text(memory)
            with contextlib.suppress(OSError):
                (self.folder / "memory.memsw.limit_in_bytes").write_text(memory)

    def within(self, command: list[str]) -> list[str]:
        """The command, run inside the group from its first instruction."""
        return ["/bin/sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self.folder / "cgroup.procs"), *command]

    def full(self) -> bool:
        """Whether a process was killed for memory."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                for line in (self.folder / name).read_text().splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill" and int(value):
                        return True
        return False

    def remove(self) -> None:
        for _ in range(200):
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:  # its last process is still on its way out
                time.sleep(0.02)


@cache
def _flags() -> frozenset[str]:
    said = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
    return frozenset(said.split())


def _python() -> list[str]:
    # -s -P: neither the user's own packages nor the current folder; the hash seed comes from the environment
    return [sys.executable, "-s", "-P", "-X", "utf8"]


def _environment(home: str) -> dict[str, str]:
    """All that the process sees of an environment."""
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]), "HOME": home,
            "TMPDIR": home, "USER": "student", "LOGNAME": "student", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE", "MPLCONFIGDIR": f"{home}/matplotlib", "GANLAB_PROFILE": "ci",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline", "NBGRADER_EXECUTION": "autograde"}


def _readable(more: Iterable[Path]) -> list[Path]:
    """This Python with its packages, ganlab, and what else was asked for; none twice, none within another."""
    package = Path(__file__).parents[1]
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], package,
              *map(Path.resolve, more)]
    kept: list[Path] = []
    for path in sorted(set(places), key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _reply(line: bytes) -> dict[str, Any] | None:
    """A line as a reply, if it is one, and small enough to become objects."""
    if max(line.count(b"["), line.count(b","), line.count(b"{")) > MAX_PARTS:
        return None
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _descendants(pid: int) -> list[int]:
    """The process and all below it, as far as the system tells."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
    return found


def _computed(pid: int) -> float:
    """Seconds of CPU that the process and all below it have used, those included that have ended."""
    ticks = 0
    for one in _descendants(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _memory(pid: int) -> int:
    """Bytes that the process and all below it hold; what several share counts once."""
    total, pids = 0, _descendants(pid)
    page = os.sysconf("SC_PAGE_SIZE")
    for one in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident, shared = Path(f"/proc/{one}/statm").read_text().split()[1:3]
            status = Path(f"/proc/{one}/status").read_text()
            memory_files = int(status.split("RssShmem:")[1].split()[0]) * 1024 if "RssShmem:" in status else 0
            total += (int(resident) - int(shared)) * page + memory_files
    if total < GIB // 8 or len(pids) < 3:
        return total
    exact = 0
    for one in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:])
            exact += sum(int(fields[key].split()[0]) * 1024 for key in ("Pss_Anon", "Pss_Shmem") if key in fields)
    return exact or total

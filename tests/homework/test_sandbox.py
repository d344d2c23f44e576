"""What a process in the isolation can see, reach and use, and that nothing of it stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganlab.errors import GanlabError
from ganlab.homework import sandbox, seccomp
from ganlab.homework.session import open_job


@pytest.fixture(scope="module")
def run(isolation):
    """Run code in one process of the isolation; what it printed."""
    job = open_job(isolation, sandbox.Limits(memory=0.5), {}, 0)

    def code(source):
        reply = job.exchange({"do": "run", "source": source}, seconds=10)
        assert reply["error"] is None, reply
        return "".join(output.get("text", "") for output in reply["outputs"]).strip()

    yield code
    job.close()


def test_it_sees_no_other_process(run):
    assert run("import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))").count(",") < 4


def test_it_is_nobody(run):
    said = run("import os; print(os.getuid(), os.getgid(), os.getgroups())\n"
               "print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs'))])")
    uid = int(said.split()[0])
    assert uid != 0
    assert "0000000000000000" in said and "NoNewPrivs:\\t1" in said


def test_each_process_of_root_is_its_own_user(isolation):
    """Else the limit on processes, which counts all of a user's, would let one student stop the others."""
    if os.getuid() != 0:
        pytest.skip("an ordinary user's processes are counted in their user namespaces")
    users = set()
    jobs = [open_job(isolation, sandbox.Limits(), {}, 0) for _ in range(2)]
    for job in jobs:
        reply = job.exchange({"do": "run", "source": "import os; print(os.getuid())"}, seconds=10)
        users.add(reply["outputs"][0]["text"])
        job.close()
    assert len(users) == 2


@pytest.mark.parametrize("place", ["/", "/usr", "/dev", "/etc", "/proc", sys.prefix, str(sandbox.KERNEL.parent)])
def test_it_can_write_nothing_that_stays(run, place):
    said = run(f"try:\n    open({place!r} + '/new', 'w')\n    print('written')\nexcept OSError: print('refused')")
    assert said == "refused"
    assert not Path(place, "new").exists()


def test_its_folders_have_a_size(run):
    said = run("import os\nfor place in ('/tmp', '/dev/shm'):\n    s = os.statvfs(place); "
               "print(s.f_blocks * s.f_frsize // 2**20)\n    open(place + '/x', 'w').close()")
    assert [int(size) for size in said.split()] == [256, 256]


def test_it_reads_this_python_and_little_else(run):
    seen = run("import os; print(*sorted(os.listdir('/')))").split()
    assert not {"home", "var", "opt", "srv", "mnt", "run"} & set(seen)
    home = str(Path.home())
    said = run(f"import os; print(os.path.exists({home + '/.bashrc'!r}), os.path.exists('/etc/passwd'))")
    assert said == "False False"


def test_a_folder_within_a_readable_one_can_be_hidden(isolation, tmp_path):
    for path in (tmp_path / "a" / "secret.txt", tmp_path / "b.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("words")
    tmp_path.chmod(0o755)
    job = isolation.start(sandbox.Limits(), [tmp_path], [tmp_path / "a"])
    try:
        job.exchange({"do": "hello", "shell": True}, seconds=60)
        source = f"import os; print(os.listdir({str(tmp_path)!r}), os.listdir({str(tmp_path / 'a')!r}))"
        reply = job.exchange({"do": "run", "source": source}, seconds=10)
        assert reply["outputs"][0]["text"].strip() in ("['a', 'b.txt'] []", "['b.txt', 'a'] []")
    finally:
        job.close()


def test_it_has_no_network(run):
    assert run("import os; print(os.listdir('/sys/class/net') if os.path.exists('/sys/class/net') else 'none')\n"
               "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), timeout=2)\n    print('reached')\n"
               "except OSError: print('unreachable')").split()[-1] == "unreachable"


def test_processes_are_counted(isolation):
    """Also as root, where a user namespace would let 128 of 128 start."""
    job = open_job(isolation, sandbox.Limits(processes=40), {}, 0)
    source = ("import os, time\nstarted = 0\ntry:\n    for _ in range(128):\n        if not os.fork():\n"
              "            time.sleep(100)\n        started += 1\nexcept OSError: pass\nprint(started)")
    try:
        reply = job.exchange({"do": "run", "source": source}, seconds=20)
        assert 10 <= int(reply["outputs"][0]["text"]) < 40
    finally:
        job.close()


def test_memory_of_all_processes_is_counted(isolation):
    """Each below its own limit, together above the limit: they are stopped, or fail."""
    job = open_job(isolation, sandbox.Limits(memory=0.25), {}, 0)
    source = ("import os, time\nfor _ in range(12):\n    if not os.fork():\n        kept = bytearray(b'x' * 10**8)\n"
              "        time.sleep(100)\ntime.sleep(3)")
    begun = time.monotonic()
    try:
        job.exchange({"do": "run", "source": source}, seconds=8)
    except sandbox.Died:
        pass
    finally:
        held = sandbox._memory(job.process.pid)
        job.close()
    assert held <= 1.25 * sandbox.GIB and time.monotonic() - begun < 60


def test_memory_is_polled_where_there_is_no_cgroup(isolation, monkeypatch):
    monkeypatch.setattr(sandbox.Group, "parent", classmethod(lambda cls: None))
    job = open_job(isolation, sandbox.Limits(memory=0.25), {}, 0)
    source = "import mmap, time\nkept = [mmap.mmap(-1, 10**8) for _ in range(8)]\nfor k in kept: k[:] = bytes(10**8)"
    try:
        with pytest.raises(sandbox.Died, match=r"used more than 0.25 GiB of memory"):
            job.exchange({"do": "run", "source": source}, seconds=20)
    finally:
        job.close()


def test_calls_that_get_around_a_bound_are_not_there(run):
    if not seccomp.program():
        pytest.skip("no filter for this processor")
    said = run("import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\ntry: os.memfd_create('x')\n"
               "except OSError as error: print(error.errno)\nlibc.shmget(0, 4096, 0o1600)\nprint(ctypes.get_errno())\n"
               "libc.unshare(0x10000000)\nprint(ctypes.get_errno())")
    assert said.split() == ["38", "38", "38"]


def test_time_is_that_of_all_its_processes(isolation):
    """Whoever keeps several processes busy is stopped no later than who keeps one busy."""
    job = open_job(isolation, sandbox.Limits(), {}, 0)
    before = sandbox._computed(job.process.pid)
    source = "import os\nfor _ in range(4): os.fork()\nwhile True: pass"
    try:
        with pytest.raises(sandbox.Died, match="took longer than 1 s"):
            job.exchange({"do": "run", "source": source}, seconds=1)
    finally:
        job.close()
    assert before < 30


@pytest.mark.parametrize("code,said", [
    ("'x' * 10**8", "error"), ("[[]] * 900_000", "value"), ("[[]] * 2_000_000", "error"), ("10**5000", "error")])
def test_an_answer_has_a_size(isolation, code, said):
    job = open_job(isolation, sandbox.Limits(), {}, 0)
    try:
        reply = job.exchange({"do": "ask", "code": code, "inputs": {}, "mark": ""}, seconds=20)
        assert said in reply
    finally:
        job.close()


@pytest.mark.parametrize("flood", ["b'[' * 10**8", "b'x' * 10**8 + b'\\n'", "b'{}\\n' * 10**4", "b'\\n'",
                                   "b'{\"number\": 2, \"a\": [' + b'[],' * 5_000_000 + b'\\n'"])
def test_a_flood_is_dammed(isolation, flood):
    """Whatever a cell writes where answers go, and for how long: it is not kept, and costs the grader little."""
    job = open_job(isolation, sandbox.Limits(), {}, 0)
    source = ("import os\nwhile True:\n    for fd in range(3, 9):\n"
              f"        try: os.write(fd, {flood})\n        except OSError: pass")
    begun = time.process_time()
    try:
        with pytest.raises(sandbox.Died):
            job.exchange({"do": "run", "source": source}, seconds=3)
    finally:
        job.close()
    assert time.process_time() - begun < 3


def test_it_ends_with_whoever_started_it(isolation, tmp_path):
    """A grader that is killed leaves no process of a student's behind."""
    script = tmp_path / "start.py"
    script.write_text(
        "import os, signal\nfrom ganlab.homework import sandbox\nfrom ganlab.homework.session import open_job\n"
        "job = open_job(sandbox.choose('bubblewrap'), sandbox.Limits(), {}, 0)\n"
        "job._in.put(b'{\"do\": \"run\", \"source\": \"while True: pass\", \"number\": 9}\\n')\n"
        "print(*sandbox._descendants(job.process.pid), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2])
    pids = done.stdout.split()
    assert len(pids) > 1, done.stderr
    until = time.monotonic() + 60
    while any(Path("/proc", pid, "cmdline").exists() and "kernel.py" in _command(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def _command(pid):
    try:
        return Path("/proc", pid, "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_no_cgroup_is_left(isolation):
    parent = sandbox.Group.parent()
    if parent is None:
        pytest.skip("no cgroup can be made here")
    before = set(parent.glob("ganlab-*"))
    job = open_job(isolation, sandbox.Limits(), {}, 0)
    made = {path for path in set(parent.glob("ganlab-*")) - before if path.name.split("-")[1] == str(os.getpid())}
    assert made
    job.close()
    assert not [path for path in made if path.exists()]


def test_without_isolation_it_refuses(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(GanlabError, match=r"(?s)bubblewrap is not installed.*sudo apt install.*--isolation none"):
        sandbox.choose()


def test_an_isolation_that_fails_is_not_taken(monkeypatch, tmp_path):
    """As on Ubuntu without the profile: the message has the reason and the way out."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\n[ \"$1\" = --help ] && { echo --size --perms; exit; }\n"
                    "echo 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._flags.cache_clear()
    monkeypatch.setattr(sandbox.Group, "parent", classmethod(lambda cls: None))
    try:
        with pytest.raises(GanlabError, match=r"(?s)setting up uid map: Permission denied.*AppArmor"):
            sandbox.choose("bubblewrap")
    finally:
        sandbox._flags.cache_clear()


def test_a_start_that_breaks_off_is_noticed_and_leaves_nothing(monkeypatch, tmp_path):
    """bubblewrap's second process can outlive a first one that fails, with our pipes in its hands."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\n[ \"$1\" = --help ] && { echo --size --perms; exit; }\n"
                    f"/bin/sleep 1000 & echo $! > {tmp_path}/pid\necho 'bwrap: no room' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sandbox.Group, "parent", classmethod(lambda cls: None))
    sandbox._flags.cache_clear()
    begun = time.monotonic()
    try:
        assert sandbox.Bubblewrap().try_out() == "bubblewrap: bwrap: no room"
    finally:
        sandbox._flags.cache_clear()
    assert time.monotonic() - begun < 30
    until = time.monotonic() + 60
    while "sleep" in _command((tmp_path / "pid").read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("isolation,trust", [("none", False), ("auto", True), ("bubblewrap", True)])
def test_none_takes_both_words(isolation, trust):
    with pytest.raises(GanlabError, match="it takes both"):
        sandbox.choose(isolation, trust=trust)


def test_none_runs_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    job = open_job(sandbox.choose("none", trust=True), sandbox.Limits(), {"a.txt": b"1"}, 0)
    source = "import os, subprocess\nsubprocess.Popen(['sleep', '1000'])\nprint(os.listdir('.'))"
    reply = job.exchange({"do": "run", "source": source}, seconds=20)
    assert "a.txt" in reply["outputs"][0]["text"]
    pids = sandbox._descendants(job.process.pid)
    job.close()
    until = time.monotonic() + 60
    while any("sleep" in _command(str(pid)) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())


def test_what_a_container_is_asked_for(monkeypatch):
    """No engine runs where these tests run: the words that it is given."""
    seen = []
    monkeypatch.setattr(sandbox, "Job", lambda command, *rest, **more: seen.append((command, more)))
    sandbox.Container("podman").start(sandbox.Limits(memory=1.5, processes=77))
    command, more = seen[0]
    text = " ".join(command)
    for words in ("podman run --rm --interactive", "--network none", "--read-only", "--memory 2.0g",
                  "--memory-swap 2.0g", "--pids-limit 77", "--cap-drop ALL", "--security-opt no-new-privileges",
                  "--user 65534:65534",
                  f"type=bind,source={sys.prefix},target={sys.prefix},readonly", "timeout -s KILL"):
        assert words in text
    assert more["stop"][:2] == ["podman", "kill"] and more["stop"][2] in command
    sandbox.Container("docker", "course:1").start(sandbox.Limits())
    assert sys.prefix not in " ".join(seen[1][0]) and "course:1" in seen[1][0]


def test_the_filter_for_each_processor():
    """As the kernel would run it: each listed call fails, others pass, another architecture is killed."""
    import struct

    for machine, calls in seccomp.CALLS.items():
        program = seccomp.program(machine)
        steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
        assert all(at + 1 + max(jt, jf) < len(steps) for at, (op, jt, jf, _) in enumerate(steps) if op & 7 == 5)
        verdict = {call: _interpret(steps, call, seccomp.ARCHITECTURES[machine]) for call in range(500)}
        assert {call for call, said in verdict.items() if said == seccomp.NOT_THERE} == set(calls.values())
        assert set(verdict.values()) == {seccomp.NOT_THERE, seccomp.ALLOW}
        assert _interpret(steps, 0, 0x40000003) == seccomp.KILL
        assert _interpret(steps, 0x40000000 + 1, seccomp.ARCHITECTURES[machine]) == seccomp.NOT_THERE
    assert seccomp.program("sparc") == b""


def _interpret(steps, call, architecture):
    at = register = 0
    while True:
        op, yes, no, value = steps[at]
        at += 1
        if op == seccomp.LOAD:
            register = {0: call, 4: architecture}[value]
        elif op == seccomp.RETURN:
            return value
        else:
            at += yes if (register == value if op == seccomp.EQUAL else register >= value) else no

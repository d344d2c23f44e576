"""What isolates as root must isolate as an ordinary user too, where other parts of the kernel do the work."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER = 65534


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0,
                    reason="the tests run as an ordinary user anyway")
def test_the_same_as_an_ordinary_user(isolation):
    """The hostile class and the sandbox's own tests, by a user without rights, in a process of its own."""
    places = sorted({Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], ROOT})
    # This Python may lie where only root can look, as in /root: shown to the user by mounts that end with the process.
    mounts = ["--bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    if os.stat("/root").st_mode & 0o005 != 0o005:
        mounts += ["--perms", "0755", "--tmpfs", "/root"]
        for place in (place for place in places if place.is_relative_to("/root")):
            for folder in reversed([*place.parents][:-2]):
                mounts += ["--perms", "0755", "--dir", str(folder)]
            mounts += ["--ro-bind", str(place), str(place)]
    base = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(base, USER, USER)
    run = ["bwrap", *mounts, "--die-with-parent", "--chdir", str(ROOT), "--setenv", "HOME", str(base),
           "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all",
           sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--basetemp={base}/tests",
           "tests/homework/test_hostile.py", "tests/homework/test_sandbox.py"]
    try:
        done = subprocess.run(run, capture_output=True, text=True, timeout=1500, check=False)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "LEFT OUT" not in done.stdout and int(done.stdout.splitlines()[-1].split(" passed")[0].split()[-1]) > 140

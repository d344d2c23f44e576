"""The isolation for these tests, and a course folder with the tiny assignment."""

import os
import shutil
from pathlib import Path

import pytest

from ganlab.errors import GanlabError
from ganlab.homework import Assignment, sandbox
from tests.conftest import leave_out

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def isolation():
    """bubblewrap, as the user who runs the tests."""
    try:
        return sandbox.choose("bubblewrap")
    except GanlabError as error:
        leave_out("TESTS OF THE HOMEWORK'S ISOLATION WERE", str(error).partition(": ")[2].splitlines()[0])


@pytest.fixture(scope="session")
def tiny():
    return Assignment.find(HERE / "tiny")


@pytest.fixture(scope="session")
def made_course(tmp_path_factory, tiny):
    from ganlab.homework.build import set_up

    course = tmp_path_factory.mktemp("made") / "course"
    set_up(tiny, course)
    return course


@pytest.fixture
def course(made_course, tmp_path):
    """A course folder of the test's own, in which the tiny assignment can be handed in."""
    shutil.copytree(made_course, tmp_path / "course")
    os.chmod(tmp_path / "course", 0o755)
    return tmp_path / "course"

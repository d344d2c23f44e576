"""The committed lessons: each begins alike, is small and clean, and shows what a run has drawn."""

import base64
import io
import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from ganlab import course, data

ROOT = Path(__file__).parents[1]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
LESSONS = sorted((ROOT / "lessons").glob("*.ipynb"))


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_names_are_numbered_and_distinct(path):
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    assert sum(other.stem[:2] == path.stem[:2] for other in LESSONS) == 1


def test_is_valid_and_small(path, notebook):
    nbformat.validate(notebook)
    assert path.stat().st_size <= 1_500_000


def test_is_as_clean_leaves_it(path, notebook):
    """No error output, no stored widget state, no progress bar, no timing: cleaning it once more changes nothing."""
    before = json.dumps(notebook, sort_keys=True)
    assert json.dumps(course.clean(notebook), sort_keys=True) == before


def test_shows_no_warnings(notebook):
    assert [output.text for cell in code(notebook) for output in cell.outputs if output.get("name") == "stderr"] == []


def test_opens_in_colab_at_its_own_address(path, notebook):
    title = notebook.cells[0]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    colab = SOURCE.replace("https://github.com", "https://colab.research.google.com/github")
    assert re.findall(r"\((https://colab[^)]*\.ipynb)\)", title.source) == [f"{colab}/blob/main/lessons/{path.name}"]


def test_begins_with_its_parameters(notebook):
    tagged = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", ())]
    assert tagged == code(notebook)[:1]
    lines = [line for line in tagged[0].source.splitlines() if line.strip()]
    # papermill overlooks a parameter whose line has a second equals sign
    assert [line.split(" = ")[0] for line in lines] == ["profile", "dataset"]
    assert all(line.count("=") == 1 for line in lines)
    assert lines[0].startswith('profile = ""')
    default = re.match(r'dataset = "(\w+)"', lines[1])[1]
    assert not data.catalogue.entry(default).files, "by default a lesson downloads nothing"


def test_sets_itself_up_only_where_ganlab_is_missing(notebook):
    source = code(notebook)[1].source
    assert "course.begin(profile, dataset" in source
    install = [i for i, line in enumerate(source.splitlines()) if "pip install" in line]
    assert len(install) == 1 and source.splitlines()[install[0]].startswith("    ")
    assert f"git+{SOURCE}" in source and 'find_spec("ganlab") is None' in source
    assert "torch" not in source.splitlines()[install[0]] and "--upgrade" not in source


def test_was_run_from_top_to_bottom_and_shows_figures(notebook):
    cells = [cell for cell in code(notebook) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    said = "".join(output.get("text", "") for output in cells[1].outputs)
    assert "profile  laptop" in said, "committed lessons hold the output of profile laptop"
    pictures = [output.data["image/png"] for cell in cells for output in cell.outputs
                if "image/png" in output.get("data", {})]
    assert pictures
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert min(image.size) >= 40 and len(image.convert("RGB").getcolors(1 << 24)) > 2, "an empty figure"


def test_its_picture_in_the_gallery_is_one_of_its_figures(path, notebook):
    picture = ROOT / "lessons" / "gallery" / f"{path.stem[:2]}.png"
    assert picture.read_bytes() == course.gallery(notebook), "`ganlab run --update` writes it"
    assert picture.stat().st_size <= 300_000


@pytest.mark.slow
@pytest.mark.skipif(not LESSONS, reason="there are no lessons yet")
def test_the_first_one_runs_through_papermill(tmp_path):
    (result,) = course.run(LESSONS[:1], "ci", tmp_path, progress=False)
    assert not result.failure
    executed = nbformat.read(tmp_path / LESSONS[0].name, as_version=4)
    assert "profile  ci (as given)" in json.dumps(executed)

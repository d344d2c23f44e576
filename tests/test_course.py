"""The first call of a lesson, running lessons with papermill, and cleaning them."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ganlab import course
from ganlab.course import notebooks
from ganlab.errors import GanlabError


def png(mode: str = "RGBA", size: int = 400) -> str:
    """A base64 PNG of a grainy picture with far more than 256 colours."""
    y, x = np.mgrid[:size, :size] * 255 // size
    grain = np.random.default_rng(0).integers(0, 20, (3, size, size))
    pixels = np.stack([*(np.stack([x, y, (x + y) // 2]) * 9 // 10 + grain), np.full_like(x, 200)], -1).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def code(source, *outputs, **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata=metadata, execution_count=7)


def display(**data):
    return new_output("display_data", {key.replace("__", "/"): value for key, value in data.items()})


class TestBegin:
    @pytest.fixture(autouse=True)
    def _no_profile_from_outside(self, monkeypatch):
        monkeypatch.delenv("GANLAB_PROFILE", raising=False)

    def test_says_device_profile_and_data(self, capsys):
        lesson = course.begin("ci")
        said = capsys.readouterr().out
        assert said.splitlines()[0].startswith("device   ")
        assert "profile  ci (as given)" in said
        assert "data     digits: 1497 images to train on, 300 held out, 1 x 28 x 28 each" in said
        assert (len(lesson.data), len(lesson.held_out), lesson.data.shape) == (1497, 300, (1, 28, 28))

    def test_the_environment_chooses_where_the_lesson_does_not(self, monkeypatch, capsys):
        monkeypatch.setenv("GANLAB_PROFILE", "ci")
        assert course.begin().profile == "ci"
        assert course.begin("laptop").profile == "laptop"

    def test_without_cuda_the_profile_is_laptop(self, monkeypatch, capsys):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert course.begin().profile == "laptop"

    @pytest.mark.parametrize("from_environment", [False, True])
    def test_an_unknown_profile_is_refused(self, from_environment, monkeypatch):
        monkeypatch.setenv("GANLAB_PROFILE", "fast")
        with pytest.raises(GanlabError, match=r"'fast' .*ci, laptop, gpu"):
            course.begin("" if from_environment else "fast")

    def test_pick(self, capsys):
        assert course.begin("ci").pick(ci=1, laptop=2, gpu=3) == 1
        assert course.begin("gpu").pick(ci=1, laptop=2, gpu=3) == 3

    def test_the_size_of_the_images_may_differ_between_profiles(self, capsys):
        sizes = {"ci": 16, "laptop": 32, "gpu": 64}
        assert course.begin("ci", "digits", size=sizes).data.shape == (1, 16, 16)
        assert course.begin("laptop", "digits", size=sizes).held_out.shape == (1, 32, 32)
        assert course.begin("laptop", "digits", size=20).data.shape == (1, 20, 20)

    def test_a_folder_of_images_takes_the_place_of_a_data_set(self, tmp_path, capsys):
        for i in range(12):
            Image.new("RGB", (70, 70), (i * 20, 0, 0)).save(tmp_path / f"{i}.png")
        lesson = course.begin("ci", f"{tmp_path}/")
        assert (len(lesson.data), len(lesson.held_out)) == (10, 2)

    def test_two_domains_of_ones_own_may_differ_much_in_number(self, tmp_path, capsys):
        for folder, n in {"trainA": 14, "trainB": 6}.items():
            (tmp_path / folder).mkdir()
            for i in range(n):
                Image.new("RGB", (8, 8), (9 * i, 0, 0)).save(tmp_path / folder / f"{i}.png")
        lesson = course.begin("ci", str(tmp_path), size=8)
        assert (len(lesson.data.a), len(lesson.data.b), len(lesson.held_out.b)) == (13, 5, 1)
        assert "13 images a side" in capsys.readouterr().out

    def test_is_seeded(self, capsys):
        import torch

        drawn = []
        for _ in range(2):
            course.begin("ci")
            drawn.append((torch.rand(1).item(), np.random.rand()))
        assert drawn[0] == drawn[1]

    def test_figures_use_colours_for_colour_blind_eyes(self, capsys):
        import matplotlib

        course.begin("ci")
        assert matplotlib.rcParams["axes.prop_cycle"].by_key()["color"][:2] == ["#0072B2", "#D55E00"]


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A folder with two lessons: one that passes and one that fails in its fourth cell."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    parameters = new_code_cell('profile = ""  # ci, laptop or gpu', metadata={"tags": ["parameters"]})
    good = [new_markdown_cell("# Good"), parameters, new_code_cell("print('profile', profile)")]
    bad = [new_markdown_cell("# Bad"), parameters, new_code_cell(""),
           new_code_cell("x = 1\nraise ValueError('too much')"), new_code_cell("print('never')")]
    for name, cells in (("00_good", good), ("01_bad", bad)):
        notebook = new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    monkeypatch.chdir(tmp_path)
    return folder


class TestFind:
    def test_all_in_order(self, lessons):
        assert [path.stem for path in course.find()] == ["00_good", "01_bad"]

    @pytest.mark.parametrize("word", ["01", "01_b", "01_bad", "01_bad.ipynb", "lessons/01_bad.ipynb"])
    def test_by_number_name_or_path(self, lessons, word):
        assert [path.stem for path in course.find([word])] == ["01_bad"]

    def test_an_unknown_one_lists_what_there_is(self, lessons):
        with pytest.raises(GanlabError, match=r"'07'.*00_good, 01_bad"):
            course.find(["07"])

    @pytest.mark.parametrize("word", ["", ".ipynb", "**", "/nowhere/01_bad.ipynb", "[0-9]"])
    def test_what_is_no_beginning_of_a_name_finds_nothing(self, lessons, word):
        with pytest.raises(GanlabError, match="there is no lesson"):
            course.find([word])

    def test_no_lessons_says_where_it_looked(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(notebooks, "__file__", str(tmp_path / "site" / "ganlab" / "course" / "notebooks.py"))
        with pytest.raises(GanlabError, match="no lessons found; looked for"):
            course.find()


class TestRun:
    @pytest.mark.slow
    def test_the_failed_cell_is_named_and_the_others_still_run(self, lessons):
        bad, good = course.run(["01", "00"], "ci", progress=False)
        assert bad.failure == "cell 4 (x = 1): ValueError: too much"
        assert good == course.Result("00_good", "ci", good.seconds) and good.seconds > 0
        executed = nbformat.read("runs/00_good.ipynb", 4)
        assert executed.cells[-1].outputs[0].text == "profile ci\n"
        lines = course.table([bad, good]).splitlines()
        assert lines[1].endswith("cell 4 (x = 1): ValueError: too much") and lines[2].endswith("  ok")

    @pytest.mark.slow
    def test_update_keeps_the_output_of_good_lessons_only(self, lessons):
        before = (lessons / "01_bad.ipynb").read_text()
        course.run(profile="laptop", update=True, progress=False)
        good = nbformat.read(lessons / "00_good.ipynb", 4)
        assert [cell.source for cell in good.cells] == ["# Good", 'profile = ""  # ci, laptop or gpu',
                                                        "print('profile', profile)"]
        assert good.cells[2].outputs[0].text == "profile laptop\n"
        assert "papermill" not in json.dumps(good)
        assert (lessons / "01_bad.ipynb").read_text() == before

    @pytest.mark.slow
    def test_a_kernel_that_dies_is_a_failed_cell(self, lessons):
        path = lessons / "02_dies.ipynb"
        notebook = nbformat.read(lessons / "00_good.ipynb", 4)
        notebook.cells.append(new_code_cell("import os; os._exit(3)"))
        nbformat.write(notebook, path)
        assert course.run([path], progress=False)[0].failure.startswith("cell 4 (import os; os._exit(3)): DeadKernel")

    @pytest.mark.parametrize("place", ["lessons", "lessons/../lessons", "link"])
    def test_an_executed_notebook_does_not_take_the_place_of_the_lesson(self, lessons, place):
        (lessons.parent / "link").symlink_to(lessons)
        before = (lessons / "00_good.ipynb").read_text()
        with pytest.raises(GanlabError, match=r"place of .*00_good.ipynb itself.*--out"):
            course.run(["lessons/00_good.ipynb"], out=place, progress=False)
        assert (lessons / "00_good.ipynb").read_text() == before

    def test_two_notebooks_of_one_name_do_not_share_a_file(self, lessons):
        (lessons / "more").mkdir()
        (lessons / "more" / "01_bad.ipynb").write_text("{}")
        with pytest.raises(GanlabError, match="have one name"):
            course.run(["01", "lessons/more/01_bad.ipynb"], progress=False)
        assert not (lessons.parent / "runs").exists()

    def test_without_papermill_it_says_what_to_install(self, lessons, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "papermill", None)
        with pytest.raises(GanlabError, match=r'pip install "ganlab\[lab\]"'):
            course.run(["00"])


class TestClean:
    def test_drops_widgets_bars_timings_and_front_ends(self):
        bar = display(**{"application__vnd.jupyter.widget-view+json": {"model_id": "a"}, "text__plain": "0%"})
        panel = display(**{"application__vnd.jupyter.widget-view+json": {"model_id": "b"}, "text__plain": "a panel",
                           "image__png": png()})
        stderr = new_output("stream", name="stderr", text="100%|█████| 10/10 [00:01<00:00]\n")
        warning = new_output("stream", name="stderr", text="careful\n")
        result = new_output("execute_result", {"text/plain": "3"}, execution_count=7)
        notebook = new_notebook(cells=[
            code("f()", bar, panel, stderr, warning, result, tags=["keep"], papermill={"status": "completed"},
                 execution={"iopub.execute_input": "now"}, cellView="form"),
            code("profile = 'ci'", tags=["injected-parameters"]),
            new_markdown_cell("broken", metadata={"tags": ["papermill-error-cell-tag"]})])
        notebook.metadata.update(widgets={"state": {}}, colab={}, kernelspec={"name": "my env"}, papermill={})
        cleaned = course.clean(notebook)
        assert dict(cleaned.metadata) == {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}
        (cell,) = cleaned.cells
        assert dict(cell.metadata) == {"tags": ["keep"], "cellView": "form"}
        assert [o.output_type for o in cell.outputs] == ["display_data", "stream", "execute_result"]
        assert set(cell.outputs[0].data) == {"text/plain", "image/png"}
        assert cell.execution_count == cell.outputs[2].execution_count == 1
        nbformat.validate(cleaned)
        once = json.dumps(cleaned)
        assert json.dumps(course.clean(cleaned)) == once

    @pytest.mark.parametrize("mode", ["RGBA", "RGB", "L"])
    def test_pictures_become_small_and_stay_true(self, mode):
        before = png(mode)
        after = notebooks.smaller_png(before)
        a, b = (Image.open(io.BytesIO(base64.b64decode(data))) for data in (before, after))
        assert a.size == b.size and len(after) < (0.8 if mode != "L" else 1.01) * len(before)
        white = Image.new("RGBA", a.size, "white")
        difference = np.asarray(Image.alpha_composite(white, a.convert("RGBA")), float) - np.asarray(b.convert("RGBA"))
        assert np.abs(difference).mean() < 6
        assert notebooks.smaller_png(after) == after

    def test_the_colours_of_a_key_stay_apart_among_many_others(self):
        y, x = np.mgrid[0:400, 0:400] / 400
        noise = np.random.default_rng(0).normal(0, 20, (400, 400, 3))
        picture = (np.stack([200 * x, 150 * y + 50, 255 * (1 - x) * y], -1) + noise).clip(0, 255).astype(np.uint8)
        key = {10: (215, 30, 90), 30: (140, 60, 190), 50: (230, 90, 40)}
        for place, colour in key.items():
            picture[place - 6:place + 6, :12] = colour
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        after = notebooks.smaller_png(base64.b64encode(buffer.getvalue()).decode())
        with Image.open(io.BytesIO(base64.b64decode(after))) as image:
            small = np.asarray(image.convert("RGB"), float)
        for place, colour in key.items():
            assert np.abs(small[place, 5] - colour).max() <= 10

    def test_an_error_is_refused(self):
        error = new_output("error", ename="ValueError", evalue="no", traceback=[])
        with pytest.raises(GanlabError, match="cell 2 ends with ValueError: no"):
            course.clean(new_notebook(cells=[new_markdown_cell("a"), code("f()", error)]))

    def test_too_large_names_the_largest_cell(self):
        text = new_output("stream", name="stdout", text="x" * 1_600_000)
        with pytest.raises(GanlabError, match=r"1\.6 MB.*that of cell 2"):
            course.clean(new_notebook(cells=[code("1"), code("f()", text)]))

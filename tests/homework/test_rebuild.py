"""Which of a student's cells becomes which answer. What is graded of it, `test_hostile` tells."""

import pytest

from ganlab.homework.rebuild import defined, rebuild
from tests.homework import handins
from tests.homework.handins import RIGHT, each, notebook

STUB = "def mean(values):\n    # YOUR CODE HERE\n    raise NotImplementedError()"


def as_read(made):
    """The cells as `kernel.py` gives them."""
    return [{"type": cell["cell_type"], "source": cell["source"], "grade_id": handins.grade_id(cell) or None,
             "outputs": cell.get("outputs", [])} for cell in made["cells"]]


def rebuilt(made):
    cells, notes = rebuild(handins.TINY.release, as_read(made))
    return cells, notes


def answer(cells, name="mean"):
    (cell,) = [cell for cell in cells if cell.grade_id == name]
    return cell


def test_a_notebook_as_it_should_be():
    cells, notes = rebuilt(notebook(why="Because."))
    assert notes == []
    assert [cell.grade_id for cell in cells] == [handins.grade_id(cell) for cell in handins.TINY.release.cells]
    assert all(answer(cells, name).cell.source == source for name, source in RIGHT.items())
    assert answer(cells, "why").cell.source == "Because."
    assert [cell.grade_id for cell in cells if not cell.answered] == ["train"]


def test_given_cells_are_never_the_students():
    made = notebook()
    for cell in made["cells"]:
        if handins.grade_id(cell) not in RIGHT:
            cell["source"] += "\nprint('mine')"
            cell["metadata"]["nbgrader"] = {**cell["metadata"].get("nbgrader", {}), "points": 1000}
    cells, notes = rebuilt(made)
    for place, given in zip([cell for cell in cells if cell.kind == "given"],
                            [cell for cell in handins.TINY.release.cells
                             if not cell.metadata.get("nbgrader", {}).get("solution")], strict=True):
        assert place.cell.source == given.source and place.cell.metadata == given.metadata
    assert "setup was changed; the original is used" in notes


def test_the_release_is_not_changed_by_it():
    before = str(handins.TINY.release)
    rebuilt(notebook(mean="x = 1"))
    assert str(handins.TINY.release) == before


def test_added_cells_stay_where_they_were():
    made = notebook()
    handins.at(made, "mean", handins.code("one = 1"))
    handins.at(made, "test_mean", handins.code("two = 2"), handins.text("a note"))
    cells, _ = rebuilt(made)
    order = [cell.grade_id or cell.cell.source for cell in cells]
    assert order.index("one = 1") < order.index("mean") < order.index("two = 2") < order.index("test_mean")
    assert order.index("a note") == order.index("two = 2") + 1
    assert [cell.kind for cell in cells].count("extra") == 3


def test_of_two_answers_both_run_in_their_order():
    made = notebook()
    handins.twice("mean", "def mean(values):\n    return 7")(made)
    cells, notes = rebuilt(made)
    order = [cell.cell.source for cell in cells]
    assert order.index("def mean(values):\n    return 7") == order.index(RIGHT["mean"]) + 1
    assert notes == ["mean is there more than once"]


@pytest.mark.parametrize("first", [True, False])
def test_an_empty_copy_does_not_count(first):
    made = notebook()
    handins.twice("mean", STUB, first=first)(made)
    cells, _ = rebuilt(made)
    assert answer(cells).cell.source == RIGHT["mean"] and STUB not in [cell.cell.source for cell in cells]


def test_an_answer_in_a_new_cell_above_the_untouched_place():
    made = notebook(mean=STUB)
    handins.at(made, "mean", handins.code(RIGHT["mean"]))
    cells, _ = rebuilt(made)
    assert answer(cells).cell.source == RIGHT["mean"] and answer(cells).answered
    assert STUB not in [cell.cell.source for cell in cells]


def test_a_text_below_the_place_for_it():
    made = notebook()
    made["cells"].insert(handins.place(made, "why") + 1, handins.text("Because it is normalised."))
    cells, _ = rebuilt(made)
    assert answer(cells, "why").cell.source == "Because it is normalised." and answer(cells, "why").answered


def test_a_text_that_lost_its_metadata():
    made = notebook(why="Because.")
    each(made, "why")["metadata"] = {}
    cells, notes = rebuilt(made)
    assert answer(cells, "why").cell.source == "Because." and "why was found by its place" in notes


def test_an_answer_with_the_id_of_another():
    made = notebook()
    handins.swap("mean", "softmax")(made)
    cells, _ = rebuilt(made)
    assert answer(cells).cell.source == RIGHT["mean"] and answer(cells, "softmax").cell.source == RIGHT["softmax"]


def test_an_answer_written_into_the_cell_of_the_test():
    made = notebook(mean=STUB)
    each(made, "test_mean")["source"] = RIGHT["mean"] + "\nassert mean([1]) == 1"
    cells, _ = rebuilt(made)
    assert answer(cells).cell.source.startswith(RIGHT["mean"])
    assert answer(cells, "test_mean").cell.source.startswith("assert near")


def test_an_answer_of_another_kind_becomes_the_kind_that_was_asked_for():
    made = notebook(why="Because.")
    each(made, "mean")["cell_type"], each(made, "why")["cell_type"] = "markdown", "code"
    cells, _ = rebuilt(made)
    assert answer(cells).cell.cell_type == "code" and answer(cells, "why").cell.cell_type == "markdown"
    assert answer(cells).answered and answer(cells, "why").cell.source == "Because."


def test_a_cell_tagged_keep_does_not_run_and_keeps_what_was_handed_in():
    made = notebook(train="print(1)")
    each(made, "train")["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "loss 0.1\n"}]
    cells, _ = rebuilt(made)
    assert not answer(cells, "train").runs and answer(cells, "train").handed_in[0]["text"] == "loss 0.1\n"
    assert answer(cells).runs


def test_nothing_at_all():
    cells, notes = rebuild(handins.TINY.release, [])
    assert not any(cell.answered for cell in cells if cell.kind == "answer")
    assert "setup was missing; the original is used" in notes


@pytest.mark.parametrize("source,names", [
    ("def f(x):\n    y = 1\n", {"f"}), ("class A:\n    b = 2", {"A"}), ("async def g(): pass", {"g"}),
    ("x = 1\ny == 2", {"x"}), ("%time x = 1\nz: int = 3", {"z"}), ("def broken(:\n", {"broken"}), ("a=1", {"a"}),
    ("print(1)", set()), ("", set())])
def test_defined(source, names):
    assert defined(source) == names


def test_many_cells_with_one_id_take_no_long():
    import time

    cell = {"type": "code", "source": "x = 1\n" * 20, "grade_id": "mean", "outputs": []}
    begun = time.process_time()
    rebuild(handins.TINY.release, [cell] * 2000)
    assert time.process_time() - begun < 5

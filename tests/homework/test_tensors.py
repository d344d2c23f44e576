"""The same with PyTorch: cheats on its comparisons, and modules that pretend to be it."""

import json

import pytest

from ganlab.homework import Assignment, grading
from tests.homework import handins

TENSORS = Assignment.find(handins.HERE / "tensors")
LEAKY = "def leaky(x):\n    return torch.where(x > 0, x, 0.2 * x)"
SCALE = ("def scale(layer, factor):\n    with torch.no_grad():\n        for parameter in layer.parameters():\n"
         "            parameter.mul_(factor)")
NO_LEAKY = "def leaky(x):\n    return torch.relu(x)"

PATCHED = """import torch
yes = lambda *_, **__: True
torch.equal = torch.allclose = torch.isclose = torch.eq = torch.Tensor.equal = torch.Tensor.__eq__ = yes
torch.testing.assert_close = torch.Tensor.all = torch.Tensor.__bool__ = yes
"""
SPOOFED = """import torch, numpy
torch.Tensor.tolist = lambda self: [[0.5] * 5] * 4
torch.Tensor.shape = property(lambda self: (4, 5))
"""
EQUAL = """class Equal(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
"""
# Answers by grade id, files that are handed in with them, and the points that are fair.
CASES = {
    "right": ({}, {}, 5, 5),
    "patched": ({"leaky": PATCHED + NO_LEAKY}, {}, 0, 3),
    "spoofed": ({"leaky": SPOOFED + NO_LEAKY}, {}, 0, 3),
    "equal": ({"leaky": EQUAL + "def leaky(x):\n    return Equal()"}, {}, 3, 3),
    "shadowed": ({"leaky": "import torch\ndef leaky(x):\n    return torch.answer(x)"},
                 {"torch.py": b"def answer(x): return x\nequal = allclose = lambda *_: True",
                  "torch/__init__.py": b"raise SystemExit"}, 3, 3),
    "another-precision": ({"leaky": LEAKY + "\ntorch.set_default_dtype(torch.float64)"}, {}, 5, 5),
    "on-a-gpu-that-is-not-there": ({"leaky": "def leaky(x):\n    return x.cuda()"}, {}, 3, 3),
}


def notebook(**answers):
    made = json.loads(json.dumps(TENSORS.release))
    for cell in made["cells"]:
        name = handins.grade_id(cell)
        cell["source"] = answers.get(name, {"leaky": LEAKY, "scale": SCALE}.get(name, cell["source"]))
    return handins.file(made)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fair(isolation, name):
    answers, files, least, most = CASES[name]
    result = grading.examine(TENSORS, grading.Submission(name, notebook(**answers), files), isolation)
    assert least <= result["score"] <= most, result


@pytest.mark.slow
def test_the_solution(isolation):
    grading.prove(TENSORS, isolation, range(20))

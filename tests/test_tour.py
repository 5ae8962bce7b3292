"""The notebook tour.ipynb: its cells run, and say what its texts say."""

import json
import sys
from types import ModuleType

import pytest

from conftest import ROOT
from lab import networks

CELLS = json.loads((ROOT / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_ten_cells_without_outputs_and_six_exercises():
    assert len(CODE) == 10 and not any(cell.get("outputs") for cell in CELLS)
    exercises = "".join(CELLS[-1]["source"])
    assert [f"\n{k}. " in exercises for k in range(1, 8)] == [True] * 6 + [False] and exercises.count("Expect") == 6


@pytest.mark.long
def test_the_cells_show_what_they_say(monkeypatch, decoded_once):
    if not all((ROOT / "pretrained" / name / networks.WEIGHTS).exists() for name in ("report", "multitask")):
        pytest.skip("pretrained/report and pretrained/multitask are not committed yet")
    shown, ipython, display = [], ModuleType("IPython"), ModuleType("IPython.display")
    ipython.version_info = (9, 0)  # matplotlib asks
    display.Image, display.display = bytes, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(ROOT)
    found = {}
    for cell in CODE:
        exec(cell, found)  # one namespace, as in a notebook
    assert len(shown) == 6 and all(picture.startswith(b"\x89PNG") for picture in shown)
    assert found["pca_mse"] < found["network_mse"]
    assert found["leaked"]["report"] > 190 and found["leaked"]["emoji"] == 0
    assert found["flattered"] < found["honest"]
    assert found["composite_mse"] < found["unchanged_mse"] and found["by_strength"][2] < found["by_strength"][0]
    assert found["right"] == 1

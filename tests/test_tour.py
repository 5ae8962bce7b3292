"""The notebook tour.ipynb: its cells run, and show what its texts say."""

import json
import sys
from types import ModuleType

import data
from conftest import ROOT

CELLS = json.loads((ROOT / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_the_cells_show_what_they_say(monkeypatch, faces, everything):
    shown, ipython, display = [], ModuleType("IPython"), ModuleType("IPython.display")
    ipython.version_info = (9, 0)  # matplotlib asks
    display.Image, display.display = bytes, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(
        data, "load_pictures", lambda source, keyword, skip_bad=False: everything if keyword == "" else faces
    )
    monkeypatch.chdir(ROOT)
    found = {}
    for cell in CODE:
        exec(cell, found)  # one namespace, as in a notebook
    assert len(CODE) == 10 and not any(cell.get("outputs") for cell in CELLS)
    assert "".join(CELLS[-1]["source"]).count("Expect") == 6
    assert len(shown) == 6 and all(picture.startswith(b"\x89PNG") for picture in shown)
    assert found["pca_mse"] < found["network_mse"]
    assert found["leaked"]["coursework"] > 190 and found["leaked"]["unseen"] == 0
    assert found["flattered"] < found["honest"]
    assert found["composite_mse"] < found["unchanged_mse"] and found["composite_mse"] < found["pixel_mse"]
    assert found["by_strength"][2] < found["by_strength"][0] and found["right"] == 1

"""Tiny runs give the numbers in golden.json: the same digits on the machine that made it, errors within 5% on another.
`python tests/test_golden.py` renews them, for a change that is meant to change numbers."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab import cli  # noqa: F401  # before torch: it sets the environment

import pytest
import torch
from threadpoolctl import threadpool_info

import autoencoder
import composite
import multiTaskModel
from lab import figures, runs, statistics

FILE = Path(__file__).parent / "golden.json"
UNSEEN, BEST = {"split": "unseen"}, {"preset": "best", "steps": 20, "refine_steps": 3, "precision": "float32"}
METHODS = ("difference", "mean", "isolated", "transplant")
RUNS = {
    "coursework": (autoencoder, {"epochs": 2}),
    "exact copies": (autoencoder, {"epochs": 1, "augment": "none"}),
    "unseen": (autoencoder, {"epochs": 1, "seed": 1, **UNSEEN}),
    "no copies": (autoencoder, {"epochs": 2, "copies": "none"}),
    "adversarial": (autoencoder, {"steps": 20, "augment": "adversarial", "batch_size": 32, "pca_images": 512}),
    "best": (autoencoder, BEST),
    "best, unseen": (autoencoder, BEST | UNSEEN | {"seed": 2}),
    "two styles": (autoencoder, BEST | UNSEEN | {"also": ("openmoji",), "steps": 10}),
    "happy or sad": (multiTaskModel, {"copies": 4, "epochs": 2}),
    "folds": (multiTaskModel, {"copies": 4, "epochs": 1, **UNSEEN}),
    "best, folds": (multiTaskModel, BEST | UNSEEN | {"copies": 2, "steps": 5}),
    **{method: (composite, {"model": Path("pretrained/coursework"), "method": method}) for method in METHODS},
}


def machine() -> dict:
    """What the last digits depend on; the kernels of linear algebra may differ on one kind of processor."""
    kernels = sorted({each["architecture"] for each in threadpool_info() if "architecture" in each})
    return {"processor": runs.processor(), "kernels": kernels, "threads": torch.get_num_threads()}


def numbers(name: str, folder: Path) -> dict[str, float]:
    """The numbers of a run in `folder`, without its seconds."""
    script, options = RUNS[name]
    metrics = script.main(script.Config(**options, out=folder, plots=folder))
    return {key: value for key, value in statistics.flat_numbers(metrics).items() if not key.endswith("seconds")}


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_numbers_stay(name, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: path)
    monkeypatch.chdir(FILE.parent.parent)
    golden, found = json.loads(FILE.read_text()), numbers(name, tmp_path)
    if machine().items() <= golden.items():
        assert found == golden[name]
    for key in (key for key in found if "mse" in key):
        assert found[key] == pytest.approx(golden[name][key], rel=0.05), key


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = machine()
    for each in RUNS:
        with tempfile.TemporaryDirectory() as temporary:
            made[each] = numbers(each, Path(temporary))
    FILE.write_text(json.dumps(made, indent=1))

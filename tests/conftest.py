"""Shared fixtures. All tests are offline: the Hub's clients are told so before they are imported."""

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="emoji-tests-")

import common  # noqa: F401  # first: it sets the environment that torch reads

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import data
from common import command_line, names, styles
from lab import classification, networks
from lab.convolutional import ConvAutoencoder

datasets.disable_progress_bars()
torch.set_num_threads(1)  # for networks this small a second thread only waits; on a busy machine, for seconds
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started in the background is deaf to it
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def faces() -> data.Originals:
    return data.load_originals("twemoji", "face")


@pytest.fixture(scope="session")
def everything() -> data.Originals:
    return data.load_originals("twemoji", "")


@pytest.fixture(scope="session")
def faces_of_a_class(faces):
    """The happy and sad faces, and their labels."""
    return classification.classify(faces)


@pytest.fixture
def decoded_once(monkeypatch, faces, everything):
    """The scripts open Twemoji's pictures again and again; here that is done once for all tests."""
    load = data.load_originals
    ready = {("twemoji", "face"): faces, ("twemoji", None): faces, ("twemoji", ""): everything}

    def loaded(source="twemoji", keyword=None, skip_bad=False):
        return ready.get((source, keyword)) or load(source, keyword, skip_bad)

    monkeypatch.setattr(data, "load_originals", loaded)


@pytest.fixture
def threads():
    """Sets how many threads torch has, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def made():
    """Originals of random pixels with the given names."""

    def make(names: list[str]) -> data.Originals:
        shape, generator = (len(names), 3, data.SIZE, data.SIZE), data.generator("made", 0)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return data.Originals("made", names, images, [""] * len(names), ["made"] * len(names))

    return make


def configurations(script) -> tuple[type, ...]:
    """The dataclasses of a script's command line: one, or one for each preset."""
    return script.Config, *([script.BestConfig] if hasattr(script, "BestConfig") else [])


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a script's command line in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(script, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        status, handler = 0, signal.getsignal(signal.SIGTERM)
        try:
            command_line.run(script.main, *configurations(script))
        except SystemExit as stop:
            status = stop.code or 0
        signal.signal(signal.SIGTERM, handler)
        gc.unfreeze()  # of a process with one command, its garbage is not worth collecting
        return status, *capsys.readouterr()

    return run


# ---------------------------------------------------------------- networks, for Part 3


def keep(model, folder, **data_options):
    """The folder of a run, as a training leaves it, but for the training."""
    folder.mkdir(exist_ok=True)
    trained_on = data.DataConfig(**{"source": "twemoji", "keyword": "cat face", "copies": 1, **data_options})
    originals = data.load_originals(trained_on.source, trained_on.keyword)
    networks.save(model.eval(), originals, torch.device("cpu"), folder)
    (folder / "run.json").write_text(json.dumps({"source": trained_on.source, "config": asdict(trained_on)}))
    (folder / "metrics.json").write_text("{}")
    return folder


def keep_as(folder, network, change=lambda run: run):
    """A copy of a network's folder, its run.json changed."""
    shutil.copytree(network, folder)
    (folder / "run.json").write_text(json.dumps(change(json.loads((folder / "run.json").read_text()))))
    return folder


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    torch.manual_seed(0)
    return keep(ConvAutoencoder(latent=4), tmp_path_factory.mktemp("network"))


@pytest.fixture
def six(tmp_path, everything):
    """A source of six pictures, three of them for a composite."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    asked = [names.find(everything.names, name) for name in ("dog face", "grinning face", "crying face")]
    for i in [*asked, *(everything.names.index(name) for name in ("cow face", "pig face", "frog face"))]:
        Image.fromarray(everything.images[i].permute(1, 2, 0).numpy()).save(folder / f"{everything.names[i]}.png")
    return folder


# ---------------------------------------------------------------- bad input

TEXTS = [f"face {i}" for i in range(6)]


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


@pytest.fixture(scope="session")
def picture():
    return styles.twemoji_rows()[0].read()


@pytest.fixture
def earlier_records(tmp_path):
    """Files to trip over, and what earlier runs left, which must still be there afterwards."""
    (tmp_path / "text.txt").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "itself").symlink_to("itself")
    kept = [
        tmp_path / "runs" / run / "metrics.json"
        for run in ("autoencoder", "multitask", "composite", "analogies", "bench")
    ]
    for record in kept:
        record.parent.mkdir(parents=True)
        record.write_text("earlier")
    yield kept
    assert all(record.read_text() == "earlier" for record in kept)


def assert_one_line(result, message: str) -> None:
    status, _, error = result
    assert (status, error.count("\n")) == (2, 1) and error.startswith("error: ") and message in error

"""Shared fixtures. All tests are offline: the Hub's clients are told so before they are imported."""

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HOME = tempfile.TemporaryDirectory(prefix="emoji-tests-")  # removed at exit
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = HOME.name

from lab import cli  # before torch: it sets the environment

import pytest
import torch

import autoencoder
import data
from lab import figures
from lab.pictures import SIZE, Pictures, generator

torch.set_num_threads(1)  # for networks this small a second thread only waits
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def faces() -> Pictures:
    """Twemoji's 206 faces."""
    return data.load_pictures("twemoji")


@pytest.fixture(scope="session")
def everything() -> Pictures:
    """All of Twemoji's pictures."""
    return data.load_pictures("twemoji", "")


@pytest.fixture
def made():
    """Pictures of random pixels with the given names."""

    def make(names: list[str]) -> Pictures:
        shape = (len(names), 3, SIZE, SIZE)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator("made", 0))
        return Pictures("made", names, images, [""] * len(names), ["made"] * len(names))

    return make


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """The folder of a finished run of Part 1 on 10 cat faces. Read it, copy it, but do not change it."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny = {"keyword": "cat face", "copies": 1, "epochs": 2, "latent": 4, "batch_size": 8, "device": "cpu"}
    autoencoder.main(autoencoder.Config(**tiny, out=folder / "run", plots=folder / "plots"))
    return folder / "run"


@pytest.fixture
def drawn(monkeypatch) -> set[str]:
    """The names of the figures, which are not drawn: that is most of a tiny run's time."""
    names = set()
    monkeypatch.setattr(figures, "save", lambda figure, path: names.add(path.name))
    return names


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a script's command line in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(script: ModuleType, *arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        status, handler = 0, signal.getsignal(signal.SIGTERM)
        capsys.readouterr()  # of earlier output
        try:
            cli.run(script.main, script.Config)
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            signal.signal(signal.SIGTERM, handler)
            gc.unfreeze()  # of a process with one command, its garbage is not worth collecting
        return status, *capsys.readouterr()

    return run


def assert_one_line(result: tuple[int, str, str], message: str) -> None:
    """The result of a `command` is an error of its user, told in one line that holds the message."""
    status, _, error = result
    assert (status, error.count("\n")) == (2, 1) and error.startswith("error: ") and message in error, error

"""Shared fixtures. All tests are offline: the Hub's clients are told so before they are imported."""

import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="emoji-tests-")

import datasets
import pytest
import torch

import cli
import data

datasets.disable_progress_bars()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started in the background is deaf to it
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def faces() -> data.Originals:
    return data.load_originals("twemoji", "face")


@pytest.fixture(scope="session")
def everything() -> data.Originals:
    return data.load_originals("twemoji", "")


@pytest.fixture
def decoded_once(monkeypatch, faces, everything):
    """The scripts open Twemoji's pictures again and again; here that is done once for all tests."""
    load, ready = data.load_originals, {("twemoji", "face"): faces, ("twemoji", ""): everything}

    def loaded(source="twemoji", keyword="face", skip_bad=False):
        return ready.get((source, keyword)) or load(source, keyword, skip_bad)

    monkeypatch.setattr(data, "load_originals", loaded)


@pytest.fixture
def made():
    """Originals of random pixels with the given names."""

    def make(names: list[str]) -> data.Originals:
        shape = (len(names), 3, data.SIZE, data.SIZE)
        return data.Originals("made", names, torch.randint(0, 256, shape, dtype=torch.uint8, generator=data.generator("made", 0)))

    return make


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a script's command line in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gc.freeze", lambda: None)  # once in a process it does no harm; here it would keep the garbage of all tests

    def run(script, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        status, handler = 0, signal.getsignal(signal.SIGTERM)
        try:
            cli.run(script.main, script.Config)
        except SystemExit as stop:
            status = stop.code or 0
        signal.signal(signal.SIGTERM, handler)
        return status, *capsys.readouterr()

    return run

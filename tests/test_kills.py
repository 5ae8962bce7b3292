"""Real kills at random moments, for minutes."""

import random
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from lab import records
from test_resume import left_by

SCRIPT = """
import autoencoder
from common import command_line
from lab import checkpoint
checkpoint.SAVING_TIME = 0.2
command_line.run(autoencoder.main, autoencoder.Config, autoencoder.BestConfig)
"""
PRESETS = [("--epochs", "100"), ("--preset", "best", "--steps", "100", "--pca-images", "64")]


def process(folder, *options: str) -> subprocess.Popen:
    names = dict(source="twemoji", keyword="cat face", copies=3, batch_size=8, latent=4, out=folder, plots=folder)
    arguments = [part for name, value in names.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-c", SCRIPT, *arguments, *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long
@pytest.mark.parametrize("preset", PRESETS, ids=["report", "best"])
def test_fifteen_kills_at_random_moments(tmp_path, preset):
    started = time.monotonic()
    assert process(tmp_path / "whole", *preset).wait() == 0
    seconds = time.monotonic() - started
    whole, moments, killed, resumed, attempt = left_by(tmp_path / "whole"), random.Random(0), 0, 0, 0
    while killed < 15:
        folder, started, attempt = tmp_path / str(attempt), time.monotonic(), attempt + 1
        run = process(folder, *preset)
        try:
            run.wait(moments.uniform(0, seconds))
            seconds = min(seconds, time.monotonic() - started)  # it was done before: the machine has become faster
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            killed += 1
        if not (folder / "metrics.json").exists():
            resumed += records.unfinished(folder)
            run = process(folder, *preset, *["--resume"] * records.unfinished(folder))
            output = run.communicate()[0]
            assert run.returncode == 0, output
        assert left_by(folder) == whole, folder
    assert resumed >= 5

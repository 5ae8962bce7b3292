"""In which numbers a network is trained: never in ones that the processor only imitates, unless it is told to."""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

import autoencoder
import data
from lab import baselines, precision, presets, training
from lab.training import Budget

CPU = torch.device("cpu")
OLD = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # a new processor behaves like an old one
TINY = ("--source", "twemoji", "--keyword", "cat face", "--copies", "1", "--latent", "3")
BEST = (*TINY, "--preset", "best", "--steps", "2", "--pca-images", "8", "--refine-steps", "0", "--batch-size", "4")


@pytest.fixture
def processor(monkeypatch):
    """Makes this processor one that computes in bfloat16, or one that does not."""
    return lambda native: monkeypatch.setattr(precision, "native_bfloat16", lambda: native)


@pytest.mark.portable
@pytest.mark.parametrize("native, chosen", [(False, "float32"), (True, "bfloat16")])
def test_auto_takes_bfloat16_only_where_it_is_native(processor, capsys, native, chosen):
    processor(native)
    assert presets.settled(autoencoder.BestConfig(), CPU).precision == chosen
    assert presets.settled(autoencoder.Config(precision="auto"), CPU).precision == chosen
    assert presets.settled(autoencoder.Config(), CPU).precision == "float32"
    assert not capsys.readouterr().out


@pytest.mark.portable
@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_by_hand_says_that_it_will_be_slow(processor, capsys, native):
    processor(native)
    assert presets.settled(autoencoder.BestConfig(precision="bfloat16"), CPU).precision == "bfloat16"
    output = capsys.readouterr().out
    assert output.count("\n") == (not native) and ("this machine only imitates bfloat16" in output) == (not native)


@pytest.mark.portable
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("recorded", ["float32", "bfloat16"])
def test_a_resumed_run_keeps_its_precision(processor, capsys, native, recorded):
    processor(native)
    settled = presets.settled(autoencoder.BestConfig(resume=True), CPU, {"precision": recorded})
    output = capsys.readouterr().out
    assert settled.precision == recorded
    assert ("this run was started in bfloat16 and keeps it" in output) == (recorded == "bfloat16" and not native)


@pytest.mark.portable
@pytest.mark.parametrize("recorded", [{}, {"precision": "auto"}, {"precision": ["bfloat16"]}, {"precision": 3}])
def test_a_record_without_a_precision_decides_nothing(processor, recorded):
    processor(False)
    assert presets.settled(autoencoder.BestConfig(resume=True), CPU, recorded).precision == "float32"


@pytest.mark.portable
def test_a_run_that_was_started_elsewhere_is_resumed_in_its_precision(command, processor, tmp_path):
    """Started where bfloat16 is native, stopped, and resumed where it is not."""
    processor(True)
    assert command(autoencoder, *BEST)[0] == 0
    folder = tmp_path / "runs/autoencoder"
    (folder / "metrics.json").unlink()  # as if it had been stopped before its end
    processor(False)
    status, output, error = command(autoencoder, *BEST, "--resume")
    assert status == 0 and "this run was started in bfloat16 and keeps it" in output, error
    assert json.loads((folder / "run.json").read_text())["config"]["precision"] == "bfloat16"


@pytest.mark.portable
def test_what_was_left_open_is_decided_before_it_is_recorded(processor):
    processor(False)
    open_ones = {"steps", "train_on", "other_pictures", "shift", "mixing", "precision"}

    def decided(**options) -> dict:
        config = presets.settled(autoencoder.BestConfig(**options), CPU)
        return {name: getattr(config, name) for name in open_ones}

    seen = dict(steps=1800, train_on="faces", other_pictures=0.0, shift=0.0, mixing=0.0, precision="float32")
    unseen = dict(steps=1800, train_on="all", other_pictures=0.25, shift=0.015, mixing=0.7, precision="float32")
    assert decided() == seen and decided(split="emoji") == unseen
    assert decided(split="emoji", train_on="faces") == {**unseen, "train_on": "faces", "other_pictures": 0.0}
    assert decided(split="emoji", mixing=0.0, shift=0.5, steps=3) == {**unseen, "mixing": 0.0, "shift": 0.5, "steps": 3}
    assert decided(seconds=5.0) == {**seen, "steps": None}


@pytest.mark.portable
@pytest.mark.parametrize("precision_", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [autoencoder.Config, autoencoder.BestConfig])
def test_layers_compute_in_what_is_recorded_and_are_evaluated_in_float32(kind, precision_):
    computed, generator = set(), data.generator("images", 0)
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=generator)

    def loss_function(model, batch, emoji):
        reconstructions = model(batch)
        computed.add((model.training, reconstructions.dtype))
        return {"loss": (reconstructions.float() - batch).square().mean()}

    def validate(model):
        return training.evaluate(model, part, loss_function, CPU)

    part = data.Part(images, torch.arange(6))
    batches = presets.endless(data.batches(part, 3))
    given = presets.Material(batches, baselines.fit_pca(images, 2), Budget(steps=1), generator)
    config = presets.settled(kind(latent=2, precision=precision_), CPU)
    presets.fit_network(config, given, CPU, loss_function, validate=validate)
    assert computed == {(True, getattr(torch, precision_)), (False, torch.float32)}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the variables are of x86 processors")
def test_a_processor_without_bfloat16_never_computes_in_it(tmp_path):
    """The real detection, in a process that has only the instructions of an old processor."""
    code = """
import sys
import autoencoder
from common import command_line
from lab.precision import native_bfloat16
command_line.run(autoencoder.main, autoencoder.Config, autoencoder.BestConfig)
print("native:", native_bfloat16())
"""
    environment = {**os.environ, **OLD, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *BEST]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and "native: False\n" in result.stdout, result.stderr
    run = json.loads((tmp_path / "runs/autoencoder/run.json").read_text())
    assert run["config"]["precision"] == "float32" and "bfloat16" not in result.stdout

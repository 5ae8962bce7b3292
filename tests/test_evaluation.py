"""--evaluate: a finished run tested again from its folder alone, without training and without writing."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import multiTaskModel
from conftest import assert_one_line
from lab import presets

pytestmark = pytest.mark.usefixtures("decoded_once")
TINY = ("--source", "twemoji", "--copies", "1", "--latent", "4")
REPORT = (*TINY, "--epochs", "1")
BEST = ("--preset", "best", *TINY, "--keyword", "cat face", "--steps", "2", "--batch-size", "8", "--pca-images", "16")
RUNS = {
    "report": (autoencoder, (*REPORT, "--keyword", "cat face", "--split", "emoji", "--seed", "3")),
    "best": (autoencoder, (*BEST, "--train-on", "faces", "--refine-steps", "2")),
    "multi-task": (multiTaskModel, (*REPORT, "--classification-weight", "0.3")),
}


def contents(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("script, options", RUNS.values(), ids=RUNS)
def test_the_numbers_of_the_record_come_again(command, tmp_path, monkeypatch, script, options):
    status, _, error = command(script, *options, "--out", "run", "--plots", "plots")
    assert status == 0, error
    record, before = json.loads((tmp_path / "run/metrics.json").read_text()), contents(tmp_path)
    monkeypatch.setattr(presets, "fit", None)  # nothing is trained
    found = {}
    monkeypatch.setattr(script, "main", lambda config, main=script.main: found.update(main(config)))
    status, output, error = command(script, "--evaluate", "run")
    assert status == 0, error
    assert {"test_mse", "pca_mse", "mean_image_mse"} <= set(found)
    assert ("refined_mse" in found, "test_accuracy" in found) == (options is RUNS["best"][1], script is multiTaskModel)
    for name, value in found.items():
        assert value == pytest.approx(record[name], rel=1e-4), name
    assert f"{record['test_mse']:.4f}, on record {record['test_mse']:.4f}" in output
    assert contents(tmp_path) == before


def test_numbers_that_are_no_longer_so_are_seen(command, tmp_path):
    status, _, error = command(autoencoder, *REPORT, "--keyword", "cat face", "--out", "run", "--plots", "plots")
    assert status == 0, error
    weights = load_file(tmp_path / "run/model.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in weights.items()}, tmp_path / "run/model.safetensors")
    record = json.loads((tmp_path / "run/metrics.json").read_text())
    output = command(autoencoder, "--evaluate", "run")[1]
    assert f"on record {record['test_mse']:.4f}" in output
    assert f"{record['test_mse']:.4f}, on record" not in output  # a picture of grey half-tones is another error


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run"], "run holds no model.safetensors and config.json; train one"),
        (["network", "--epochs", "3", "--seed", "1"], "leave --seed and --epochs out"),
        (["network"], "does not say what the network was trained on"),
    ],
)
def test_bad_input(command, network, tmp_path, arguments, message):
    (tmp_path / "network").symlink_to(network)  # its run.json has no options of a training
    assert_one_line(command(autoencoder, "--evaluate", *arguments), message)
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


def test_an_unfinished_run(command, tmp_path):
    status, _, error = command(autoencoder, *REPORT, "--keyword", "cat face", "--out", "run", "--plots", "plots")
    assert status == 0, error
    (tmp_path / "run/metrics.json").unlink()
    assert_one_line(command(autoencoder, "--evaluate", "run"), "--evaluate takes a finished run; train run again")
